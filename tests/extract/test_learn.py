"""What flats teach is used by the next extraction, and changes its calibration's name."""

import numpy as np
import polars as pl
import pytest
from astropy.io import fits

from drcnet.config import StripeSettings
from drcnet.dataset.calibrations import make_calibrations
from drcnet.errors import NightError
from drcnet.extract import extract, learn_detectors, learn_instrument
from drcnet.frames.night import scan_night
from drcnet.instruments import load_instrument
from drcnet.stripes.calibration_file import read_calibration

BASE = {"row_start": 0, "row_stop": 256}
KEY = "82496145-01"


@pytest.fixture(scope="module")
def learnt(drawn, tmp_path_factory):
    folder = tmp_path_factory.mktemp("learnt")
    table, refused = learn_instrument(
        [drawn.folder], folder / "pattern.csv", instrument=drawn.instrument
    )
    made = learn_detectors([drawn.folder], folder, instrument=drawn.instrument)
    return folder, table, refused, made


def test_patterns_and_detectors_of_both_arms_are_learnt(learnt):
    folder, table, refused, made = learnt
    assert refused == ()
    assert table.group_by("arm").agg(pl.col("n_flats").max()).sort("arm")["n_flats"].to_list() == [
        2,
        2,
    ]
    dead = table.filter(pl.col("throughput").is_null())
    assert dead["fiberid"].to_list() == [6, 6]
    names = [f"01-{arm}-{what}.fits" for arm in ("blue", "red") for what in ("bad", "flat")]
    assert [path.name for path in made] == names
    assert all(path.is_file() for path in made)
    assert fits.getdata(folder / "01-blue-bad.fits").mean() < 0.001


def calibrate(drawn, settings, folder):
    profile = load_instrument(drawn.instrument)
    found, _ = make_calibrations(
        scan_night(drawn.folder, profile),
        instrument=drawn.instrument,
        settings=settings,
        folder=folder,
        scratch=folder,
        workers=1,
    )
    path, stamp = found[KEY, "blue"]
    return read_calibration(path), stamp


def test_a_pattern_makes_sure_of_the_fibres(drawn, learnt, tmp_path):
    plain, _ = calibrate(drawn, StripeSettings(**BASE), tmp_path / "a")
    settings = StripeSettings(reference=str(learnt[0] / "pattern.csv"), **BASE)
    sure, _ = calibrate(drawn, settings, tmp_path / "b")
    assert not plain.notes["identity_referenced"]
    assert sure.notes["identity_referenced"]
    assert sure.confidence > 0.99 > plain.confidence
    assert list(sure.notes["given"]) == ["pattern.csv"]


def test_all_steps_together_change_the_stamp_and_little_else(drawn, learnt, tmp_path):
    folder = learnt[0]
    masks = tmp_path / "masks"
    masks.mkdir()
    for arm in ("blue", "red"):
        (masks / f"01-{arm}.fits").write_bytes((folder / f"01-{arm}-bad.fits").read_bytes())
    settings = StripeSettings(
        combine_flats=True,
        bad_pixels=str(masks / "{spid}-{arm}.fits"),
        pixel_flat=str(folder / "{spid}-{arm}-flat.fits"),
        **BASE,
    )
    first, stamp = calibrate(drawn, settings, tmp_path / "a")
    plain, other = calibrate(drawn, StripeSettings(**BASE), tmp_path / "b")
    assert stamp != other
    assert len(first.notes["given"]) == 3  # mask, pixel flat, the second flat
    np.testing.assert_allclose(first.traces.center, plain.traces.center, atol=0.02)
    # The same settings and another mask are another calibration.
    path = masks / "01-blue.fits"
    bad = fits.getdata(path).copy()
    bad[40, 100] = 1
    fits.writeto(path, bad, overwrite=True)
    assert calibrate(drawn, settings, tmp_path / "a")[1] != stamp


def test_a_mask_that_is_not_there_refuses_the_arm(drawn, tmp_path):
    settings = StripeSettings(bad_pixels=str(tmp_path / "{arm}.fits"), **BASE)
    result = extract(
        drawn.folder, tmp_path / "out", instrument=drawn.instrument, settings=settings, workers=1
    )
    assert len(result.problems) == 2
    assert "blue.fits: wanted a bad-pixel mask" in result.table["reason"][0]


def test_a_folder_without_flats_teaches_nothing(drawn, tmp_path):
    with pytest.raises(NightError, match="flat frames of drawn"):
        learn_instrument([tmp_path], tmp_path / "r.csv", instrument=drawn.instrument)
