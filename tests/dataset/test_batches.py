"""Batches from memory and from the disk."""

import threading

import numpy as np
import polars as pl
import pytest
import torch

from drcnet.dataset.batches import Resident, open_batches, open_pool, pool_rows
from drcnet.dataset.build import prepare
from drcnet.dataset.loader import epoch_order, load_part
from drcnet.dataset.reading import Reading, part_bytes
from drcnet.dataset.split import read_split
from drcnet.dataset.store import open_store, shard_path
from drcnet.dataset.stream import ShardStream
from drcnet.errors import StoreError

CLASSES = ("F", "G", "K")


@pytest.fixture
def work(fakes, tmp_path):
    """Ten exposures of eight fibres: fifty usable rows, all in the test part."""
    night = fakes.make_night(tmp_path / "night", exposures=10)
    prepare(night, tmp_path / "work", settings=fakes.make_settings(night))
    split = read_split(tmp_path / "work").with_columns(part=pl.lit("test"))
    split.write_parquet(tmp_path / "work" / "split.parquet")
    return tmp_path / "work"


def opened(work, **changes):
    store = open_store(work)
    wanted = {"view": "box", "classes": CLASSES, "batch_size": 7, "memory": 1} | changes
    return open_batches(store, read_split(work), "test", Reading(**wanted))


def drained(batches, epoch=1, start=0):
    found = list(batches.batches(epoch, start))
    return torch.cat([b.position for b in found]), torch.cat([b.x for b in found]), found


@pytest.mark.parametrize("memory", [1, 30_000, 10**9])
@pytest.mark.parametrize("view", ["box", "stripes"])
def test_every_row_once_an_epoch_and_its_own_pixels(work, memory, view):
    batches = opened(work, memory=memory, view=view)
    store = open_store(work)
    whole = load_part(store, read_split(work), "test", view=view, classes=CLASSES)
    for epoch in (1, 2):
        position, x, found = drained(batches, epoch)
        assert sorted(position.tolist()) == list(range(len(batches))) == list(range(50))
        torch.testing.assert_close(x, whole.normalized("zscore").x[position])
        for batch in found:
            assert torch.equal(batch.label, whole.label[batch.position])
    assert {len(b.label) for b in found[:-1]} == {7}


def test_what_fits_is_resident_and_what_does_not_is_streamed(work):
    store = open_store(work)
    needed = part_bytes(store, 50, "box")
    assert needed == 50 * 2 * 40 * 4
    assert part_bytes(store, 50, "box", "bfloat16") == needed // 2
    assert isinstance(opened(work, memory=needed), Resident)
    assert isinstance(opened(work, memory=needed - 1), ShardStream)
    assert isinstance(opened(work, memory=needed // 2, dtype="float16"), Resident)


def test_the_resident_order_is_that_of_training(work):
    position, _, _ = drained(opened(work, memory=10**9, seed=3), epoch=4)
    assert torch.equal(position, epoch_order(50, 3, 4))


def test_the_streams_order_follows_from_seed_and_epoch(work):
    first, _, _ = drained(opened(work), epoch=1)
    assert torch.equal(first, drained(opened(work), epoch=1)[0])
    assert not torch.equal(first, drained(opened(work), epoch=2)[0])
    assert not torch.equal(first, drained(opened(work, seed=2), epoch=1)[0])


def test_rows_mix_within_a_window_of_shards(work):
    a_shard = 8 * 2 * 40 * 4
    reading = Reading("box", CLASSES, memory=4 * 3 * a_shard)
    batches = ShardStream(open_store(work), read_split(work), reading)
    assert batches.window == 3
    order, ends = batches.order(1)
    assert ends == [15, 30, 45, 50]
    shards = batches.row[order] // 8
    assert [len(set(shards[a:b])) for a, b in zip([0, *ends], ends, strict=False)] == [3, 3, 3, 1]
    assert len(set(shards[:5])) > 1, "not shard after shard"


@pytest.mark.parametrize("memory", [1, 10**9])
@pytest.mark.parametrize("start", [0, 1, 4, 7, 8])
def test_an_epoch_goes_on_at_any_batch(work, memory, start):
    whole = list(opened(work, memory=memory).batches(2))
    rest = list(opened(work, memory=memory).batches(2, start))
    assert len(rest) == max(0, len(whole) - start)
    for one, other in zip(whole[start:], rest, strict=True):
        assert torch.equal(one.position, other.position)
        assert torch.equal(one.x, other.x)


def test_windows_before_the_start_are_not_read(work, monkeypatch):
    batches = opened(work)
    read = []
    pixels = ShardStream._pixels
    monkeypatch.setattr(
        ShardStream, "_pixels", lambda self, p: read.extend(p.tolist()) or pixels(self, p)
    )
    drained(batches, 1, start=6)
    assert read == batches.order(1)[0][42:].tolist()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("memory", [1, 10**9])
def test_halves_are_normalised_first(work, memory, dtype):
    batches = opened(work, memory=memory, dtype=dtype, view="stripes")
    position, x, _ = drained(batches)
    assert x.dtype == getattr(torch, dtype)
    exact = opened(work, memory=10**9, view="stripes").samples.x[position]
    bound = {"bfloat16": 2**-8, "float16": 2**-11}[dtype]  # half a unit of the last place
    assert ((x.float() - exact).abs() <= bound * exact.abs() + 1e-6).all()


def test_a_batch_left_early_stops_the_reader(work):
    before = threading.active_count()
    batches = opened(work).batches(1)
    next(batches)
    batches.close()
    assert threading.active_count() == before


def test_a_damaged_shard_is_raised_where_the_batch_is_used(work):
    path = shard_path(work, "red", "box", 4)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(StoreError, match="readable shards"):
        drained(opened(work))


def test_a_dark_row_is_refused(work):
    shard_path(work, "red", "box", 4).unlink()
    with pytest.raises(StoreError, match="light in both arms"):
        drained(opened(work))


def test_waiting_is_measured(work, monkeypatch):
    naps = threading.Event()

    def reading_for(seconds):
        def pixels(self, positions):
            naps.wait(seconds)
            return torch.zeros(len(positions), 2, 40)

        monkeypatch.setattr(ShardStream, "_pixels", pixels)

    batches = opened(work)
    assert batches.waiting == 0
    reading_for(0.03)
    drained(batches)
    assert batches.waiting > 0.8, "a device that does nothing only waits"
    reading_for(0)
    for _ in batches.batches(2):
        naps.wait(0.03)
    assert batches.waiting < 0.4, "a device that works longer than a shard takes waits little"
    assert opened(work, memory=10**9).waiting == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"view": "flux"}, "one of stripes, box"),
        ({"dtype": "int8"}, "one of float32"),
        ({"dtype": "float16", "normalize": "none"}, "float32 for pixels that are not normalised"),
        ({"batch_size": 0}, "an int >= 1, got 0"),
        ({"classes": ("F", "G")}, "classes F, G, got K"),
    ],
)
def test_readings_that_cannot_be_are_refused(work, changes, message):
    with pytest.raises(StoreError, match=message):
        opened(work, **changes)


