"""Frames in, products out: what is in them is what was drawn."""

import shutil

import numpy as np
import polars as pl
import pytest
from astropy.io import fits
from astropy.table import Table

from drcnet.config import StripeSettings
from drcnet.errors import ConfigError, NightError
from drcnet.extract import extract
from drcnet.stripes.flags import FiberFlag

KEY = "82496145-01"
DEAD = 5
SKY = [3, 7, 12]


@pytest.fixture(scope="module")
def made(drawn, tmp_path_factory):
    out = tmp_path_factory.mktemp("products") / "out"
    result = extract(drawn.folder, out, instrument=drawn.instrument, stripes=True, workers=1)
    return out, result


def spectra(out, arm="blue"):
    with fits.open(out / f"{KEY}-{arm}-spectra.fits") as hdus:
        return np.stack([hdus[k].data["flux"] for k in range(1, 17)])


def test_both_arms_are_extracted_and_listed(made):
    out, result = made
    assert result.problems == ()
    assert result.table["arm"].to_list() == ["blue", "red"]
    assert result.table["fibers"].to_list() == [15, 15]
    assert set(result.table["reason"]) == {""}
    assert pl.read_csv(out / "frames.csv")["exposure"].to_list() == [KEY, KEY]
    for ending in ("spectra.fits", "traces.fits", "stripes.fits"):
        assert (out / f"{KEY}-blue-{ending}").is_file()


def test_flux_is_the_stars_light_less_the_sky(made, drawn):
    flux = np.median(spectra(made[0]), axis=1)
    alive = np.arange(16) != DEAD
    # 11 pixels hold 93.6% of a Gaussian of FWHM 7.
    np.testing.assert_allclose(flux[alive], 0.936 * drawn.light[alive], rtol=0.01, atol=10)
    assert abs(flux[SKY]).max() < 30


def test_specutils_reads_every_fibre(made):
    Spectrum = pytest.importorskip("specutils").Spectrum
    path = made[0] / f"{KEY}-blue-spectra.fits"
    first = Spectrum.read(path)
    assert str(first.spectral_axis.unit) == "Angstrom"
    assert first.flux.unit == "count"
    third = Spectrum.read(path, hdu=3)
    np.testing.assert_allclose(third.flux.value, spectra(made[0])[2])
    assert third.spectral_axis[0].value == pytest.approx(4780.0, abs=0.5)
    assert third.spectral_axis[-1].value == pytest.approx(4926.0, abs=0.5)
    good = ~np.asarray(third.mask)
    with fits.open(path) as hdus:
        ivar = hdus[3].data["ivar"]
    np.testing.assert_allclose(third.uncertainty.array[good], ivar[good] ** -0.5, rtol=1e-5)


def test_the_fibre_table_spells_flags_out(made):
    table = Table.read(made[0] / f"{KEY}-blue-spectra.fits", hdu="FIBERS")
    assert list(table["fiberid"]) == [*range(1, 17)]
    assert "dead" in table["flag_names"][DEAD]
    assert table["reason"][DEAD] == "no light on the lamp flat"
    assert {k for k in range(16) if table["sky_fiber"][k]} == set(SKY)
    assert all(table["flags"] & int(FiberFlag.NOMINAL_WAVELENGTH))


def test_traces_follow_the_exposure(made, drawn):
    path = made[0] / f"{KEY}-blue-traces.fits"
    table = Table.read(path, hdu="TRACES")
    rows = np.array([int(row) for row in fits.getheader(path, 1)["ROWS_AT"].split(",")])
    away = table["center_at"] - (drawn.center[:, rows] + 0.3)
    alive = np.asarray(table["alive"])
    assert list(np.flatnonzero(~alive)) == [DEAD]
    assert np.sqrt(np.mean(np.asarray(away)[alive] ** 2)) < 0.05


def test_stripes_are_cut_along_the_traces(made, drawn):
    with fits.open(made[0] / f"{KEY}-blue-stripes.fits") as hdus:
        stripes, mask = hdus["STRIPES"].data, hdus["MASK"].data
        assert hdus["MASK"].header["BIT2"] == "cosmic ray"
    assert stripes.shape == mask.shape == (16, 11, 256)
    total = np.median(stripes.sum(axis=1), axis=1)
    light = drawn.light + drawn.sky * np.where(np.arange(16) == DEAD, 0, 1)
    bright = drawn.light > 0
    np.testing.assert_allclose(total[bright], 0.936 * light[bright], rtol=0.06)


def test_the_page_is_whole_and_holds_its_pictures(made):
    page = (made[0] / f"{KEY}-blue.html").read_text()
    assert page.rstrip().endswith("</html>")
    assert page.count("data:image/png;base64,") == 6
    assert "no light on the lamp flat" in page
    assert "15 of 16" in page
    assert "nominal" in page
    assert 'src="http' not in page


def test_older_products_are_kept_unless_asked(made, drawn):
    with pytest.raises(ConfigError, match="products"):
        extract(drawn.folder, made[0], instrument=drawn.instrument)


