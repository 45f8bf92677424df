"""A part of a split that does not fit into memory, read ahead while the device learns."""

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from drcnet.dataset.loader import batch_rows, lit_arms, normalize_rows, see
from drcnet.dataset.profiles import row_reader
from drcnet.dataset.reading import DTYPES, Batch, Reading, row_bytes
from drcnet.dataset.store import Store
from drcnet.errors import StoreError
from drcnet.stripes.normalize import normalize

__all__ = ["ShardStream"]

_HELD = 4  # windows in memory at once: one in use, its tail, one waiting, one being read
_SHARDS = 1  # word of the random stream that orders the shards


class ShardStream:
    """A part that does not fit: shards in random order, rows shuffled within a window of shards.

    A thread reads and normalises ahead while the device learns.

    Parameters
    ----------
    store : Store
        The store.
    rows : DataFrame
        Columns row and class, of the part.
    reading : Reading
        View, batch size, seed, memory and device.
    """

    def __init__(self, store: Store, rows: pl.DataFrame, reading: Reading) -> None:
        rows = rows.sort("row")
        self.store = store
        self.reading = reading
        self.row = rows["row"].to_numpy().astype(np.int64)
        self.label = _labels(store, rows, reading.classes)
        self._shard = self.row // store.n_fiber
        a_shard = row_bytes(store, reading.view) * store.n_fiber
        self.window = max(1, int(reading.memory // (_HELD * a_shard)))
        self._waited, self._elapsed = 0.0, 0.0

    def __len__(self) -> int:
        """Count the stars."""
        return len(self.row)

    @property
    def waiting(self) -> float:
        """Share of the time of the last epoch in which no batch was ready."""
        return self._waited / self._elapsed if self._elapsed > 0 else 0.0

    def order(self, epoch: int) -> tuple[NDArray[np.int64], list[int]]:
        """Draw the order of one epoch.

        Parameters
        ----------
        epoch : int
            Counted from 1.

        Returns
        -------
        order : ndarray of int64, shape (n,)
            Positions of the stars, a permutation.
        ends : list of int
            Where in it each window ends.
        """
        rng = np.random.default_rng(np.random.SeedSequence([self.reading.seed, epoch, _SHARDS]))
        shards = rng.permutation(np.unique(self._shard))
        windows = [shards[k : k + self.window] for k in range(0, len(shards), self.window)]
        pieces = [rng.permutation(np.flatnonzero(np.isin(self._shard, w))) for w in windows]
        order = np.concatenate(pieces) if pieces else np.empty(0, np.int64)
        return order, np.cumsum([len(piece) for piece in pieces]).tolist()

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Give the batches of an epoch while the next ones are read.

        Parameters
        ----------
        epoch : int
            Counted from 1.
        start : int
            The first batch to give; windows before it are not read.

        Yields
        ------
        Batch
            Each star once.

        Raises
        ------
        StoreError
            A shard is damaged, or a row holds no light in one of its arms.
        """
        ready: queue.Queue[Any] = queue.Queue(maxsize=1)
        over = threading.Event()
        reader = threading.Thread(
            target=self._read_ahead, args=(epoch, start, ready, over), daemon=True
        )
        t_start, self._waited, self._elapsed = time.perf_counter(), 0.0, 0.0
        reader.start()
        try:
            yield from self._unpack(ready)
        finally:
            self._elapsed = time.perf_counter() - t_start
            over.set()
            reader.join()

    def _unpack(self, ready: "queue.Queue[Any]") -> Iterator[Batch]:
        """Windows into batches; the first window has to be waited for."""
        device, size = self.reading.device, DTYPES[self.reading.dtype]
        while True:
            t_asked = time.perf_counter()
            piece = ready.get()
            self._waited += time.perf_counter() - t_asked
            if piece is None:
                return
            if isinstance(piece, BaseException):
                raise piece
            for x, position in piece:
                pixels = x.to(device, non_blocking=True)
                if device.type != "cpu":
                    pixels = normalize(pixels, self.reading.normalize)
                label = self.label[position].to(device)
                yield Batch(pixels.to(size), label, position.to(device))

    def _read_ahead(
        self, epoch: int, start: int, ready: "queue.Queue[Any]", over: threading.Event
    ) -> None:
        """Read window after window, and hand over the batches that they complete."""
        try:
            for batches in self._windows(epoch, start):
                if not _put(ready, batches, over):
                    return
            _put(ready, None, over)
        except BaseException as err:  # noqa: BLE001 - raised again where the batches are used
            _put(ready, err, over)

    def _windows(self, epoch: int, start: int) -> Iterator[list[tuple[Tensor, Tensor]]]:
        order, ends = self.order(epoch)
        cuts = list(batch_rows(torch.from_numpy(order), self.reading.batch_size))
        first = sum(len(rows) for rows in cuts[:start])
        waiting = cuts[start:]
        held, done = None, first  # pixels of order[done:...] that no batch has taken yet
        for begin, end in zip([0, *ends[:-1]], ends, strict=True):
            if end <= first:
                continue
            fresh = self._pixels(order[max(begin, first) : end])
            held = fresh if held is None else torch.cat([held, fresh])
            batches = []
            while waiting and done + len(waiting[0]) <= end:
                rows = waiting.pop(0)
                batches.append((held[: len(rows)], rows))
                held, done = held[len(rows) :], done + len(rows)
            yield batches

    def _pixels(self, positions: NDArray[np.int64]) -> Tensor:
        """Pixels of some stars; normalised here only where the device is this processor."""
        rows = self.row[positions]
        x = see(self.reading.view, row_reader(self.store, rows))
        dark = ~lit_arms(x, self.reading.view).all(axis=1)
        if dark.any():
            came = f"none in row {rows[dark][0]}"
            raise StoreError(self.store.work, "rows that hold light in both arms", came)
        pixels = torch.from_numpy(x)
        if self.reading.device.type != "cpu":
            return pixels.pin_memory()
        return normalize_rows(pixels, self.reading.normalize, pixels)


def _put(ready: "queue.Queue[Any]", item: Any, over: threading.Event) -> bool:
    """Hand something over, unless nobody wants it any more."""
    while not over.is_set():
        try:
            ready.put(item, timeout=0.05)
        except queue.Full:
            continue
        return True
    return False


def _labels(store: Store, rows: pl.DataFrame, classes: Sequence[str]) -> Tensor:
    strangers = sorted(set(rows["class"].unique()) - set(classes))
    if strangers:
        raise StoreError(store.work, f"classes {', '.join(classes)}", ", ".join(strangers))
    number = {name: k for k, name in enumerate(classes)}
    return torch.tensor([number[name] for name in rows["class"]], dtype=torch.int64)
