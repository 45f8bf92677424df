"""The files on disk: zarr arrays, one shard an exposure and arm, and a Parquet index.

Writers of different exposures never touch the same file, so many processes can fill one store.
Only whole shards are read: single rows at random cost about as much as their whole exposure.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from drcnet.config import PrepareSettings
from drcnet.dataset.origin import read_provenance, write_provenance
from drcnet.dataset.pools import pool_of
from drcnet.dataset.remote import RemotePath, locate, read_table, zarr_place
from drcnet.dataset.shards import ARMS, ARRAYS, shard_digests, shard_path
from drcnet.dataset.writing import cannot_write
from drcnet.errors import StoreError
from drcnet.instruments import InstrumentProfile
from drcnet.provenance import atomic_folder

__all__ = [
    "ARMS",
    "ARRAYS",
    "READABLE",
    "SCHEMA",
    "Progress",
    "Store",
    "create_like",
    "create_store",
    "open_arrays",
    "open_store",
    "read_provenance",
    "shard_digests",
    "shard_path",
    "write_exposure",
    "write_provenance",
]

SCHEMA = 2
"""Version of the layout in docs/conventions.md. 2: luminosity, unlabelled and pool in the index,
and digests of the shards in its parts."""

READABLE = (1, SCHEMA)
"""Versions that `open_store` understands; the arrays are the same in all of them."""

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, the steps done and the steps in all."""

ROUNDED_TO = 0.25
"""Stripes are rounded to this many electrons: far below the read noise, and it compresses."""


@dataclass(frozen=True, eq=False)
class Store:
    """A finished store, opened for reading.

    Parameters
    ----------
    work : Path or RemotePath
        The work folder, or its URL.
    index : DataFrame
        `index.parquet`: one row a fibre of an exposure, in the order of the arrays.
    provenance : dict
        What made the store.
    exposures : tuple of str
        Names of the exposures, in the order of the rows.
    n_fiber : int
        Rows of each exposure.
    """

    work: Path | RemotePath
    index: pl.DataFrame
    provenance: dict[str, Any]
    exposures: tuple[str, ...]
    n_fiber: int

    def read(
        self, name: str, rows: NDArray[np.int64], *, progress: Progress | None = None
    ) -> NDArray[Any]:
        """Read rows of both arms.

        Parameters
        ----------
        name : str
            An array of the store: 'stripes', 'mask', 'box', ...
        rows : ndarray, shape (n,), int64
            Row numbers, in any order; a row may be asked for twice.
        progress : callable, optional
            Called as progress('read NAME', exposures done, exposures in all).

        Returns
        -------
        ndarray, shape (n, 2, ...)
            Blue and red of each row, in the order asked for.

        Raises
        ------
        StoreError
            No such array or row, or a shard is damaged.
        """
        rows = np.asarray(rows, dtype=np.int64)
        group = open_arrays(self.work)
        _known(self.work, name)
        n_row = len(self.exposures) * self.n_fiber
        if rows.size and not 0 <= rows.min() <= rows.max() < n_row:
            raise StoreError(
                self.work, f"rows in [0, {n_row})", f"rows {rows.min()} to {rows.max()}"
            )
        arrays = [group[f"{arm}/{name}"] for arm in ARMS]
        out = np.empty((len(rows), len(ARMS), *arrays[0].shape[1:]), dtype=arrays[0].dtype)
        exposure = rows // self.n_fiber
        wanted = np.unique(exposure)
        for step, number in enumerate(wanted):
            here = np.flatnonzero(exposure == number)
            for column, array in enumerate(arrays):
                out[here, column] = _pick(self.work, array, rows[here])
            if progress is not None:
                progress(f"read {name}", step + 1, len(wanted))
        return out


