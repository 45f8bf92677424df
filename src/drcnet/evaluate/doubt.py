"""What calibration is worth on the test part: before and after, sets, and refusing to answer."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.config import EvaluateSettings
from drcnet.evaluate.calibration import (
    brier_score,
    debiased_calibration_error,
    expected_calibration_error,
    negative_log_likelihood,
)
from drcnet.evaluate.metrics import bootstrap_sums
from drcnet.evaluate.runs import Run, order_intervals, probabilities

__all__ = ["area_under_risk", "calibrated_run", "coverage_table", "doubt_table", "risk_table"]

_POINTS = 20  # of a risk-coverage curve

Array = NDArray[np.float64]


def calibrated_run(run: Run) -> Run:
    """Put a run's calibration to use.

    Parameters
    ----------
    run : Run
        A run.

    Returns
    -------
    Run
        The same with calibrated probabilities; unchanged where it has no calibration or no
        probabilities. No prediction changes.
    """
    rows = run.predictions
    p = probabilities(rows, run.classes)
    if run.calibration is None or not np.isfinite(p).any():
        return run
    p = run.calibration.probabilities(p, rows["snrr"].to_numpy())
    columns = [pl.Series(f"p_{name}", p[:, k]) for k, name in enumerate(run.classes)]
    return replace(run, predictions=rows.with_columns(columns))


def doubt_table(run: Run, settings: EvaluateSettings) -> pl.DataFrame:
    """Say how true a run's probabilities are, and what its prediction sets keep of their promise.

    Parameters
    ----------
    run : Run
        The run; its test part is used.
    settings : EvaluateSettings
        Bootstrap draws, coverage of the intervals, seed, bins.

    Returns
    -------
    DataFrame
        One row an interval and 'all': run, interval, n_rows, n_stars, temperature (median);
        nll, brier, ece, ece_debiased, aurc, each also `_calibrated`; promised, coverage with
        `_low` and `_high` (bootstrap over stars), set_size (average), single (share of sets of
        one class). Null where the run has no calibration or no probabilities.
    """
    after = calibrated_run(run)
    names = [*order_intervals(run.tested["interval"]), "all"]
    seeds = np.random.SeedSequence(settings.seed).spawn(len(names))
    lines = []
    for name, seed in zip(names, seeds, strict=True):
        rows, same = (_rows(one, name) for one in (run, after))
        line: dict[str, Any] = {"run": run.name, "interval": name, "n_rows": len(rows)}
        line["n_stars"] = rows["star"].n_unique()
        line |= _scores(rows, run, settings.reliability_bins)
        calibrated = _scores(same, run, settings.reliability_bins) if after is not run else {}
        line |= {f"{key}_calibrated": calibrated.get(key) for key in _SCORES}
        line |= _sets(same, after, settings, np.random.default_rng(seed)) if calibrated else {}
        lines.append(line)
    floats = dict.fromkeys((*_SCORES, *(f"{k}_calibrated" for k in _SCORES), *_SETS), pl.Float64)
    schema: dict[str, Any] = {
        "run": pl.String,
        "interval": pl.String,
        "n_rows": pl.Int64,
        "n_stars": pl.Int64,
    }
    return pl.DataFrame(lines, schema=schema | floats)


def coverage_table(run: Run, settings: EvaluateSettings) -> pl.DataFrame:
    """Measure how often the prediction sets hold the true class, class by class.

    Parameters
    ----------
    run : Run
        The run; its test part is used.
    settings : EvaluateSettings
        Bootstrap draws, coverage of the intervals, seed.

    Returns
    -------
    DataFrame
        One row an interval and true class: run, interval, class, n_rows, n_stars, promised,
        coverage with bounds, set_size, single; no rows without a calibration. The promise is for
        the classes together: one of them may be covered less.
    """
    after = calibrated_run(run)
    schema: dict[str, Any] = {
        "run": pl.String,
        "interval": pl.String,
        "class": pl.String,
        "n_rows": pl.Int64,
    }
    schema |= {"n_stars": pl.Int64}
    floats = dict.fromkeys((name for name in _SETS if name != "temperature"), pl.Float64)
    if after is run:
        return pl.DataFrame(schema=schema | floats)
    lines = []
    rng = np.random.default_rng(settings.seed)
    for name in [*order_intervals(run.tested["interval"]), "all"]:
        for label in run.classes:
            rows = _rows(after, name).filter(pl.col("class") == label)
            line: dict[str, Any] = {"run": run.name, "interval": name, "class": label}
            line |= {"n_rows": len(rows), "n_stars": rows["star"].n_unique()}
            lines.append(line | _sets(rows, after, settings, rng))
    keep = (*schema, *floats)
    return pl.DataFrame([{k: line.get(k) for k in keep} for line in lines], schema=schema | floats)


def risk_table(run: Run) -> pl.DataFrame:
    """Trace accuracy against the share of stars that a class is given to, the surest first.

    Parameters
    ----------
    run : Run
        The run; its test part is used, with calibrated probabilities where it has them.

    Returns
    -------
    DataFrame
        run, interval ('all' too), kept (0.05 to 1), n_kept, accuracy, confidence (the least that
        is kept); no rows of a run without probabilities. Across intervals the order depends on
        the temperatures; within one interval hardly.
    """
    after = calibrated_run(run)
    schema: dict[str, Any] = {
        "run": pl.String,
        "interval": pl.String,
        "kept": pl.Float64,
        "n_kept": pl.Int64,
    }
    schema |= {"accuracy": pl.Float64, "confidence": pl.Float64}
    lines = []
    for name in [*order_intervals(run.tested["interval"]), "all"]:
        confidence, right = _surest(_rows(after, name), run.classes)
        total = len(right)
        if not total:
            continue
        running = np.cumsum(right) / np.arange(1, total + 1)
        for share in np.arange(1, _POINTS + 1) / _POINTS:
            count = max(1, round(share * total))
            lines.append(
                (run.name, name, float(share), count, running[count - 1], confidence[count - 1])
            )
    return pl.DataFrame(lines, schema=schema, orient="row")


def area_under_risk(confidence: Array, right: NDArray[np.bool_]) -> float:
    """Average error rate over all shares kept, the surest first.

    Parameters
    ----------
    confidence : ndarray, shape (n,)
        The higher, the sooner kept.
    right : ndarray of bool, shape (n,)
        Right answers.

    Returns
    -------
    float
        The area under the risk-coverage curve (Geifman & El-Yaniv 2017, NeurIPS 30): 0 is best;
        NaN without rows. Equal confidences share the average of their answers, so that the order
        of the rows does not matter.

    Examples
    --------
    >>> area_under_risk(np.array([0.9, 0.6]), np.array([True, False]))
    0.25
    """
    if not len(right):
        return float("nan")
    _, group, count = np.unique(-confidence, return_inverse=True, return_counts=True)
    wrong = (np.bincount(group, ~right) / count)[np.sort(group)]
    return float(np.mean(np.cumsum(wrong) / np.arange(1, len(right) + 1)))


_SCORES = ("nll", "brier", "ece", "ece_debiased", "aurc")
_SETS = (
    "temperature",
    "promised",
    "coverage",
    "coverage_low",
    "coverage_high",
    "set_size",
    "single",
)


def _rows(run: Run, interval: str) -> pl.DataFrame:
    tested = run.tested.sort("star", "row")
    return tested if interval == "all" else tested.filter(pl.col("interval") == interval)


def _scores(rows: pl.DataFrame, run: Run, bins: int) -> dict[str, float | None]:
    p = probabilities(rows, run.classes)
    if not len(rows) or not np.isfinite(p).all():
        return dict.fromkeys(_SCORES)
    truth = np.array([run.classes.index(name) for name in rows["class"]], dtype=np.int64)
    return {
        "nll": negative_log_likelihood(truth, p),
        "brier": brier_score(truth, p),
        "ece": expected_calibration_error(truth, p, bins),
        "ece_debiased": debiased_calibration_error(truth, p, bins, rows["star"].to_numpy()),
        "aurc": area_under_risk(p.max(axis=1), p.argmax(axis=1) == truth),
    }


def _surest(rows: pl.DataFrame, classes: tuple[str, ...]) -> tuple[Array, NDArray[np.bool_]]:
    """Confidence and whether right, the surest first."""
    p = probabilities(rows, classes)
    right = (rows["class"] == rows["predicted"]).to_numpy()
    known = np.isfinite(p).all(axis=1)
    confidence, right = p[known].max(axis=1, initial=0.0), right[known]
    order = np.argsort(-confidence, kind="stable")
    return confidence[order], right[order]


def _sets(
    rows: pl.DataFrame, run: Run, settings: EvaluateSettings, rng: np.random.Generator
) -> dict[str, float]:
    """Coverage and size of the prediction sets of rows with calibrated probabilities."""
    calibration = run.calibration
    if calibration is None or rows.is_empty():
        return {}
    snrr = rows["snrr"].to_numpy().astype(np.float64)
    inside = calibration.sets(probabilities(rows, run.classes), snrr)
    truth = np.array([run.classes.index(name) for name in rows["class"]], dtype=np.int64)
    held = inside[np.arange(len(truth)), truth].astype(float)
    size = inside.sum(axis=1)
    low = high = float("nan")
    if rows["star"].n_unique() > 1:
        values = np.stack([held, np.ones(len(held))], axis=1)
        drawn = bootstrap_sums(values, rows["star"], settings.bootstrap, rng)
        tail = 50 * (1 - settings.confidence)
        low, high = np.percentile(drawn[:, 0] / drawn[:, 1], [tail, 100 - tail])
    return {
        "temperature": float(np.median(calibration.temperature.at(snrr))),
        "promised": calibration.coverage,
        "coverage": float(held.mean()),
        "coverage_low": float(low),
        "coverage_high": float(high),
        "set_size": float(size.mean()),
        "single": float((size == 1).mean()),
    }
