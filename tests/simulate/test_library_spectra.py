"""Vacuum, rest frame, one resolution: answers known in closed form."""

import numpy as np
import pytest

from drcnet.errors import SpectrumError
from drcnet.simulate.library_spectra import (
    air_to_vacuum,
    close_gaps,
    extend_flat,
    on_rest_grid,
    smooth,
    unit_median,
)
from drcnet.simulate.spectra import rest_grid

GRID = rest_grid()


def gaussian_line(at, fwhm, depth=0.5):
    return 1 - depth * np.exp(-4 * np.log(2) * ((GRID - at) / fwhm) ** 2)


def measured_fwhm(spectrum, at):
    near = np.abs(GRID - at) < 40
    line, wave = 1 - spectrum[near], GRID[near]
    center = np.sum(wave * line) / line.sum()
    return np.sqrt(8 * np.log(2) * np.sum(line * (wave - center) ** 2) / line.sum())


@pytest.mark.parametrize(
    ("air", "vacuum"),
    [
        (3933.66, 3934.78),  # Ca II K
        (5006.84, 5008.24),  # [O III]
        (5889.95, 5891.58),  # Na D2
        (5895.92, 5897.56),  # Na D1
        (6562.79, 6564.60),  # H alpha
        (8542.09, 8544.44),  # Ca II triplet
    ],
)
def test_air_to_vacuum_meets_known_pairs(air, vacuum):
    assert air_to_vacuum(np.array([air]))[0] == pytest.approx(vacuum, abs=0.015)


def test_gaps_are_bridged_straight_and_ends_stay_open():
    flux = np.array([9.0, 9.0, 2.0, 99.0, 99.0, 5.0, 9.0])
    good = np.array([False, False, True, False, False, True, False])
    closed = close_gaps(flux, good)
    np.testing.assert_array_equal(closed, [np.nan, np.nan, 2.0, 3.0, 4.0, 5.0, np.nan])
    assert np.isnan(close_gaps(flux, np.zeros(7, bool))).all()


@pytest.mark.parametrize("z", [0.0, 1e-3, -5e-4])
def test_a_redshifted_line_comes_back_to_rest(z):
    wave = 10 ** (3.56 + 1e-4 * np.arange(4500))
    observed = 1 - 0.5 * np.exp(-0.5 * ((wave / (1 + z) - 6564.61) / 3) ** 2)
    rest = on_rest_grid(wave, observed[None], z)[0]
    near = np.abs(GRID - 6564.61) < 20
    center = np.sum((GRID * (1 - rest))[near]) / np.sum((1 - rest)[near])
    assert center == pytest.approx(6564.61, abs=0.02)


def test_what_a_source_does_not_reach_stays_unknown():
    wave = np.linspace(4000, 5000, 2000)
    rest = on_rest_grid(wave, np.ones((1, 2000)))[0]
    assert np.isfinite(rest).sum() == np.count_nonzero((GRID >= 4000) & (GRID <= 5000))
    assert np.isnan(on_rest_grid(wave, np.full((1, 2000), np.nan))).all()


@pytest.mark.parametrize("at", [4000.0, 5500.0, 7000.0, 9000.0])
def test_smoothing_adds_widths_in_quadrature_and_keeps_the_line(at):
    have, want = np.full(GRID.size, 4.0), np.full(GRID.size, 6.5)
    before = gaussian_line(at, 4.0)
    after = smooth(before[None], have, want)[0]
    # A pixel is as wide as the grid's step, which adds its own variance of 1/12.
    pixel = at * 1e-4 * np.log(10) * np.sqrt(8 * np.log(2) / 12)
    assert measured_fwhm(after, at) == pytest.approx(np.hypot(6.5, pixel), rel=5e-3)
    widths = np.gradient(GRID)
    assert np.sum((1 - after) * widths) == pytest.approx(np.sum((1 - before) * widths), rel=1e-3)


def test_smoothing_to_the_same_resolution_changes_nothing():
    fwhm = np.full(GRID.size, 3.0)
    line = gaussian_line(5000.0, 3.0).astype(np.float32)
    np.testing.assert_allclose(smooth(line[None], fwhm, fwhm)[0], line, atol=1e-6)


def test_smoothing_leaves_a_constant_even_at_its_ends():
    flux = np.full((1, GRID.size), 2.0)
    flux[0, :100] = flux[0, 3000:] = np.nan
    after = smooth(flux, np.full(GRID.size, 2.0), np.full(GRID.size, 8.0))
    np.testing.assert_allclose(after[0, 100:3000], 2.0, rtol=1e-6)
    assert np.isnan(after[0, :100]).all()
    assert np.isnan(after[0, 3000:]).all()


def test_resolution_cannot_be_won_back():
    with pytest.raises(SpectrumError, match="resolution"):
        smooth(np.ones((1, GRID.size)), np.full(GRID.size, 3.0), np.full(GRID.size, 2.9))


def test_the_median_becomes_one():
    scaled = unit_median(np.vstack([GRID, 7 * GRID**2]))
    inside = (GRID >= 5500) & (GRID <= 7000)
    np.testing.assert_allclose(np.median(scaled[:, inside], axis=1), 1, rtol=1e-6)


def test_ends_go_on_flat():
    flux = np.full((1, GRID.size), np.nan)
    flux[0, 200:4000] = np.arange(3800)
    whole = extend_flat(flux, edge=11)
    assert (whole[0, :200] == 5).all()
    assert (whole[0, 4000:] == 3794).all()
    np.testing.assert_array_equal(whole[0, 200:4000], flux[0, 200:4000])
