from collections import Counter

import numpy as np
import pytest

from drcnet.config import SimulateSettings
from drcnet.errors import ConfigError, SpectrumError
from drcnet.simulate import grid as grid_module
from drcnet.simulate.builtin import builtin_stars, spectral_type
from drcnet.simulate.grid import SpectrumGrid, cache_folder
from drcnet.simulate.spectra import rest_grid


@pytest.fixture
def made(monkeypatch, tmp_path):
    """A cheap star in place of the synthesis, and the list of nodes that were computed."""
    nodes = []

    def fake(teff, logg, feh, wavelength, _lines):
        nodes.append((teff, logg, feh))
        x = np.log(wavelength / 6000.0)
        return np.exp(x * (1e4 / teff) + 0.05 * logg * x**2 - 0.1 * feh * x)

    monkeypatch.setattr(grid_module, "synthesize", fake)
    monkeypatch.setenv("DRCNET_CACHE", str(tmp_path / "cache"))
    return nodes


def test_interpolation_is_exact_where_the_logarithm_is_linear(made):
    flux = SpectrumGrid().interpolate(np.array([[5777.0, 4.44, 0.1], [4200.0, 1.7, -1.2]]))
    x = np.log(rest_grid() / 6000.0)
    for row, (t, g, m) in zip(flux, ((5777.0, 4.44, 0.1), (4200.0, 1.7, -1.2)), strict=True):
        wanted = np.exp(x * (1e4 / t) + 0.05 * g * x**2 - 0.1 * m * x)
        ratio = row / wanted
        assert ratio == pytest.approx(np.full(x.shape, ratio[0]), rel=1e-4)


def test_only_the_nodes_needed_are_computed_and_only_once(made):
    SpectrumGrid().interpolate(np.array([[5777.0, 4.44, 0.1]]))
    assert len(made) == len(set(made)) == 64
    assert {n[0] for n in made} == {5200.0, 5550.0, 5900.0, 6300.0}
    SpectrumGrid().interpolate(np.array([[5800.0, 4.3, 0.0]]))
    assert len(made) == 64


def test_a_damaged_node_is_made_again(made):
    first = SpectrumGrid().interpolate(np.array([[5777.0, 4.44, 0.1]]))
    paths = sorted(SpectrumGrid().home.iterdir())
    assert len(paths) == 64
    paths[0].write_bytes(paths[0].read_bytes()[:1000])
    paths[1].unlink()
    again = SpectrumGrid().interpolate(np.array([[5777.0, 4.44, 0.1]]))
    assert len(made) == 66
    assert np.array_equal(first, again)


def test_an_interrupted_grid_keeps_its_finished_nodes(made, monkeypatch):
    healthy = grid_module.synthesize

    def dies(*star):
        if len(made) >= 10:
            raise KeyboardInterrupt
        return healthy(*star)

    monkeypatch.setattr(grid_module, "synthesize", dies)
    with pytest.raises(KeyboardInterrupt):
        SpectrumGrid(workers=1).interpolate(np.array([[5777.0, 4.44, 0.1]]))
    assert len(made) == 10
    monkeypatch.setattr(grid_module, "synthesize", healthy)
    SpectrumGrid(workers=1).interpolate(np.array([[5777.0, 4.44, 0.1]]))
    assert len(made) == len(set(made)) == 64


def test_another_line_list_is_another_grid(made, tmp_path):
    path = tmp_path / "lines.csv"
    path.write_text("vacuum,species,energy,log_gf\n5000.0,Fe 1,1.0,-1.0\n")
    first = SpectrumGrid(lines=path).home
    path.write_text("vacuum,species,energy,log_gf\n5000.0,Fe 1,1.0,-2.0\n")
    assert len({first, SpectrumGrid(lines=path).home, SpectrumGrid().home}) == 3
    with pytest.raises(SpectrumError, match="gone"):
        _ = SpectrumGrid(lines=tmp_path / "gone.csv").home


def test_a_star_outside_the_grid_is_refused(made):
    with pytest.raises(SpectrumError, match="12000"):
        SpectrumGrid().interpolate(np.array([[12000.0, 4.0, 0.0]]))


