"""Stores into one: every exposure once, shards copied byte by byte, the split dealt anew.

The new store is filled beside its place and renamed onto it, so it appears whole or not at all.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from drcnet.config import SplitSettings
from drcnet.dataset.index import INDEX_SCHEMA
from drcnet.dataset.labels import left_out
from drcnet.dataset.remote import RemotePath
from drcnet.dataset.shards import ARMS, ARRAYS, shard_path
from drcnet.dataset.split import make_split, split_digest, write_split
from drcnet.dataset.store import (
    Progress,
    Store,
    create_like,
    open_store,
    write_provenance,
)
from drcnet.dataset.tasks import find_part
from drcnet.dataset.writing import cannot_write, new_folder
from drcnet.errors import StoreError
from drcnet.provenance import atomic_write, digest, make_provenance

__all__ = ["Derived", "copy_shards", "finish_store", "merge_stores", "open_local"]


@dataclass(frozen=True)
class Derived:
    """What became of a store made from stores.

    Parameters
    ----------
    work : Path
        The new work folder.
    exposures, rows, usable : int
        Of the new store.
    repeated : int
        Exposures found in several stores, the same in each, and taken once.
    split : str
        Digest of the split.
    """

    work: Path
    exposures: int
    rows: int
    usable: int
    repeated: int
    split: str

    def as_dict(self) -> dict[str, Any]:
        """Give everything as plain values.

        Returns
        -------
        dict
            JSON-able.
        """
        return vars(self) | {"work": str(self.work)}

    def describe(self) -> str:
        """Say it in a line or two.

        Returns
        -------
        str
            Text for a terminal.
        """
        twice = f"; {self.repeated} exposures were in several" if self.repeated else ""
        return (
            f"{self.work}: {self.exposures} exposures, {self.rows} rows, {self.usable} usable; "
            f"split {self.split}{twice}"
        )


@dataclass(frozen=True, eq=False)
class _Piece:
    """One exposure of one of the stores."""

    key: str
    store: Store
    work: Path
    number: int
    metadata: dict[str, str]

    @property
    def content(self) -> tuple[Any, Any]:
        """What makes it the same as another: its object frames and its shards."""
        inputs = json.loads(self.metadata["inputs"])
        return inputs["objects"], json.loads(self.metadata["shards"])


def merge_stores(
    sources: Sequence[Path],
    out: Path,
    *,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> Derived:
    """Put the exposures of several stores into one.

    Parameters
    ----------
    sources : sequence of Path
        Finished work folders of one instrument, made with the same settings. Stores without
        labels may be among them.
    out : Path
        The new work folder.
    progress : callable, optional
        Called as progress('merge', exposures done, exposures in all).
    overwrite : bool
        Replace what is at `out`.

    Returns
    -------
    Derived
        Counts. Exposures are sorted by name; the split is dealt anew with the settings of the
        sources, so a star seen in several of them stands in one part.

    Raises
    ------
    StoreError
        Settings, instruments or splits conflict, an exposure differs between stores, a source
        cannot be read, or `out` is there already or cannot be written.
    """
    stores = [open_local(path) for path in sources]
    prepared, dealt = _agreed(stores)
    pieces, repeated = _pieces(stores)
    settings: dict[str, Any] = {
        "prepare": prepared,
        "exposures": [piece.key for piece in pieces],
        "split": dealt,
        "merged": [digest(store.provenance) for store in stores],
    }
    inputs: dict[str, str] = {}
    for store in stores:
        inputs |= store.provenance.get("inputs", {})
    split_settings = SplitSettings.model_validate(dealt)
    origin = make_provenance(
        settings, inputs=dict(sorted(inputs.items())), seed=split_settings.seed
    )
    with new_folder(out, overwrite=overwrite) as folder:
        create_like(folder, stores[0], settings["exposures"], origin)
        tables = []
        for number, piece in enumerate(pieces):
            tables.append(_copy_exposure(piece, folder, number))
            if progress is not None:
                progress("merge", number + 1, len(pieces))
        index = pl.concat(tables)
        name = finish_store(folder, index, make_split(index, split_settings), origin)
    usable = int(index["usable"].sum())
    return Derived(Path(out), len(pieces), len(index), usable, repeated, name)


def open_local(path: Path) -> Store:
    """Open a store that is to be copied from.

    Parameters
    ----------
    path : Path
        A work folder.

    Returns
    -------
    Store
        With every column of the index.

    Raises
    ------
    StoreError
        It is at a URL, or was made by an earlier version.
    """
    store = open_store(path)
    if isinstance(store.work, RemotePath):
        raise StoreError(path, "a folder", "a URL; copy it here first")
    absent = [name for name in INDEX_SCHEMA if name not in store.index.columns]
    if absent:
        came = f"one without the columns {', '.join(absent)}; prepare it again"
        raise StoreError(path, "a store of this version", came)
    return store


def finish_store(
    folder: Path, index: pl.DataFrame, split: pl.DataFrame, origin: dict[str, Any]
) -> str:
    """Write what stands beside the arrays.

    Parameters
    ----------
    folder : Path
        The new work folder, its shards written.
    index, split : DataFrame
        Of the new store.
    origin : dict
        From `make_provenance`.

    Returns
    -------
    str
        The split's digest.
    """
    name = split_digest(split)
    try:
        dealt = SplitSettings.model_validate(origin["settings"]["split"])
        write_split(folder / "split.parquet", split, dealt)
        with atomic_write(folder / "left_out.parquet") as partial:
            left_out(index, split).write_parquet(partial)
        write_provenance(folder, origin | {"split_digest": name})
        with atomic_write(folder / "index.parquet") as partial:
            index.write_parquet(partial)
    except OSError as err:
        raise cannot_write(folder, err) from err
    return name


def copy_shards(source: Path, number: int, target: Path, new_number: int) -> None:
    """Copy the shards of one exposure, byte by byte.

    Parameters
    ----------
    source, target : Path
        Work folders.
    number, new_number : int
        Positions of the exposure in them.

    Raises
    ------
    StoreError
        They cannot be written.
    """
    for arm in ARMS:
        for name in ARRAYS:
            there = shard_path(source, arm, name, number)
            here = shard_path(target, arm, name, new_number)
            if not there.is_file():
                continue
            try:
                here.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(there, here)
            except OSError as err:
                raise cannot_write(here, err) from err


def _agreed(stores: Sequence[Store]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of all stores; a store without labels has no say in labels and split."""
    told = [store.provenance.get("settings", {}) for store in stores]
    for store, settings in zip(stores, told, strict=True):
        if not {"prepare", "split"} <= set(settings):
            where = store.work / "provenance.json"
            raise StoreError(where, "the settings of prepare and split", f"{sorted(settings)}")
    leading = next((k for k, s in enumerate(told) if not s["prepare"].get("unlabelled")), 0)
    first = told[leading]
    for store, settings in zip(stores, told, strict=True):
        free = settings["prepare"].get("unlabelled", False)
        names = ["instrument", "stripes", *([] if free else ["label", "classes"])]
        differing = [n for n in names if settings["prepare"].get(n) != first["prepare"].get(n)]
        if not free and settings["split"] != first["split"]:
            differing.append("split")
        if differing:
            wanted = f"the settings of {stores[leading].work}"
            raise StoreError(store.work, wanted, f"other {', '.join(differing)}")
    return first["prepare"], first["split"]


