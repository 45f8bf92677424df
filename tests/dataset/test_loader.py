"""Rows of a store as tensors."""

import shutil

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drcnet.dataset.loader import Samples, batch_rows, epoch_order, load_part
from drcnet.dataset.reading import part_bytes
from drcnet.dataset.split import read_split
from drcnet.dataset.store import open_arrays, open_store
from drcnet.errors import StoreError
from drcnet.stripes.normalize import normalize

CLASSES = ("F", "G", "K")


@pytest.fixture
def store(tiny_work):
    return open_store(tiny_work)


@pytest.fixture
def split(tiny_work):
    return read_split(tiny_work / "split.parquet")


@pytest.mark.parametrize(
    ("view", "shape"), [("stripes", (2, 11, 256)), ("box", (2, 256)), ("optimal", (2, 256))]
)
def test_a_part_is_its_rows_of_the_store(store, split, view, shape):
    part = load_part(store, split, "validation", view=view, classes=CLASSES)
    rows = split.filter(pl.col("part") == "validation")
    assert part.row.tolist() == rows["row"].to_list()
    assert tuple(part.x.shape) == (len(rows), *shape)
    assert part.x.dtype == torch.float32
    np.testing.assert_array_equal(part.x.numpy(), store.read(view, part.row))
    assert [CLASSES[k] for k in part.label] == rows["class"].to_list()


def test_labels_follow_the_order_of_the_classes(store, split):
    part = load_part(store, split, "train", view="box", classes=("K", "F", "G"))
    assert part.label[:3].tolist() == [1, 2, 0]


def test_both_views_show_the_same_stars(store, split):
    flat = load_part(store, split, "test", view="box", classes=CLASSES)
    deep = load_part(store, split, "test", view="stripes", classes=CLASSES)
    np.testing.assert_array_equal(flat.row, deep.row)
    np.testing.assert_allclose(flat.x, deep.x.sum(dim=2), atol=11 * 0.125)


def test_a_view_that_knows_its_noise_has_it_beside_the_spectrum(store, split):
    part = load_part(store, split, "test", view="optimal-ivar", classes=CLASSES)
    plain = load_part(store, split, "test", view="optimal-sky", classes=CLASSES)
    ivar = store.read("optimal_ivar", part.row)
    known = (ivar > 0) & np.isfinite(plain.x.numpy())
    assert part.x.shape == (len(part), 2, 2, 256)
    np.testing.assert_array_equal(part.x[:, :, 0].numpy()[known], plain.x.numpy()[known])
    np.testing.assert_array_equal(part.x[:, :, 1].numpy()[known], ivar[known])
    assert np.isnan(part.x[:, :, 0].numpy()[~known]).all()
    assert np.isnan(part.x[:, :, 1].numpy()[~known]).all()
    assert part_bytes(store, 3, "optimal-ivar") == 2 * part_bytes(store, 3, "optimal-sky")


def test_a_stripe_may_have_the_sky_beside_it_and_no_bad_pixels(store, split):
    part = load_part(store, split, "test", view="stripes-sky", classes=CLASSES)
    plain = load_part(store, split, "test", view="stripes", classes=CLASSES)
    good = store.read("mask", part.row) == 0
    assert part.x.shape == (len(part), 2, 12, 256)
    np.testing.assert_array_equal(part.x[:, :, :-1].numpy()[good], plain.x.numpy()[good])
    assert np.isnan(part.x[:, :, :-1].numpy()[~good]).all()
    np.testing.assert_array_equal(part.x[:, :, -1].numpy(), store.read("sky", part.row))
    assert part_bytes(store, 3, "stripes-sky") * 11 == part_bytes(store, 3, "stripes") * 12


def test_normalised_at_once_or_in_batches_is_the_same(store, split):
    part = load_part(store, split, "train", view="stripes", classes=CLASSES)
    whole = part.normalized("zscore").x
    pieces = torch.cat([normalize(piece, "zscore") for piece in part.x.split(7)])
    torch.testing.assert_close(whole, pieces, atol=1e-5, rtol=0)


def test_refusals(store, split, tiny_work, tmp_path):
    with pytest.raises(StoreError, match="one of the views"):
        load_part(store, split, "train", view="mask", classes=CLASSES)
    with pytest.raises(StoreError, match="classes F, G, got K"):
        load_part(store, split, "train", view="box", classes=("F", "G"))
    work = tmp_path / "work"
    shutil.copytree(tiny_work, work)
    red = open_arrays(work, mode="r+")["red/box"]
    values = red[:]
    values[50] = np.nan
    red[:] = values
    with pytest.raises(StoreError, match="1 without a finite pixel, the first is row 50"):
        load_part(open_store(work), split, "validation", view="box", classes=CLASSES)


def test_samples_must_fit_together():
    with pytest.raises(ValueError, match="equally long"):
        Samples(torch.zeros(3, 2, 8), torch.zeros(2, dtype=torch.int64), np.arange(3), CLASSES)


@given(n=st.integers(1, 60), size=st.integers(1, 20), seed=st.integers(0, 2**31))
def test_every_star_once_an_epoch(n, size, seed):
    order = epoch_order(n, seed, 1)
    batches = list(batch_rows(order, size))
    assert sorted(torch.cat(batches).tolist()) == list(range(n))
    assert all(len(b) in (size, size + 1) for b in batches[:-1])
    assert size == 1 or n == 1 or min(len(b) for b in batches) > 1


def test_order_follows_from_seed_and_epoch():
    first = epoch_order(50, 1, 1)
    assert torch.equal(first, epoch_order(50, 1, 1))
    assert not torch.equal(first, epoch_order(50, 1, 2))
    assert not torch.equal(first, epoch_order(50, 2, 1))
