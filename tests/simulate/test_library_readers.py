"""Every format is recognised, and its stars arrive in vacuum and at rest."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from astropy.table import Table
from astropy.units import nm

from drcnet.errors import SpectrumError
from drcnet.simulate.library import read_source
from drcnet.simulate.library_spectra import SourceSpectra, smooth, unit_median
from drcnet.simulate.spectra import rest_grid

fake = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "fake_libraries.py")))
GRID = rest_grid()


def check_stars(read, teffs, lines=("Mg b", "Na D2", "H alpha")):
    """The spectra follow the made-up stars, and their lines stand at their rest wavelengths."""
    assert len(read.table) == len(teffs)
    for flux, teff in zip(read.flux, teffs, strict=True):
        known = np.isfinite(flux)
        want = fake.spectrum(GRID, teff, read.fwhm)
        inside = known & (GRID > 3950) & (GRID < 7350)
        ratio = flux[inside] / want[inside]
        ratio /= np.median(ratio)
        assert np.std(ratio) < 0.05
        for name in lines:
            near = np.abs(GRID - fake.LINES[name]) < 8
            wave, line = GRID[near], flux[near]
            depth = 1 - line / np.interp(wave, wave[[0, -1]], line[[0, -1]])
            center = np.sum(GRID[near] * depth) / depth.sum()
            assert center == pytest.approx(fake.LINES[name], abs=0.15)


def test_miles_is_in_air_and_ends_at_7410(tmp_path):
    folder = fake.write_miles(tmp_path / "m", [("HD025291", "F0II", 6900), ("HD1", "K5", 4300)])
    read = read_source(folder)
    assert read.source == "miles"
    check_stars(read, [6900, 4300])
    assert read.table["star"].to_list() == ["HD 25291", "HD 1"]
    assert read.table["feh"].is_nan().all()
    reach = GRID[np.isfinite(read.flux[0])]
    assert reach[0] == pytest.approx(3550, abs=0.1)
    assert 7405 < reach[-1] < 7412


def test_pyhammer_is_in_vacuum_and_its_zeros_are_bridged(tmp_path):
    folder = fake.write_pyhammer(tmp_path / "p", [("F5", "+0.0", 6500), ("K3", "-1.0", 4700)])
    read = read_source(folder)
    check_stars(read, [6500, 4700])
    assert read.table["star"].to_list() == ["PyHammer F5_+0.0_Dwarf", "PyHammer K3_-1.0_Dwarf"]
    assert read.table["luminosity"].to_list() == ["V", "V"]
    assert read.table["feh"].to_list() == [0.0, -1.0]


@pytest.mark.parametrize("as_folder", [True, False])
def test_indo_us_names_are_type_and_hd_number(tmp_path, as_folder):
    stars = [("F0II (25291)", 7000), ("K5 (G_19-24)", 4300), ("Ldwarf", 3600)]
    path = fake.write_indo_us(tmp_path / "i" / "spEigenStar-55734.fits", stars)
    read = read_source(path.parent if as_folder else path)
    check_stars(read, [7000, 4300, 3600])
    assert read.table["name"].to_list() == ["HD 25291", "G_19-24", "Ldwarf"]
    assert read.table["type"].to_list() == ["F0II", "K5", "Ldwarf"]


def test_lamost_bundle_is_taken_to_rest(tmp_path):
    stars = [("F5", 6500, 1e-3, 10.0, 20.0, 90.0), ("G2", 5800, -3e-4, 11.0, -20.0, -9999)]
    read = read_source(fake.write_lamost_bundle(tmp_path / "l", stars, n_bad=20))
    check_stars(read, [6500, 5800])
    assert read.table["star"].to_list()[0] == "LAMOST J004000.00+200000.0"
    assert read.table["snr"][0] == 90
    assert np.isnan(read.table["snr"][1])


def test_lamost_with_many_bad_pixels_or_no_redshift_is_listed(tmp_path):
    stars = [("F5", 6500, 0.0, 10.0, 20.0, 90.0)]
    read = read_source(fake.write_lamost_bundle(tmp_path / "l", stars, n_bad=400))
    assert len(read.table) == 0
    assert "over 10% of its pixels" in read.skipped["reason"][0]
    stars = [("F5", 6500, -9999, 10.0, 20.0, 90.0), ("G5", 5600, 0, 12.0, 20.0, 90.0)]
    read = read_source(fake.write_lamost_bundle(tmp_path / "n", stars))
    assert read.skipped["reason"].to_list() == ["no redshift"]
    assert read.table["type"].to_list() == ["G5"]


def test_lamost_files_of_all_layouts_and_a_broken_one(tmp_path):
    for number, layout in enumerate(["dr1", "dr7", "dr10"]):
        path = tmp_path / layout / f"spec-55862-B6212_sp06-00{number}.fits"
        fake.write_lamost_file(path, layout, RA=10.0 + number)
    fake.write_lamost_file(tmp_path / "spec-1-G_sp01-001.fits", "dr7", CLASS="GALAXY")
    (tmp_path / "spec-1-B_sp01-002.fits.gz").write_bytes(b"broken")
    read = read_source(tmp_path)
    check_stars(read, [5800] * 3)
    assert read.skipped["name"].to_list() == [
        "spec-1-B_sp01-002.fits.gz",
        "spec-1-G_sp01-001.fits",
    ]
    assert read.skipped["reason"][1] == "not a star"


WAVE = 10 ** (3.57 + 1e-4 * np.arange(4000))
TEFFS = [6400, 5000]


def brought_table(vacuum, **columns):
    wave = WAVE if vacuum else fake.vacuum(WAVE)
    flux = np.array([fake.spectrum(wave, teff, 3.0) for teff in TEFFS])
    return Table({"star": ["HD 25291", "mine"], "spt": ["F3V", "K0"], "flux": flux} | columns)


@pytest.mark.parametrize(
    "ending", [".fits", ".ecsv", ".vot", pytest.param(".parquet", id="parquet")]
)
def test_a_brought_table_in_every_ending(tmp_path, ending):
    path = tmp_path / f"mine{ending}"
    table = brought_table(
        vacuum=True, wavelength=np.array([WAVE, WAVE]), vacuum_=[True] * 2, fwhm=[3.0, 3.0]
    )
    table.rename_column("vacuum_", "vacuum")
    if ending == ".parquet":
        pl.DataFrame({n: table[n].tolist() for n in table.colnames}).write_parquet(path)
    else:
        formats = {".fits": "fits", ".ecsv": "ascii.ecsv", ".vot": "votable"}
        table.write(path, format=formats[ending])
    read = read_source(path)
    check_stars(read, TEFFS)
    assert read.source == "table"
    assert (read.fwhm == 3.0).all()
    assert read.table["teff"].is_nan().all()


def test_a_brought_table_in_air_and_nanometres_with_redshift(tmp_path):
    path = tmp_path / "mine.ecsv"
    z = 5e-4
    air_at_rest = brought_table(vacuum=False)["flux"]
    table = Table({"star": ["a", "b"], "spt": ["F3V", "K0"], "flux": air_at_rest})
    # Shifting air wavelengths would not be exact; the vacuum ones of these pixels are known.
    table["wavelength"] = np.array([WAVE, WAVE]) / 10 * nm
    table["resolution"] = [1500.0, 1800.0]
    table.meta["VACUUM"] = False
    table.write(path, format="ascii.ecsv")
    read = read_source(path)
    check_stars(read, TEFFS)
    np.testing.assert_allclose(read.fwhm, GRID / 1500)
    table["z"] = [z, z]
    table.write(path, format="ascii.ecsv", overwrite=True)
    moved = read_source(path).flux[0]
    line = np.argmin(np.where(np.abs(GRID - 6564) < 30, moved, 9))
    assert GRID[line] == pytest.approx(6564.61 / (1 + z), abs=1.0)


def test_a_brought_table_with_one_grid_in_its_header(tmp_path):
    path = tmp_path / "mine.fits"
    table = brought_table(vacuum=True)
    table.meta |= {"COEFF0": 3.57, "COEFF1": 1e-4, "VACUUM": True, "FWHM": 3.0}
    table.write(path, format="fits")
    check_stars(read_source(path), TEFFS)


@pytest.mark.parametrize(
    ("removed", "words"),
    [
        ("star", "'star'"),
        ("spt", "a column of"),
        ("flux", "'flux'"),
        ("vacuum", "'vacuum'"),
        ("fwhm", "'fwhm'"),
        ("wavelength", "'wavelength', or COEFF0"),
    ],
)
def test_a_brought_table_must_say_all(tmp_path, removed, words):
    path = tmp_path / "mine.parquet"
    flux = [fake.spectrum(WAVE, 5000).tolist()]
    columns = {"star": ["a"], "spt": ["G2"], "flux": flux, "vacuum": [True], "fwhm": [3.0]}
    columns["wavelength"] = [WAVE.tolist()]
    del columns[removed]
    pl.DataFrame(columns).write_parquet(path)
    with pytest.raises(SpectrumError, match=words):
        read_source(path)


def test_a_brought_table_with_crooked_wavelengths_is_refused(tmp_path):
    path = tmp_path / "mine.parquet"
    columns = {"star": ["a"], "spt": ["G2"], "flux": [[1.0, 2.0, 3.0]], "vacuum": [True]}
    pl.DataFrame(columns | {"fwhm": [3.0], "wavelength": [[4e3, 3e3, 5e3]]}).write_parquet(path)
    with pytest.raises(SpectrumError, match=r"row 0.*increasing"):
        read_source(path)


@pytest.mark.parametrize("ending", [".parquet", ".fits", ".ecsv", ".vot"])
def test_a_table_that_is_none_is_refused(tmp_path, ending):
    path = tmp_path / f"mine{ending}"
    path.write_text("hello", encoding="utf-8")
    with pytest.raises(SpectrumError, match="mine"):
        read_source(path)


def test_an_unknown_folder_says_what_was_looked_for(tmp_path):
    with pytest.raises(SpectrumError, match=r"miles_fgk.npz.*spEigenStar.*nothing of the kind"):
        read_source(tmp_path)
    with pytest.raises(SpectrumError, match="no such file or folder"):
        read_source(tmp_path / "absent")


@pytest.mark.parametrize("kind", ["miles", "pyhammer", "lamost"])
def test_damaged_bundles_are_one_clear_error(tmp_path, kind):
    makers = {
        "miles": lambda: fake.write_miles(tmp_path, [("HD1", "G2", 5800)]),
        "pyhammer": lambda: fake.write_pyhammer(tmp_path, [("G2", "+0.0", 5800)]),
        "lamost": lambda: fake.write_lamost_bundle(tmp_path, [("G2", 5800, 0, 1, 1, 99)]),
    }
    makers[kind]()
    npz = tmp_path / f"{kind}_fgk.npz"
    npz.write_bytes(npz.read_bytes()[:5000])
    with pytest.raises(SpectrumError, match="wanted"):
        read_source(tmp_path)


def test_counts_of_spectra_and_rows_must_agree(tmp_path):
    fake.write_miles(tmp_path, [("HD1", "G2", 5800), ("HD2", "G3", 5700)])
    csv = tmp_path / "miles_fgk.csv"
    csv.write_text("\n".join(csv.read_text().splitlines()[:2]), encoding="utf-8")
    with pytest.raises(SpectrumError, match="1 spectra, as in the CSV, got 2"):
        read_source(tmp_path)


def test_a_source_holds_its_invariants():
    table = pl.DataFrame({"name": ["a"]})
    with pytest.raises(SpectrumError, match="flux"):
        SourceSpectra("x", table, np.ones((2, 5), np.float32), np.ones(GRID.size))
    with pytest.raises(SpectrumError, match="luminosity"):
        SourceSpectra("x", table, np.ones((1, GRID.size), np.float32), np.ones(GRID.size))


@pytest.mark.shared
def test_shared_stars_look_alike_at_one_resolution(shared_data):
    """MILES in air and Indo-US in vacuum: the same star must give the same lines."""
    miles, indo = (read_source(shared_data / name) for name in ("miles", "indo-us-sdss"))
    inside = (GRID > 4800) & (GRID < 6500)
    basis = np.polynomial.chebyshev.chebvander(np.linspace(-1, 1, inside.sum()), 12)
    for star in ("HD 33256", "HD 61064", "HD 95128", "HD 101501", "HD 191026", "HD 136726"):
        rows = [source.table["star"].to_list().index(star) for source in (miles, indo)]
        first = smooth(miles.flux[rows[:1]], miles.fwhm, indo.fwhm)
        lines = []
        for flux in unit_median(np.vstack([first, indo.flux[rows[1:]]])):
            own = flux[inside].astype(float)
            lines.append(own / (basis @ np.linalg.lstsq(basis, own, rcond=None)[0]))
        same = np.std(lines[0] - lines[1])
        shifted = np.std(lines[0][1:] - lines[1][:-1])  # air taken for vacuum is 1.3 pixels
        assert same < 0.02
        assert shifted > 1.3 * same