def create_store(
    work: Path,
    *,
    exposures: Sequence[str],
    profile: InstrumentProfile,
    settings: PrepareSettings,
    provenance: Mapping[str, Any],
) -> None:
    """Lay out an empty store: its groups, arrays and provenance, without a single row.

    Parameters
    ----------
    work : Path
        The work folder; made if absent.
    exposures : sequence of str
        Names of the exposures, 'LMJM-SPID', in the order of their rows.
    profile : InstrumentProfile
        Gives the number of fibres.
    settings : PrepareSettings
        Gives the shape of a stripe.
    provenance : Mapping
        What makes the store; written to `provenance.json`.

    Raises
    ------
    StoreError
        The store cannot be written.
    """
    tail = {
        "stripe": (settings.stripes.width, settings.stripes.rows),
        "spectrum": (settings.stripes.rows,),
        "polynomial": (settings.stripes.wavelength_degree + 1,),
    }
    attributes = {"instrument": profile.name, "n_fiber": profile.fibers.count}
    _create(work, exposures, attributes, tail, provenance)


def create_like(
    work: Path, store: Store, exposures: Sequence[str], provenance: Mapping[str, Any]
) -> None:
    """Lay out an empty store of the same instrument and shapes as another one.

    Parameters
    ----------
    work : Path
        The work folder; made if absent.
    store : Store
        The other one.
    exposures : sequence of str
        Names of the exposures, in the order of their rows.
    provenance : Mapping
        What makes the store.

    Raises
    ------
    StoreError
        The store cannot be written.
    """
    group = open_arrays(store.work)
    tail = {kind: group[f"{ARMS[0]}/{name}"].shape[1:] for name, (kind, _) in ARRAYS.items()}
    attributes = {name: group.attrs[name] for name in ("instrument", "n_fiber")}
    _create(work, exposures, attributes, tail, provenance)


def _create(
    work: Path,
    exposures: Sequence[str],
    attributes: dict[str, Any],
    tail: Mapping[str, tuple[int, ...]],
    provenance: Mapping[str, Any],
) -> None:
    attributes = {"schema": SCHEMA, **attributes, "exposures": list(exposures)}
    try:
        write_provenance(work, provenance)
        with atomic_folder(work / "dataset.zarr") as folder:
            root = zarr.open_group(folder, mode="w", zarr_format=3, attributes=attributes)
            _lay_out(root, len(exposures), attributes["n_fiber"], tail)
    except OSError as err:
        raise cannot_write(work, err) from err


def _lay_out(
    root: zarr.Group, n_exposure: int, n_fiber: int, tail: Mapping[str, tuple[int, ...]]
) -> None:
    """Declare the arrays; nothing is written for rows that do not exist yet."""
    for arm in ARMS:
        for name, (kind, dtype) in ARRAYS.items():
            one_row = kind == "stripe"
            block = (n_fiber, *tail[kind])
            root.create_array(
                f"{arm}/{name}",
                shape=(n_exposure * n_fiber, *tail[kind]),
                dtype=dtype,
                chunks=(1, *tail[kind]) if one_row else block,
                shards=block if one_row else None,
                compressors=_compressor(dtype),
                fill_value=1 if dtype == "uint8" else np.nan,  # mask: bad
            )


