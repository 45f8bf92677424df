"""Whether a change of the recipe helps: lines of several seeds, paired by star, and a verdict."""

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.config import EvaluateSettings
from drcnet.errors import RunError
from drcnet.evaluate.metrics import bootstrap_sums
from drcnet.evaluate.runs import Run, order_intervals

__all__ = ["CANNOT_TELL", "HARMS", "HELPS", "NOTHING", "compare_lines"]

HELPS, HARMS, NOTHING = "helps", "harms", "does nothing"
CANNOT_TELL = "cannot be told"

_KEYS = ("row", "star", "class", "interval")


def compare_lines(
    trial: Sequence[Run],
    base: Sequence[Run],
    settings: EvaluateSettings,
    *,
    seeds: int | None = None,
    margin: float = 0.01,
) -> pl.DataFrame:
    """Compare two lines of runs that differ in their seed only, on the same test rows.

    The interval holds two kinds of luck: which stars were tested (bootstrap over stars, paired),
    and which seeds were drawn. The latter's variance is that of the accuracy over the seeds of
    each side, over their number; a side that has but one is taken to scatter as the other does.

    Parameters
    ----------
    trial, base : sequence of Run
        One run a seed, each with all folds together.
    settings : EvaluateSettings
        Bootstrap draws, coverage and seed.
    seeds : int, optional
        Seeds that `trial` rests on, where its runs are ensembles; none: as many as its runs.
    margin : float, default 0.01
        A difference that is surely smaller is none.

    Returns
    -------
    DataFrame
        One row an interval and 'all': `interval`, `n_rows`, `n_stars`, `accuracy`,
        `accuracy_base`, `difference` with `_low` and `_high`, `stars` and `luck` (standard errors
        by stars and by seeds) and `verdict`: 'helps' or 'harms' where the interval leaves out 0,
        'does nothing' where it holds 0 and lies within the margin, else 'cannot be told'.

    Raises
    ------
    RunError
        The runs do not have the same test rows.
    """
    rows, right = _side_by_side([*trial, *base])
    own, other = right[:, : len(trial)], right[:, len(trial) :]
    drawn = np.random.SeedSequence(settings.seed)
    names = order_intervals(rows["interval"])
    lines = []
    for name, seed in zip([*names, "all"], drawn.spawn(len(names) + 1), strict=True):
        here = np.full(len(rows), fill_value=True)
        if name != "all":
            here = (rows["interval"] == name).to_numpy()
        if not here.any():
            continue
        a, b = own[here], other[here]
        stars = rows["star"].to_numpy()[here]
        rng = np.random.default_rng(seed)
        by_star = _star_error(a.mean(axis=1) - b.mean(axis=1), stars, settings, rng)
        luck = _seed_error(a, b, seeds or len(trial))
        line = {"interval": name, "n_rows": len(a), "n_stars": len(set(stars.tolist()))}
        difference = float(a.mean() - b.mean())
        line |= {"accuracy": float(a.mean()), "accuracy_base": float(b.mean())}
        lines.append(line | _judge(difference, by_star, luck, settings.confidence, margin))
    return pl.DataFrame(lines)


def _side_by_side(runs: Sequence[Run]) -> tuple[pl.DataFrame, NDArray[np.float64]]:
    """Test rows that all runs have, and who is right on each; (n, runs)."""
    first = runs[0].tested.select(_KEYS).sort("star", "row")
    right = []
    for run in runs:
        own = run.tested.sort("star", "row")
        if not own.select(_KEYS).equals(first):
            came = f"{len(own)} test rows, others or of other stars or classes"
            raise RunError(run.folder, f"the {len(first)} test rows of {runs[0].name}", came)
        right.append((own["class"] == own["predicted"]).to_numpy())
    return first, np.stack(right, axis=1).astype(float)


def _star_error(
    values: NDArray[np.float64],
    stars: NDArray[Any],
    settings: EvaluateSettings,
    rng: np.random.Generator,
) -> float:
    """Standard error of a mean over rows, by a bootstrap over stars."""
    both = np.stack([values, np.ones(len(values))], axis=1)
    sums = bootstrap_sums(both, stars, settings.bootstrap, rng)
    return float((sums[:, 0] / np.maximum(sums[:, 1], 1)).std(ddof=1))


def _seed_error(trial: NDArray[np.float64], base: NDArray[np.float64], seeds: int) -> float:
    """Standard error by the draw of the seeds; NaN where neither side has several."""
    spread = [
        side.mean(axis=0).std(ddof=1) if side.shape[1] > 1 else float("nan")
        for side in (trial, base)
    ]
    own, other = (one if np.isfinite(one) else spread[1 - k] for k, one in enumerate(spread))
    return float(np.hypot(own / np.sqrt(seeds), other / np.sqrt(base.shape[1])))


def _judge(
    difference: float, by_star: float, luck: float, confidence: float, margin: float
) -> dict[str, Any]:
    """Interval and verdict of one difference."""
    half = NormalDist().inv_cdf((1 + confidence) / 2) * np.hypot(by_star, np.nan_to_num(luck))
    low, high = float(difference - half), float(difference + half)
    if low > 0:
        verdict = HELPS
    elif high < 0:
        verdict = HARMS
    else:
        verdict = NOTHING if -margin < low and high < margin else CANNOT_TELL
    return {
        "difference": difference,
        "difference_low": low,
        "difference_high": high,
        "stars": by_star,
        "luck": luck,
        "verdict": verdict,
    }