def test_progress_is_told(made):
    told = []
    SpectrumGrid(workers=1).interpolate(
        np.array([[5777.0, 4.44, 0.1]]), lambda done, total: told.append((done, total))
    )
    assert told == [(i, 64) for i in range(1, 65)]


def test_where_the_cache_lies(monkeypatch, tmp_path):
    monkeypatch.delenv("DRCNET_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "drcnet"
    monkeypatch.setenv("DRCNET_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


def test_stars_are_the_same_for_a_seed_and_any_number_of_workers(made):
    settings = SimulateSettings(seed=5, workers=1)
    first, again = builtin_stars(settings, 30), builtin_stars(settings, 30)
    many = builtin_stars(settings.model_copy(update={"workers": 3}), 30)
    other = builtin_stars(settings.model_copy(update={"seed": 6}), 30)
    assert first.table.equals(again.table)
    assert np.array_equal(first.flux, again.flux)
    assert np.array_equal(first.flux, many.flux)
    assert not np.array_equal(first.flux, other.flux)


def test_classes_follow_their_shares_and_temperature(made):
    shares = {"F": 1, "G": 2, "K": 1, "A": 1, "M": 0}
    stars = builtin_stars(SimulateSettings(class_shares=shares, border_spread=0), 50).table
    assert Counter(stars["class"]) == {"A": 10, "F": 10, "G": 20, "K": 10}
    for row in stars.iter_rows(named=True):
        giant = row["luminosity"] == "III"
        assert row["subclass"] == spectral_type(row["teff"], giant=giant)
        assert row["class"] == row["subclass"][0]
    assert stars["star"].to_list()[:2] == ["B000001", "B000002"]
    assert set(stars["filled_from"]) == {np.inf}
    for letter in "AFGK":
        folds = Counter(stars.filter(stars["class"] == letter)["fold"])
        assert set(folds) == set(range(5))
        assert max(folds.values()) - min(folds.values()) <= 1


def test_flux_is_one_in_the_middle(made):
    stars = builtin_stars(SimulateSettings(), 8)
    wave = rest_grid()
    inside = (wave >= 5500.0) & (wave < 7000.0)
    assert np.median(stars.flux[:, inside], axis=1) == pytest.approx(np.ones(8), rel=1e-4)


def test_a_spread_blurs_the_borders_and_nothing_else(made):
    settings = SimulateSettings(border_spread=150.0)
    stars = builtin_stars(settings, 400).table
    plain = builtin_stars(SimulateSettings(), 400).table
    assert stars["teff"].equals(plain["teff"])
    assert set(stars["class"]) == {"F", "G", "K"}
    moved = np.array(stars["class"]) != np.array(plain["class"])
    assert 0.02 < moved.mean() < 0.35


@pytest.mark.parametrize("shares", [{"F": 1, "O": 1}, {"F": 0}])
def test_unknown_or_empty_classes_are_refused(made, shares):
    with pytest.raises(ConfigError, match="class_shares"):
        builtin_stars(SimulateSettings(class_shares=shares), 5)


def test_no_star_is_refused(made):
    with pytest.raises(ConfigError, match="at least 1"):
        builtin_stars(SimulateSettings(), 0)


@pytest.mark.parametrize(
    ("teff", "giant", "name"),
    [
        (5777, False, "G2"),
        (4440, False, "K5"),
        (4800, True, "K0"),
        (9700, False, "A0"),
        (3560, False, "M2"),
    ],
)
def test_types_of_known_temperatures(teff, giant, name):
    assert spectral_type(teff, giant=giant) == name


@pytest.mark.slow
def test_interpolation_follows_direct_synthesis(tmp_path):
    star = (5350.0, 3.9, -0.45)
    flux = SpectrumGrid(folder=tmp_path).interpolate(np.array([star]))[0]
    from drcnet.simulate.synthesis import all_lines, synthesize

    direct = synthesize(*star, rest_grid(), all_lines())
    ratio = flux / direct
    ratio /= np.median(ratio)
    assert np.std(ratio[rest_grid() > 3700.0]) < 0.01
