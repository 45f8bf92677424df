"""A table of predictions from anywhere becomes a run that is judged like ours."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from drcnet.dataset.split import read_split, split_digest, split_file
from drcnet.dataset.store import Store, open_store
from drcnet.errors import CatalogError, RunError
from drcnet.frames.catalog_readers import scan_table
from drcnet.provenance import atomic_write, digest, file_digest, make_provenance

__all__ = ["import_predictions"]

_IDS: Mapping[str, tuple[str, ...]] = {
    "row": ("row",),
    "obsid": ("obsid",),
    "exposure and fiberid": ("exposure", "fiberid"),
    "star": ("star",),
}
_NUMBERS = ("row", "fiberid")
_SEQUENCE = tuple("OBAFGKM")
_ABSENT = ("", "none", "null", "nan", "unknown", "unclassified")


def import_predictions(
    path: Path, run: Path, work: Path, *, split: str | None = None, model: str | None = None
) -> Path:
    """Turn a table of predictions into a run folder.

    Parameters
    ----------
    path : Path
        CSV, FITS, VOTable, ECSV or Parquet. One column says which: `row` (of the index), else
        `obsid`, else `exposure` and `fiberid`, else `star` (then every visit gets that answer).
        `class` (or `predicted`) is the answer; `p_CLASS` a class are its probabilities, which
        may be absent, and give the answer where it has no column.
    run : Path
        Folder to make; an older table's is replaced, a trained run's is not.
    work : Path
        The work folder with the stars.
    split : str, optional
        Split file, also as named inside `work`; none: its split.parquet.
    model : str, optional
        What the classifier is called; the folder's name if not given.

    Returns
    -------
    Path
        `run`, with `predictions.parquet` as docs/conventions.md has it. Every test row must be
        in the table; rows of other parts may be. An answer that is another class of the sequence
        O B A F G K M, or is empty or 'unclassified', is a wrong answer, not a missing one.

    Raises
    ------
    RunError
        The table cannot be read, has no identifier or answer, names fibres that the store does
        not have or one twice, a test row is missing, a class is none, or probabilities are no
        probabilities.
    StoreError
        The store or the split cannot be read.
    """
    path, run = Path(path), Path(run)
    if (run / "card.json").exists():
        raise RunError(run, "a new folder, or one of an earlier table", "a trained run")
    store = open_store(work)
    parts = read_split(split_file(Path(work), split))
    table = _read(path)
    classes = tuple(sorted(parts["class"].unique()))
    if isinstance(store.provenance.get("settings"), dict):
        prepared = store.provenance["settings"].get("prepare", {})
        classes = tuple(prepared.get("classes", classes))
    answers = _answers(path, table, classes)
    found = _match(path, table, answers, store)
    used = parts.filter(pl.col("part").is_in(["train", "validation", "test"]))
    _all_tested(path, used, found)
    subclass = store.index.select(pl.col("row").cast(parts["row"].dtype), "subclass")
    rows = used.join(found, on="row", how="inner").join(subclass, on="row", how="left")
    keep = ("row", "star", "class", "subclass", "snrr", "interval", "part", "predicted")
    rows = rows.select(*keep, *(c for c in found.columns if c.startswith("p_"))).sort("row")
    inputs = {
        "predictions": file_digest(path),
        "split": split_digest(parts),
        "store": digest(store.provenance),
    }
    origin = make_provenance({"model": model or run.name, "table": path.name}, inputs=inputs)
    with atomic_write(run / "predictions.parquet") as target:
        rows.write_parquet(target, metadata={"drcnet": json.dumps(origin)})
    with atomic_write(run / "settings.toml") as target:
        target.write_text(f"model = {json.dumps(model or run.name)}\n", encoding="utf-8")
    return run


def _read(path: Path) -> pl.DataFrame:
    try:
        return scan_table(path).collect()
    except CatalogError as err:
        wanted = err.wanted.replace("a catalogue", "a table of predictions")
        raise RunError(path, wanted, err.came) from err
    except pl.exceptions.PolarsError as err:
        raise RunError(path, "a readable table", (str(err).splitlines() or ["damage"])[0]) from err


def _answers(path: Path, table: pl.DataFrame, classes: tuple[str, ...]) -> pl.DataFrame:
    """Predicted class and probabilities, checked; rows as in the table."""
    names = {name: f"p_{name.lower()}" for name in classes}
    there = [name for name, column in names.items() if column in table.columns]
    if there and len(there) < len(classes):
        missing = ", ".join(f"p_{c}" for c in classes if c not in there)
        raise RunError(path, f"a probability for each of {', '.join(classes)}", f"no {missing}")
    columns = [
        _number(path, table, column).alias(f"p_{name}") for name, column in names.items() if there
    ]
    answer = next((name for name in ("predicted", "class") if name in table.columns), None)
    if answer is None and not there:
        raise RunError(path, "a column class, predicted or p_CLASS", ", ".join(table.columns))
    if columns:
        _check_probabilities(path, pl.DataFrame(columns).to_numpy())
    if answer is not None:
        return pl.DataFrame([_named(path, table[answer], classes), *columns])
    best = np.nan_to_num(pl.DataFrame(columns).to_numpy(), nan=-1).argmax(axis=1)
    return pl.DataFrame([pl.Series("predicted", np.array(classes)[best].tolist()), *columns])


def _named(path: Path, answer: pl.Series, classes: tuple[str, ...]) -> pl.Series:
    text = answer.cast(pl.String).fill_null("").str.strip_chars()
    text = pl.Series(["" if t.lower() in _ABSENT else t for t in text], dtype=pl.String)
    strange = sorted(set(text) - {*classes, *_SEQUENCE, ""})
    if strange:
        wanted = f"classes {', '.join(classes)} (or O B A F G K M, or 'unclassified')"
        raise RunError(path, wanted, f"{strange[0]!r} in {int((text == strange[0]).sum())} rows")
    return text.alias("predicted")


def _check_probabilities(path: Path, p: Any) -> None:
    known = np.isfinite(p).all(axis=1)
    outside = known & ((p < -1e-6).any(axis=1) | (np.abs(p.sum(axis=1) - 1) > 1e-3))
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        came = f"{np.round(p[first], 3).tolist()} in line {first + 1} of the table"
        raise RunError(path, "probabilities that are not negative and sum to 1", came)


def _number(path: Path, table: pl.DataFrame, name: str) -> pl.Series:
    whole = name in _NUMBERS
    column = table[name].cast(pl.Int64 if whole else pl.Float64, strict=False)
    bad = column.is_null() & table[name].is_not_null()
    if bad.any():
        what = "whole numbers" if whole else "numbers"
        raise RunError(path, f"{what} in the column {name}", repr(table[name].filter(bad)[0]))
    return column


def _match(path: Path, table: pl.DataFrame, answers: pl.DataFrame, store: Store) -> pl.DataFrame:
    """Answers by row of the store."""
    kind = next((k for k, names in _IDS.items() if set(names) <= set(table.columns)), None)
    if kind is None:
        raise RunError(path, f"a column {', or '.join(_IDS)}", ", ".join(table.columns))
    names = list(_IDS[kind])
    keys = [
        _number(path, table, name) if name in _NUMBERS else table[name].cast(pl.String)
        for name in names
    ]
    given = answers.hstack(keys)
    if given.select(names).is_duplicated().any():
        twice = given.filter(given.select(names).is_duplicated()).select(names).row(0)
        raise RunError(path, f"every {kind} once", f"{_spell(twice)} more than once")
    index = store.index.select(
        pl.col("row").cast(pl.Int64).alias("store_row"),
        *(pl.col(n).cast(pl.Int64 if n in _NUMBERS else pl.String) for n in names),
    )
    strange = given.join(index, on=names, how="anti")
    if len(strange):
        came = f"{len(strange)} others, the first {_spell(strange.select(names).row(0))}"
        raise RunError(path, f"only {kind} of the store {store.work}", came)
    found = given.join(index, on=names, how="inner")
    kept = [pl.col(name) for name in answers.columns]
    return found.select(pl.col("store_row").alias("row"), *kept)


def _all_tested(path: Path, parts: pl.DataFrame, found: pl.DataFrame) -> None:
    tested = parts.filter(pl.col("part") == "test")
    missing = tested.join(found, on="row", how="anti").sort("row")
    if len(missing):
        first = missing.row(0, named=True)
        came = f"none for {len(missing)}, the first row {first['row']} (star {first['star']})"
        raise RunError(path, f"an answer for each of {len(tested)} test rows", came)


def _spell(values: tuple[Any, ...]) -> str:
    return " ".join(map(str, values))
