"""LAMOST 1-D files of all releases."""

import gzip
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits

from drcnet.errors import SpectrumError
from drcnet.frames.lamost_spectrum import read_lamost_spectrum

fake = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "fake_libraries.py")))


@pytest.mark.parametrize("layout", ["dr1", "dr7", "dr10"])
def test_every_layout_gives_the_same_star(layout, tmp_path):
    read = read_lamost_spectrum(fake.write_lamost_file(tmp_path / "spec.fits", layout))
    np.testing.assert_allclose(read.wavelength, 10 ** (3.5682 + 1e-4 * np.arange(3909)), atol=0.01)
    line = np.abs(read.wavelength / (1 + read.z) - 6564.61) < 3
    assert read.flux[line].min() < 0.8 * read.flux[~line & (read.wavelength > 6500)].max()
    assert np.flatnonzero(read.ivar == 0).tolist() == [7]
    assert (read.klass, read.subclass, read.snrr) == ("STAR", "G2", 99.0)
    assert (read.lmjd, read.planid, read.spid, read.fiberid) == (55862, "B6212", 6, 3)
    assert read.lmjms == (80441496, 80441524)
    assert read.name == "LAMOST J063715.90+271356.5"
    assert read.obsid == (-1 if layout == "dr1" else 740103002)


def test_a_shorter_table_keeps_its_own_wavelengths(tmp_path):
    path = fake.write_lamost_file(tmp_path / "spec.fits", "dr10", n_pix=3820)
    assert read_lamost_spectrum(path).wavelength.size == 3820


def test_missing_numbers_are_nan_not_minus_9999(tmp_path):
    path = fake.write_lamost_file(tmp_path / "spec.fits", "dr7", Z=0.0)
    fits.setval(path, "Z", value=-9999.0)
    fits.setval(path, "SNRR", value="")
    read = read_lamost_spectrum(path)
    assert np.isnan(read.z)
    assert np.isnan(read.snrr)


def broken_empty(path):
    path.write_bytes(b"")


def broken_text(path):
    path.write_text("not a spectrum" * 500, encoding="utf-8")


def broken_gzip(path):
    whole = fake.write_lamost_file(path.with_name("whole.fits"), "dr7").read_bytes()
    path.write_bytes(gzip.compress(whole)[:9000])


def broken_image(path):
    fits.PrimaryHDU(np.ones((3, 100), np.float32), header=fake.lamost_header()).writeto(path)


def broken_column(path):
    table = fits.BinTableHDU.from_columns(
        [fits.Column("FLUX", "4E", array=np.ones((1, 4)))], name="COADD"
    )
    fits.HDUList([fits.PrimaryHDU(header=fake.lamost_header()), table]).writeto(path)


def broken_header(path):
    fake.write_lamost_file(path, "dr7")
    fits.delval(path, "SUBCLASS")


def broken_order(path):
    fake.write_lamost_file(path, "dr10")
    with fits.open(path, mode="update") as hdus:
        hdus["COADD"].data["WAVELENGTH"][0, 100] = 0


@pytest.mark.parametrize(
    ("spoil", "name", "words"),
    [
        (broken_empty, "spec.fits", "LAMOST 1-D FITS file"),
        (broken_text, "spec.fits", "LAMOST 1-D FITS file"),
        (broken_gzip, "spec.fits.gz", "LAMOST 1-D FITS file"),
        (broken_image, "spec.fits", "five rows in the first HDU"),
        (broken_column, "spec.fits", "LAMOST 1-D FITS file"),
        (broken_header, "spec.fits", "header keys of LAMOST.*SUBCLASS"),
        (broken_order, "spec.fits", "out of order"),
    ],
)
def test_broken_files_name_themselves(spoil, name, words, tmp_path):
    path = tmp_path / name
    spoil(path)
    with pytest.raises(SpectrumError, match=words) as caught:
        read_lamost_spectrum(path)
    assert str(path) in str(caught.value)


def test_an_absent_file_is_one_clear_error(tmp_path):
    with pytest.raises(SpectrumError, match="none.fits"):
        read_lamost_spectrum(tmp_path / "none.fits")


@pytest.mark.shared
@pytest.mark.parametrize(
    ("folder", "count", "subclasses"),
    [
        ("grd349-dr1", 18, "FKM"),
        ("chenfazheng-dr7", 3, "GK"),
        ("junhui-dr8", 3, "FG"),
        ("gcbellys-dr10", 60, "AFG"),
    ],
)
def test_real_files_of_four_layouts(shared_data, folder, count, subclasses):
    files = sorted((shared_data / "lamost-files" / folder).glob("*.fits.gz"))
    spectra = [read_lamost_spectrum(path) for path in files]
    assert len(spectra) == count
    for path, read in zip(files, spectra, strict=True):
        assert read.klass == "STAR"
        assert read.subclass[0] in subclasses
        assert read.wavelength[0] == pytest.approx(3700, abs=1)
        assert f"_sp{read.spid:02d}-{read.fiberid:03d}." in path.name
        assert f"-{read.lmjd}-{read.planid}_" in path.name
        # snrr is the median S/N a pixel in r, so the file's own noise must say about the same.
        inside = (read.wavelength > 5500) & (read.wavelength < 7000) & (read.ivar > 0)
        own = np.median(read.flux[inside] * np.sqrt(read.ivar[inside]))
        if read.snrr < 300:
            assert own == pytest.approx(read.snrr, rel=0.35)
