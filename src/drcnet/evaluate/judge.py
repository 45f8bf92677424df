"""Claims asked of runs: paired on the same stars, with an interval and a verdict."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.config import EvaluateSettings
from drcnet.evaluate.claims import PAPER_CLAIMS, Claim, verdict_of
from drcnet.evaluate.comparison import paired_rows, share_rows
from drcnet.evaluate.metrics import (
    accuracy,
    bootstrap_sums,
    class_scores,
    confusion_cells,
    percentiles,
)
from drcnet.evaluate.runs import Run, order_intervals

__all__ = ["judge_claim", "paper_claims", "training_of"]

Array = NDArray[np.float64]

_SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("claim", "text", "source", "first", "second", "trained"), pl.String),
    "interval": pl.String,
    "n_rows": pl.Int64,
    "n_stars": pl.Int64,
    **dict.fromkeys(("value_first", "value_second", "difference"), pl.Float64),
    **dict.fromkeys(("difference_low", "difference_high", "published"), pl.Float64),
    "published_inside": pl.Boolean,
    "verdict": pl.String,
    "remark": pl.String,
}


def judge_claim(
    claim: Claim, first: Run, second: Run | None, settings: EvaluateSettings
) -> dict[str, Any] | None:
    """Ask one claim of one run or two.

    Parameters
    ----------
    claim : Claim
        What is claimed.
    first, second : Run
        Runs of one store and split; `second` is None for a claim about one model.
    settings : EvaluateSettings
        Bootstrap draws, coverage and seed.

    Returns
    -------
    dict or None
        A line of `paper_claims`; None where the runs have no test row in one of the intervals,
        or not the class.

    Raises
    ------
    RunError
        The runs share no test row, or disagree on what a row is.
    """
    classes = first.classes
    _, _, asked = claim.measure.partition("_")
    rows = paired_rows(first, second if second is not None else first)
    rows = rows.filter(pl.col("interval").is_in(claim.intervals))
    missing = set(claim.intervals) - set(rows["interval"])
    if missing or (asked and asked not in classes):
        return None
    both = ("first", "second")[: 1 if second is None else 2]
    values = np.concatenate([_cells(rows, one, classes, claim.intervals) for one in both], axis=1)
    shape = (len(both), len(claim.intervals), len(classes), len(classes) + 1)
    rng = np.random.default_rng(settings.seed)
    drawn = bootstrap_sums(values, rows["star"], settings.bootstrap, rng).reshape(-1, *shape)
    counts = values.sum(axis=0).reshape(shape)
    score = _measure(claim.measure, classes)
    value = [float(v) for v in score(counts)]
    low, high = percentiles(_less(score(drawn)), rows["star"].n_unique(), settings.confidence)
    inside = None
    if claim.published is not None and math.isfinite(low):
        inside = bool(low <= claim.published <= high)
    return {
        "claim": claim.name,
        "text": claim.text,
        "source": claim.source,
        "first": first.name,
        "second": "" if second is None else second.name,
        "trained": training_of(first) if second is None else _apart(first, second),
        "interval": " and ".join(claim.intervals),
        "n_rows": len(rows),
        "n_stars": rows["star"].n_unique(),
        "value_first": value[0],
        "value_second": value[1] if second is not None else None,
        "difference": float(_less(np.array(value))),
        "difference_low": low,
        "difference_high": high,
        "published": claim.published,
        "published_inside": inside,
        "verdict": verdict_of(low, high, claim.margin),
        "remark": _remark(rows, first, second),
    }


def paper_claims(
    runs: Sequence[Run], settings: EvaluateSettings, claims: Sequence[Claim] = PAPER_CLAIMS
) -> pl.DataFrame:
    """Ask the paper's claims of every two runs that they are about.

    Parameters
    ----------
    runs : sequence of Run
        Any runs; two are set against each other where their models are those of the claim and
        they had the same split, seed and noise in training; others are passed over.
    settings : EvaluateSettings
        Bootstrap draws, coverage and seed.
    claims : sequence of Claim
        Which.

    Returns
    -------
    DataFrame
        One row a claim and pair: `claim`, `text`, `source`; `first`, `second` (runs), `trained`
        (what they were trained on, and where their views differ from the paper's), `interval`,
        `n_rows`, `n_stars`, `value_first`, `value_second`, `difference` with `_low` and `_high`
        (bootstrap over stars), `published`, `published_inside` (whether the interval holds the
        published difference; null without an interval), `verdict` and `remark`. No rows where no
        runs fit.
    """
    lines = []
    for claim in claims:
        for first, second in _asked(claim, runs):
            line = judge_claim(claim, first, second, settings)
            lines += [] if line is None else [line]
    return pl.DataFrame(lines, schema=_SCHEMA)


def training_of(run: Run) -> str:
    """Say in words what a run was trained on.

    Parameters
    ----------
    run : Run
        A run.

    Returns
    -------
    str
        'bright stars only', or 'with faded copies' where noise was added in training.
    """
    return "with faded copies" if _noise(run) else "bright stars only"


def _asked(claim: Claim, runs: Sequence[Run]) -> Iterator[tuple[Run, Run | None]]:
    """Runs that a claim is about, two by two, trained alike."""
    for first in (run for run in runs if run.model == claim.first):
        if not claim.second:
            yield first, None
            continue
        for second in (run for run in runs if run.model == claim.second):
            if _alike(first) == _alike(second) and share_rows(first, second):
                yield first, second


def _alike(run: Run) -> tuple[Any, ...]:
    return _noise(run), run.card.get("split"), run.card.get("seed")


def _noise(run: Run) -> bool:
    augment: Mapping[str, Any] = run.settings.get("augment") or {}
    return bool(augment.get("noise", False))


def _apart(first: Run, second: Run) -> str:
    """What both were trained on, and what was done to the sky for only one of them."""
    views = [str(run.card.get("view", "")) for run in (first, second)]
    text = training_of(first)
    less_sky = [v.endswith(("-sky", "-ivar")) for v in views]
    for run, view, sky, other in zip(
        (first, second), views, less_sky, less_sky[::-1], strict=True
    ):
        if sky and not other:
            text += f"; {run.name} sees {view}"
    return text


def _cells(
    rows: pl.DataFrame, column: str, classes: tuple[str, ...], intervals: tuple[str, ...]
) -> Array:
    """One-hot cell of every row among interval, true and predicted class; (n_row, n_cell)."""
    size = len(classes) * (len(classes) + 1)
    cells = confusion_cells(rows["class"], rows[column], classes)
    place = np.array([intervals.index(name) for name in rows["interval"]], dtype=np.int64)
    return np.eye(size * len(intervals))[place * size + cells]


def _measure(name: str, classes: tuple[str, ...]) -> Callable[[Array], Array]:
    """What turns counts (..., n_interval, k, k + 1) into a number."""
    kind, _, label = name.partition("_")
    if kind == "accuracy":
        return lambda counts: accuracy(counts.sum(axis=-3))
    if kind == "kept":
        return lambda counts: accuracy(counts[..., 1, :, :]) - accuracy(counts[..., 0, :, :])
    where = classes.index(label)

    def precision(counts: Array) -> Array:
        return class_scores(counts.sum(axis=-3))["precision"]

    if kind == "precision":
        return lambda counts: precision(counts)[..., where]

    def lead(counts: Array) -> Array:
        others = np.delete(precision(counts), where, axis=-1)
        return np.asarray(precision(counts)[..., where] - np.fmax.reduce(others, axis=-1))

    return lead


def _less(value: Array) -> Array:
    """First minus second, or the value itself where there is one; along the last axis."""
    return value[..., 0] - value[..., 1] if value.shape[-1] == 2 else value[..., 0]


def _remark(rows: pl.DataFrame, first: Run, second: Run | None) -> str:
    """Warn where a lead is one among answers that are worth nothing."""
    faintest = order_intervals(rows["interval"].unique())
    faintest = [name for name in faintest if name in set(rows["interval"])]
    rows = rows.filter(pl.col("interval") == faintest[-1])
    trained = first.trained_classes
    usual = str((rows["class"] if trained is None else trained).mode().sort()[0])
    idle = float((rows["class"] == usual).mean())  # type: ignore[arg-type]
    right = [float((rows["class"] == rows[c]).mean()) for c in ("first", "second")]  # type: ignore[arg-type]
    below = [share <= idle for share in right]
    if second is None:
        return f"worse than always answering {usual} ({idle:.3f})" if below[0] else ""
    if all(below):
        return f"both worse than always answering {usual} ({idle:.3f})"
    worse = [run.name for run, low in zip((first, second), below, strict=True) if low]
    return f"{worse[0]} is worse than always answering {usual} ({idle:.3f})" if worse else ""
