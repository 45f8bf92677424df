"""Is a store whole? Every shard is read, and held to its digest, the index and the split."""

import json
from pathlib import Path

import numpy as np
import polars as pl

from drcnet.dataset.index import INDEX_SCHEMA
from drcnet.dataset.pools import pool_of
from drcnet.dataset.remote import RemotePath
from drcnet.dataset.split import read_split, split_digest
from drcnet.dataset.store import (
    ARMS,
    ARRAYS,
    Progress,
    Store,
    open_store,
    shard_digests,
    shard_path,
)
from drcnet.errors import StoreError
from drcnet.stripes.flags import FiberFlag

__all__ = ["check_store", "recorded_digests"]


def check_store(work: Path, *, progress: Progress | None = None) -> tuple[str, ...]:
    """Look for what is wrong with a finished store.

    Parameters
    ----------
    work : Path
        The work folder.
    progress : callable, optional
        Called as progress('check', exposures done, exposures in all).

    Returns
    -------
    tuple of str
        One line a fault; empty where there is none.

    Raises
    ------
    StoreError
        There is no finished store to look into, or it is at a URL.
    """
    store = open_store(work)
    if isinstance(store.work, RemotePath):
        raise StoreError(work, "a folder (digests are checked where the files lie)", "a URL")
    faults = _index_faults(store)
    if faults:
        return tuple(faults)
    for number, key in enumerate(store.exposures):
        faults += _digest_faults(store.work, number, key)
        faults += _exposure_faults(store, store.work, number)
        if progress is not None:
            progress("check", number + 1, len(store.exposures))
    return (*faults, *_split_faults(store, store.work))


def recorded_digests(work: Path, key: str) -> dict[str, str] | None:
    """Give the digests that the writer of an exposure recorded.

    Parameters
    ----------
    work : Path
        The work folder.
    key : str
        The exposure.

    Returns
    -------
    dict of str to str, or None
        'ARM/ARRAY' to digest; None where its part is absent or recorded none.
    """
    for part in sorted((work / "parts").glob(f"{key}.*.parquet")):
        try:
            found = pl.read_parquet_metadata(part).get("shards")
        except (OSError, pl.exceptions.PolarsError):
            return None
        return None if found is None else dict(json.loads(found))
    return None


def _index_faults(store: Store) -> list[str]:
    index = store.index
    wrong = [name for name, dtype in INDEX_SCHEMA.items() if index.schema.get(name) != dtype]
    if wrong:
        return [f"index.parquet: columns absent or of another type: {', '.join(wrong)}"]
    faults = []
    if index["row"].to_list() != list(range(len(index))):
        faults.append("index.parquet: rows are not numbered 0, 1, 2, ...")
    wanted = [key for key in store.exposures for _ in range(store.n_fiber)]
    if index["exposure"].to_list() != wanted:
        faults.append("index.parquet: exposures do not stand in the order of the arrays")
    misplaced = index.filter(pl.col("pool") != pool_of())["row"].to_list()
    if misplaced:
        faults.append(f"index.parquet: rows in a wrong pool, the first is {misplaced[0]}")
    return faults


def _digest_faults(work: Path, number: int, key: str) -> list[str]:
    """Shards that are not, byte by byte, those that were written."""
    recorded = recorded_digests(work, key)
    if recorded is None:
        return [f"exposure {key}: no digests of its shards in parts/"]
    found = shard_digests(work, number)
    names = sorted(recorded.keys() | found.keys())
    changed = [name for name in names if recorded.get(name) != found.get(name)]
    if not changed:
        return []
    return [f"exposure {key}: shards that are not those written: {', '.join(changed)}"]


def _exposure_faults(store: Store, work: Path, number: int) -> list[str]:
    """Shards that are absent, cannot be read, or are empty where the index sees a star."""
    key = store.exposures[number]
    rows = np.arange(number * store.n_fiber, (number + 1) * store.n_fiber)
    here = store.index[rows.tolist()]
    complete = (here["flags"] & int(FiberFlag.ARM_MISSING) == 0).all()
    faults = []
    for name in ARRAYS:
        absent = [arm for arm in ARMS if not shard_path(work, arm, name, number).is_file()]
        # An array of nothing but its fill value has no file, and needs none.
        if complete and absent and name == "stripes" and here["usable"].any():
            faults.append(f"exposure {key}: no stripes of {' and '.join(absent)}")
        try:
            values = store.read(name, rows)
        except StoreError as err:
            faults.append(f"exposure {key}: {err}")
            continue
        if name in ("stripes", "box", "optimal"):
            dark = ~np.isfinite(values).reshape(len(rows), len(ARMS), -1).any(axis=2).all(axis=1)
            lost = here.filter(pl.col("usable") & pl.Series(dark))["fiberid"].to_list()
            if lost:
                faults.append(f"exposure {key}: usable fibres without {name}: {lost}")
    return faults


def _split_faults(store: Store, work: Path) -> list[str]:
    try:
        split = read_split(work)
    except StoreError as err:
        return [str(err)]
    faults = []
    recorded = store.provenance.get("split_digest")
    if split_digest(split) != recorded:
        faults.append(f"split.parquet: its digest is not the recorded one, {recorded}")
    named = split.join(store.index.select("row", "star", "class"), on="row", how="left")
    if not (named["star"].eq_missing(named["star_right"]).all()):
        faults.append("split.parquet: stars are not those of the index")
    strangers = set(split["row"]) - set(store.index.filter("usable")["row"])
    if strangers:
        faults.append(f"split.parquet: {len(strangers)} rows that are not usable")
    return faults
