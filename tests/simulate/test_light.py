import numpy as np
import pytest

from drcnet.config import SimulateSettings
from drcnet.frames.velocity import LIGHT_SPEED, heliocentric_velocity
from drcnet.instruments import load_instrument
from drcnet.simulate.light import (
    Camera,
    FiberInput,
    arc_light,
    extinction,
    flat_light,
    object_light,
    sensitivity,
)
from drcnet.simulate.optics import make_optics
from drcnet.simulate.sky import SkyModel
from drcnet.simulate.spectra import rest_grid

NO_SKY = SkyModel(0.0, 0.0, airmass=0.0)


@pytest.fixture(scope="module")
def lamost():
    return load_instrument("lamost-lrs")


@pytest.fixture(scope="module")
def traces(lamost):
    whole = make_optics(lamost, "red", SimulateSettings(), 1).traces()
    return type(whole)(whole.centers[:4], whole.fwhm[:4], whole.wavelength[:4])


def fibers(flux, velocity=0.0, fwhm=0.0, scale=1.0, throughput=1.0):
    flux = np.repeat(np.asarray(flux, dtype=np.float32)[None], 4, axis=0)
    full = np.full(4, 1.0)
    return FiberInput(flux, full * scale, full * velocity, full * 0, full * throughput, fwhm)


def line_at(wave, sigma):
    return np.exp(-0.5 * ((rest_grid() - wave) / sigma) ** 2)


def test_a_flat_star_gives_scale_times_sensitivity_times_seconds(lamost, traces):
    camera = Camera(lamost, "red", 5.0, 100.0)
    star = fibers(np.ones(len(rest_grid())), scale=3.0, throughput=0.5)
    light = object_light(star, traces, NO_SKY, np.ones(len(rest_grid()), np.float32), camera)
    wave = traces.wavelength
    wanted = 150 * wave / 6250 * sensitivity(wave, lamost, "red") * traces.dispersion
    np.testing.assert_allclose(light[:, 20:-20], wanted[:, 20:-20], rtol=1e-4)


@pytest.mark.parametrize("own", [1.5, 2.5, 3.5])
def test_the_stars_own_resolution_is_not_added_twice(lamost, traces, own):
    camera = Camera(lamost, "red", 5.0, 1.0)
    star = fibers(1e4 * line_at(7500.0, own / 2.35482), fwhm=own)
    light = object_light(star, traces, NO_SKY, np.ones(len(rest_grid()), np.float32), camera)[0]
    row = np.arange(len(light))
    centre = np.average(row, weights=light)
    width = 2.35482 * np.sqrt(np.average((row - centre) ** 2, weights=light))
    assert width == pytest.approx(5.0, rel=0.04)


def test_velocity_shifts_lines_by_its_share_of_light_speed(lamost, traces):
    camera = Camera(lamost, "red", 5.0, 1.0)
    solar = np.ones(len(rest_grid()), np.float32)

    def centre(velocity):
        star = fibers(1e4 * line_at(7500.0, 1.2), velocity=velocity, fwhm=2.8)
        light = object_light(star, traces, NO_SKY, solar, camera)[1]
        return np.average(traces.wavelength[1], weights=light)

    shift = (centre(100.0) - centre(0.0)) / 7500.0 * LIGHT_SPEED
    assert shift == pytest.approx(100.0, abs=2.0)


def test_sky_reaches_every_live_fibre_and_no_dead_one(lamost, traces):
    camera = Camera(lamost, "red", 5.0, 1500.0)
    empty = fibers(np.zeros(len(rest_grid())), scale=0.0)
    empty.throughput[2] = 0.0
    sky = SkyModel(1.0, 0.3)
    light = object_light(empty, traces, sky, np.ones(len(rest_grid()), np.float32), camera)
    assert light[2].max() == 0
    assert light[[0, 1, 3]].min() > 0
    line = np.abs(traces.wavelength[0] - 8432.5).argmin()
    assert light[0, line] > 3 * np.median(light[0, line - 200 : line + 200])


def test_arms_share_the_light_at_the_dichroic(lamost):
    wave = np.array([5000.0, 5825.0, 7000.0])
    blue, red = sensitivity(wave, lamost, "blue"), sensitivity(wave, lamost, "red")
    assert blue[1] == pytest.approx(red[1])
    assert red[0] < 1e-6
    assert blue[2] < 1e-6


def test_extinction_follows_ccm():
    wave = np.array([4400.0, 5494.5, 6250.0])
    through = extinction(wave, np.array([1.0]))[0]
    b, v, pivot = -2.5 * np.log10(through)
    assert pivot == pytest.approx(0, abs=1e-12)
    assert b - v == pytest.approx(1.0, abs=0.03)  # R_V = 3.1 means A(B) - A(V) = E(B-V)


def test_heliocentric_velocity_agrees_with_astropy():
    from astropy import units as u
    from astropy.coordinates import EarthLocation, SkyCoord
    from astropy.time import Time
    from astropy.utils import iers

    site = EarthLocation.from_geodetic(117.6 * u.deg, 40.4 * u.deg, 960 * u.m)
    rng = np.random.default_rng(5)
    ra, dec = rng.uniform(0, 360, 8), rng.uniform(-10, 60, 8)
    with iers.conf.set_temp("auto_download", False):
        for jd in (2457289.2, 2457390.7, 2457480.1):
            place = SkyCoord(ra * u.deg, dec * u.deg)
            wanted = place.radial_velocity_correction(
                "heliocentric", obstime=Time(jd, format="jd"), location=site
            )
            came = heliocentric_velocity(ra, dec, jd)
            np.testing.assert_allclose(came, wanted.to_value(u.km / u.s), atol=0.45)


@pytest.mark.parametrize("arm", ["blue", "red"])
def test_lamps_do_not_saturate_and_the_flat_reaches_all_rows(lamost, arm):
    whole = make_optics(lamost, arm, SimulateSettings(), 1).traces()
    some = type(whole)(whole.centers[:3], whole.fwhm[:3], whole.wavelength[:3])
    camera = Camera(lamost, arm, 5.0, 60.0)
    pattern = np.array([1.0, 1.6, 0.0])
    for lamp in (flat_light, arc_light):
        light = lamp(pattern, some, camera)
        assert 0.14 * light.max() < 60_000
        assert light[2].max() == 0
    assert flat_light(pattern, some, camera)[0].min() > 500
