"""Predictions into numbers per S/N interval, with intervals from a bootstrap over stars.

Everything follows from confusion counts, so one weighted sum per draw gives every metric of
that draw. Counts have shape (..., n_class, n_class + 1): true class, predicted class; the last
column holds predictions that are none of the classes (a refusal, another class), which are
wrong answers and never dropped.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.config import EvaluateSettings
from drcnet.evaluate.calibration import (
    brier_score,
    expected_calibration_error,
    negative_log_likelihood,
    wilson_interval,
)
from drcnet.evaluate.runs import Run, order_intervals, probabilities
from drcnet.evaluate.subclasses import away_from_borders, subclasses_off

__all__ = [
    "Scores",
    "accuracy",
    "balanced_accuracy",
    "bootstrap_sums",
    "class_scores",
    "confusion_cells",
    "macro_f1",
    "percentiles",
    "score_run",
]

_Array = NDArray[np.float64]
_CHUNK = 2_000_000  # draws times stars held at once: 16 MB of weights


@dataclass(frozen=True, eq=False)
class Scores:
    """The numbers of one or more runs.

    Parameters
    ----------
    scores : DataFrame
        One row a run and interval; columns in `score_run`.
    classes : DataFrame
        One row a run, interval and class: `n_true`, `n_predicted`, `precision`, `recall`, `f1`,
        each of the last three with `_low` and `_high`.
    confusion : DataFrame
        One row a run, interval, `true` and `predicted` class: `n_rows`.
    """

    scores: pl.DataFrame
    classes: pl.DataFrame
    confusion: pl.DataFrame


def confusion_cells(
    true: Iterable[str], predicted: Iterable[str | None], classes: tuple[str, ...]
) -> NDArray[np.int64]:
    """Number each row's cell among flattened confusion counts.

    Parameters
    ----------
    true, predicted : iterable of str
        One entry a row.
    classes : tuple of str
        The classes, in order.

    Returns
    -------
    ndarray, shape (n,), int64
        Cells of an array of shape (n_class, n_class + 1); the last column is for predictions that
        are none of `classes`.
    """
    index = {name: i for i, name in enumerate(classes)}
    k = len(classes)
    rows = np.array([index[name] for name in true], dtype=np.int64)
    columns = np.array([index.get(name or "", k) for name in predicted], dtype=np.int64)
    return rows * (k + 1) + columns


def accuracy(counts: _Array) -> _Array:
    """Share of right answers.

    Parameters
    ----------
    counts : ndarray, shape (..., n_class, n_class + 1)
        Confusion counts.

    Returns
    -------
    ndarray, shape (...)
        NaN where there are no rows.
    """
    return _ratio(_right(counts).sum(axis=-1), counts.sum(axis=(-2, -1)))


def class_scores(counts: _Array) -> dict[str, _Array]:
    """Precision, recall and F1 of every class.

    Parameters
    ----------
    counts : ndarray, shape (..., n_class, n_class + 1)
        Confusion counts.

    Returns
    -------
    dict of ndarray, shape (..., n_class)
        'precision' (NaN for a class never predicted), 'recall' (NaN for a class without stars)
        and 'f1' (NaN for a class that is neither).
    """
    right = _right(counts)
    true = counts.sum(axis=-1)
    predicted = counts.sum(axis=-2)[..., :-1]
    return {
        "precision": _ratio(right, predicted),
        "recall": _ratio(right, true),
        "f1": _ratio(2 * right, true + predicted),
    }


def balanced_accuracy(counts: _Array) -> _Array:
    """Average recall over the classes that have stars.

    Parameters
    ----------
    counts : ndarray, shape (..., n_class, n_class + 1)
        Confusion counts.

    Returns
    -------
    ndarray, shape (...)
        NaN where there are no rows.
    """
    return _mean_of_known(class_scores(counts)["recall"])


def macro_f1(counts: _Array) -> _Array:
    """Average F1 over the classes that have stars or predictions.

    Parameters
    ----------
    counts : ndarray, shape (..., n_class, n_class + 1)
        Confusion counts.

    Returns
    -------
    ndarray, shape (...)
        NaN where there are no rows.
    """
    return _mean_of_known(class_scores(counts)["f1"])


def bootstrap_sums(
    values: _Array, stars: Iterable[str], draws: int, rng: np.random.Generator
) -> _Array:
    """Draw stars with replacement, each with all of its rows, and add their values up.

    Parameters
    ----------
    values : ndarray, shape (n_row, n_value)
        What is added, per row.
    stars : iterable of str
        The star of each row. Rows of one star are not independent, so stars are drawn, not rows.
    draws : int
        Number of bootstrap draws.
    rng : numpy.random.Generator
        Source of the draws; the same generator and stars give the same draws.

    Returns
    -------
    ndarray, shape (draws, n_value)
        One weighted sum a draw.
    """
    names, index = np.unique(np.asarray(list(stars), dtype=str), return_inverse=True)
    per_star = np.zeros((len(names), values.shape[1]))
    np.add.at(per_star, index, values)
    n = len(names)
    if n == 0:
        return np.zeros((draws, values.shape[1]))
    step = max(1, _CHUNK // n)
    sizes = [min(step, draws - start) for start in range(0, draws, step)]
    even = np.full(n, 1 / n)
    return np.concatenate([rng.multinomial(n, even, size=size) @ per_star for size in sizes])


def score_run(
    run: Run, settings: EvaluateSettings, intervals: Iterable[str] | None = None
) -> Scores:
    """Score one run's test part in every S/N interval, and in all together ('all').

    Parameters
    ----------
    run : Run
        The run.
    settings : EvaluateSettings
        Bootstrap draws, coverage, seed and calibration bins.
    intervals : iterable of str, optional
        Interval names; those of the run's predictions if not given. One without rows gets a
        line with `n_rows` 0 and NaN.

    Returns
    -------
    Scores
        `scores` has the columns run, model, interval, n_rows, n_stars; accuracy,
        balanced_accuracy, macro_f1, core_accuracy (subclasses 2 to 7 only), each with `_low`
        and `_high`; n_core; majority_class, majority (the accuracy of always saying so);
        subclasses_off (mean, over rows with a subclass); nll, brier, ece.
        The majority class is the most frequent one of the training part where the predictions
        hold it, else of the interval itself (a harder line). Percentile intervals over stars;
        where every draw gives the same 0 or 1 (all right, all wrong) the Wilson interval of as
        many trials as stars stands in, and a single star gives none (NaN).
    """
    tested = run.tested.sort("star", "row")
    names = order_intervals(tested["interval"] if intervals is None else intervals)
    seeds = np.random.SeedSequence(settings.seed).spawn(len(names) + 1)
    scores: list[dict[str, Any]] = []
    classes: list[pl.DataFrame] = []
    confusion: list[pl.DataFrame] = []
    for name, seed in zip([*names, "all"], seeds, strict=True):
        rows = tested if name == "all" else tested.filter(pl.col("interval") == name)
        label = {"run": run.name, "model": run.model, "interval": name}
        line, table, counts = _score_rows(rows, run, settings, np.random.default_rng(seed))
        scores.append(label | line)
        key = [pl.lit(run.name).alias("run"), pl.lit(name).alias("interval")]
        classes.append(table.select(*key, pl.all()))
        confusion.append(_confusion_table(counts, run.classes).select(*key, pl.all()))
    return Scores(
        pl.DataFrame(scores, schema_overrides=_integers(scores)),
        pl.concat(classes),
        pl.concat(confusion),
    )


def _score_rows(
    rows: pl.DataFrame, run: Run, settings: EvaluateSettings, rng: np.random.Generator
) -> tuple[dict[str, Any], pl.DataFrame, _Array]:
    """Score one interval: its line of scores, its table of classes, its confusion counts."""
    k = len(run.classes)
    cells = confusion_cells(rows["class"], rows["predicted"], run.classes)
    core = away_from_borders(rows["subclass"])
    right = (rows["class"] == rows["predicted"]).to_numpy()
    values = np.concatenate(
        [np.eye(k * (k + 1))[cells], np.stack([core & right, core], axis=1)], axis=1
    )
    total = values.sum(axis=0)
    n_stars = rows["star"].n_unique()
    drawn = bootstrap_sums(values, rows["star"], settings.bootstrap, rng)
    counts, draws = (v[..., :-2].reshape(*v.shape[:-1], k, k + 1) for v in (total, drawn))
    metrics = {
        "accuracy": (accuracy(counts), accuracy(draws)),
        "balanced_accuracy": (balanced_accuracy(counts), balanced_accuracy(draws)),
        "macro_f1": (macro_f1(counts), macro_f1(draws)),
        "core_accuracy": (_ratio(total[-2], total[-1]), _ratio(drawn[:, -2], drawn[:, -1])),
    }
    line: dict[str, Any] = {"n_rows": len(rows), "n_stars": n_stars}
    for name, (value, spread) in metrics.items():
        stars = rows.filter(core)["star"].n_unique() if name == "core_accuracy" else n_stars
        bounds = _bounds(value, spread, stars, settings.confidence)
        line |= {name: float(value), f"{name}_low": bounds[0], f"{name}_high": bounds[1]}
    line |= {"n_core": int(total[-1])}
    line |= _plain_scores(rows, run, counts, settings.reliability_bins)
    return line, _class_table(counts, draws, rows, run.classes, settings.confidence), counts


def _plain_scores(rows: pl.DataFrame, run: Run, counts: _Array, bins: int) -> dict[str, Any]:
    """Scores that carry no interval."""
    trained = run.trained_classes
    of_class = counts.sum(axis=1)
    if trained is not None:
        frequency = np.array([(trained == name).sum() for name in run.classes])
    else:
        frequency = of_class
    best = int(np.argmax(frequency))
    truth = np.array([run.classes.index(name) for name in rows["class"]], dtype=np.int64)
    p = probabilities(rows, run.classes)
    off = subclasses_off(rows["subclass"], rows["class"], rows["predicted"])
    known = off[np.isfinite(off)]
    return {
        "majority_class": run.classes[best] if frequency.sum() else "",
        "majority": float(_ratio(of_class[best], of_class.sum())),
        "subclasses_off": float(known.mean()) if len(known) else np.nan,
        "nll": negative_log_likelihood(truth, p),
        "brier": brier_score(truth, p),
        "ece": expected_calibration_error(truth, p, bins),
    }


def _class_table(
    counts: _Array, draws: _Array, rows: pl.DataFrame, classes: tuple[str, ...], confidence: float
) -> pl.DataFrame:
    columns: dict[str, Any] = {
        "class": list(classes),
        "n_true": counts.sum(axis=1).astype(np.int64),
        "n_predicted": counts.sum(axis=0)[:-1].astype(np.int64),
    }
    true = [pl.col("class") == name for name in classes]
    called = [pl.col("predicted") == name for name in classes]
    either = [a | b for a, b in zip(true, called, strict=True)]
    concerned = {"precision": called, "recall": true, "f1": either}
    spread = class_scores(draws)
    for name, values in class_scores(counts).items():
        stars = [rows.filter(which)["star"].n_unique() for which in concerned[name]]
        bounds = [
            _bounds(value, spread[name][:, k], stars[k], confidence)
            for k, value in enumerate(values)
        ]
        columns |= {name: values, f"{name}_low": [low for low, _ in bounds]}
        columns |= {f"{name}_high": [high for _, high in bounds]}
    floats = {name: pl.Float64 for name in columns if name.endswith(("_low", "_high"))}
    return pl.DataFrame(columns, schema_overrides=floats)


def _confusion_table(counts: _Array, classes: tuple[str, ...]) -> pl.DataFrame:
    """Long form; the column of other answers ('other') only where there are any."""
    names = [*classes, "other"] if counts[:, -1].any() else list(classes)
    return pl.DataFrame(
        {
            "true": [true for true in classes for _ in names],
            "predicted": [name for _ in classes for name in names],
            "n_rows": counts[:, : len(names)].ravel().astype(np.int64),
        }
    )


def _right(counts: _Array) -> _Array:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def _ratio(part: Any, whole: Any) -> _Array:
    part, whole = np.asarray(part, dtype=float), np.asarray(whole, dtype=float)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _mean_of_known(values: _Array) -> _Array:
    known = np.isfinite(values)
    return _ratio(np.where(known, values, 0).sum(axis=-1), known.sum(axis=-1))


def _bounds(value: _Array, draws: _Array, n_stars: int, confidence: float) -> tuple[float, float]:
    """Percentile interval; Wilson's where all draws agree on 0 or 1, which is no certainty."""
    low, high = percentiles(draws, n_stars, confidence)
    if low == high and float(value) in (0.0, 1.0) and n_stars > 1:
        total = np.array([float(n_stars)])
        low, high = (float(v[0]) for v in wilson_interval(float(value) * total, total))
    return low, high


def percentiles(draws: _Array, n_stars: int, confidence: float) -> tuple[float, float]:
    """Take the percentile interval of the draws that have a value.

    Parameters
    ----------
    draws : ndarray
        One value a bootstrap draw.
    n_stars : int
        Stars that were drawn from.
    confidence : float
        Coverage of the interval.

    Returns
    -------
    low, high : float
        NaN where one star stands alone.
    """
    known = draws[np.isfinite(draws)]
    if n_stars < 2 or not len(known):
        return np.nan, np.nan
    tail = 50 * (1 - confidence)
    low, high = np.percentile(known, [tail, 100 - tail])
    return float(low), float(high)


def _integers(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Types of the columns, so that a table of empty intervals has them too."""
    return {
        name: pl.Int64 if isinstance(value, int) else pl.Float64
        for name, value in lines[0].items()
        if not isinstance(value, str)
    }
