import json

import numpy as np
import polars as pl
import pytest
import zarr

from drcnet.dataset.build import prepare
from drcnet.dataset.split import read_split
from drcnet.dataset.store import (
    ARMS,
    ARRAYS,
    create_store,
    open_store,
    shard_path,
    write_exposure,
)
from drcnet.dataset.store_check import check_store
from drcnet.errors import StoreError
from drcnet.instruments import load_instrument


@pytest.fixture
def laid_out(fakes, toy_night, tmp_path):
    """An empty store of three exposures, and arrays for one exposure and arm."""
    settings = fakes.make_settings(toy_night)
    work = tmp_path / "work"
    create_store(
        work,
        exposures=["1-01", "2-01", "3-01"],
        profile=load_instrument(settings.instrument),
        settings=settings,
        provenance={"settings": {}},
    )
    shapes = {
        "stripe": (fakes.N_FIBER, fakes.WIDTH, fakes.ROWS),
        "spectrum": (fakes.N_FIBER, fakes.ROWS),
        "polynomial": (fakes.N_FIBER, 5),
    }

    def arrays(seed):
        rng = np.random.default_rng(seed)
        return {
            name: rng.normal(0, 100, shapes[kind]).clip(0).astype(dtype)
            for name, (kind, dtype) in ARRAYS.items()
        }

    return work, arrays


def finish(work, n):
    pl.DataFrame({"row": np.arange(n)}).write_parquet(work / "index.parquet")
    return open_store(work)


@pytest.fixture
def prepared(fakes, toy_night, tmp_path):
    prepare(toy_night, tmp_path / "work", settings=fakes.make_settings(toy_night))
    return tmp_path / "work"


def test_what_is_written_is_read_in_the_order_asked_for(fakes, laid_out):
    work, arrays = laid_out
    written = {}
    for number in range(3):
        for arm in ARMS:
            written[number, arm] = arrays([number, len(arm)])
            write_exposure(work, number, arm, written[number, arm])
    store = finish(work, 3 * fakes.N_FIBER)
    rows = np.array([17, 3, 3, 23, 0, 8])
    for name in ARRAYS:
        got = store.read(name, rows)
        for place, row in enumerate(rows):
            for column, arm in enumerate(ARMS):
                wanted = written[row // fakes.N_FIBER, arm][name][row % fakes.N_FIBER]
                if name == "stripes":
                    wanted = np.round(wanted * 4) / 4
                np.testing.assert_array_equal(got[place, column], wanted)
        assert got.dtype == ARRAYS[name][1]


def test_no_rows_are_an_empty_array_of_the_right_shape(fakes, laid_out):
    store = finish(laid_out[0], 3 * fakes.N_FIBER)
    got = store.read("stripes", np.array([], dtype=np.int64))
    assert got.shape == (0, 2, fakes.WIDTH, fakes.ROWS)


def test_reading_reports_its_progress(fakes, laid_out):
    store = finish(laid_out[0], 3 * fakes.N_FIBER)
    calls = []
    store.read("box", np.array([0, 1, 20]), progress=lambda *call: calls.append(call))
    assert calls == [("read box", 1, 2), ("read box", 2, 2)]


def test_rows_never_written_are_missing_and_masked(fakes, laid_out):
    store = finish(laid_out[0], 3 * fakes.N_FIBER)
    assert np.isnan(store.read("box", np.array([5]))).all()
    assert (store.read("mask", np.array([5])) == 1).all()


def test_one_exposure_and_arm_is_one_file_an_array(laid_out):
    work, arrays = laid_out
    write_exposure(work, 1, "red", arrays(0))
    for name in ARRAYS:
        assert shard_path(work, "red", name, 1).is_file()
    chunks = [p for p in (work / "dataset.zarr").rglob("*") if p.is_file() and "/c/" in str(p)]
    assert len(chunks) == len(ARRAYS)


def test_the_same_arrays_give_the_same_bytes(laid_out):
    work, arrays = laid_out
    write_exposure(work, 0, "blue", arrays(1))
    first = {name: shard_path(work, "blue", name, 0).read_bytes() for name in ARRAYS}
    write_exposure(work, 0, "blue", arrays(2))
    write_exposure(work, 0, "blue", arrays(1))
    assert {name: shard_path(work, "blue", name, 0).read_bytes() for name in ARRAYS} == first


def test_wrong_shapes_names_and_rows_are_refused(fakes, laid_out):
    work, arrays = laid_out
    with pytest.raises(StoreError, match=r"blue/box of shape \(8, 40\), got \(8, 41\)"):
        write_exposure(work, 0, "blue", arrays(0) | {"box": np.zeros((8, 41))})
    short = {name: values for name, values in arrays(0).items() if name != "sky"}
    with pytest.raises(StoreError, match=r"none of \['sky'\]"):
        write_exposure(work, 0, "blue", short)
    store = finish(work, 3 * fakes.N_FIBER)
    with pytest.raises(StoreError, match="got 'flux'"):
        store.read("flux", np.array([0]))
    with pytest.raises(StoreError, match=r"rows in \[0, 24\), got rows -1 to 3"):
        store.read("box", np.array([3, -1]))


def test_another_schema_is_refused(fakes, laid_out):
    work, _ = laid_out
    finish(work, 3 * fakes.N_FIBER)
    zarr.open_group(work / "dataset.zarr", mode="r+").attrs["schema"] = 7
    with pytest.raises(StoreError, match="wanted schema 2, got schema 7"):
        open_store(work)


def test_no_store_an_unfinished_one_and_a_damaged_index(fakes, laid_out, tmp_path):
    work, _ = laid_out
    with pytest.raises(StoreError, match="a zarr store made by prepare"):
        open_store(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="no index; run prepare again"):
        open_store(work)
    with pytest.raises(StoreError, match="3 exposures of 8 rows, got 23 rows"):
        finish(work, 23)
    (work / "index.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreError, match="a readable index"):
        open_store(work)


def test_a_cut_shard_is_a_clear_error(prepared):
    path = shard_path(prepared, "red", "stripes", 1)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StoreError, match="red/stripes: wanted readable shards"):
        open_store(prepared).read("stripes", np.arange(8, 16))


def test_a_whole_store_has_no_faults(prepared):
    calls = []
    assert check_store(prepared, progress=lambda *call: calls.append(call)) == ()
    assert calls[-1] == ("check", 3, 3)


def test_faults_are_found_and_named(prepared):
    key = open_store(prepared).exposures
    shard_path(prepared, "blue", "stripes", 0).unlink()
    damaged = shard_path(prepared, "red", "box", 1)
    damaged.write_bytes(b"nothing")
    split = read_split(prepared)
    split.with_columns(pl.lit("unused").alias("part")).write_parquet(prepared / "split.parquet")
    faults = check_store(prepared)
    assert f"exposure {key[0]}: no stripes of blue" in faults
    assert any(f.startswith(f"exposure {key[1]}") and "red/box" in f for f in faults)
    assert any("its digest is not the recorded one" in f for f in faults)


def test_an_index_out_of_order_is_a_fault(prepared):
    index = pl.read_parquet(prepared / "index.parquet")
    index.reverse().write_parquet(prepared / "index.parquet")
    faults = check_store(prepared)
    assert faults[0] == "index.parquet: rows are not numbered 0, 1, 2, ..."


def test_provenance_says_what_made_it(prepared):
    values = json.loads((prepared / "provenance.json").read_text())
    assert values["settings"]["prepare"]["classes"] == ["F", "G", "K"]
    assert "workers" not in values["settings"]["prepare"]
    assert values["settings"]["exposures"] == list(open_store(prepared).exposures)
