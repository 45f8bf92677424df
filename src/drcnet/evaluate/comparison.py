"""Two runs on the same stars: which is better, and could it be luck? And the smooth curve."""

import math
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.config import EvaluateSettings
from drcnet.errors import RunError
from drcnet.evaluate.metrics import bootstrap_sums
from drcnet.evaluate.runs import Run, order_intervals

__all__ = ["accuracy_curve", "compare_runs", "holm", "mcnemar", "paired_rows", "share_rows"]


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided McNemar test.

    Parameters
    ----------
    only_first, only_second : int
        Rows that only the first, only the second run has right.

    Returns
    -------
    float
        Probability of a split at least as uneven if both were equally good; 1 where they never
        disagree.

    Examples
    --------
    >>> mcnemar(5, 0)
    0.0625
    """
    from scipy.stats import binomtest  # noqa: PLC0415

    total = only_first + only_second
    return float(binomtest(only_first, total).pvalue) if total else 1.0


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correct probabilities for having asked several questions at once (Holm 1979).

    Parameters
    ----------
    p : ndarray, shape (n,)
        One a question; NaN (a question without data) stays NaN and does not count.

    Returns
    -------
    ndarray, shape (n,)
        Corrected: calling those below 0.05 differences is wrong anywhere with probability 0.05.

    Examples
    --------
    >>> holm(np.array([0.01, 0.04, 0.03])).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    out = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    out[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else steps
    return out


def compare_runs(first: Run, second: Run, settings: EvaluateSettings) -> pl.DataFrame:
    """Compare two runs on the test rows that both have predicted.

    Parameters
    ----------
    first, second : Run
        Runs of one store and split.
    settings : EvaluateSettings
        Bootstrap draws, coverage and seed.

    Returns
    -------
    DataFrame
        One row an interval and 'all': `first`, `second`, `interval`, `n_rows`, `n_stars`,
        `accuracy_first`, `accuracy_second`, `difference` (first minus second) with `_low` and
        `_high` from a bootstrap over stars, `only_first`, `only_second` (rows that only one has
        right), `p_mcnemar`, `p_bootstrap` (normal, with the bootstrap's standard error) and
        `better` (a run's name where the interval of the difference
        excludes 0, else ''). McNemar's test takes rows as independent; where stars were
        observed more than once the bootstrap is the one to trust.

    Raises
    ------
    RunError
        The runs share no test row, or disagree on what a row is.
    """
    rows = paired_rows(first, second)
    names = order_intervals(rows["interval"])
    seeds = np.random.SeedSequence(settings.seed).spawn(len(names) + 1)
    label = {"first": first.name, "second": second.name}
    lines = [
        {**label, "interval": name}
        | _compare_rows(
            rows if name == "all" else rows.filter(pl.col("interval") == name),
            settings,
            np.random.default_rng(seed),
        )
        for name, seed in zip([*names, "all"], seeds, strict=True)
    ]
    # polars holds NaN above every number: an empty interval has no winner.
    known = pl.col("difference_low").is_not_nan()
    better = (
        pl.when(known & (pl.col("difference_low") > 0))
        .then(pl.lit(first.name))
        .when(pl.col("difference_high") < 0)
        .then(pl.lit(second.name))
        .otherwise(pl.lit(""))
    )
    return pl.DataFrame(lines).with_columns(better.alias("better"))


def paired_rows(first: Run, second: Run) -> pl.DataFrame:
    """Set the answers of two runs side by side.

    Parameters
    ----------
    first, second : Run
        Runs of one store and split.

    Returns
    -------
    DataFrame
        The test rows of both, sorted by star and row: `row`, `star`, `class`, `interval`, and the
        predicted classes `first` and `second`.

    Raises
    ------
    RunError
        The runs share no test row, or disagree on what a row is.
    """
    keys = ["row", "star", "class", "interval"]
    left = first.tested.select(*keys, pl.col("predicted").alias("first"))
    right = second.tested.select(
        "row", *(pl.col(k).alias(f"{k}_2") for k in keys[1:]), pl.col("predicted").alias("second")
    )
    rows = left.join(right, on="row", how="inner").sort("star", "row")
    if rows.is_empty():
        raise RunError(second.folder, f"test rows shared with {first.name}", "none")
    other = rows.filter(
        (pl.col("star") != pl.col("star_2")) | (pl.col("class") != pl.col("class_2"))
    )
    if len(other):
        raise RunError(
            second.folder,
            f"the stars and classes of {first.name}",
            f"another star or class in {len(other)} rows, first row {other['row'][0]}",
        )
    return rows


def share_rows(first: Run, second: Run) -> bool:
    """Tell whether two runs can be compared.

    Parameters
    ----------
    first, second : Run
        Any runs.

    Returns
    -------
    bool
        Whether there are test rows of both, and each of these is one star of one class.
    """
    shared = first.tested.join(second.tested, on="row", how="semi")
    same = first.tested.join(second.tested, on=["row", "star", "class"], how="semi")
    return len(same) > 0 and len(same) == len(shared)


def accuracy_curve(
    run: Run, settings: EvaluateSettings, *, points: int = 40, width: float = 0.12
) -> pl.DataFrame:
    """Accuracy as a smooth curve against S/N.

    Parameters
    ----------
    run : Run
        The run; its test rows with snrr > 0 are used.
    settings : EvaluateSettings
        Bootstrap draws, coverage and seed.
    points : int
        Points of the curve, evenly spaced in log S/N from the 1st to the 99th percentile.
    width : float
        Standard deviation of the Gaussian kernel, dex of S/N.

    Returns
    -------
    DataFrame
        `run`, `snrr`, `accuracy`, `accuracy_low`, `accuracy_high`, `n_effective` (rows under the
        kernel); no rows where fewer than ten stars were tested.
    """
    rows = run.tested.filter(pl.col("snrr") > 0)
    if rows["star"].n_unique() < 10:
        columns = ("snrr", "accuracy", "accuracy_low", "accuracy_high", "n_effective")
        return pl.DataFrame(schema={"run": pl.String, **dict.fromkeys(columns, pl.Float64)})
    place = np.log10(rows["snrr"].cast(pl.Float64).to_numpy())
    first, last = (float(v) for v in np.percentile(place, [1, 99]))
    grid = np.linspace(first, last, points)
    kernel = np.exp(-0.5 * ((place[:, None] - grid) / width) ** 2)  # (n_row, points)
    right = (rows["class"] == rows["predicted"]).to_numpy().astype(float)[:, None]
    values = np.concatenate([kernel * right, kernel], axis=1)
    rng = np.random.default_rng(settings.seed)
    drawn = bootstrap_sums(values, rows["star"], settings.bootstrap, rng)
    spread = drawn[:, :points] / np.maximum(drawn[:, points:], 1e-12)
    tail = 50 * (1 - settings.confidence)
    low, high = np.percentile(spread, [tail, 100 - tail], axis=0)
    return pl.DataFrame(
        {
            "snrr": 10**grid,
            "accuracy": (kernel * right).sum(axis=0) / kernel.sum(axis=0),
            "accuracy_low": low,
            "accuracy_high": high,
            "n_effective": kernel.sum(axis=0) ** 2 / (kernel**2).sum(axis=0),
        }
    ).select(pl.lit(run.name).alias("run"), pl.all())


def _compare_rows(
    rows: pl.DataFrame, settings: EvaluateSettings, rng: np.random.Generator
) -> dict[str, Any]:
    a = (rows["class"] == rows["first"]).to_numpy()
    b = (rows["class"] == rows["second"]).to_numpy()
    n, n_stars = len(rows), rows["star"].n_unique()
    values = np.stack([a.astype(float) - b, np.ones(n)], axis=1)
    low, high, error = math.nan, math.nan, math.nan
    if n_stars > 1:
        drawn = bootstrap_sums(values, rows["star"], settings.bootstrap, rng)
        ratio = drawn[:, 0] / drawn[:, 1]
        tail = 50 * (1 - settings.confidence)
        low, high = np.percentile(ratio, [tail, 100 - tail])
        error = float(ratio.std(ddof=1))
    only_first, only_second = int((a & ~b).sum()), int((b & ~a).sum())
    return {
        "n_rows": n,
        "n_stars": n_stars,
        "accuracy_first": _mean(a),
        "accuracy_second": _mean(b),
        "difference": _mean(a) - _mean(b),
        "difference_low": float(low),
        "difference_high": float(high),
        "only_first": only_first,
        "only_second": only_second,
        "p_mcnemar": mcnemar(only_first, only_second) if n else math.nan,
        "p_bootstrap": _two_sided(_mean(a) - _mean(b), error),
    }


def _two_sided(difference: float, error: float) -> float:
    """Chance of a difference so large; 1 for none, NaN where there is no error to judge by."""
    if difference == 0:
        return 1.0
    return math.erfc(abs(difference) / (error * math.sqrt(2))) if error > 0 else math.nan


def _mean(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else math.nan