def _pieces(stores: Sequence[Store]) -> tuple[list[_Piece], int]:
    """Each exposure once, in the order of (minute, spectrograph)."""
    found: dict[str, _Piece] = {}
    repeated = 0
    for store in stores:
        work = Path(store.work)
        for number, key in enumerate(store.exposures):
            piece = _Piece(key, store, work, number, _metadata(work, key))
            if key not in found:
                found[key] = piece
            elif found[key].content == piece.content and _rows(found[key]).equals(_rows(piece)):
                repeated += 1
            else:
                came = f"another one under that name, in {work}"
                raise StoreError(found[key].work, f"the same exposure {key} everywhere", came)
    order = {
        (lmjm, spid): key
        for piece in found.values()
        for key, lmjm, spid in [(piece.key, *_rows(piece).select("lmjm", "spid").row(0))]
    }
    return [found[order[place]] for place in sorted(order)], repeated


def _metadata(work: Path, key: str) -> dict[str, str]:
    try:
        metadata = dict(pl.read_parquet_metadata(find_part(work, key)))
    except (StopIteration, OSError, pl.exceptions.PolarsError) as err:
        came = f"none that can be read of exposure {key}"
        raise StoreError(work / "parts", "a part of the index for each exposure", came) from err
    if not {"inputs", "shards"} <= set(metadata):
        came = f"none for exposure {key}; prepare the store again"
        raise StoreError(work / "parts", "digests of the shards", came)
    return metadata


def _rows(piece: _Piece) -> pl.DataFrame:
    """The exposure's rows of the index, without their number."""
    start = piece.number * piece.store.n_fiber
    return piece.store.index.slice(start, piece.store.n_fiber).drop("row")


def _copy_exposure(piece: _Piece, folder: Path, number: int) -> pl.DataFrame:
    copy_shards(piece.work, piece.number, folder, number)
    n_fiber = piece.store.n_fiber
    row = pl.int_range(number * n_fiber, (number + 1) * n_fiber, dtype=pl.Int64)
    rows = _rows(piece).with_columns(row=row).select(list(INDEX_SCHEMA))
    part = folder / "parts" / find_part(piece.work, piece.key).name
    metadata = {name: piece.metadata[name] for name in ("inputs", "shards")}
    try:
        with atomic_write(part) as partial:
            rows.write_parquet(partial, metadata=metadata)
    except OSError as err:
        raise cannot_write(part, err) from err
    return rows
