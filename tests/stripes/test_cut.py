import numpy as np
import pytest

from drcnet.config import StripeSettings
from drcnet.stripes.cut import (
    BAD,
    OFF_CHIP,
    cut_stripes,
    cut_stripes_numpy,
    frame_pixels,
    make_windows,
)
from drcnet.stripes.trace import TraceSet

SETTINGS = StripeSettings(row_start=40, row_stop=360)


def straight(center, slope=0.0, n_wave=400):
    """Traces that rise by `slope` from the middle row to the last."""
    center = np.atleast_1d(np.asarray(center, dtype=float))
    n = len(center)
    return TraceSet(
        fiber_id=np.arange(1, n + 1),
        center=np.column_stack([center, np.full(n, slope)]),
        fwhm=np.full((n, 1), 7.0),
        alive=np.ones(n, dtype=bool),
        rms=np.zeros(n),
        n_wave=n_wave,
        level=np.ones(n),
    )


@pytest.fixture(scope="module")
def ramp(renderer):
    """A frame in which every pixel's electrons say where it is."""
    profile = renderer.tiny_profile()
    image = 100.0 * np.arange(profile.n_spatial)[:, None] + np.arange(profile.n_wave) / 8.0
    return renderer.make_frame(profile, image)


def test_a_stripe_holds_the_pixels_about_its_trace(ramp):
    stripes, mask = cut_stripes(frame_pixels(ramp), make_windows(straight(60.2), SETTINGS))
    assert stripes.shape == mask.shape == (1, 11, 320)
    wanted = 100.0 * np.arange(55, 66)[:, None] + np.arange(40, 360) / 8.0
    np.testing.assert_allclose(stripes[0], wanted, atol=0.01)
    assert not mask.any()


def test_a_window_follows_its_trace_by_whole_pixels(ramp):
    windows = make_windows(straight(60.0, slope=3.0), SETTINGS)
    true = straight(60.0, slope=3.0).centers(np.arange(40, 360))
    assert np.abs(windows.offset).max() <= 0.5
    np.testing.assert_allclose(windows.first + 5 + windows.offset, true, atol=1e-5)
    stripes, _ = cut_stripes(frame_pixels(ramp), windows)
    middle = np.rint((stripes[0, 5] - np.arange(40, 360) / 8.0) / 100.0)
    np.testing.assert_array_equal(middle, windows.first[0] + 5)


def test_a_straight_cut_keeps_its_pixels(ramp):
    still = SETTINGS.model_copy(update={"follow_trace": False})
    windows = make_windows(straight(60.0, slope=3.0), still)
    assert len(np.unique(windows.first)) == 1
    assert np.abs(windows.offset).max() > 2.0


@pytest.mark.parametrize("center", [1.0, 1000.0])
def test_pixels_off_the_chip_are_masked_zeros(ramp, center):
    center = min(center, ramp.counts.shape[0] - 2.0)
    stripes, mask = cut_stripes(frame_pixels(ramp), make_windows(straight(center), SETTINGS))
    outside = mask[0] == OFF_CHIP
    assert outside[:, 0].sum() == 4
    assert (stripes[0][outside] == 0).all()
    assert (mask[0][~outside] == 0).all()


def test_saturated_and_masked_pixels_are_bad(renderer, ramp):
    counts = ramp.counts.copy()
    counts[60, 100] = 65535
    mask = np.zeros(counts.shape, dtype=bool)
    mask[62, 200] = True
    frame = renderer.with_counts(ramp, counts, mask)
    found = cut_stripes(frame_pixels(frame), make_windows(straight(60.0), SETTINGS))[1]
    assert found[0, 5, 60] == BAD
    assert found[0, 7, 160] == BAD
    assert found.sum() == 2 * BAD


def test_the_kernel_and_its_twin_agree_to_the_bit(renderer, scene):
    frame = renderer.with_counts(scene.flat, scene.flat.counts)
    windows = make_windows(straight([2.0, 60.3, 128.9], slope=-1.5), SETTINGS)
    for one, other in zip(
        cut_stripes(frame_pixels(frame), windows),
        cut_stripes_numpy(frame_pixels(frame), windows),
        strict=True,
    ):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
