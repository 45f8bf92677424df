"""Tables as Markdown: of a benchmark set, and any other."""

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from drcnet.dataset.split import split_digest
from drcnet.dataset.table1 import cell_text, mix_of

__all__ = ["markdown", "mix_text", "pooled_text", "splits_text"]


def markdown(table: pl.DataFrame) -> str:
    """Write a table as Markdown.

    Parameters
    ----------
    table : DataFrame
        Any.

    Returns
    -------
    str
        One line a row; numbers with three digits after the point where they are not whole.
    """

    def cell(value: Any) -> str:
        return f"{value:.3f}" if isinstance(value, float) else str(value)

    lines = ["| " + " | ".join(table.columns) + " |", "|---" * len(table.columns) + "|"]
    lines += ["| " + " | ".join(cell(v) for v in row) + " |" for row in table.iter_rows()]
    return "\n".join(lines) + "\n"


def mix_text(usable: pl.DataFrame) -> str:
    """Give rows, stars and share of each source in each class.

    Parameters
    ----------
    usable : DataFrame
        Rows of an index with star, class and source.

    Returns
    -------
    str
        A Markdown table: a line a source, and one of all.
    """
    mix = mix_of(usable)
    classes = sorted(set(mix["class"]))
    lines = ["| source | " + " | ".join(classes) + " |", "|---" * (len(classes) + 1) + "|"]
    for source in sorted(set(mix["source"])):
        cells = [source or "(none)"]
        for name in classes:
            here = mix.filter((pl.col("class") == name) & (pl.col("source") == source))
            told = [f"{r} rows, {s} stars, {x:.1%}" for _, _, r, s, x in here.iter_rows()]
            cells.append(told[0] if told else "0")
        lines.append("| " + " | ".join(cells) + " |")
    total = [
        f"{len(h)} rows, {h['star'].n_unique()} stars, {len(h) / len(usable):.1%}"
        for h in (usable.filter(pl.col("class") == name) for name in classes)
    ]
    lines.append("| " + " | ".join(["all", *total]) + " |")
    return "\n".join(lines)


def splits_text(folds: Mapping[int, pl.DataFrame], intervals: tuple[str, ...]) -> str:
    """Give the rows, stars and classes of every fold's parts in one table.

    Parameters
    ----------
    folds : mapping of int to DataFrame
        Fold to its split.
    intervals : tuple of str
        Names of the S/N intervals, the lowest first.

    Returns
    -------
    str
        A Markdown table: a line a fold, with its digest; tests by interval.
    """
    wanted: list[tuple[str, str | None]] = [("train", None), ("validation", None)]
    wanted += [("test", name) for name in reversed(intervals)]
    head = ["fold", "digest", *(" ".join(filter(None, pair)) for pair in wanted)]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for fold, split in folds.items():
        classes = sorted(set(split["class"]))
        cells = [str(fold), f"`{split_digest(split)}`"]
        for part, interval in wanted:
            here = split.filter(pl.col("part") == part)
            if interval is not None:
                here = here.filter(pl.col("interval") == interval)
            cells.append(cell_text(here, classes))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def pooled_text(folds: Iterable[pl.DataFrame], intervals: tuple[str, ...]) -> str:
    """Count the test rows of all folds by interval.

    Parameters
    ----------
    folds : iterable of DataFrame
        The splits.
    intervals : tuple of str
        Names of the S/N intervals, the lowest first.

    Returns
    -------
    str
        A Markdown table: a line an interval, with its rows, stars and rows a class.
    """
    tested = pl.concat(split.filter(pl.col("part") == "test") for split in folds)
    classes = sorted(set(tested["class"]))
    lines = ["| S/N | rows | stars | " + " | ".join(classes) + " |"]
    lines.append("|---" * (3 + len(classes)) + "|")
    for name in reversed(intervals):
        here = tested.filter(pl.col("interval") == name)
        counts = [int((here["class"] == one).sum()) for one in classes]
        cells = [name, len(here), here["star"].n_unique(), *counts]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines)