def test_pools_are_read_apart_and_without_labels(work):
    store = open_store(work)
    assert pool_rows(store, "sky")["fiberid"].unique().to_list() == [8]
    sky = open_pool(store, "sky", Reading("stripes", (), normalize="none"))
    np.testing.assert_array_equal(sky.row, pool_rows(store, "sky")["row"])
    assert set(sky.label.tolist()) == {-1}
    np.testing.assert_array_equal(sky.samples.x.numpy(), store.read("stripes", sky.row))
    assert len(pool_rows(store, "unlabelled")) == 10
    with pytest.raises(StoreError, match="one of the pools"):
        open_pool(store, "galaxies", Reading("box", ()))


@pytest.mark.parametrize("memory", [1, 10**9], ids=["streamed", "resident"])
def test_a_pool_comes_in_batches_without_labels(work, memory):
    store = open_store(work)
    reading = Reading("box", CLASSES, batch_size=3, memory=memory, normalize="none")
    pool = open_pool(store, "sky", reading)
    assert isinstance(pool, Resident) == (memory > 1)
    position, x, batches = drained(pool)
    wanted = torch.from_numpy(store.read("box", pool_rows(store, "sky")["row"].to_numpy()))
    assert sorted(position.tolist()) == list(range(len(wanted)))
    torch.testing.assert_close(x[position.argsort()], wanted)
    assert {int(label) for batch in batches for label in batch.label} == {-1}


def test_stars_that_are_tested_do_not_come_without_labels_either(work):
    """Ten rows of fibre 7 have no class; as rows of a tested star they stay away."""
    store = open_store(work)
    reading = Reading("box", CLASSES)
    assert len(open_pool(store, "unlabelled", reading)) == 10
    free = open_pool(store, "unlabelled", reading, split=read_split(work))
    assert len(free) == 10  # nameless: no row of a tested star
    tested = read_split(work)["star"][0]
    nameless = (pl.col("pool") == "unlabelled") & (pl.col("row") < 40)
    index = store.index.with_columns(
        star=pl.when(nameless).then(pl.lit(tested)).otherwise(pl.col("star"))
    )
    index.write_parquet(work / "index.parquet")
    kept = open_pool(open_store(work), "unlabelled", reading, split=read_split(work))
    assert len(kept) == 5
    index.with_columns(pool=pl.lit("sky")).write_parquet(work / "index.parquet")
    with pytest.raises(StoreError, match="rows in the pool 'unlabelled'"):
        open_pool(open_store(work), "unlabelled", reading)
