"""A split counted and printed as the paper's Table 1, with the classes in every cell."""

import polars as pl

from drcnet.dataset.split import split_digest

__all__ = ["cell_text", "describe_split", "mix_of", "table1_text"]

_NAMES = {"train": "Train data set", "validation": "Value data set", "test": "Test data set"}
"""The paper's names of the parts."""


def table1_text(split: pl.DataFrame, intervals: tuple[str, ...]) -> str:
    """Print a split as the paper prints Table 1.

    Parameters
    ----------
    split : DataFrame
        Columns star, class, interval, part.
    intervals : tuple of str
        Names of the intervals, the lowest first.

    Returns
    -------
    str
        A Markdown table, the highest interval first; in each cell the rows, the stars, and the
        rows of each class. A last line counts what no part uses.
    """
    classes = sorted(set(split["class"]))
    head = ["rows / stars (" + "/".join(classes) + ")"]
    head += [_header(name) for name in reversed(intervals)]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for part, title in _NAMES.items():
        here = split.filter(pl.col("part") == part)
        cells = [
            cell_text(here.filter(pl.col("interval") == i), classes) for i in reversed(intervals)
        ]
        lines.append("| " + " | ".join([title, *cells]) + " |")
    unused = split.filter(pl.col("part") == "unused")
    if len(unused):
        cells = [
            cell_text(unused.filter(pl.col("interval") == i), classes) for i in reversed(intervals)
        ]
        lines.append("| " + " | ".join(["(unused)", *cells]) + " |")
    return "\n".join(lines)


def _header(name: str) -> str:
    """The paper's way to write an interval."""
    if name.startswith(">"):
        return f"{name[1:]} <= S/N_R"
    low, high = name.split("-")
    return f"S/N_R < {high}" if float(low) == 0 else f"{low} <= S/N_R < {high}"


def cell_text(rows: pl.DataFrame, classes: list[str]) -> str:
    """Count rows, stars and classes in one cell.

    Parameters
    ----------
    rows : DataFrame
        Columns star and class.
    classes : list of str
        In the order of the counts.

    Returns
    -------
    str
        '605 / 172 (172/258/175)', or '0'.
    """
    if rows.is_empty():
        return "0"
    counts = "/".join(str((rows["class"] == name).sum()) for name in classes)
    return f"{len(rows)} / {rows['star'].n_unique()} ({counts})"


def describe_split(split: pl.DataFrame, intervals: tuple[str, ...]) -> str:
    """Say what a split is: digest, rows, stars and Table 1.

    Parameters
    ----------
    split : DataFrame
        As `make_split` returns it.
    intervals : tuple of str
        Names of the intervals, the lowest first.

    Returns
    -------
    str
        A few lines of text.
    """
    used = split.filter(pl.col("part") != "unused")
    first = (
        f"split {split_digest(split)}: {len(used)} of {len(split)} rows, "
        f"{used['star'].n_unique()} stars"
    )
    return f"{first}\n\n{table1_text(split, intervals)}"


def mix_of(rows: pl.DataFrame) -> pl.DataFrame:
    """Cross classes with sources.

    Parameters
    ----------
    rows : DataFrame
        Columns class, source and star; one row a row of the store.

    Returns
    -------
    DataFrame
        One row a class and source: rows, stars, and the source's `share` of the class's rows.
    """
    return (
        rows.group_by("class", "source")
        .agg(pl.len().alias("rows"), pl.col("star").n_unique().alias("stars"))
        .with_columns(share=pl.col("rows") / pl.col("rows").sum().over("class"))
        .sort("source", "class")
    )
