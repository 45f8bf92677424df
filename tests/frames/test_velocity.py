"""Velocities at the Sun and at the telescope."""

import numpy as np
import polars as pl

from drcnet.frames.velocity import heliocentric_velocity, topocentric_velocity
from drcnet.instruments import load_instrument


def test_what_a_spectrum_shows_is_the_catalogue_less_the_orbit():
    profile = load_instrument("lamost-lrs")
    jd = 2457289.2
    lmjm = round((jd - 2400000.5 + profile.utc_offset_hours / 24) * 1440)
    index = pl.DataFrame(
        {
            "rv": [10.0, float("nan"), 10.0],
            "ra": [120.0, 120.0, float("nan")],
            "dec": [20.0, 20.0, 20.0],
            "lmjm": [lmjm] * 3,
        }
    )
    seen = topocentric_velocity(index, profile)
    orbit = heliocentric_velocity(np.array(120.0), np.array(20.0), jd)
    assert abs(orbit) > 5
    np.testing.assert_allclose(seen[0] + orbit, 10.0, atol=0.02)  # half an exposure apart
    assert np.isnan(seen[1:]).all()


def test_over_a_year_the_orbit_averages_to_nothing_towards_the_pole_of_the_ecliptic():
    days = 2457289.2 + np.arange(0, 365.25, 5)
    pole = [heliocentric_velocity(np.array(270.0), np.array(66.56), jd) for jd in days]
    in_plane = [heliocentric_velocity(np.array(0.0), np.array(0.0), jd) for jd in days]
    assert np.abs(pole).max() < 0.1
    assert 29 < np.abs(in_plane).max() < 31