def write_exposure(work: Path, number: int, arm: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write all rows of one exposure and arm: one shard of each array.

    Parameters
    ----------
    work : Path
        The work folder, with a store in it.
    number : int
        Position of the exposure in the store.
    arm : str
        'blue' or 'red'.
    arrays : Mapping of str to ndarray, each of shape (n_fiber, ...)
        All of `ARRAYS`, not rounded.

    Raises
    ------
    StoreError
        An array is absent or has another shape, or the disk is full.
    """
    group = open_arrays(work, mode="r+")
    n_fiber = int(group.attrs["n_fiber"])
    missing = sorted(set(ARRAYS) - set(arrays))
    if missing:
        raise StoreError(work, f"arrays {list(ARRAYS)}", f"none of {missing}")
    for name in ARRAYS:
        target = group[f"{arm}/{name}"]
        values = np.asarray(arrays[name])
        shape = (n_fiber, *target.shape[1:])
        if values.shape != shape:
            raise StoreError(work, f"{arm}/{name} of shape {shape}", str(values.shape))
        if name == "stripes":
            values = np.round(values / ROUNDED_TO) * ROUNDED_TO
        try:
            target[number * n_fiber : (number + 1) * n_fiber] = values.astype(target.dtype)
        except OSError as err:
            raise cannot_write(work, err) from err


def open_store(work: Path | str) -> Store:
    """Open a finished store for reading.

    Parameters
    ----------
    work : Path or str
        A work folder that `prepare` has finished, or its URL for fsspec ('s3://bucket/work').

    Returns
    -------
    Store
        Its index and a way to its arrays.

    Raises
    ------
    StoreError
        There is no store, it is not finished, of another schema, or index and arrays disagree.
    """
    place = locate(work)
    group = open_arrays(place)
    path = place / "index.parquet"
    if isinstance(path, Path) and not path.is_file():
        raise StoreError(path, "a finished store", "no index; run prepare again to finish it")
    try:
        index = read_table(path)
    except (OSError, pl.exceptions.PolarsError) as err:
        raise StoreError(path, "a readable index", str(err)) from err
    if "pool" not in index.columns and {"flags", "reason", "usable"} <= set(index.columns):
        index = index.with_columns(pool=pool_of())  # schema 1
    exposures = tuple(group.attrs["exposures"])
    n_fiber = int(group.attrs["n_fiber"])
    if len(index) != len(exposures) * n_fiber:
        raise StoreError(
            path, f"{len(exposures)} exposures of {n_fiber} rows", f"{len(index)} rows"
        )
    return Store(place, index, read_provenance(place), exposures, n_fiber)


def open_arrays(work: Path | RemotePath, mode: Any = "r") -> Any:
    """Open the zarr group of a store and check its schema.

    Parameters
    ----------
    work : Path or RemotePath
        The work folder, or its URL.
    mode : str
        'r' or 'r+'.

    Returns
    -------
    zarr.Group
        The group `dataset.zarr`.

    Raises
    ------
    StoreError
        There is no store, or one of another schema.
    """
    path = work / "dataset.zarr"
    try:
        group = zarr.open_group(zarr_place(path), mode=mode, zarr_format=3)
    except (OSError, ValueError, KeyError) as err:
        raise StoreError(path, "a zarr store made by prepare", "none that opens") from err
    schema = group.attrs.get("schema")
    if schema not in READABLE:
        raise StoreError(path, f"schema {SCHEMA}", f"schema {schema!r}")
    return group


def _compressor(dtype: str) -> BloscCodec:
    """Zstandard behind a bit shuffle: 3.4 times smaller, twice as fast as plain zstd."""
    return BloscCodec(
        cname="zstd", clevel=3, shuffle="bitshuffle", typesize=np.dtype(dtype).itemsize
    )


def _pick(work: Path | RemotePath, array: Any, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Rows of one exposure: through one contiguous read, or where few are wanted, one by one."""
    wanted, order = np.unique(rows, return_inverse=True)
    span = int(wanted[-1] - wanted[0]) + 1
    # a row that is a chunk of its own costs its unpacking; over a network each costs a request
    few = isinstance(work, Path) and array.chunks[0] == 1 and 2 * len(wanted) < span
    try:
        if few:
            return np.asarray(array.oindex[wanted])[order]
        block = np.asarray(array[int(wanted[0]) : int(wanted[-1]) + 1])
    except (OSError, RuntimeError, ValueError) as err:
        raise StoreError(
            work / "dataset.zarr" / array.path, "readable shards", f"a damaged one ({err})"
        ) from err
    return block[rows - wanted[0]]


def _known(work: Path | RemotePath, name: str) -> None:
    if name not in ARRAYS:
        raise StoreError(work, f"one of the arrays {list(ARRAYS)}", repr(name))
