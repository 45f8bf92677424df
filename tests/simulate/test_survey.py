import hashlib
import json
import re
import shutil

import numpy as np
import polars as pl
import pytest
from astropy.io import fits
from astropy.table import Table

from drcnet.config import SimulateSettings, load_settings
from drcnet.errors import NightError
from drcnet.simulate.catalog_out import designation
from drcnet.simulate.exposure import frame_digest, make_frame
from drcnet.simulate.optics import Optics
from drcnet.simulate.survey import simulate


def hashes(night):
    files = sorted(p for p in night.rglob("*") if p.is_file())
    return {str(p.relative_to(night)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def names(night, profile):
    pattern = re.compile(profile.file_pattern)
    return [pattern.match(p.name).groupdict() for p in sorted((night / "raw").iterdir())]


def test_the_folder_is_laid_out_as_conventions_say(tiny_night, tiny_settings):
    assert sorted(p.name for p in tiny_night.iterdir()) == [
        "catalog.csv",
        "catalog.fits",
        "folds.parquet",
        "raw",
        "truth",
    ]
    assert sorted(p.name for p in (tiny_night / "truth").iterdir()) == [
        "fibers.parquet",
        "provenance.json",
        "settings.toml",
        "stars.parquet",
        "traces.npz",
    ]
    read = load_settings(tiny_night / "truth" / "settings.toml", SimulateSettings)
    assert read == tiny_settings
    origin = json.loads((tiny_night / "truth" / "provenance.json").read_text())
    assert origin["seed"] == 7


def test_every_frame_has_its_partner_of_the_same_minute(tiny_night, tiny_profile):
    parts = names(tiny_night, tiny_profile)
    # two spectrographs; 2 biases, 1 flat, 1 arc, 2 plates of 2 exposures; two arms
    assert len(parts) == 2 * (4 + 4) * 2
    arms = {}
    for p in parts:
        arms.setdefault((p["kind"], p["spid"], p["lmjm"]), []).append((p["arm"], p["time"]))
    for pair in arms.values():
        assert sorted(arm for arm, _ in pair) == ["b", "r"]
        assert len({time for _, time in pair}) == 2


def test_frames_are_raw_counts_of_the_instruments_shape(tiny_night, tiny_profile):
    for path in (tiny_night / "raw").iterdir():
        with fits.open(path, memmap=False) as hdus:
            assert hdus[0].data.dtype == np.uint16
            assert hdus[0].data.shape == tiny_profile.shape
            assert "Simulated" in str(hdus[0].header["COMMENT"])


def true_traces(night, spid, arm, lmjm):
    """True geometry of one frame, from the truth on disk."""
    with np.load(night / "truth" / "traces.npz") as arrays:
        names = ("centers", "fwhm", "wavelength", "shifts")
        *shapes, shifts = (arrays[f"{spid:02d}-{arm}-{name}"] for name in names)
        n_wave = int(arrays["n_wave"])
    (shift,) = shifts[shifts[:, 0] == lmjm, 1:]
    return Optics(*shapes, n_wave).flexed(*shift).traces()


def test_light_stands_where_the_truth_says(tiny_night, tiny_profile):
    flat = next((tiny_night / "raw").glob("rf-01b-*"))
    lmjm = int(re.match(tiny_profile.file_pattern, flat.name)["lmjm"])
    traces = true_traces(tiny_night, 1, "blue", lmjm)
    raw = fits.getdata(flat, memmap=False).astype(float).T  # blue runs along +y
    fibers = pl.read_parquet(tiny_night / "truth" / "fibers.parquet")
    first = fibers.filter((pl.col("spid") == 1) & (pl.col("planid") == fibers["planid"][0]))
    for f, target in enumerate(first["target"]):
        middle = traces.centers[f, 128]
        window = np.arange(round(middle) - 5, round(middle) + 6)
        light = raw[window, 126:131].mean(axis=1) - raw[160:176].mean()
        if target == "dead" or window[0] < 80 <= window[-1]:
            continue
        if light.max() < 3000:
            pytest.fail(f"no light in fibre {f + 1}")
        assert np.average(window, weights=np.clip(light, 0, None)) == pytest.approx(
            middle, abs=0.25
        )


def test_catalogue_and_truth_agree(tiny_night):
    catalog = pl.read_csv(tiny_night / "catalog.csv", separator="|")
    truth = pl.read_parquet(tiny_night / "truth" / "fibers.parquet")
    stars = pl.read_parquet(tiny_night / "truth" / "stars.parquet")
    assert len(truth) == 2 * 2 * 8
    assert len(catalog) == 2 * 2 * 7  # one dead fibre a spectrograph
    assert catalog["obsid"].is_unique().all()
    joined = catalog.join(truth, on=["planid", "spid", "fiberid"], suffix="_true")
    assert len(joined) == len(catalog)
    seen = joined.filter(pl.col("class") == "STAR")
    assert len(seen) == 2 * 2 * 5
    np.testing.assert_allclose(seen["snrr"], seen["snr_target"], atol=0.011)
    assert seen["designation"].to_list() == seen["designation_true"].to_list()
    place = seen.join(stars, on="star", suffix="_star")
    np.testing.assert_allclose(place["ra_obs"], place["ra"], atol=1e-6)
    assert place["subclass"].to_list() == place["subclass_true"].to_list()
    assert (np.abs(place["rv"] - place["rv_star"]) < 6 * place["rv_err"]).all()
    np.testing.assert_allclose(place["z"] * 299792.458, place["rv"], atol=0.01)
    sky = joined.filter(pl.col("fibertype") == "Sky")
    assert sky["target"].to_list() == ["sky"] * 8
    assert set(sky["class_true"]) == {""}
    assert set(sky["snrr"]) == {-9999.0}
    # the toy F stars have no [Fe/H]
    assert set(seen.filter(pl.col("class_true") == "F")["feh"]) == {-9999.0}


def test_catalogue_minutes_are_those_of_the_files(tiny_night, tiny_profile):
    catalog = pl.read_csv(tiny_night / "catalog.csv", separator="|")
    files = {int(p["lmjm"]) for p in names(tiny_night, tiny_profile) if p["kind"] == "o"}
    listed = {int(m) for text in catalog["lmjmlist"] for m in text.split("-")}
    assert listed == files
    assert {len(text.split("-")) for text in catalog["lmjmlist"]} == {2}
    assert set(catalog["lmjd"]) == {57289}


def test_both_catalogues_hold_the_same_rows(tiny_night):
    text = pl.read_csv(tiny_night / "catalog.csv", separator="|")
    table = Table.read(tiny_night / "catalog.fits")
    assert table.colnames == text.columns
    for name in text.columns:
        assert list(table[name]) == text[name].to_list(), name


def test_one_star_has_one_name_and_place(tiny_night):
    truth = pl.read_parquet(tiny_night / "truth" / "fibers.parquet")
    seen = truth.filter(pl.col("target") == "star")
    assert seen["star"].is_duplicated().any()  # 20 pointings at 12 stars
    assert seen.select("star", "designation").unique().height == seen["star"].n_unique()


@pytest.mark.parametrize(("ra", "dec", "name"), [
    (15.5, -0.5, "J010200.00-003000.0"),
    (359.99999999, 41.2, "J235959.99+411200.0"),
    (0.0, 0.0, "J000000.00+000000.0"),
])  # fmt: skip
def test_designations(ra, dec, name):
    assert designation(ra, dec) == f"LAMOST {name}"


def test_same_settings_give_the_same_bytes_whatever_the_workers(
    tmp_path, tiny_night, tiny_settings, toy_stars
):
    changed = tiny_settings.model_copy(update={"workers": 2})
    again = simulate(changed, tmp_path / "night", stars=toy_stars)
    skip = {"truth/settings.toml", "truth/provenance.json"}  # these name the workers
    first, second = hashes(tiny_night), hashes(again)
    assert first.keys() == second.keys()
    assert {k: v for k, v in first.items() if k not in skip} == {
        k: v for k, v in second.items() if k not in skip
    }


@pytest.fixture
def small(tiny_settings):
    return tiny_settings.model_copy(
        update={"plates": 1, "exposures": 1, "spectrographs": (1,), "bias_frames": 0}
    )


def test_another_seed_gives_another_night(tmp_path, small, toy_stars):
    nights = [
        simulate(small.model_copy(update={"seed": s}), tmp_path / str(s), stars=toy_stars)
        for s in (1, 2)
    ]
    frames = [fits.getdata(next((n / "raw").glob("ro-01b-*"))) for n in nights]
    assert (frames[0] != frames[1]).mean() > 0.5


def test_an_interrupted_night_goes_on_where_it_stopped(tmp_path, small, toy_stars, monkeypatch):
    whole = simulate(small, tmp_path / "whole", stars=toy_stars)
    part = tmp_path / "part"
    shutil.copytree(whole, part)
    gone = sorted((part / "raw").iterdir())[-2:]
    for path in gone:
        path.unlink()
    (part / "raw" / f".123.partial.{gone[0].name}").write_bytes(b"cut short")
    made = []
    monkeypatch.setattr(
        "drcnet.simulate.exposure.make_frame", lambda t: made.append(t.path) or make_frame(t)
    )
    simulate(small, part, stars=toy_stars)
    assert sorted(made) == gone
    assert hashes(part) == hashes(whole)


def test_a_night_of_other_settings_is_kept_unless_overwritten(tmp_path, small, toy_stars):
    night = simulate(small, tmp_path / "night", stars=toy_stars)
    before = hashes(night)
    other = small.model_copy(update={"seed": 9, "file_format": ".fit.gz"})
    with pytest.raises(NightError, match=r"empty folder.*other files"):
        simulate(other, night, stars=toy_stars)
    assert hashes(night) == before
    simulate(other, night, stars=toy_stars, overwrite=True)
    assert {p.suffix for p in (night / "raw").iterdir()} == {".gz"}


@pytest.mark.parametrize("ending", [".fit.gz", ".fits.fz"])
def test_compressed_files_hold_the_same_counts(tmp_path, small, toy_stars, ending):
    plain = simulate(small, tmp_path / "plain", stars=toy_stars)
    packed = simulate(
        small.model_copy(update={"file_format": ending}), tmp_path / "packed", stars=toy_stars
    )
    for path in sorted((plain / "raw").iterdir()):
        twin = packed / "raw" / path.name.replace(".fit", ending)
        with fits.open(twin, memmap=False) as hdus:
            data = hdus[-1].data
        assert data.dtype == np.uint16
        np.testing.assert_array_equal(data, fits.getdata(path, memmap=False))
        assert frame_digest(twin) is not None


def test_progress_counts_to_its_end(tmp_path, small, toy_stars):
    seen = []
    simulate(small, tmp_path / "n", stars=toy_stars, progress=lambda *report: seen.append(report))
    frames = [(done, total) for stage, done, total in seen if stage == "frames"]
    assert frames == [(i, 6) for i in range(7)]


def test_a_disk_too_small_is_refused_before_the_first_frame(
    tmp_path, small, toy_stars, monkeypatch
):
    from types import SimpleNamespace

    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(NightError, match="GB of free disk for 6 frames"):
        simulate(small, tmp_path / "night", stars=toy_stars)
    assert list((tmp_path / "night" / "raw").iterdir()) == []
