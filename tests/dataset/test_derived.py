"""Merging stores and taking subsets of them."""

import hashlib
import shutil

import numpy as np
import polars as pl
import pytest

from drcnet.config import SplitSettings
from drcnet.dataset import merge
from drcnet.dataset.build import prepare
from drcnet.dataset.merge import merge_stores
from drcnet.dataset.pools import NOT_TAKEN
from drcnet.dataset.split import read_split
from drcnet.dataset.store import ARRAYS, open_store, shard_path
from drcnet.dataset.store_check import check_store
from drcnet.dataset.subset import parse_rows, subset_store
from drcnet.errors import StoreError


def snapshot(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def store_of(fakes, folder, keep, **settings):
    """A store of some of the exposures of one night."""
    night = fakes.make_night(folder / "night")
    for k in set(range(3)) - set(keep):
        for arm in "br":
            (night / "raw" / fakes.frame_name("o", 1, arm, fakes.LMJM + 40 * k)).unlink()
    toml = folder.parent / "toy.toml"
    toml.write_text((night / "toy.toml").read_text())
    made = fakes.make_settings(folder.parent, **settings)
    prepare(night, folder / "work", settings=made)
    return folder / "work"


@pytest.fixture
def parts(fakes, tmp_path):
    return [
        store_of(fakes, tmp_path / "a", [0, 2]),
        store_of(fakes, tmp_path / "b", [1]),
        store_of(fakes, tmp_path / "all", [0, 1, 2]),
    ]


def test_a_night_in_two_stores_merges_to_that_of_one(parts, tmp_path):
    first, second, whole = parts
    made = merge_stores([first, second], tmp_path / "out")
    out, wanted = open_store(tmp_path / "out"), open_store(whole)
    assert (made.exposures, made.rows, made.repeated) == (3, 24, 0)
    assert out.exposures == wanted.exposures
    assert out.index.equals(wanted.index)
    assert read_split(tmp_path / "out").equals(read_split(whole))
    for name in ARRAYS:
        rows = np.arange(24)
        np.testing.assert_array_equal(out.read(name, rows), wanted.read(name, rows))
    assert check_store(tmp_path / "out") == ()
    assert (tmp_path / "out" / "left_out.parquet").is_file()


def test_merging_in_any_order_gives_the_same_arrays(parts, tmp_path):
    merge_stores(parts[:2], tmp_path / "one")
    merge_stores(parts[1::-1], tmp_path / "two")
    one, two = snapshot(tmp_path / "one"), snapshot(tmp_path / "two")
    assert {k for k in one if one[k] != two.get(k)} <= {"provenance.json"}
    assert set(one) == set(two)


def test_an_exposure_in_both_is_taken_once(parts, tmp_path):
    made = merge_stores([parts[0], parts[2]], tmp_path / "out")
    assert (made.exposures, made.rows, made.repeated) == (3, 24, 2)
    assert open_store(tmp_path / "out").index["row"].is_unique().all()


def test_an_exposure_that_differs_is_refused_and_nothing_is_left(fakes, parts, tmp_path):
    other = store_of(fakes, tmp_path / "c", [0, 2])
    part = next((other / "parts").glob(f"{fakes.LMJM}-*.parquet"))
    metadata = pl.read_parquet_metadata(part) | {"shards": '{"blue/box": "0"}'}
    metadata.pop("ARROW:schema", None)
    pl.read_parquet(part).write_parquet(part, metadata=metadata)
    with pytest.raises(StoreError, match=f"the same exposure {fakes.LMJM}-01 everywhere"):
        merge_stores([parts[0], other], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_settings_are_refused_by_name(fakes, parts, tmp_path):
    other = store_of(fakes, tmp_path / "c", [1], classes=("F", "G"))
    with pytest.raises(StoreError, match="got other classes"):
        merge_stores([parts[0], other], tmp_path / "out")
    prepare(
        tmp_path / "b" / "night",
        tmp_path / "d",
        settings=fakes.make_settings(tmp_path),
        split=SplitSettings(seed=2),
    )
    with pytest.raises(StoreError, match="got other split"):
        merge_stores([parts[0], tmp_path / "d"], tmp_path / "out")


def test_stores_without_labels_join_those_with(fakes, parts, tmp_path):
    pool = store_of(fakes, tmp_path / "c", [1], unlabelled=True)
    made = merge_stores([pool, parts[0]], tmp_path / "out")
    index = open_store(tmp_path / "out").index
    assert made.usable == open_store(parts[0]).index["usable"].sum()
    assert set(index.slice(8, 8)["pool"]) == {"unlabelled", "rejected", "sky"}
    assert open_store(tmp_path / "out").provenance["settings"]["prepare"]["unlabelled"] is False


def test_a_store_that_is_there_is_kept_unless_told(parts, tmp_path):
    merge_stores(parts[:2], tmp_path / "out")
    before = snapshot(tmp_path / "out")
    with pytest.raises(StoreError, match="no store there yet"):
        merge_stores(parts[:1], tmp_path / "out")
    assert snapshot(tmp_path / "out") == before
    merge_stores(parts[1:2], tmp_path / "out", overwrite=True)
    assert len(open_store(tmp_path / "out").index) == 8
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match=r"got thesis\.tex"):
        merge_stores(parts[:1], tmp_path / "mine", overwrite=True)


def test_an_interrupted_merge_leaves_nothing(parts, tmp_path, monkeypatch):
    def stopping(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(merge, "finish_store", stopping)
    with pytest.raises(KeyboardInterrupt):
        merge_stores(parts[:2], tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))
    (tmp_path / ".partial.out.killed").mkdir()
    monkeypatch.undo()
    merge_stores(parts[:2], tmp_path / "out")
    assert [p.name for p in tmp_path.glob(".*")] == []


def test_a_subset_is_its_rows_and_their_parts(parts, tmp_path):
    whole = open_store(parts[2])
    made = subset_store(parts[2], tmp_path / "out", where="snrr >= 40 and class != ''")
    out = open_store(tmp_path / "out")
    kept = out.index.filter("usable")
    wanted = whole.index.filter((pl.col("snrr") >= 40) & pl.col("usable"))
    assert made.usable == len(wanted) == 9
    columns = [name for name in whole.index.columns if name != "row"]
    assert kept.select(columns).equals(wanted.select(columns))
    for name in ARRAYS:
        np.testing.assert_array_equal(
            out.read(name, kept["row"].to_numpy()), whole.read(name, wanted["row"].to_numpy())
        )
    others = out.index.filter(~pl.col("usable"))
    assert set(others["reason"]) == {NOT_TAKEN}
    assert np.isnan(out.read("stripes", others["row"].to_numpy())).all()
    split, before = read_split(tmp_path / "out"), read_split(parts[2])
    parts_of = dict(before.select("row", "part").rows())
    assert split["part"].to_list() == [parts_of[row] for row in wanted["row"]]
    assert check_store(tmp_path / "out") == ()


def test_a_subset_leaves_out_exposures_without_a_row(parts, tmp_path):
    rows = parse_rows("8-15")
    made = subset_store(parts[2], tmp_path / "out", rows=rows)
    assert (made.exposures, made.rows) == (1, 8)
    out, whole = open_store(tmp_path / "out"), open_store(parts[2])
    assert out.exposures == whole.exposures[1:2]
    np.testing.assert_array_equal(out.read("box", np.arange(8)), whole.read("box", rows))
    same = shard_path(tmp_path / "out", "red", "box", 0).read_bytes()
    assert same == shard_path(parts[2], "red", "box", 1).read_bytes()


def test_conditions_meet(parts, tmp_path):
    split = read_split(parts[2])
    subset_store(parts[2], tmp_path / "out", part="test", rows=np.arange(16))
    got = open_store(tmp_path / "out").index.filter("usable")
    wanted = split.filter((pl.col("part") == "test") & (pl.col("row") < 16))
    assert got["row"].to_list() == wanted["row"].to_list()
    assert set(read_split(tmp_path / "out")["part"]) == {"test"}


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({}, "a condition: where, rows or part"),
        ({"where": "brightness > 3"}, "a condition on the index"),
        ({"where": "snrr >"}, "a condition on the index"),
        ({"where": "snrr + 1"}, "true or false"),
        ({"where": "snrr > 1000"}, "rows that meet the conditions"),
        ({"rows": np.array([24])}, r"rows in \[0, 24\)"),
        ({"part": "exam"}, "one of train, validation"),
    ],
)
def test_conditions_that_cannot_be_met_are_refused(parts, tmp_path, conditions, message):
    with pytest.raises(StoreError, match=message):
        subset_store(parts[2], tmp_path / "out", **conditions)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "a", "5-2", "1,,2", "-3", "1-"])
def test_row_numbers_are_read_strictly(text):
    with pytest.raises(StoreError, match="numbers and ranges"):
        parse_rows(text)


def test_subsets_merge_back(parts, tmp_path):
    subset_store(parts[2], tmp_path / "a1", rows=np.arange(8))
    shutil.copytree(tmp_path / "a1", tmp_path / "copy")
    merge_stores([tmp_path / "a1", tmp_path / "copy", parts[1]], tmp_path / "out")
    assert len(open_store(tmp_path / "out").index) == 16
