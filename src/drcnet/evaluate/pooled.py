"""Several seeds as one line: their test rows together, and how far the seeds lie apart."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from drcnet.config import EvaluateSettings
from drcnet.evaluate.metrics import score_run
from drcnet.evaluate.runs import Run, order_intervals

__all__ = ["group_seeds", "pool_runs", "pooled_table"]


def group_seeds(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Find runs that differ in nothing but their seed.

    Parameters
    ----------
    runs : sequence of Run
        Any runs.

    Returns
    -------
    dict of str to list of Run
        Two or more runs of one model, one split and the same settings, by the name that they
        share (without a last '-s3' or the like). Runs without a card stand alone and are left
        out, and so does a seed that is there twice.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if run.card:
            groups.setdefault(_recipe(run), []).append(run)
    found = {}
    for group in groups.values():
        if len({run.card.get("seed") for run in group}) == len(group) > 1:
            name = re.sub(r"[-_.]?s(eed)?[-_]?\d+$", "", group[0].name) or group[0].name
            found[name if name not in found else group[0].name] = group
    return found


def pool_runs(
    runs: Sequence[Run], name: str, settings: EvaluateSettings, intervals: Sequence[str] = ()
) -> pl.DataFrame:
    """Score runs of one recipe together: seeds average, folds add up.

    Parameters
    ----------
    runs : sequence of Run
        Of the same classes.
    name : str
        Of the line.
    settings : EvaluateSettings
        Bootstrap draws, coverage of the intervals, seed.
    intervals : sequence of str
        S/N intervals; none: those of the test rows.

    Returns
    -------
    DataFrame
        One row an interval and 'all': `line`, `n_runs`, `interval`, `n_rows` (of one seed),
        `n_stars`, `accuracy` with `_low` and `_high` (bootstrap over stars: a star seen under two
        seeds is drawn once, with both answers), `spread` (standard deviation over the runs; null
        for one), `majority`. The interval is about the stars; what other seeds would give is
        the spread's to say.
    """
    together = replace(
        runs[0],
        name=name,
        folder=Path(name),
        predictions=pl.concat([run.predictions for run in runs], how="vertical_relaxed"),
        calibration=None,
    )
    names = order_intervals(intervals or together.tested["interval"].unique())
    lines = []
    for cell in score_run(together, settings, names).scores.iter_rows(named=True):
        interval = cell["interval"]
        rows = together.tested
        rows = rows if interval == "all" else rows.filter(pl.col("interval") == interval)
        kept = ("n_stars", "accuracy", "accuracy_low", "accuracy_high")
        lines.append(
            {"line": name, "n_runs": len(runs), "interval": interval}
            | {"n_rows": rows["row"].n_unique()}
            | {key: cell[key] for key in kept}
            | {"spread": _spread(runs, interval), "majority": cell["majority"]}
        )
    return pl.DataFrame(lines, schema_overrides={"spread": pl.Float64})


def pooled_table(
    runs: Sequence[Run], settings: EvaluateSettings, intervals: Sequence[str] = ()
) -> pl.DataFrame:
    """Pool the runs that differ in their seed only.

    Parameters
    ----------
    runs : sequence of Run
        Any runs.
    settings : EvaluateSettings
        As for `pool_runs`.
    intervals : sequence of str
        As for `pool_runs`.

    Returns
    -------
    DataFrame
        As in `pool_runs`; empty where no two runs are alike.
    """
    groups = group_seeds(runs)
    parts = [pool_runs(group, name, settings, intervals) for name, group in groups.items()]
    return pl.concat(parts) if parts else pl.DataFrame()


def _recipe(run: Run) -> str:
    """Everything that makes a run but its seed."""
    card = {
        name: run.card.get(name) for name in ("model", "options", "view", "normalize", "split")
    }
    settings = {name: value for name, value in run.settings.items() if name != "seed"}
    rows = sorted(run.tested["row"].to_list())
    return json.dumps([card, settings, run.classes, rows], sort_keys=True, default=str)


def _spread(runs: Sequence[Run], interval: str) -> float | None:
    right = pl.col("class") == pl.col("predicted")
    inside = pl.lit(value=True) if interval == "all" else pl.col("interval") == interval
    values = [run.tested.filter(inside).select(right.mean()).item() for run in runs]
    known = pl.Series(values, dtype=pl.Float64).drop_nulls()
    return float(known.std()) if len(known) > 1 else None  # type: ignore[arg-type]
