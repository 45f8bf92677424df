"""Batches of a part of a split: from memory where it fits, else read ahead shard by shard.

Both ways give the same kind of batches, each row exactly once an epoch, in an order that follows
from seed and epoch alone; so the state of a training is (epoch, batch), and it can go on there.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from drcnet.dataset.loader import Samples, batch_rows, epoch_order, load_part
from drcnet.dataset.pools import POOLS
from drcnet.dataset.reading import DTYPES, Batch, Reading, part_bytes
from drcnet.dataset.store import Progress, Store
from drcnet.dataset.stream import ShardStream
from drcnet.errors import StoreError

__all__ = ["Resident", "open_batches", "open_pool", "pool_rows"]


@dataclass(frozen=True, eq=False)
class Resident:
    """A part that lies in memory whole, on the device that learns.

    Parameters
    ----------
    samples : Samples
        Normalised, on the device.
    reading : Reading
        Batch size and seed.
    """

    samples: Samples
    reading: Reading

    def __len__(self) -> int:
        """Count the stars."""
        return len(self.samples)

    @property
    def label(self) -> Tensor:
        """Labels of all stars."""
        return self.samples.label

    @property
    def row(self) -> NDArray[np.int64]:
        """Rows of the store."""
        return self.samples.row

    @property
    def waiting(self) -> float:
        """Nothing is waited for."""
        return 0.0

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Give the batches of an epoch.

        Parameters
        ----------
        epoch : int
            Counted from 1.
        start : int
            The first batch to give.

        Yields
        ------
        Batch
            Each star once, in the order of `epoch_order`.
        """
        x, label = self.samples.x, self.samples.label
        order = epoch_order(len(self), self.reading.seed, epoch).to(x.device)
        for number, rows in enumerate(batch_rows(order, self.reading.batch_size)):
            if number >= start:
                yield Batch(x[rows], label[rows], rows)


def open_batches(
    store: Store,
    split: pl.DataFrame,
    part: str,
    reading: Reading,
    *,
    progress: Progress | None = None,
) -> Resident | ShardStream:
    """Read a part into memory where it fits, else open it to be read while learning.

    Parameters
    ----------
    store : Store
        The store.
    split : DataFrame
        Its split.
    part : str
        Which part.
    reading : Reading
        View, batches, memory and device.
    progress : callable, optional
        Called as progress(stage, done, total) while reading into memory.

    Returns
    -------
    Resident or ShardStream
        The same batches but for their order.

    Raises
    ------
    StoreError
        A class is not among those of `reading`, or a row holds no light.
    """
    rows = split.filter(pl.col("part") == part)
    if part_bytes(store, len(rows), reading.view, reading.dtype) > reading.memory:
        return ShardStream(store, rows, reading)
    samples = load_part(
        store, split, part, view=reading.view, classes=reading.classes, progress=progress
    ).normalized(reading.normalize)
    samples = replace(samples, x=samples.x.to(DTYPES[reading.dtype]))
    return Resident(samples.to(reading.device), reading)


def pool_rows(store: Store, pool: str, split: pl.DataFrame | None = None) -> pl.DataFrame:
    """Find the rows of one pool.

    Parameters
    ----------
    store : Store
        The store.
    pool : {'labelled', 'unlabelled', 'sky', 'rejected'}
        Which rows.
    split : DataFrame, optional
        Rows of its validation and test stars are left out: a model that has seen their pixels
        without labels has seen them all the same.

    Returns
    -------
    DataFrame
        Rows of the index; none is no error.

    Raises
    ------
    StoreError
        No such pool, or an index that does not tell the pools.
    """
    if pool not in POOLS or "pool" not in store.index.columns:
        raise StoreError(store.work, f"one of the pools {', '.join(POOLS)}", repr(pool))
    rows = store.index.filter(pl.col("pool") == pool)
    if split is None:
        return rows
    kept_back = split.filter(pl.col("part").is_in(["validation", "test"]))["star"].unique()
    return rows.filter((pl.col("star") == "") | ~pl.col("star").is_in(kept_back.implode()))


def open_pool(
    store: Store, pool: str, reading: Reading, *, split: pl.DataFrame | None = None
) -> Resident | ShardStream:
    """Open the rows of one pool in batches, as `open_batches` opens a part.

    Parameters
    ----------
    store : Store
        The store.
    pool : {'labelled', 'unlabelled', 'sky', 'rejected'}
        Which rows.
    reading : Reading
        View, batches, memory and device; its classes are not used.
    split : DataFrame, optional
        As for `pool_rows`.

    Returns
    -------
    Resident or ShardStream
        Each row once an epoch; every label is -1.

    Raises
    ------
    StoreError
        No such pool, an index that does not tell the pools, or no row is left.
    """
    rows = pool_rows(store, pool, split)
    if rows.is_empty():
        raise StoreError(store.work, f"rows in the pool '{pool}'", "none")
    as_part = rows.select("row", "star", pl.lit(pool).alias("class"), pl.lit(pool).alias("part"))
    opened = open_batches(store, as_part, pool, replace(reading, classes=(pool,)))
    nobody = torch.full_like(opened.label, -1)
    if isinstance(opened, Resident):
        return replace(opened, samples=replace(opened.samples, label=nobody))
    opened.label = nobody
    return opened
