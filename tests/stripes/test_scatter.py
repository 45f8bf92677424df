"""Scattered light under fibres drawn by the tests' own Moffat renderer."""

import numpy as np
import pytest

from drcnet.stripes.calibration import calibrate_arm
from drcnet.stripes.cut import make_windows
from drcnet.stripes.flags import FiberFlag
from drcnet.stripes.measure import measure_arm
from drcnet.stripes.scatter import measure_glow, tile_glow


@pytest.fixture(scope="module")
def calibration(scene):
    return calibrate_arm(scene.flat, None, scene.profile, scene.settings)


@pytest.fixture(scope="module")
def glow(scene):
    """Between 4 and 8 electrons a pixel, smooth."""
    x = np.linspace(-1, 1, scene.profile.n_spatial)[:, None]
    y = np.linspace(-1, 1, scene.profile.n_wave)
    return 6.0 + 1.2 * x - 1.5 * y**2 + 0.8 * x * y


@pytest.fixture(scope="module")
def exposure(renderer, scene, glow):
    light = np.full((16, 400), 200.0)
    image = renderer.render_light(scene.profile, scene.optics, light) + glow
    return renderer.make_frame(scene.profile, image, np.random.default_rng(8))


def under_stripes(scene, windows, glow):
    rows = np.arange(scene.settings.row_start, scene.settings.row_stop)
    return glow[np.rint(windows.center).astype(int), rows]


def test_smooth_light_is_told_from_wings(scene, calibration, exposure, glow):
    windows = make_windows(calibration.traces, scene.settings)
    found = tile_glow(measure_glow(exposure, calibration.traces, calibration.profile), windows)
    truth = under_stripes(scene, windows, glow)[:, ::64]
    assert np.abs(found[:, : truth.shape[1]] - truth).max() < 0.6
    assert found[:, : truth.shape[1]].mean() == pytest.approx(truth.mean(), rel=0.03)


def test_a_dark_frame_has_none(renderer, scene, calibration):
    image = renderer.render_light(scene.profile, scene.optics, np.full((16, 400), 2000.0))
    frame = renderer.make_frame(scene.profile, image, np.random.default_rng(8))
    windows = make_windows(calibration.traces, scene.settings)
    found = tile_glow(measure_glow(frame, calibration.traces, calibration.profile), windows)
    assert np.abs(found).max() < 1.0  # the fibres give 126 a pixel


def test_it_is_subtracted_only_when_asked(renderer, scene, calibration, exposure, glow):
    nobody = np.zeros(16, dtype=bool)
    rows = slice(scene.settings.row_start, scene.settings.row_stop)
    own = 200.0 * renderer.window_share(scene.optics.fwhm)[:, rows].mean()
    bright = 11.0 * glow.mean()
    found = {}
    for choice in ("ignore", "measure", "subtract"):
        settings = scene.settings.model_copy(update={"scattered_light": choice})
        found[choice] = measure_arm(exposure, calibration, settings, sky_fibers=nobody)
    assert found["subtract"].optimal.mean() == pytest.approx(own, rel=0.01)
    assert found["measure"].optimal.mean() > own + 0.5 * bright
    np.testing.assert_array_equal(found["measure"].optimal, found["ignore"].optimal)
    for name in ("stripes", "box"):  # all light, whatever is asked
        one, other = getattr(found["ignore"], name), getattr(found["subtract"], name)
        assert one.mean() == pytest.approx(other.mean(), rel=1e-3)
    assert found["ignore"].notes["scattered_light"] is None
    assert found["subtract"].notes["scattered_light"] == pytest.approx(glow.mean(), rel=0.1)
    assert (found["measure"].flags & FiberFlag.SCATTERED_LIGHT > 0).all()
    assert (found["ignore"].flags & FiberFlag.SCATTERED_LIGHT == 0).all()


def test_the_sky_of_star_fibers_is_true_under_scattered_light(renderer, scene, calibration, glow):
    """Sky of 60 electrons a row, glow of 4 to 8 a pixel: left in, it nearly doubles the sky."""
    sky = np.arange(16) < 4
    light = np.full((16, scene.profile.n_wave), 60.0) + 400.0 * ~sky[:, None]
    image = renderer.render_light(scene.profile, scene.optics, light * scene.throughput[:, None])
    frame = renderer.make_frame(scene.profile, image + glow, np.random.default_rng(5))
    rows = slice(scene.settings.row_start, scene.settings.row_stop)
    share = renderer.window_share(scene.optics.fwhm)[:, rows].mean(axis=1)
    ratio = {}
    for choice in ("measure", "subtract"):
        settings = scene.settings.model_copy(update={"scattered_light": choice})
        found = measure_arm(frame, calibration, settings, sky_fibers=sky)
        ratio[choice] = found.sky.mean(axis=1) / (60.0 * share * scene.throughput)
    assert np.median(ratio["subtract"][~sky]) == pytest.approx(1.0, abs=0.03)
    assert np.median(ratio["subtract"][sky]) == pytest.approx(1.0, abs=0.03)
    assert np.std(ratio["subtract"]) < 0.03
    assert np.median(ratio["measure"]) > 1.5
