"""The red fill: what it may look at, and that it is worth having."""

import numpy as np
import pytest

from drcnet.errors import SpectrumError
from drcnet.simulate.red_fill import FILL_FROM, fill_red, reaches_red
from drcnet.simulate.spectra import rest_grid

GRID = rest_grid()
RED = GRID >= FILL_FROM


@pytest.fixture
def family(rng):
    """Sixty stars that are sums of three smooth shapes, with lines in the blue and the red."""
    x = (GRID - 6000) / 3000
    shapes = np.stack([x, x**2, np.exp(-0.5 * ((GRID - 8544) / 5) ** 2) - 0.3 * np.sin(GRID / 90)])
    weights = rng.normal(size=(60, 3)) * [0.2, 0.05, 0.05]
    return (1 + weights @ shapes).astype(np.float32), np.arange(60) % 5


def test_a_linear_family_is_foretold(family):
    flux, fold = family
    filled = fill_red(flux, fold, flux, fold, ridge=1e-6)
    np.testing.assert_array_equal(filled[:, ~RED], flux[:, ~RED])
    # Dividing by the level at the joint bends the family a little; it is not exactly linear.
    assert np.sqrt(np.mean((filled[:, RED] / flux[:, RED] - 1) ** 2)) < 0.01


def test_own_red_is_not_looked_at(family):
    flux, fold = family
    blank = flux.copy()
    blank[:, RED] = 1e6
    np.testing.assert_array_equal(
        fill_red(blank, fold, flux, fold)[:, RED], fill_red(flux, fold, flux, fold)[:, RED]
    )


def test_teachers_of_the_own_fold_teach_nothing_and_others_do(family):
    flux, fold = family
    before = fill_red(flux, fold, flux, fold)
    changed = flux.copy()
    changed[fold == 3] *= 1 + 0.5 * np.sin(GRID / 50).astype(np.float32)
    after = fill_red(flux, fold, changed, fold)
    np.testing.assert_array_equal(after[fold == 3], before[fold == 3])
    assert np.abs(after[fold == 1] - before[fold == 1]).max() > 1e-3


def test_a_scale_passes_through(family):
    flux, fold = family
    once, tenfold = fill_red(flux, fold, flux, fold), fill_red(10 * flux, fold, flux, fold)
    np.testing.assert_allclose(tenfold, 10 * once, rtol=1e-4)


def test_too_few_teachers_are_refused(family):
    flux, fold = family
    with pytest.raises(SpectrumError, match="reach 9000 angstrom"):
        fill_red(flux, fold, flux[:5], fold[:5])


def test_reaching_red_means_all_the_way():
    flux = np.ones((3, GRID.size))
    flux[1, GRID > 8990] = np.nan
    flux[2, (GRID > 9010) | (GRID < 3890)] = np.nan
    assert reaches_red(flux).tolist() == [True, False, True]


def test_errors_are_measured_on_those_that_reach(family, fill_errors):
    flux, fold = family
    known = flux.copy()
    known[:20, RED] = np.nan
    filled = fill_red(flux, fold, flux, fold)
    table = fill_errors(filled, known, ["a"] * 40 + ["b"] * 20)
    assert table["source"].to_list() == ["a", "b", "all"]
    assert table["stars"].to_list() == [20, 20, 40]
    assert (table["fill_rms"] < 0.2 * table["flat_rms"]).all()
    perfect = fill_errors(flux, known, ["a"] * 60)
    assert perfect["fill_rms"].to_list() == [0, 0]
