import numpy as np
import pytest
from scipy import stats

from drcnet.simulate.detector import (
    BiasPattern,
    CosmicRays,
    FiberLight,
    PhotonNoise,
    PixelFlat,
    Readout,
    ScatteredLight,
    render,
)
from drcnet.simulate.kernels import poisson_from_normal
from drcnet.simulate.optics import Traces

SHAPE = (160, 40)


def straight(centers, fwhm=7.0, rows=40):
    centers = np.repeat(np.asarray(centers, dtype=float)[:, None], rows, axis=1)
    return Traces(centers, np.full_like(centers, fwhm), np.ones_like(centers))


def seed(number=1):
    return np.random.SeedSequence(number)


@pytest.mark.parametrize("center", [80.0, 80.3, 79.5])
@pytest.mark.parametrize("wings", [0.0, 0.02, 0.2])
def test_light_is_conserved(center, wings):
    layer = FiberLight(straight([center]), np.full((1, 40), 1000.0), wings)
    image = render([layer], SHAPE, seed())
    total = image.sum(axis=0, dtype=np.float64)
    np.testing.assert_allclose(total, 1000.0 * (1 - layer.lost_share()), rtol=3e-4)
    if wings:
        glow = render([layer, ScatteredLight(layer.lost_share())], SHAPE, seed())
        assert glow.sum(dtype=np.float64) == pytest.approx(40_000.0, rel=3e-4)


def test_profile_has_its_centre_and_its_width():
    image = render([FiberLight(straight([80.3]), np.full((1, 40), 1.0), 0.0)], SHAPE, seed())
    x = np.arange(160)
    profile = image[:, 20].astype(float)
    centre = (profile * x).sum()
    assert centre == pytest.approx(80.3, abs=1e-3)
    # a pixel adds 1/12 to the variance
    assert (profile * (x - centre) ** 2).sum() == pytest.approx(
        (7 / 2.35482) ** 2 + 1 / 12, rel=2e-3
    )


def test_eleven_pixels_hold_what_is_known_of_lamost():
    for fwhm, share in ((7.0, 0.94), (9.0, 0.85)):
        traces = straight([80.0], fwhm)
        image = render([FiberLight(traces, np.full((1, 40), 1.0), 0.0)], SHAPE, seed())
        assert image[75:86, 0].sum() == pytest.approx(share, abs=0.012)


def test_light_off_the_chip_is_lost_and_nothing_wraps():
    traces = straight([-3.0, 162.0])
    image = render([FiberLight(traces, np.full((2, 40), 100.0), 0.02)], SHAPE, seed())
    assert 0 < image[:20].sum() < 40 * 100 / 2
    assert image[60:100].max() < 0.1


def test_scattered_light_is_smooth_and_has_its_share():
    light = FiberLight(straight([40.0]), np.full((1, 40), 1e4), 0.0)
    plain = render([light], SHAPE, seed())
    image = render([light, ScatteredLight(0.05)], SHAPE, seed())
    glow = image - plain
    assert glow.sum(dtype=float) == pytest.approx(0.05 * plain.sum(dtype=float), rel=1e-4)
    assert glow[:80].mean() > glow[80:].mean() > 0
    assert np.abs(np.diff(glow, axis=0)).max() < 0.1 * glow.max()


def test_pixel_flat_is_one_per_ccd_and_has_its_spread():
    image = np.full(SHAPE, 1000.0, dtype=np.float32)
    flat = PixelFlat(seed(5), 0.01)
    first = flat.render(image, np.random.default_rng(1))
    np.testing.assert_array_equal(first, flat.render(image, np.random.default_rng(2)))
    assert first.std() / 1000 == pytest.approx(0.01, rel=0.05)
    assert not np.array_equal(first, PixelFlat(seed(6), 0.01).render(image, None))


@pytest.mark.parametrize("mean", [0.3, 4.0, 11.9, 12.1, 60.0, 4000.0])
def test_photon_noise_has_poisson_mean_variance_and_skewness(mean, rng):
    image = np.full((500, 400), mean, dtype=np.float32)
    counts = PhotonNoise().render(image, rng).astype(float)
    assert counts.min() >= 0
    np.testing.assert_array_equal(counts, np.round(counts))
    n = counts.size
    error = np.sqrt(mean / n)
    assert abs(counts.mean() - mean) < 5 * error
    assert counts.var() == pytest.approx(mean, rel=0.02)
    assert stats.skew(counts.ravel()) == pytest.approx(mean**-0.5, abs=0.05)


def test_dark_pixels_get_no_electrons():
    zero = np.zeros((3, 3), dtype=np.float32)
    np.testing.assert_array_equal(poisson_from_normal(zero, zero + np.float32(4)), zero)


def test_cosmic_rays_come_at_their_rate_and_hit_few_pixels(rng):
    image = CosmicRays(200.0).render(np.zeros((1000, 1000), dtype=np.float32), rng)
    hit = image > 50
    assert 400 < hit.sum() < 6000
    assert np.median(image[hit]) > 100
    none = CosmicRays(0.0).render(np.zeros((10, 10), dtype=np.float32), rng)
    assert none.sum() == 0


def test_readout_places_amplifiers_overscan_gain_and_noise(tiny_profile):
    image = np.full((160, 256), 10_000.0, dtype=np.float32)
    readout = Readout(tiny_profile, "blue", BiasPattern(seed(1), drift=0.0, pattern=0.0))
    raw = readout.raw(image, np.random.default_rng(3)).astype(float)
    assert raw.shape == (256, 192)
    for amp in tiny_profile.amplifiers:
        data = raw[slice(*amp.data_y), slice(*amp.data_x)]
        over = raw[slice(*amp.overscan_y), slice(*amp.overscan_x)]
        level = np.median(over)
        assert 850 < level < 1350
        assert data[:20].mean() - over[:20].mean() == pytest.approx(10_000 / amp.gain, abs=1)
        noise = np.hypot(amp.read_noise / amp.gain, 12**-0.5)
        assert (over - over.mean(axis=1, keepdims=True)).std() == pytest.approx(noise, rel=0.06)


def test_readout_turns_by_direction_and_clips_at_saturation(tiny_profile):
    image = np.zeros((160, 256), dtype=np.float32)
    image[10, 0] = 5e4
    image[90, 255] = 9e5
    blue, red = (
        Readout(tiny_profile, arm, BiasPattern(seed(1))).raw(image, np.random.default_rng(3))
        for arm in ("blue", "red")
    )
    assert blue[0, 10] > 4e4
    assert blue[255, 90] == 65535
    assert red[255, 10] > 4e4
    assert red[0, 90] == 65535


def test_layers_have_their_own_streams():
    flat = FiberLight(straight([80.0]), np.full((1, 40), 500.0), 0.0)
    with_glow = render([flat, ScatteredLight(0.0), PhotonNoise()], SHAPE, seed(4))
    again = render([flat, ScatteredLight(0.0), PhotonNoise()], SHAPE, seed(4))
    np.testing.assert_array_equal(with_glow, again)
    assert not np.array_equal(with_glow, render([flat, PhotonNoise()], SHAPE, seed(8)))
