"""What became of every row, as tables: the paper's Figures 3 and 4 and its Table 1."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from drcnet.config import SplitSettings
from drcnet.dataset.intervals import interval_names
from drcnet.dataset.pools import NOT_TAKEN
from drcnet.stripes.flags import MEANINGS, FiberFlag

__all__ = ["flag_table", "flow_table", "paper_table1", "snr_histogram"]

_SUBSET = "taken into this subset"
_UNSEEN = FiberFlag.DEAD | FiberFlag.TRACE_LOST | FiberFlag.OFF_CHIP
_PART_NAMES = {"train": "Train", "validation": "Validation", "test": "Test", "unused": "Unused"}


def flow_table(index: pl.DataFrame, split: pl.DataFrame) -> pl.DataFrame:
    """Count the rows at each step from fibres to parts, as Figure 4 draws it.

    Parameters
    ----------
    index : DataFrame
        The store's index.
    split : DataFrame
        Its split.

    Returns
    -------
    DataFrame
        Columns step, rows, stars (with a name), lost (rows of the step before that are not in
        this one; the parts are shares of 'with S/N' and lose nothing).
    """
    flags = pl.col("flags")
    known_snr = pl.col("snrr").is_not_null() & pl.col("snrr").is_not_nan()
    tests = {
        "fibres of all exposures": pl.lit(value=True),
        _SUBSET: pl.col("reason") != NOT_TAKEN,
        "both arms measured": (flags & int(FiberFlag.ARM_MISSING | FiberFlag.FRAME_REFUSED)) == 0,
        "fibre alive and on the chip": (flags & int(_UNSEEN)) == 0,
        "not on blank sky": (flags & int(FiberFlag.SKY_FIBER)) == 0,
        "in the catalogue": (flags & int(FiberFlag.NO_CATALOG)) == 0,
        "with a label": pl.col("usable"),
        "with S/N": known_snr,
    }
    steps, kept = [], index
    for step, test in tests.items():
        before, kept = len(kept), kept.filter(test)
        if step == _SUBSET and before == len(kept):
            continue
        steps.append(_step(step, kept, before - len(kept)))
    for part, name in _PART_NAMES.items():
        rows = split.filter((pl.col("part") == part) & known_snr)
        steps.append(_step(f"part: {name.lower()}", rows, 0))
    return pl.DataFrame(steps)


def _step(step: str, rows: pl.DataFrame, lost: int) -> dict[str, str | int]:
    named = rows.filter(pl.col("star") != "")
    if "flags" in named.columns:  # a position of blank sky has a name in some catalogues
        named = named.filter((pl.col("flags") & int(FiberFlag.SKY_FIBER)) == 0)
    stars = named["star"].n_unique()
    return {"step": step, "rows": len(rows), "stars": stars, "lost": lost}


def snr_histogram(
    index: pl.DataFrame, *, edges: Sequence[float] = (*range(0, 100, 10), 100.0)
) -> pl.DataFrame:
    """Count usable rows by S/N, as Figure 3 shows them.

    Parameters
    ----------
    index : DataFrame
        The store's index.
    edges : sequence of float
        Lower edges of the half-open bins, increasing; the last has no upper edge.

    Returns
    -------
    DataFrame
        Columns snrr (the bin's name), rows, then one a class. Rows below the first edge are in
        no bin; the last line, 'unknown', counts rows without an S/N.
    """
    usable = index.filter("usable")
    names = (*interval_names(tuple(edges)), "unknown")
    values = usable["snrr"].fill_null(float("nan")).to_numpy()
    place = np.searchsorted(np.asarray(edges, float), values, side="right") - 1
    place[np.isnan(values)] = len(names) - 1
    label = usable["class"].to_numpy()
    columns: dict[str, list[str] | list[int]] = {"snrr": list(names)}
    columns["rows"] = [int((place == k).sum()) for k in range(len(names))]
    for name in sorted(set(label.tolist())):
        columns[str(name)] = [
            int(((place == k) & (label == name)).sum()) for k in range(len(names))
        ]
    return pl.DataFrame(columns)


def paper_table1(split: pl.DataFrame, settings: SplitSettings) -> pl.DataFrame:
    """Lay the split out as the paper prints its Table 1, with the classes in every cell.

    Parameters
    ----------
    split : DataFrame
        As `make_split` returns it.
    settings : SplitSettings
        Gives the intervals.

    Returns
    -------
    DataFrame
        Column 'data set' (train, validation, test, and unused where there is such a row), then
        one column an interval, the highest first, holding texts like '605 (F 174 G 251 K 180)'.
        Rows without an S/N stand in the column 'no S/N', which is absent where there are none.
    """
    intervals = [*reversed(interval_names(settings.edges)), ""]
    counts = split.group_by("part", "interval", "class").agg(n=pl.len()).sort("class")
    cells = {
        (part, interval): " ".join(f"{name} {n}" for name, n in group.select("class", "n").rows())
        for (part, interval), group in counts.group_by("part", "interval", maintain_order=True)
    }
    totals = {
        (part, interval): n
        for part, interval, n in split.group_by("part", "interval").agg(n=pl.len()).rows()
    }
    lines = []
    for part, title in _PART_NAMES.items():
        if part == "unused" and not any(where[0] == part for where in totals):
            continue
        line = {"data set": title}
        for interval in intervals:
            total = totals.get((part, interval), 0)
            shares = cells.get((part, interval), "")
            line[interval or "no S/N"] = f"{total} ({shares})" if total else "0"
        lines.append(line)
    table = pl.DataFrame(lines)
    return table.drop("no S/N") if (table["no S/N"] == "0").all() else table


def flag_table(index: pl.DataFrame) -> pl.DataFrame:
    """Count the rows that bear each flag.

    Parameters
    ----------
    index : DataFrame
        The store's index.

    Returns
    -------
    DataFrame
        Columns flag, rows, meaning; only flags that some row bears.
    """
    counted = [
        {
            "flag": str(flag.name).lower(),
            "rows": int(((index["flags"] & int(flag)) != 0).sum()),
            "meaning": meaning,
        }
        for flag, meaning in MEANINGS.items()
    ]
    schema = {"flag": pl.String, "rows": pl.Int64, "meaning": pl.String}
    return pl.DataFrame(counted, schema=schema).filter(pl.col("rows") > 0)
