import polars as pl
import pytest

from drcnet.dataset import plan as room
from drcnet.dataset.plan import check, find_catalog
from drcnet.errors import CatalogError, NightError


def test_it_says_what_would_be_used(fakes, toy_night, tmp_path):
    plan = check(toy_night, settings=fakes.make_settings(toy_night), out=tmp_path / "work")
    table = plan.table()
    assert plan.ready
    assert plan.problems == ()
    assert (plan.rows, plan.labelled) == (24, 18)
    assert plan.catalog == toy_night / "catalog.csv"
    assert table["flat"].unique().sort().to_list() == [
        fakes.frame_name("f", 1, arm, fakes.LMJM - 20) for arm in "br"
    ]
    assert table["biases"].to_list() == [1] * 6
    assert set(table["reason"]) == {""}
    assert plan.disk_free > plan.disk_needed > 0
    assert plan.seconds > 0
    assert not (tmp_path / "work").exists(), "a dry run leaves nothing behind"


def test_it_says_what_is_missing(fakes, toy_night):
    raw = toy_night / "raw"
    (raw / fakes.frame_name("o", 1, "r", fakes.LMJM)).unlink()
    (raw / fakes.frame_name("o", 1, "b", fakes.LMJM + 40)).write_bytes(b"")
    (raw / "notes.fit").write_bytes(b"")
    plan = check(toy_night, settings=fakes.make_settings(toy_night))
    reasons = dict(plan.table().select(pl.concat_str("exposure", "arm"), "reason").iter_rows())
    assert "wanted a red frame" in reasons[f"{fakes.LMJM}-01red"]
    assert reasons[f"{fakes.LMJM}-01blue"] == ""
    assert "wanted a FITS file" in reasons[f"{fakes.LMJM + 40}-01blue"]
    assert any("notes.fit" in str(problem) for problem in plan.problems)
    text = plan.describe()
    assert "3 exposures of toy spectrograph, 2 with both arms" in text
    assert plan.as_dict()["exposures"][0]["exposure"] == f"{fakes.LMJM}-01"
    assert plan.ready


def test_classes_not_asked_for_are_no_class(fakes, toy_night):
    plan = check(toy_night, settings=fakes.make_settings(toy_night, classes=("K",)))
    classes = pl.concat(plan.joined.values())["class"].value_counts()
    assert dict(classes.iter_rows()) == {"K": 6, "": 18}


def test_without_a_catalogue_it_is_not_ready(fakes, toy_night):
    (toy_night / "catalog.csv").unlink()
    plan = check(toy_night, settings=fakes.make_settings(toy_night))
    assert not plan.ready
    assert "wanted a catalogue" in str(plan.problems[-1])
    assert plan.labelled == 0


def test_a_catalogue_of_other_fibres_is_refused(fakes, toy_night, tmp_path):
    other = fakes.make_night(tmp_path / "other", spids=(9,))
    with pytest.raises(CatalogError, match="rows of this night's 3 exposures"):
        check(
            toy_night,
            catalog=other / "catalog.csv",
            settings=fakes.make_settings(toy_night),
        )


def test_an_exposure_outside_the_catalogue_is_a_problem_and_rows(fakes, tmp_path):
    night = fakes.make_night(tmp_path / "night", spids=(1, 2))
    lines = (night / "catalog.csv").read_text().splitlines()
    kept = [line for line in lines if "|P1|2|" not in line]
    (night / "catalog.csv").write_text("\n".join(kept) + "\n")
    plan = check(night, settings=fakes.make_settings(night))
    assert len(plan.problems) == 3
    assert not plan.joined[f"{fakes.LMJM}-02"]["in_catalog"].any()
    assert plan.joined[f"{fakes.LMJM}-01"]["in_catalog"].sum() == 7


def test_a_full_disk_is_foreseen(fakes, toy_night, monkeypatch):
    monkeypatch.setattr(room, "_disk_free", lambda out: 1)
    assert not check(toy_night, settings=fakes.make_settings(toy_night)).ready


def test_no_frames(fakes, toy_night, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NightError):
        check(tmp_path / "empty", settings=fakes.make_settings(toy_night))


def test_the_catalogue_is_found_from_the_raw_folder_too(toy_night):
    assert find_catalog(toy_night / "raw") == toy_night / "catalog.csv"
    assert find_catalog(toy_night.parent) is None
