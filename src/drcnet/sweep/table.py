"""Finished runs as tables: one row a run, and one row a line of the sweep."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from drcnet.config import SweepSettings
from drcnet.evaluate.pooled import pool_runs
from drcnet.evaluate.runs import Run
from drcnet.models import MODELS
from drcnet.sweep.plan import Planned
from drcnet.train import TrainSummary

__all__ = ["Finished", "line_table", "run_table"]

_SEEN = (
    *("parameters", "operations", "epochs", "seconds", "cpu_seconds"),
    *("stars_per_second", "classified_per_second"),
)


@dataclass(frozen=True, eq=False)
class Finished:
    """One run of a sweep that is over, well or not.

    Parameters
    ----------
    run : Planned
        What was asked.
    read : Run or None
        Its folder; None where it failed.
    summary : TrainSummary or None
        What the training says of itself.
    error : str
        Why it failed; empty where it did not.
    """

    run: Planned
    read: Run | None = None
    summary: TrainSummary | None = None
    error: str = ""

    def describe(self) -> str:
        """Say in one line how it ended.

        Returns
        -------
        str
            For people.
        """
        return f"failed: {self.error}" if self.summary is None else self.summary.describe()


def run_table(finished: Sequence[Finished], settings: SweepSettings) -> pl.DataFrame:
    """Give one row a run.

    Parameters
    ----------
    finished : sequence of Finished
        In the order of the plan.
    settings : SweepSettings
        Gives bootstrap and margin.

    Returns
    -------
    DataFrame
        `run`, then the columns of `line_table`.
    """
    rows = [{"run": done.run.name} | _row([done], settings) for done in finished]
    return pl.DataFrame(_even(rows), infer_schema_length=None)


def line_table(finished: Sequence[Finished], settings: SweepSettings) -> pl.DataFrame:
    """Give one row a line: the test rows of its runs together, so folds add up and seeds average.

    Parameters
    ----------
    finished : sequence of Finished
        In the order of the plan.
    settings : SweepSettings
        Gives bootstrap and margin.

    Returns
    -------
    DataFrame
        `line`, `model`, `view`, `noise`, `runs` (finished) and `planned`; averages over the runs
        of `parameters`, `operations` (of one star, two a multiply-add), `epochs`, `seconds`,
        `cpu_seconds`, `stars_per_second` and `classified_per_second`; `stopped`; for each S/N
        interval I and 'all' `accuracy_I` with `_low` and `_high` (bootstrap over stars, so that a
        star seen under two seeds counts once), `majority_I`, `rows_I` (of one seed) and `spread_I`
        (standard deviation over the runs; null for one); `verdict`: 'ok', or 'failed' and why.
    """
    groups: dict[str, list[Finished]] = {}
    for done in finished:
        groups.setdefault(done.run.line, []).append(done)
    rows = [_row(group, settings) for group in groups.values()]
    return pl.DataFrame(_even(rows), infer_schema_length=None)


def _row(group: list[Finished], settings: SweepSettings) -> dict[str, Any]:
    first = group[0].run
    done = [one for one in group if one.read is not None]
    row: dict[str, Any] = {
        "line": first.line,
        "model": first.settings.model,
        "view": first.settings.view or MODELS[first.settings.model].view,
        "noise": first.settings.augment.noise,
        "runs": len(done),
        "planned": len(group),
    }
    seen = [one.read.card["training"] for one in done if one.read is not None]
    for name in _SEEN:
        values = [float(card[name]) for card in seen if name in card]
        row[name] = sum(values) / len(values) if values else None
    stops = dict.fromkeys(one.summary.stopped for one in done if one.summary is not None)
    row["stopped"] = ", ".join(stops)
    errors = "; ".join(dict.fromkeys(one.error for one in group if one.error))
    if not done:
        return row | {"verdict": f"failed: {errors}"}
    row |= _accuracy([one.read for one in done if one.read is not None], first.line, settings)
    return row | {"verdict": _verdict(row, done, errors, settings)}


def _accuracy(runs: list[Run], name: str, settings: SweepSettings) -> dict[str, Any]:
    """Score the rows of all runs together, and their spread."""
    row: dict[str, Any] = {}
    for cell in pool_runs(runs, name, settings.evaluate).iter_rows(named=True):
        interval = cell["interval"]
        for end in ("", "_low", "_high"):
            row[f"accuracy_{interval}{end}"] = cell[f"accuracy{end}"]
        row[f"majority_{interval}"] = cell["majority"]
        row[f"rows_{interval}"] = cell["n_rows"]
        row[f"spread_{interval}"] = cell["spread"]
    return row


def _verdict(
    row: dict[str, Any], done: list[Finished], errors: str, settings: SweepSettings
) -> str:
    """Say whether a line learnt anything where stars are bright, and if not, what hints at why."""
    if errors:
        return f"failed: {row['planned'] - row['runs']} of {row['planned']} runs: {errors}"
    names = [name.removeprefix("rows_") for name in row if name.startswith("rows_")]
    bright = next(name for name in names if row[f"rows_{name}"])  # the highest S/N that is tested
    lead = row[f"accuracy_{bright}"] - row[f"majority_{bright}"]
    if lead >= settings.margin:
        return "ok"
    text = f"failed: {100 * lead:.1f} points above the majority class at S/N {bright}"
    return f"{text}; {_reason(done)}"


def _reason(done: list[Finished]) -> str:
    """What the log hints at; the first run that hints at something."""
    for one in done:
        log = one.read.log if one.read is not None else pl.DataFrame()
        if one.summary is None:
            continue
        if len(log) < 2 and one.summary.stopped == "time":
            return f"it hardly started: {_end(one)}"
        if len(log) < 2:
            continue
        if one.summary.best_epoch == one.summary.epochs:
            return f"its validation loss still fell when training stopped ({_end(one)})"
        if log["train_loss"][-1] < 0.5 * log["validation_loss"][-1]:
            return "it learns its training stars by heart"
        if log["train_loss"][-1] > 0.9 * log["train_loss"][0]:
            return "the training loss hardly fell"
    return "it was trained to its end"


def _end(one: Finished) -> str:
    """Say when a training ended, and by what."""
    card = one.read.card if one.read is not None else {}
    epochs = card["training"].get("epochs", card["epochs"])
    return f"{epochs:.1f} epochs, stopped by {card['stopped']}"


def _even(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give every row every column, the verdict last."""
    names = list(dict.fromkeys(name for row in rows for name in row if name != "verdict"))
    return [{name: row.get(name) for name in (*names, "verdict")} for row in rows]
