import numpy as np
import polars as pl
import pytest

from drcnet.errors import SpectrumError
from drcnet.frames.velocity import heliocentric_velocity
from drcnet.simulate.assign import assign
from drcnet.simulate.observe import (
    draw_positions,
    exposure_fibers,
    exposure_sky,
    observe,
    solar_like,
)
from drcnet.simulate.plan import make_schedule
from drcnet.simulate.spectra import StarSet


@pytest.fixture
def seen(tiny_settings, tiny_profile, toy_stars):
    _, plates = make_schedule(tiny_settings)
    positions = draw_positions(tiny_settings, len(toy_stars.table))
    assignment = assign(tiny_settings, tiny_profile, toy_stars)[1, 3]
    return positions, observe(
        tiny_settings, tiny_profile, toy_stars, positions, (plates[1], 3, assignment)
    )


def test_catalogue_snr_is_the_target(seen):
    _, observation = seen
    target = observation.assignment.target
    is_star = np.isfinite(target)
    np.testing.assert_allclose(observation.snr["snrr"][is_star], target[is_star], rtol=1e-6)
    assert (observation.fibers.scale[~is_star] == 0).all()
    assert np.isnan(observation.snr["snrz"]).all()  # no arm of the tiny instrument reaches there


def test_ground_velocity_plus_orbit_is_heliocentric(seen, tiny_settings, tiny_profile):
    positions, observation = seen
    exposure = observation.plate.exposures[0]
    fibers = exposure_fibers(observation, exposure, positions, tiny_settings, tiny_profile)
    star = observation.assignment.star
    is_star = star >= 0
    ra, dec, rv = (positions[name].to_numpy()[star[is_star]] for name in ("ra", "dec", "rv"))
    jd = exposure.lmjm / 1440 - 8 / 24 + 2400000.5
    orbit = heliocentric_velocity(ra, dec, jd)
    np.testing.assert_allclose(fibers.velocity[is_star] + orbit, rv, atol=0.02)
    assert (fibers.velocity[~is_star] == 0).all()


def test_throughput_drifts_little_between_exposures(seen, tiny_settings, tiny_profile):
    positions, observation = seen
    first, second = (
        exposure_fibers(observation, e, positions, tiny_settings, tiny_profile).throughput
        for e in observation.plate.exposures
    )
    assert not np.array_equal(first, second)
    alive = observation.fibers.throughput > 0
    assert (np.abs(first[alive] / second[alive] - 1) < 0.2).all()
    assert (first[~alive] == 0).all()


def test_sky_belongs_to_the_exposure(seen, tiny_settings):
    plate = seen[1].plate
    skies = [exposure_sky(plate, e, tiny_settings) for e in plate.exposures]
    assert skies[0].airglow != skies[1].airglow
    assert skies[0].airmass == skies[1].airmass == plate.airmass


def test_moonlight_comes_from_the_most_solar_star(toy_stars):
    best = int(np.abs(toy_stars.table["teff"].to_numpy() - 5772).argmin())
    np.testing.assert_array_equal(solar_like(toy_stars), toy_stars.flux[best])


def test_stars_without_temperature_give_no_sun(toy_stars):
    table = toy_stars.table.with_columns(teff=pl.lit(float("nan")))
    with pytest.raises(SpectrumError, match="known teff"):
        solar_like(StarSet(table, toy_stars.flux, toy_stars.fwhm))
