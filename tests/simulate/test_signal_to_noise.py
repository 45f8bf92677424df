import numpy as np
import pytest

from drcnet.config import SimulateSettings
from drcnet.errors import ConfigError
from drcnet.instruments import load_instrument
from drcnet.simulate.detector import FiberLight, PhotonNoise, render
from drcnet.simulate.light import Camera, FiberInput, object_light
from drcnet.simulate.optics import Traces
from drcnet.simulate.signal_to_noise import BANDS, NoiseModel, optimal_variance
from drcnet.simulate.sky import SkyModel
from drcnet.simulate.spectra import rest_grid

FWHM, WINGS = 7.0, 0.02


@pytest.mark.parametrize(("light", "noise"), [(30.0, 4.0), (300.0, 4.0), (3e4, 4.0), (300.0, 0.1)])
def test_optimal_variance_lies_between_photons_and_box_sum(light, noise):
    variance = optimal_variance(np.array(light), noise**2, fwhm=FWHM, wing_fraction=0.0)
    assert variance > light
    # an aperture of 11 pixels holds 94% of the light
    assert variance < 1.05 * (light * 0.94 + 11 * noise**2) / 0.94**2


def test_optimal_variance_has_its_limits():
    bright = optimal_variance(np.array(1e7), 16.0, fwhm=FWHM, wing_fraction=0.0)
    assert bright == pytest.approx(1e7, rel=2e-3)
    # read noise alone: sigma^2 / sum(p^2) with sum(p^2) = 1 / (2 sqrt(pi) s), s^2 = s0^2 + 1/12
    width = np.hypot(FWHM / 2.35482, 12**-0.5)
    faint = optimal_variance(np.array(1e-3), 16.0, fwhm=FWHM, wing_fraction=0.0)
    assert faint == pytest.approx(16.0 * 2 * np.sqrt(np.pi) * width, rel=0.01)


@pytest.fixture(scope="module")
def model():
    profile = load_instrument("lamost-lrs")
    settings = SimulateSettings(exposures=3, profile_fwhm=FWHM, wing_fraction=WINGS)
    solar = np.ones(len(rest_grid()), dtype=np.float32)
    return NoiseModel(profile, settings, SkyModel(1.0, 0.2), solar, 1500.0)


def flat_fibers(count, throughput=1.0):
    one = np.ones(count)
    flux = np.ones((count, len(rest_grid())), dtype=np.float32)
    return FiberInput(flux, 0 * one, 0 * one, 0 * one, throughput * one, 2.5)


def test_brightness_reaches_the_wanted_snrr(model):
    target = np.array([2.0, 5.0, 10.0, 30.0, 120.0, np.nan])
    fibers = flat_fibers(6)
    scale = model.scale_for(fibers, target)
    assert scale[5] == 0
    np.testing.assert_allclose(model.snr(fibers, scale, BANDS["snrr"])[:5], target[:5], rtol=1e-6)
    assert np.all(np.diff(scale[:5]) > 0)


