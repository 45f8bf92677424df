import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drcnet.frames.overscan import overscan_levels, smooth_levels
from drcnet.frames.read import read_frame
from drcnet.instruments import load_instrument

from .conftest import BIAS, N_WAVE, draw, tiny

ROWS = 4136
WINDOW, READ_NOISE = 11, 4.0
Y = np.arange(ROWS)


def measured(rng, level):
    """Row levels of a LAMOST overscan of 32 columns, and their standard deviation."""
    pixels = np.rint(level[:, None] + rng.normal(0, READ_NOISE, (ROWS, 32)))
    return pixels.mean(axis=1).astype(np.float32), READ_NOISE / np.sqrt(32)


def added(error):
    """Share of a box sum's read noise variance that a row-common error adds."""
    return np.mean((WINDOW * error) ** 2) / (WINDOW * READ_NOISE**2)


@pytest.mark.parametrize(
    "level",
    [
        np.full(ROWS, 1000.0),
        1000 + 0.6 * np.sin(Y / ROWS * 5),
        1000 + 20 * Y / ROWS,
        1000 + 10 * np.exp(-Y / 30),
        1000 + 3.0 * (Y > 2000),
    ],
    ids=["constant", "wander", "drift", "settling", "one step"],
)
def test_a_level_that_is_smooth_adds_next_to_no_noise(rng, level):
    rows, noise = measured(rng, level)
    assert added(rows - level) == pytest.approx(0.34, abs=0.04)  # row by row: 11 / 32
    assert added(smooth_levels(rows, noise) - level) < 0.03


@pytest.mark.parametrize(
    "level",
    [
        1000 + 3.0 * (Y % 2),
        1000 + 20.0 * (Y % 97 == 0),
        1000 + 5.0 * np.random.default_rng(3).normal(size=ROWS),
    ],
    ids=["every other row", "single rows", "every row"],
)
def test_rows_that_jump_are_followed_as_well_as_by_their_own_mean(rng, level):
    rows, noise = measured(rng, level)
    assert added(smooth_levels(rows, noise) - level) < 1.06 * added(rows - level)
    assert added(np.median(rows) - level) > 1  # what is to be removed


def test_rows_that_jump_by_as_much_as_their_error_are_followed_half_way(rng):
    """No estimate from the rows alone does better than variances 1 and 1 to 1/2."""
    rows, noise = measured(rng, np.full(ROWS, 1000.0))
    level = 1000 + noise * np.random.default_rng(4).normal(size=ROWS)
    found = smooth_levels((rows + level - 1000).astype(np.float32), noise)
    assert np.var(found - level) == pytest.approx(0.5 * noise**2, rel=0.1)


@settings(max_examples=30, deadline=None)
@given(shift=st.integers(-500, 500), seed=st.integers(0, 2**31))
def test_a_shift_of_all_rows_shifts_the_level_and_turning_turns_it(shift, seed):
    rows = np.random.default_rng(seed).normal(1000, 0.7, 300).astype(np.float32).round(2)
    level = smooth_levels(rows, 0.7)
    np.testing.assert_allclose(
        smooth_levels(rows + np.float32(shift), 0.7), level + shift, atol=2e-3
    )
    np.testing.assert_allclose(smooth_levels(rows[::-1], 0.7), level[::-1], atol=1e-3)


def test_what_a_whole_frame_of_read_noise_adds(rng):
    """Noise of a box sum of a frame without light is the amplifier's, to 3% of the variance."""
    profile = load_instrument("lamost-lrs")
    raw = np.rint(1000 + rng.normal(0, READ_NOISE, profile.shape)).astype(np.uint16)
    own = 1 + 1 / (12 * READ_NOISE**2)  # rounding belongs to the amplifier
    spread = {}
    for way in ("row", "smooth", "constant"):
        pedestal, residual = overscan_levels(raw, profile, "blue", way)
        assert residual is None
        boxes = (
            raw[:, 500 : 500 + 40 * WINDOW].reshape(ROWS, 40, WINDOW) - pedestal[0][:, None, None]
        )
        spread[way] = np.mean(boxes.sum(axis=2) ** 2) / (WINDOW * READ_NOISE**2 * own)
    assert spread["row"] > 1.25
    assert spread["smooth"] == pytest.approx(1.0, abs=0.03)
    assert spread["constant"] == pytest.approx(1.0, abs=0.03)


def test_the_way_is_read_frame_s_to_choose(rng, write):
    raw = draw(rng)
    path = write(raw.counts)
    row, smooth, constant = (
        read_frame(path, tiny(), overscan=way).pedestal for way in ("row", "smooth", "constant")
    )
    np.testing.assert_array_equal(constant, np.broadcast_to(constant[:, :1], (2, N_WAVE)))
    assert constant[:, 0] == pytest.approx(BIAS, abs=0.3)
    assert smooth.std(axis=1).max() < 0.4 * row.std(axis=1).min()


def test_along_wavelength_the_rows_are_the_spatial_pixels(rng):
    profile = tiny(dispersion_axis=1)
    raw = draw(rng, level=0, noise=0).counts.astype(float)
    raw[40] += 7
    for way, wanted in (("row", 7), ("smooth", 7), ("constant", None)):
        pedestal, residual = overscan_levels(raw, profile, "blue", way)
        assert pedestal[:, 0].tolist() == list(BIAS)
        lifted = np.flatnonzero(residual.any(axis=1)).tolist()
        assert lifted == ([] if wanted is None else [40])
        assert wanted is None or (residual[40] == wanted).all()
