import numpy as np
import pytest

from drcnet.errors import FrameError
from drcnet.stripes.calibration import calibrate_arm
from drcnet.stripes.flags import FiberFlag
from drcnet.stripes.measure import measure_arm


@pytest.fixture(scope="module")
def calibration(scene):
    return calibrate_arm(scene.flat, None, scene.profile, scene.settings)


def stars(scene, *, sky=60.0, star=400.0):
    """Light of sixteen fibres: the first four on sky."""
    light = np.full((16, scene.profile.n_wave), sky)
    light[4:] += star
    return light * scene.throughput[:, None]


@pytest.fixture(scope="module")
def exposure(renderer, scene):
    image = renderer.render_light(scene.profile, scene.optics.moved(0.3), stars(scene))
    return renderer.make_frame(scene.profile, image, np.random.default_rng(4))


SKY = np.arange(16) < 4


def test_shapes_and_kinds_are_those_of_the_store(scene, calibration, exposure):
    found = measure_arm(exposure, calibration, scene.settings, sky_fibers=SKY)
    assert found.stripes.shape == found.mask.shape == (16, 11, 320)
    assert found.stripes.dtype == np.float32
    assert found.mask.dtype == np.uint8
    np.testing.assert_array_equal(found.stripes, np.rint(found.stripes * 4) / 4)
    for name in ("box", "box_ivar", "optimal", "optimal_ivar", "sky", "offset"):
        assert getattr(found, name).shape == (16, 320)
        assert getattr(found, name).dtype == np.float32
    assert found.wavelength.shape == (16, 5)
    assert found.flags.dtype == np.uint32
    for name in ("snr", "fwhm", "gain", "read_noise", "flags", "sky_fibers"):
        assert getattr(found, name).shape == (16,)
    assert np.abs(found.offset).max() <= 0.5
    np.testing.assert_allclose(found.gain, np.repeat(np.float32([1.0, 1.3]), 8))


def test_sky_and_star_come_apart(renderer, scene, calibration, exposure):
    found = measure_arm(exposure, calibration, scene.settings, sky_fibers=SKY)
    rows = slice(scene.settings.row_start, scene.settings.row_stop)
    share = renderer.window_share(scene.optics.fwhm)[:, rows].mean(axis=1)
    sky = found.sky.mean(axis=1) / (60.0 * share * scene.throughput)
    star = (found.optimal - found.sky).mean(axis=1)[4:]
    np.testing.assert_allclose(sky, 1.0, atol=0.05)
    np.testing.assert_allclose(star / (400.0 * share * scene.throughput)[4:], 1.0, atol=0.03)
    light = 460.0 * scene.throughput * share
    wanted = 400.0 * scene.throughput * share / np.sqrt(light + 120.0)
    np.testing.assert_allclose(found.snr[4:], wanted[4:], rtol=0.1)
    assert np.abs(found.snr[:4]).max() < 0.5
    assert found.notes["shift"] == pytest.approx(0.3, abs=0.05)


def test_flags_say_what_is_wrong(renderer, scene, calibration, exposure):
    counts = exposure.counts.copy()
    line = np.rint(scene.optics.center[7]).astype(int)
    counts[line[200], 200] = 65535
    found = measure_arm(
        renderer.with_counts(exposure, counts), calibration, scene.settings, sky_fibers=SKY
    )
    assert (found.flags[:4] & FiberFlag.SKY_FIBER > 0).all()
    assert (found.flags[:4] & FiberFlag.NO_SIGNAL > 0).all()
    assert (found.flags[4:] & (FiberFlag.SKY_FIBER | FiberFlag.NO_SIGNAL) == 0).all()
    assert np.flatnonzero(found.flags & FiberFlag.SATURATED > 0).tolist() == [7]
    assert (found.flags & FiberFlag.NOMINAL_WAVELENGTH > 0).all()
    assert (found.flags & FiberFlag.DEAD == 0).all()


def test_sky_fibers_are_found_where_none_are_named(scene, calibration, exposure):
    found = measure_arm(exposure, calibration, scene.settings)
    np.testing.assert_array_equal(found.sky_fibers, SKY)
    assert found.notes["sky_fibers"] == "the faintest fibres that agree"


def test_a_frame_without_sky_fibers_says_so(scene, calibration, exposure):
    nobody = np.zeros(16, dtype=bool)
    found = measure_arm(exposure, calibration, scene.settings, sky_fibers=nobody)
    assert np.isnan(found.sky).all()
    assert found.notes["sky_fibers"] == "none"
    assert np.isfinite(found.snr).all()


def test_a_faint_fiber_beside_a_bright_one_is_flagged(renderer, scene, calibration):
    light = stars(scene)
    light[9] *= 200.0
    image = renderer.render_light(scene.profile, scene.optics, light)
    frame = renderer.make_frame(scene.profile, image, np.random.default_rng(5))
    found = measure_arm(frame, calibration, scene.settings, sky_fibers=SKY)
    near = np.flatnonzero(found.flags & FiberFlag.BRIGHT_NEIGHBOR > 0)
    np.testing.assert_array_equal(near, [8, 10])


def test_a_frame_of_another_arm_is_refused(renderer, scene, calibration):
    image = np.zeros((scene.profile.n_spatial, scene.profile.n_wave))
    red = renderer.make_frame(scene.profile, image, arm="red")
    with pytest.raises(FrameError, match="arm blue"):
        measure_arm(red, calibration, scene.settings)


def test_sky_fibers_of_another_number_are_refused(scene, calibration, exposure):
    with pytest.raises(FrameError, match="sky_fibers of shape"):
        measure_arm(exposure, calibration, scene.settings, sky_fibers=np.ones(3, dtype=bool))