def test_a_broken_frame_is_listed_and_the_rest_goes_on(drawn, tmp_path):
    night = tmp_path / "night"
    shutil.copytree(drawn.folder, night)
    path = night / "ro-01r-20150923234527-1-82496145.fit"
    path.write_bytes(path.read_bytes()[:60000])
    result = extract(night, tmp_path / "out", instrument=drawn.instrument, workers=1)
    reasons = dict(result.table.select("arm", "reason").iter_rows())
    assert reasons["blue"] == ""
    assert "cut short" in reasons["red"]
    assert len(result.problems) == 1
    assert not (tmp_path / "out" / f"{KEY}-red-spectra.fits").exists()


def test_one_arm_alone_is_no_loss_but_a_missing_flat_is(drawn, tmp_path):
    night = tmp_path / "night"
    night.mkdir()
    for path in drawn.folder.glob("r?-01b-*"):
        shutil.copy(path, night)
    result = extract(night, tmp_path / "out", instrument=drawn.instrument, workers=1)
    assert result.table["arm"].to_list() == ["blue"]
    assert result.problems == ()
    for path in night.glob("rf-*"):
        path.unlink()
    result = extract(night, tmp_path / "none", instrument=drawn.instrument, workers=1)
    assert "wanted a flat" in result.table["reason"][0]


def test_a_single_frame_finds_what_lies_beside_it(drawn, made, tmp_path):
    frame = drawn.folder / "ro-01b-20150923234527-1-82496145.fit"
    result = extract([frame], tmp_path / "out", instrument=drawn.instrument, workers=1)
    assert result.table["arm"].to_list() == ["blue"]
    np.testing.assert_array_equal(spectra(tmp_path / "out"), spectra(made[0]))


def test_the_instrument_of_most_files_counts_and_others_are_named(tmp_path):
    for name in ("ro-01b-20150923234527-1-82496145.fit", "rf-01b-20150923234527-1-82496140.fit"):
        (tmp_path / name).write_bytes(b"no frame")
    (tmp_path / "sdR-b1-00123456.fit").write_bytes(b"no frame")
    result = extract(tmp_path, tmp_path / "out", workers=1)
    assert "no frame" in result.table["reason"][0]
    assert any("a name of boss" in problem for problem in result.problems)


def test_what_is_no_frame_is_refused_before_any_work(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"jpg")
    with pytest.raises(ConfigError, match="none that is recognised"):
        extract(tmp_path, tmp_path / "out")
    with pytest.raises(NightError, match="nothing there"):
        extract(tmp_path / "gone", tmp_path / "out", instrument="lamost-lrs")
    assert not (tmp_path / "out").exists()


def test_fibre_flat_evens_the_sky(drawn, tmp_path):
    settings = StripeSettings(row_start=20, row_stop=236, fiber_flat=True)
    extract(drawn.folder, tmp_path, instrument=drawn.instrument, settings=settings, workers=1)
    with fits.open(tmp_path / f"{KEY}-blue-spectra.fits") as hdus:
        sky = np.array([np.median(hdus[k].data["sky"]) for k in range(1, 17) if k != DEAD + 1])
        assert len(hdus[1].data) == 216
    assert sky.std() / sky.mean() < 0.01


@pytest.mark.shared
def test_real_kast_frames_go_through(shared_data, tmp_path):
    result = extract(shared_data / "kast-raw", tmp_path, workers=1)
    assert result.problems == ()
    snr = dict(result.table.select("object", "snr").iter_rows())
    assert snr["kast-b24.fits.gz"] > 80  # Feige 66, 30 s
    assert 5 < snr["kast-b27.fits.gz"] < 20
    key = result.table["exposure"][0]
    Spectrum = pytest.importorskip("specutils").Spectrum
    star = Spectrum.read(tmp_path / f"{key}-blue-spectra.fits")
    wave, flux = star.spectral_axis.value, star.flux.value
    for line in (4341.7, 4862.7):  # vacuum, H gamma and H beta of the hot star
        near = abs(wave - line) < 12
        around = (abs(wave - line) > 40) & (abs(wave - line) < 60)
        assert wave[near][np.argmin(flux[near])] == pytest.approx(line, abs=3)
        assert flux[near].min() < 0.9 * np.median(flux[around])


@pytest.mark.shared
def test_real_kast_frames_go_through_without_a_flat(shared_data, tmp_path):
    folder = tmp_path / "night"
    folder.mkdir()
    for path in (shared_data / "kast-raw").glob("*.fits.gz"):
        if "b11" not in path.name:
            shutil.copy(path, folder)
    result = extract(folder, tmp_path / "out", workers=1)
    assert result.problems == ()
    snr = dict(result.table.select("object", "snr").iter_rows())
    assert snr["kast-b24.fits.gz"] > 80
    assert 5 < snr["kast-b27.fits.gz"] < 20
    page = (tmp_path / "out" / result.table["page"][0]).read_text()
    assert "no flat: from the sky" in page
