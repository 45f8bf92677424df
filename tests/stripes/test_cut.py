from dataclasses import replace

import numpy as np
import pytest

from drcnet.config import StripeSettings
from drcnet.stripes.boxcar import sum_stripes, sum_stripes_numpy
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


def variants(renderer, scene, kind):
    """The flat as the instrument, or another, would have written it."""
    counts = scene.flat.counts.copy(order="F")
    counts[60, 100] = 65535
    if kind == "turned":
        counts = np.ascontiguousarray(counts)
    if kind == "mirrored":
        counts = counts.T[::-1].copy()[::-1].T
    if kind == "flipped":
        counts = counts[::-1].copy(order="F")[::-1]
    if kind == "float":
        counts = counts.astype(np.float32)
    frame = renderer.with_counts(scene.flat, counts)
    rng = np.random.default_rng(5)
    if kind in ("bias", "calibrated"):
        frame = replace(frame, bias=rng.normal(0, 2, counts.shape).astype(np.float32))
    if kind in ("masked", "calibrated"):
        frame = replace(frame, mask=rng.random(counts.shape) < 0.01)
    if kind == "quarters":  # amplifiers that change along wavelength, too
        amplifier = frame.amplifier.copy()
        amplifier[:, 170:] = 1 - amplifier[:, 170:]
        frame = replace(frame, amplifier=amplifier)
    return frame


@pytest.mark.parametrize("half_width", [3, 5, 6])
@pytest.mark.parametrize(
    "kind",
    ["raw", "turned", "mirrored", "flipped", "float", "bias", "masked", "calibrated", "quarters"],
)
def test_the_kernels_and_their_twins_agree_to_the_bit(renderer, scene, kind, half_width):
    frame = variants(renderer, scene, kind)
    settings = SETTINGS.model_copy(update={"half_width": half_width})
    n_spatial = frame.counts.shape[0]
    places = [2.0, 60.3, 90.7, n_spatial / 2, n_spatial - 7.0, n_spatial - 3.0]
    windows = make_windows(straight(places, slope=-1.5), settings)
    pixels = frame_pixels(frame)
    wanted = cut_stripes_numpy(pixels, windows)
    assert (wanted[1] == BAD).any()
    assert (wanted[1] == OFF_CHIP).any()
    for threads in (1, 2, 3):
        for one, other in zip(cut_stripes(pixels, windows, threads=threads), wanted, strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
        total = sum_stripes(pixels, windows, threads=threads)
        twin = sum_stripes_numpy(pixels, windows)
        assert total.dtype == twin.dtype
        np.testing.assert_allclose(total, twin, rtol=3e-7, atol=2e-3)


def test_a_cut_into_used_arrays_leaves_nothing_of_what_they_held(renderer, scene):
    frame = variants(renderer, scene, "calibrated")
    windows = make_windows(straight([2.0, 60.3], slope=-1.5), SETTINGS)
    wanted = cut_stripes(frame_pixels(frame), windows)
    used = np.full_like(wanted[0], np.nan), np.full_like(wanted[1], 255)
    found = cut_stripes(frame_pixels(frame), windows, out=used)
    assert found[0] is used[0]
    assert found[1] is used[1]
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_array_equal(found[1], wanted[1])


def test_a_sum_is_that_of_the_pixels_in_the_window(ramp):
    windows = make_windows(straight(60.2), SETTINGS)
    wanted = 100.0 * np.arange(55, 66).sum() + 11 * np.arange(40, 360) / 8.0
    np.testing.assert_allclose(sum_stripes(frame_pixels(ramp), windows)[0], wanted, rtol=1e-6)
