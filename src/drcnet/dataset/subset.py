"""Some rows of a store as a store of their own.

A store has one row a fibre, so the rows that are not taken stay as rows without light, label or
name; exposures of which no row is taken are left out. Parts of the split stay what they were.
"""

import json
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars import selectors

from drcnet.dataset.index import INDEX_SCHEMA
from drcnet.dataset.merge import Derived, copy_shards, finish_store, open_local
from drcnet.dataset.pools import NOT_TAKEN
from drcnet.dataset.shards import ARMS, ARRAYS, shard_path
from drcnet.dataset.split import PARTS, read_split
from drcnet.dataset.store import (
    Progress,
    Store,
    create_like,
    open_arrays,
    shard_digests,
    write_exposure,
)
from drcnet.dataset.tasks import find_part
from drcnet.dataset.writing import cannot_write, new_folder
from drcnet.errors import StoreError
from drcnet.provenance import atomic_write, digest, make_provenance

__all__ = ["parse_rows", "subset_store"]


def parse_rows(text: str) -> NDArray[np.int64]:
    """Read row numbers as people write them.

    Parameters
    ----------
    text : str
        Numbers and ranges with both ends, as '0-99,250'.

    Returns
    -------
    ndarray of int64, shape (n,)
        Increasing, each once.

    Raises
    ------
    StoreError
        It is something else.

    Examples
    --------
    >>> parse_rows("7, 0-2").tolist()
    [0, 1, 2, 7]
    """
    rows: set[int] = set()
    for piece in text.split(","):
        first, dash, last = (word.strip() for word in piece.partition("-"))
        if not first.isdecimal() or (dash and not (last.isdecimal() and int(last) >= int(first))):
            raise StoreError("rows", "numbers and ranges, as '0-99,250'", repr(piece))
        rows.update(range(int(first), int(last or first) + 1))
    return np.array(sorted(rows), dtype=np.int64)


