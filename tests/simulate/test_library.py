"""Libraries made one: identity, labels, folds, resolution, fill."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from drcnet.config import SimulateSettings
from drcnet.errors import ConfigError, SpectrumError
from drcnet.simulate.library import library_stars, read_library, read_source
from drcnet.simulate.library_merge import assign_folds
from drcnet.simulate.red_fill import FILL_FROM
from drcnet.simulate.spectra import STAR_COLUMNS, load_stars, rest_grid

fake = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "fake_libraries.py")))
GRID = rest_grid()
RED = GRID >= FILL_FROM

CLASSES = {"F": 6600, "G": 5600, "K": 4600}
MILES = [
    *((f"HD{100 + i:06d}", f"{c}{i}V", t - 40 * i) for c, t in CLASSES.items() for i in range(5)),
    ("HD025291", "F2II", 6700),
    ("HD000777", "G8/K0III", 5000),
    ("HD000778", "GB", 4500),
    ("HD000779", "G5/K0III", 5000),
]
# The three classes share numbers above: give each its own.
MILES = [(name.replace("HD0001", f"HD0{i:02d}1"), *rest) for i, (name, *rest) in enumerate(MILES)]
PYHAMMER = [(f"{c}{i}", "+0.0", t - 40 * i) for c, t in CLASSES.items() for i in range(10)]
INDO_US = [
    ("F0II (25291)", 6700),
    ("K0III (779)", 5000),
    ("K3V (5001)", 4700),
    ("M2III (5002)", 3700),
    ("G5 (5003)", 5500),
]


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    root = tmp_path_factory.mktemp("libraries")
    return [
        fake.write_miles(root / "miles", MILES),
        fake.write_pyhammer(root / "pyhammer", PYHAMMER),
        fake.write_indo_us(root / "indo" / "spEigenStar-1.fits", INDO_US).parent,
    ]


@pytest.fixture(scope="module")
def library(paths):
    return read_library(paths)


def star(library, name):
    return library.stars.table.row(by_predicate=pl.col("star") == name, named=True)


def test_every_usable_star_is_there_once(library):
    table = library.stars.table
    assert len(table) == 15 + 2 + 30 + 2
    assert dict(zip(table.columns, table.dtypes, strict=True)) == STAR_COLUMNS
    assert table["star"].is_sorted()
    assert set(table["source"]) == {"miles", "pyhammer", "indo-us"}
    assert (library.stars.flux >= 0).all()
    inside = (GRID >= 5500) & (GRID <= 7000)
    np.testing.assert_allclose(np.median(library.stars.flux[:, inside], axis=1), 1, rtol=1e-5)


def test_a_shared_star_takes_the_type_of_miles_and_its_spectrum(library):
    one = star(library, "HD 25291")
    assert (one["source"], one["subclass"], one["luminosity"]) == ("miles", "F2", "II")
    merged = library.merged.row(by_predicate=pl.col("star") == "HD 25291", named=True)
    assert merged["other_source"] == "indo-us"
    assert merged["other_type"] == "F0II"
    assert merged["conflict"]


def test_a_clear_type_elsewhere_saves_a_star_of_unclear_type(library):
    one = star(library, "HD 779")
    assert (one["source"], one["subclass"]) == ("miles", "K0")


def test_what_is_left_out_says_why(library):
    reasons = dict(library.left_out.select("name", "reason").iter_rows())
    assert reasons == {
        "HD000777": "spans two classes",
        "HD000778": "no subclass digit",
        "HD 5002": "class M is not asked for",
    }


def test_the_order_of_the_libraries_does_not_matter(paths, library):
    again = read_library(paths[::-1])
    assert again.stars.table.equals(library.stars.table)
    np.testing.assert_array_equal(again.stars.flux, library.stars.flux)


def test_folds_are_even_in_every_class_and_source_and_follow_the_seed(library):
    table = library.stars.table
    assert set(table["fold"]) == set(range(5))
    counts = table.group_by("class", "source", "fold").len()
    spread = counts.group_by("class", "source").agg(
        (pl.col("len").max() - pl.col("len").min()).alias("spread")
    )
    assert spread["spread"].max() <= 1
    total = table["fold"].value_counts()["count"]
    assert total.max() - total.min() <= 1
    assert (assign_folds(table, 1) == table["fold"]).all()
    assert not (assign_folds(table, 2) == table["fold"]).all()


def test_all_are_filled_from_one_place_and_the_fill_is_good(library, fill_errors):
    assert library.stars.table["filled_from"].unique().to_list() == [FILL_FROM]
    flux, known = library.stars.flux, library.known
    miles = (library.stars.table["source"] == "miles").to_numpy()
    assert np.isnan(known[miles][:, GRID > 7412]).all()
    truth = np.array([fake.spectrum(GRID, t, library.fwhm) for t in [6600, 4600]])
    truth /= np.median(truth[:, (GRID >= 5500) & (GRID <= 7000)], axis=1)[:, None]
    teff = library.stars.table["teff"].to_numpy()
    smooth_red = RED & (np.abs(GRID - 8544) > 20)
    for temperature, want in zip([6600, 4600], truth, strict=True):
        row = np.flatnonzero(miles & (teff == temperature))[0]
        assert np.std(flux[row, smooth_red] / want[smooth_red] - 1) < 0.02
    table = fill_errors(flux, known, library.stars.table["source"].to_list())
    assert (table["fill_rms"] < 0.2 * table["flat_rms"]).all()
    assert table["stars"].to_list()[-1] == 32


def test_a_star_is_filled_without_any_star_of_its_own_fold(paths, library, tmp_path):
    """Spoil the red of one PyHammer template: only stars of other folds may change."""
    fold = star(library, "PyHammer G3_+0.0_Dwarf")["fold"]
    spoiled = fake.write_pyhammer(tmp_path / "pyhammer", PYHAMMER)
    with np.load(spoiled / "pyhammer_fgk.npz") as packed:
        arrays = dict(packed)
    wave = 10 ** (3.5624 + 1e-4 * np.arange(4460))
    row = [f"{t[0]}" for t in PYHAMMER].index("G3")
    arrays["flux"][row, wave > 7420] *= 3
    np.savez(spoiled / "pyhammer_fgk.npz", **arrays)
    again = read_library([paths[0], spoiled, paths[2]])
    same = (library.stars.table["fold"] == fold).to_numpy()
    np.testing.assert_array_equal(again.stars.flux[same], library.stars.flux[same])
    others = np.abs(again.stars.flux[~same] - library.stars.flux[~same])
    assert others[:, RED].max() > 0.01
    np.testing.assert_array_equal(others[:, ~RED], 0)


def test_all_sources_come_to_the_lowest_resolution_in_use(paths, library):
    worst = np.max([read_source(path).fwhm for path in paths], axis=0)
    np.testing.assert_array_equal(library.fwhm, worst)
    used = (GRID >= 3875) & (GRID <= 8640)
    assert library.stars.fwhm == np.median(worst[used])
    only = read_library([paths[1]])
    assert (only.fwhm <= library.fwhm).all()


def test_a_source_that_reaches_the_red_needs_no_fill(paths):
    only = read_library([paths[1]])
    assert only.stars.table["filled_from"].is_infinite().all()
    red = (GRID > 7500) & (GRID < 9000)
    np.testing.assert_array_equal(only.stars.flux[:, red], only.known[:, red])


def test_the_few_of_a_full_source_that_do_not_reach_are_left_out(paths, tmp_path):
    folder = fake.write_pyhammer(tmp_path / "p", PYHAMMER)
    with np.load(folder / "pyhammer_fgk.npz") as packed:
        arrays = dict(packed)
    arrays["flux"][0, 3800:] = 0
    np.savez(folder / "pyhammer_fgk.npz", **arrays)
    read = read_library([folder])
    assert len(read.stars.table) == 29
    assert read.left_out["reason"].to_list() == [
        "not known to 9000 angstrom, as most of its source are"
    ]


def test_miles_alone_has_nothing_to_learn_the_red_from(paths):
    with pytest.raises(SpectrumError, match="reach 9000 angstrom, to fit the red fill"):
        read_library([paths[0]])


def test_no_star_of_the_classes_asked_for_is_an_error(paths):
    with pytest.raises(SpectrumError, match="none of them usable"):
        read_library([paths[1]], classes=("L",))


def test_visits_within_three_arcseconds_are_one_star_and_the_better_is_kept(tmp_path):
    second = 1 / 3600
    stars = [
        ("F5", 6500, 0.0, 10.0, 20.0, 60.0),
        ("F6", 6400, 0.0, 10.0, 20.0 + 2 * second, 90.0),
        ("G2", 5800, 0.0, 10.0, 20.0 + 60 * second, 40.0),
        ("G3", 5700, 0.0, 50.0, 20.0, 70.0),
    ]
    read = read_library([fake.write_lamost_bundle(tmp_path / "l", stars)])
    assert sorted(read.stars.table["subclass"]) == ["F6", "G3"]
    assert read.merged["other_type"].to_list() == ["F5"]
    assert read.left_out["reason"].to_list() == ["S/N below 50"]
    assert len(read_library([tmp_path / "l"], min_snr=0).stars.table) == 3


def test_settings_choose_classes_and_number(paths):
    settings = SimulateSettings(
        source="library", library=tuple(paths), class_shares={"F": 3, "K": 1}, stars=12, seed=4
    )
    stars = load_stars(settings, 0)
    assert len(stars.table) == 12
    assert sorted(stars.table["class"]) == ["F"] * 9 + ["K"] * 3
    assert stars.table.equals(library_stars(settings).table)
    other = library_stars(settings.model_copy(update={"seed": 5}))
    assert not other.table["star"].equals(stars.table["star"])


def test_a_class_that_runs_out_leaves_its_places_and_too_many_is_an_error(paths):
    settings = SimulateSettings(
        source="library", library=tuple(paths), class_shares={"F": 1000, "K": 1}, stars=30
    )
    counts = dict(library_stars(settings).table["class"].value_counts().iter_rows())
    assert counts == {"F": 16, "K": 14}
    with pytest.raises(ConfigError, match="at most the 33 of the library, got 34"):
        library_stars(settings.model_copy(update={"stars": 34}))


# The stars that MILES and Indo-US share by HD number, F, G or K in both; HD 19510 besides is F0.5
# for MILES and A0 for Indo-US.
SHARED_HD = [
    *(10780, 16673, 25329, 26297, 30743, 32147, 33256, 61064, 63791, 75732, 89254, 95128, 101501),
    *(118100, 120933, 136064, 136726, 140283, 143761, 157910, 165195, 191026),
]


@pytest.fixture(scope="module")
def real(shared_data):
    return read_library([shared_data / name for name in ("miles", "pyhammer", "indo-us-sdss")])


@pytest.mark.shared
def test_miles_and_indo_us_share_22_stars(shared_data):
    miles, indo = (read_source(shared_data / name).table for name in ("miles", "indo-us-sdss"))
    both = indo.join(miles, on="star", suffix="_miles")
    by_number = both.filter(pl.col("name").str.starts_with("HD"))
    fgk = by_number.filter(pl.col("type").str.contains("^(sd:?)?[FGK]"))
    assert sorted(fgk["star"]) == sorted(f"HD {number}" for number in SHARED_HD)
    assert len(fgk) == 22
    assert set(by_number["star"]) - set(fgk["star"]) == {"HD 19510"}
    # Under two names: known by their spectra.
    renamed = both.filter(~pl.col("name").str.starts_with("HD"))
    assert set(renamed.select("name", "star").rows()) == {
        ("G_19-24", "HD 157881"),
        ("G_243-63", "HD 6755"),
    }


@pytest.mark.shared
def test_the_three_libraries_give_856_distinct_stars(real):
    read, table = real, real.stars.table
    assert len(table) == 856
    by_source = dict(table["source"].value_counts().iter_rows())
    assert by_source == {"miles": 680, "pyhammer": 147, "indo-us": 29}
    by_class = dict(table["class"].value_counts().iter_rows())
    assert by_class == {"F": 267, "G": 299, "K": 290}
    assert table.filter(pl.col("star").is_in([f"HD {n}" for n in SHARED_HD]))["source"].unique(
    ).to_list() == ["miles"]  # fmt: skip
    assert star(read, "HD 143761")["subclass"] == "G2"  # G0Va for Indo-US
    assert star(read, "HD 118100")["subclass"] == "K7"  # K5Ve for Indo-US
    assert star(read, "HD 19510")["subclass"] == "F0.5"  # A0 for Indo-US
    reasons = dict(
        read.left_out.filter(pl.col("source") == "miles")["reason"].value_counts().iter_rows()
    )
    assert reasons == {
        "no subclass digit": 37,
        "spans two classes": 2,
        "spans two subclasses": 14,
    }
    assert len(read.left_out.filter(pl.col("type") == "GB")) == 26
    assert len(table) + len(read.left_out) + len(read.merged) == 733 + 147 + 123
    assert np.isfinite(read.stars.flux).all()


@pytest.mark.shared
def test_the_fill_of_held_out_real_stars_beats_a_flat_one(real, fill_errors):
    read = real
    table = fill_errors(read.stars.flux, read.known, read.stars.table["source"].to_list())
    errors = {row["source"]: row for row in table.iter_rows(named=True)}
    assert errors["pyhammer"]["fill_rms"] < 0.025
    assert errors["indo-us"]["fill_rms"] < 0.06
    assert errors["all"]["fill_rms"] < 0.2 * errors["all"]["flat_rms"]
    # And the joint is no step that could be seen.
    near = [(GRID > FILL_FROM - 25) & ~RED, RED & (GRID < FILL_FROM + 25)]
    step = [np.median(read.stars.flux[:, side], axis=1) for side in near]
    assert np.quantile(np.abs(step[1] / step[0] - 1), 0.95) < 0.03


@pytest.mark.shared
def test_real_lamost_spectra_make_a_library(shared_data):
    read = read_library([shared_data / "lamost-lrs"])
    table = read.stars.table
    counts = dict(table["class"].value_counts().iter_rows())
    assert counts["F"] + counts["G"] > 1100
    assert table["filled_from"].is_infinite().all()
    assert len(table) + len(read.left_out) + len(read.merged) == 2021
    # The rest frame is right: H alpha of the mean F star stands where it should.
    mean = read.stars.flux[(table["class"] == "F").to_numpy()].mean(axis=0)
    near = np.abs(GRID - 6564.61) < 6
    wave, line = GRID[near], mean[near]
    depth = 1 - line / np.interp(wave, wave[[0, -1]], line[[0, -1]])
    center = np.sum(GRID[near] * depth) / depth.sum()
    assert center == pytest.approx(6564.61, abs=0.25)