@pytest.mark.parametrize("target", [4.0, 15.0, 80.0])
def test_snrr_is_what_repeated_extraction_finds(model, target):
    """Render one fibre and its sky many times, extract optimally, measure the scatter."""
    n_repeat, rows = 12, slice(1150, 1350)  # around 6670-6830 angstrom, no strong sky line
    fibers = flat_fibers(1)
    scale = model.scale_for(fibers, np.array([target]))
    wave = np.linspace(5700.0, 9174.0, 4136)[None]
    whole = Traces(np.full_like(wave, 30.0), np.full_like(wave, FWHM), wave)
    camera = Camera(model.profile, "red", 5.0, 1500.0)
    star = FiberInput(
        fibers.flux,
        scale,
        *(getattr(fibers, n) for n in ("velocity", "reddening")),
        fibers.throughput,
        fibers.fwhm,
    )
    dark = FiberInput(
        fibers.flux, 0 * scale, fibers.velocity, fibers.reddening, fibers.throughput, fibers.fwhm
    )
    lights = [
        object_light(f, whole, model.sky, model.solar, camera)[:, rows] for f in (star, dark)
    ]
    part = Traces(*(a[:, rows] for a in (whole.centers, whole.fwhm, whole.wavelength)))
    rng = np.random.default_rng(11)

    def extract(light, repeat):
        layers = [FiberLight(part, light, WINGS), PhotonNoise()]
        image = render(layers, (60, 200), np.random.SeedSequence([3, repeat]))
        image = image + rng.normal(0, 4.0, image.shape)
        clean = render(layers[:1], (60, 200), np.random.SeedSequence(0)).astype(float)
        profile = clean / light
        weight = profile / (clean + 16.0)
        return (weight * image).sum(axis=0) / (weight * profile).sum(axis=0)

    stars = np.array([extract(lights[0], k) for k in range(n_repeat)])
    skies = np.array([extract(lights[1], 1000 + k) for k in range(n_repeat)])
    flux = stars.mean(axis=0) - skies.mean(axis=0)
    variance = stars.var(axis=0, ddof=1) + skies.var(axis=0, ddof=1) / model.settings.sky_fibers
    row = wave[0, 1] - wave[0, 0]
    per_pixel = np.sqrt(3 * wave[0, rows] * np.log(10) * 1e-4 / row)
    found = flux.mean() / np.sqrt(variance.mean()) * per_pixel.mean()
    wanted = model.snr(fibers, scale, (wave[0, rows.start], wave[0, rows.stop]))[0]
    assert found == pytest.approx(wanted, rel=0.06)


def test_more_exposures_and_sky_fibres_raise_the_snr(model):
    from dataclasses import replace

    fibers = flat_fibers(1)
    scale = model.scale_for(fibers, np.array([5.0]))

    def snr(**change):
        settings = model.settings.model_copy(update=change)
        return replace(model, settings=settings).snr(fibers, scale, BANDS["snrr"])[0]

    assert snr(exposures=12) == pytest.approx(10.0, rel=1e-6)
    assert snr(sky_fibers=1) < snr(sky_fibers=5) < snr(sky_fibers=100)


def test_a_band_without_an_arm_is_unknown_and_one_without_snrr_refused(tiny_profile):
    settings = SimulateSettings(sky_fibers=2)
    solar = np.ones(len(rest_grid()), dtype=np.float32)
    model = NoiseModel(tiny_profile, settings, SkyModel(1.0, 0.0), solar, 1500.0)
    assert np.isnan(model.snr(flat_fibers(1), np.ones(1), BANDS["snrz"])).all()
    blue = {"blue": tiny_profile.arms["blue"]}
    only_blue = tiny_profile.model_copy(update={"arms": blue})
    with pytest.raises(ConfigError, match="5500-7000"):
        NoiseModel(only_blue, settings, SkyModel(1.0, 0.0), solar, 1500.0).scale_for(
            flat_fibers(1), np.array([10.0])
        )


@pytest.mark.shared
def test_snr_along_wavelength_is_about_that_of_lamost(shared_data, model):
    table = np.loadtxt(shared_data / "lamost-lrs" / "snr_shape.csv", delimiter=",")
    wave = rest_grid()
    star = (wave / 6000.0) ** -5 / np.expm1(1.43878e8 / wave / 5900.0)
    star /= np.median(star[(wave > 5500) & (wave < 7000)])
    fibers = FiberInput(
        star[None].astype(np.float32), np.zeros(1), np.zeros(1), np.full(1, 0.05), np.ones(1), 2.5
    )
    scale = model.scale_for(fibers, np.array([95.0]))  # the sample's median
    for centre in (4000, 4500, 5000, 5500, 6200, 6700, 7400, 7900, 8500, 8800):
        near = (centre - 40.0, centre + 40.0)
        shape = model.snr(fibers, scale, near)[0] / 95.0
        real = np.median(table[np.abs(table[:, 0] - centre) < 40, 1])
        assert shape == pytest.approx(real, rel=0.2), f"{centre} angstrom"
