"""Are the probabilities true? Reliability table, expected calibration error, NLL, Brier score."""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.evaluate.runs import Run, order_intervals, probabilities

__all__ = [
    "brier_score",
    "debiased_calibration_error",
    "expected_calibration_error",
    "negative_log_likelihood",
    "reliability_table",
    "wilson_interval",
]

_FLOOR = 1e-7  # of a probability inside a logarithm: float32's resolution near 1


def negative_log_likelihood(truth: NDArray[np.int64], p: NDArray[np.float64]) -> float:
    """Average -ln of the probability given to the true class.

    Parameters
    ----------
    truth : ndarray, shape (n,)
        Index of the true class.
    p : ndarray, shape (n, n_class)
        Probabilities; those below 1e-7 count as 1e-7.

    Returns
    -------
    float
        Nats; NaN where there are no rows or no probabilities.
    """
    given = p[np.arange(len(truth)), truth]
    return float(-np.mean(np.log(np.maximum(given, _FLOOR)))) if len(truth) else np.nan


def brier_score(truth: NDArray[np.int64], p: NDArray[np.float64]) -> float:
    """Average squared distance between the probabilities and the truth (Brier 1950).

    Parameters
    ----------
    truth : ndarray, shape (n,)
        Index of the true class.
    p : ndarray, shape (n, n_class)
        Probabilities.

    Returns
    -------
    float
        0 (perfect) to 2, summed over classes; NaN where there are no rows or no probabilities.
    """
    if not len(truth):
        return np.nan
    return float(np.mean(np.sum((p - np.eye(p.shape[1])[truth]) ** 2, axis=1)))


def expected_calibration_error(
    truth: NDArray[np.int64], p: NDArray[np.float64], bins: int = 10
) -> float:
    """Average distance between confidence and accuracy, over bins of confidence.

    Parameters
    ----------
    truth : ndarray, shape (n,)
        Index of the true class.
    p : ndarray, shape (n, n_class)
        Probabilities; the highest one is the confidence.
    bins : int
        Equal-width bins of (0, 1] (Naeini et al. 2015; Guo et al. 2017, equation 5).

    Returns
    -------
    float
        0 to 1; NaN where there are no rows or no probabilities.
    """
    counts, confidence, correct = _binned(truth, p, bins)
    total = counts.sum()
    if not total:
        return np.nan
    return float(np.abs(confidence - correct).sum() / total)


def debiased_calibration_error(
    truth: NDArray[np.int64],
    p: NDArray[np.float64],
    bins: int = 10,
    star: NDArray[Any] | None = None,
) -> float:
    """Root mean square distance between confidence and accuracy, freed of the bins' own noise.

    Parameters
    ----------
    truth : ndarray, shape (n,)
        Index of the true class.
    p : ndarray, shape (n, n_class)
        Probabilities; the highest one is the confidence.
    bins : int
        Bins of equally many rows; fewer where a bin would hold fewer than two.
    star : ndarray, shape (n,), optional
        The star of each row. The rows of a star are right or wrong together, so that a bin's
        noise is that of its stars: the variance of a mean over clusters (Cochran 1977, Sampling
        Techniques, section 9A). Without it every row counts as a star of its own.

    Returns
    -------
    float
        0 to 1 (Kumar, Liang & Ma 2019, NeurIPS 32, section 4: each bin's squared distance less
        its variance); 0 where no more than noise is left. NaN where there are fewer than two rows
        or no probabilities. The plain error of perfect probabilities grows as the square root of
        bins over stars; this one stays near 0.
    """
    good = np.isfinite(p).all(axis=1)
    if good.sum() < 2:
        return np.nan
    confidence = p[good].max(axis=1)
    apart = confidence - (p[good].argmax(axis=1) == truth[good])
    who = (np.arange(len(p)) if star is None else np.asarray(star))[good]
    order = np.argsort(confidence, kind="stable")
    total = 0.0
    for part in np.array_split(order, min(bins, len(order) // 2)):
        mean = apart[part].mean()
        names, place = np.unique(who[part], return_inverse=True)
        count = len(names)
        if count < 2:
            continue  # one star's rows: nothing tells their error from its luck
        by_star = np.bincount(place, apart[part] - mean)
        noise = (by_star**2).sum() / len(part) ** 2 * count / (count - 1)
        total += len(part) * (mean**2 - noise)
    return float(np.sqrt(max(total / len(order), 0.0)))


def reliability_table(run: Run, bins: int = 10) -> pl.DataFrame:
    """Make the table behind a reliability diagram, per S/N interval.

    Parameters
    ----------
    run : Run
        The run; its test part is used.
    bins : int
        Equal-width bins of the highest probability.

    Returns
    -------
    DataFrame
        `run`, `interval` ('all' too), `low`, `high` (edges of the bin), `n_rows`, `confidence`,
        `accuracy`, `accuracy_low`, `accuracy_high` (Wilson, 95%, rows taken as independent);
        empty bins are left out, as is all of a run without probabilities.
    """
    tested = run.tested
    edges = np.linspace(0, 1, bins + 1)
    parts = []
    for interval in [*order_intervals(tested["interval"]), "all"]:
        rows = tested if interval == "all" else tested.filter(pl.col("interval") == interval)
        counts, confidence, correct = _binned(*_truth_and_p(rows, run.classes), bins)
        full = counts > 0
        n, right = counts[full], correct[full]
        low, high = wilson_interval(right, n)
        parts.append(
            pl.DataFrame(
                {
                    "low": edges[:-1][full],
                    "high": edges[1:][full],
                    "n_rows": n.astype(np.int64),
                    "confidence": confidence[full] / n,
                    "accuracy": right / n,
                    "accuracy_low": low,
                    "accuracy_high": high,
                }
            ).select(pl.lit(run.name).alias("run"), pl.lit(interval).alias("interval"), pl.all())
        )
    return pl.concat(parts)


def wilson_interval(
    right: NDArray[np.float64], total: NDArray[np.float64], z: float = 1.959964
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Interval of a proportion that behaves at 0 and 1 (Wilson 1927).

    Parameters
    ----------
    right, total : ndarray
        Successes and trials, trials > 0.
    z : float
        Standard deviations; 1.96 for 95%.

    Returns
    -------
    low, high : ndarray
        Bounds of the proportion.
    """
    share, extra = right / total, z**2 / total
    middle = (share + extra / 2) / (1 + extra)
    half = np.sqrt(share * (1 - share) * extra + extra**2 / 4) / (1 + extra)
    return np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)


def _truth_and_p(
    rows: pl.DataFrame, classes: tuple[str, ...]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    index = {name: i for i, name in enumerate(classes)}
    truth = np.array([index[name] for name in rows["class"]], dtype=np.int64)
    return truth, probabilities(rows, classes)


def _binned(
    truth: NDArray[np.int64], p: NDArray[np.float64], bins: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Sum rows, confidence and right answers in bins of confidence; shape (bins,) each."""
    good = np.isfinite(p).all(axis=1)
    truth, p = truth[good], p[good]
    confidence = p.max(axis=1, initial=0.0)
    right = (p.argmax(axis=1) == truth).astype(float) if len(truth) else np.zeros(0)
    # Bins are open below and closed above, so a confidence of exactly 1 falls into the last.
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins).astype(float)
    total_confidence = np.bincount(place, confidence, minlength=bins).astype(float)
    total_right = np.bincount(place, right, minlength=bins).astype(float)
    return counts, total_confidence, total_right