def subset_store(
    source: Path,
    out: Path,
    *,
    where: str | None = None,
    rows: NDArray[np.int64] | None = None,
    part: str | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> Derived:
    """Copy the rows that meet every condition given.

    Parameters
    ----------
    source : Path
        A finished work folder.
    out : Path
        The new work folder.
    where : str, optional
        A condition on the index, as SQL: "snrr > 30 and class = 'F'".
    rows : ndarray of int64, optional
        Row numbers.
    part : str, optional
        A part of the split.
    progress : callable, optional
        Called as progress('subset', exposures done, exposures in all).
    overwrite : bool
        Replace what is at `out`.

    Returns
    -------
    Derived
        Counts.

    Raises
    ------
    StoreError
        No condition is given or no row meets them, a condition cannot be understood, or the
        store cannot be read or written.
    """
    store = open_local(source)
    split = read_split(Path(store.work))
    taken = _taken(store, split, where=where, rows=rows, part=part)
    conditions = {"where": where, "rows": _named(rows), "part": part}
    by_exposure = taken.reshape(len(store.exposures), store.n_fiber)
    numbers = np.flatnonzero(by_exposure.any(axis=1))
    keys = [store.exposures[number] for number in numbers]
    settings = {k: v for k, v in store.provenance["settings"].items() if k != "merged"} | {
        "exposures": keys,
        "subset": {"of": digest(store.provenance), **conditions},
    }
    origin = make_provenance(
        settings, inputs=store.provenance.get("inputs"), seed=store.provenance.get("seed")
    )
    with new_folder(out, overwrite=overwrite) as folder:
        create_like(folder, store, keys, origin)
        tables = []
        for place, number in enumerate(numbers.tolist()):
            tables.append(_copy_exposure(store, folder, (number, place), by_exposure[number]))
            if progress is not None:
                progress("subset", place + 1, len(numbers))
        index = pl.concat(tables)
        moved = _moved(split, store.n_fiber, numbers).filter(
            pl.col("row").is_in(index.filter("usable")["row"].implode())
        )
        name = finish_store(folder, index, moved, origin)
    return Derived(Path(out), len(keys), len(index), int(index["usable"].sum()), 0, name)


def _named(rows: NDArray[np.int64] | None) -> str | None:
    return None if rows is None else digest(np.asarray(rows).tolist())


def _taken(
    store: Store,
    split: pl.DataFrame,
    *,
    where: str | None,
    rows: NDArray[np.int64] | None,
    part: str | None,
) -> NDArray[np.bool_]:
    """Which rows meet every condition, shape (rows,)."""
    n_row = len(store.index)
    taken = np.ones(n_row, bool)
    if where is None and rows is None and part is None:
        raise StoreError("subset", "a condition: where, rows or part", "none")
    if where is not None:
        taken &= _meeting(store.index, where)
    if rows is not None:
        numbers = np.asarray(rows, np.int64)
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < n_row:
            came = f"rows {numbers.min()} to {numbers.max()}"
            raise StoreError(store.work, f"rows in [0, {n_row})", came)
        taken &= np.isin(np.arange(n_row), numbers)
    if part is not None:
        if part not in PARTS:
            raise StoreError("part", f"one of {', '.join(PARTS)}", repr(part))
        taken &= np.isin(np.arange(n_row), split.filter(pl.col("part") == part)["row"].to_numpy())
    if not taken.any():
        raise StoreError(store.work, "rows that meet the conditions", "none")
    return taken


def _meeting(index: pl.DataFrame, where: str) -> NDArray[np.bool_]:
    known = index.with_columns(selectors.float().fill_nan(None))  # NaN would exceed every limit
    try:
        met = known.select(pl.sql_expr(where).alias("met"))["met"]
    except pl.exceptions.PolarsError as err:
        came = f"{where!r} ({str(err).strip().splitlines()[0]})"
        raise StoreError("where", "a condition on the index, as SQL", came) from err
    if met.dtype != pl.Boolean or len(met) != len(index):
        raise StoreError("where", "a condition that is true or false a row", repr(where))
    return np.asarray(met.fill_null(value=False).to_numpy())


def _moved(split: pl.DataFrame, n_fiber: int, numbers: NDArray[np.int64]) -> pl.DataFrame:
    """The split under the new row numbers; rows of exposures left out are gone."""
    places = pl.DataFrame({"number": numbers, "place": np.arange(len(numbers))})
    moved = split.with_columns(number=pl.col("row") // n_fiber).join(places, on="number")
    row = pl.col("place") * n_fiber + pl.col("row") % n_fiber
    return moved.with_columns(row=row.cast(pl.Int64)).select(split.columns).sort("row")


def _copy_exposure(
    store: Store, folder: Path, numbers: tuple[int, int], taken: NDArray[np.bool_]
) -> pl.DataFrame:
    """Copy one exposure, from the first to the second number; gives its rows of the index."""
    work, (number, place) = Path(store.work), numbers
    if taken.all():
        copy_shards(work, number, folder, place)
    else:
        _copy_some(store, folder, numbers, taken)
    n_fiber = store.n_fiber
    row = pl.int_range(place * n_fiber, (place + 1) * n_fiber, dtype=pl.Int64)
    rows = _blanked(store.index.slice(number * n_fiber, n_fiber), taken).with_columns(row=row)
    part = find_part(work, store.exposures[number])
    inputs = json.loads(pl.read_parquet_metadata(part)["inputs"])
    inputs |= {"number": place, "taken": digest(np.flatnonzero(taken).tolist())}
    metadata = {
        "inputs": json.dumps(inputs, sort_keys=True),
        "shards": json.dumps(shard_digests(folder, place), sort_keys=True),
    }
    target = folder / "parts" / f"{store.exposures[number]}.{digest(inputs)}.parquet"
    try:
        with atomic_write(target) as partial:
            rows.select(list(INDEX_SCHEMA)).write_parquet(partial, metadata=metadata)
    except OSError as err:
        raise cannot_write(target, err) from err
    return rows.select(list(INDEX_SCHEMA))


def _copy_some(
    store: Store, folder: Path, numbers: tuple[int, int], taken: NDArray[np.bool_]
) -> None:
    """Write the shards with nothing but fill values where a row is not taken."""
    work, (number, place) = Path(store.work), numbers
    group = open_arrays(work)
    block = slice(number * store.n_fiber, (number + 1) * store.n_fiber)
    for arm in ARMS:
        if not any(shard_path(work, arm, name, number).is_file() for name in ARRAYS):
            continue
        arrays = {}
        for name in ARRAYS:
            array = group[f"{arm}/{name}"]
            values = np.asarray(array[block]).copy()
            values[~taken] = array.fill_value
            arrays[name] = values
        write_exposure(folder, place, arm, arrays)


def _blanked(rows: pl.DataFrame, taken: NDArray[np.bool_]) -> pl.DataFrame:
    """Rows of an exposure, of which those not taken keep only their place."""
    kept = pl.Series(taken)
    empty = {"star": "", "class": "", "unlabelled": NOT_TAKEN, "reason": NOT_TAKEN}
    return rows.with_columns(
        *(
            pl.when(kept).then(name).otherwise(pl.lit(text)).alias(name)
            for name, text in empty.items()
        ),
        pl.when(kept).then("usable").otherwise(pl.lit(value=False)).alias("usable"),
        pl.when(kept).then("pool").otherwise(pl.lit("rejected")).alias("pool"),
    )
