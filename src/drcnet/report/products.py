"""What other commands left in a run folder for the page: robustness, saliency, doubt."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from drcnet.errors import RunError
from drcnet.evaluate.evaluate import Evaluation
from drcnet.evaluate.runs import Run, order_intervals
from drcnet.report import charts, maps, story

__all__ = [
    "doubt_section",
    "looked_at",
    "read_product",
    "robustness_section",
    "saliency_section",
]

_SHOWN_LINES = 8


def robustness_section(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Everything about the runs that were disturbed.

    Parameters
    ----------
    runs : sequence of Run
        The page's.

    Returns
    -------
    list of dict
        `name`, `charts` (HTML), `rows` (of all S/N), `runs` (it and its baselines), `repeats`.
    """
    found = []
    for run in runs:
        table = read_product(run.folder / "robustness.parquet", "disturbance")
        if table is None:
            continue
        whole = table.filter(pl.col("interval") == "all")
        names = whole["run"].unique(maintain_order=True).to_list()
        names = [run.name, *(name for name in names if name != run.name)]
        kinds = whole["disturbance"].unique(maintain_order=True).to_list()
        drawn = [kind for kind in kinds if kind not in ("none", "repeats")]
        mine = whole.filter(pl.col("run") == run.name)
        found.append(
            {
                "name": run.name,
                "runs": names,
                "charts": [charts.level_chart(whole, kind, names) for kind in drawn],
                "rows": mine.filter(pl.col("disturbance") != "repeats").to_dicts(),
                "repeats": _repeats(table, names),
                "n_rows": int(mine["n_rows"].max() or 0),  # type: ignore[arg-type]
            }
        )
    return found


def saliency_section(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Everything about the runs that were looked into.

    Parameters
    ----------
    runs : sequence of Run
        The page's.

    Returns
    -------
    list of dict
        `name`, `maps` (all S/N) and `by_interval` (HTML by class), `lines`, `check`, `aperture`,
        `weights` (HTML; empty where the model has none).
    """
    found = []
    for run in runs:
        table = read_product(run.folder / "saliency.parquet", "importance")
        if table is None:
            continue
        lines = read_product(run.folder / "saliency_lines.ecsv", "times")
        check = read_product(run.folder / "saliency_check.ecsv", "evidence")
        aperture = read_product(run.folder / "aperture.parquet", "weight")
        weights = read_product(run.folder / "weights.parquet", "wavelength")
        intervals = order_intervals(set(table["interval"]) - {"all"})
        found.append(
            {
                "name": run.name,
                "n_rows": int(table.filter(pl.col("class") == "all")["n_rows"].max() or 0),  # type: ignore[arg-type]
                "maps": maps.importance_maps(table, "all"),
                "by_interval": [
                    {"interval": name, "maps": maps.importance_maps(table, name, join=3)}
                    for name in intervals
                    if len(table.filter(pl.col("interval") == name))
                ],
                "lines": _top_lines(lines),
                "check": _agreement(check),
                "aperture": [] if aperture is None else maps.aperture_charts(aperture),
                "weights": "" if weights is None else maps.weight_maps(weights),
            }
        )
    return found


def looked_at(run: Run) -> pl.DataFrame | None:
    """Read the single stars that a run was looked into with.

    Parameters
    ----------
    run : Run
        A run.

    Returns
    -------
    DataFrame or None
        As in `drcnet.saliency.stars.star_maps`; None where there are none.
    """
    return read_product(run.folder / "saliency_stars.parquet", "evidence")


def doubt_section(evaluation: Evaluation) -> dict[str, Any] | None:
    """How true probabilities are, what prediction sets keep, and what refusing buys.

    Parameters
    ----------
    evaluation : Evaluation
        The numbers.

    Returns
    -------
    dict or None
        `rows` (calibrated runs by interval), `reliability` (by run a chart an interval, before
        and after calibration), `risk` (a chart of all runs); None where no run gives
        probabilities.
    """
    if evaluation.risk.is_empty():
        return None
    calibrated = [run.name for run in evaluation.runs if run.calibration is not None]
    rows = evaluation.doubt.filter(pl.col("run").is_in(calibrated) & (pl.col("n_rows") > 0))
    after = evaluation.reliability_calibrated
    return {
        "rows": rows.to_dicts(),
        "runs": calibrated,
        "missing": [run.name for run in evaluation.runs if run.name not in calibrated],
        "reliability": {
            name: [
                charts.before_after_chart(
                    evaluation.reliability.filter(mine), after.filter(mine), i
                )
                for i in order_intervals(set(evaluation.reliability["interval"]) - {"all"})
            ]
            for name, mine in ((name, pl.col("run") == name) for name in calibrated)
        },
        "risk": charts.risk_chart(evaluation.risk, story.drawn_runs(evaluation)),
        "outsiders": _outsiders(evaluation.runs),
    }


def _outsiders(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """What strangers were called, of the runs that were shown some."""
    found = []
    for run in runs:
        table = read_product(run.folder / "outsiders.ecsv", "rejected")
        found += [] if table is None else [{"run": run.name} | row for row in table.to_dicts()]
    return found


def _repeats(table: pl.DataFrame, names: Sequence[str]) -> list[dict[str, Any]]:
    """Agreement of a star's rows: one line a run, one cell an interval."""
    rows = table.filter(pl.col("disturbance") == "repeats")
    intervals = [*order_intervals(set(rows["interval"]) - {"all"}), "all"]
    lines = []
    for name in names:
        mine = {r["interval"]: r for r in rows.filter(pl.col("run") == name).to_dicts()}
        if mine:
            cells = [mine.get(interval) for interval in intervals]
            lines.append({"name": name, "intervals": intervals, "cells": cells})
    return lines


def _top_lines(lines: pl.DataFrame | None) -> list[dict[str, Any]]:
    if lines is None:
        return []
    whole = lines.filter((pl.col("interval") == "all") & (pl.col("class") == "all"))
    return whole.sort("times", descending=True).head(_SHOWN_LINES).to_dicts()


def _agreement(check: pl.DataFrame | None) -> dict[str, Any] | None:
    if check is None or check.is_empty():
        return None
    size = {name: float(check[name].abs().max()) for name in ("evidence", "importance")}  # type: ignore[arg-type]
    return {"n": len(check), **size}


def read_product(path: Path, column: str) -> pl.DataFrame | None:
    """Read a table that a command left in a run folder.

    Parameters
    ----------
    path : Path
        A Parquet or ECSV file.
    column : str
        A column that it must have.

    Returns
    -------
    DataFrame or None
        None where the command was not run.

    Raises
    ------
    RunError
        It cannot be read, or lacks the column.
    """
    if not path.is_file():
        return None
    try:
        table = pl.read_parquet(path) if path.suffix == ".parquet" else _read_ecsv(path)
    except (OSError, ValueError, pl.exceptions.PolarsError) as err:
        raise RunError(path, "a readable table", (str(err).splitlines() or ["damage"])[0]) from err
    if column not in table.columns:
        raise RunError(path, f"a column '{column}'", ", ".join(table.columns))
    return table


def _read_ecsv(path: Path) -> pl.DataFrame:
    from astropy.table import Table  # noqa: PLC0415

    table = Table.read(path, format="ascii.ecsv")
    return pl.DataFrame({name: table[name].tolist() for name in table.colnames})
