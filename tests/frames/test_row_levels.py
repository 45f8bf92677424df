import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drcnet.frames.row_levels import row_levels, row_levels_numpy


def both(part, read_noise=4.0):
    ours, twin = row_levels(part, read_noise), row_levels_numpy(part, read_noise)
    np.testing.assert_array_equal(ours[0], twin[0])
    assert ours[1] == twin[1]
    return ours


@given(
    st.integers(1, 600), st.integers(1, 70), st.sampled_from([0, 1, 30, 60000]), st.integers(0, 9)
)
@settings(max_examples=60, deadline=None)
def test_the_kernel_and_its_twin_agree_to_the_bit(n_row, n_column, spread, seed):
    rng = np.random.default_rng(seed)
    part = 1000 + spread * rng.normal(size=(n_row, n_column))
    part[rng.random(part.shape) < 0.05] = 65535
    level, noise = both(np.clip(np.rint(part), 0, 65535).astype(np.uint16))
    assert level.shape == (n_row,)
    assert noise > 0


def test_a_view_of_a_turned_frame_and_real_numbers_are_read_too(rng):
    raw = rng.integers(990, 1010, (40, 300)).astype(np.uint16)
    level, noise = both(raw[::-1, 100:132])
    real = row_levels(raw[::-1, 100:132].astype(np.float32), 4.0)
    np.testing.assert_array_equal(level, real[0])
    assert noise == pytest.approx(real[1])


def test_a_hot_pixel_in_a_row_of_two_levels_is_left_out():
    part = np.full((9, 32), 1000, np.uint16)
    part[:, ::2] = 1002
    part[4, 7] = 40000
    level, _ = both(part)
    assert level[0] == 1001
    assert level[4] == pytest.approx((16 * 1002 + 15 * 1000) / 31)


def test_the_error_of_a_row_is_that_of_its_noise(rng):
    part = np.rint(rng.normal(1000, 6, (4000, 32))).astype(np.uint16)
    _, noise = both(part, 1.0)
    assert noise == pytest.approx(6 / np.sqrt(32), rel=0.02)
