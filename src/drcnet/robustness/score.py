"""Answers under disturbances into numbers: accuracy, what is lost, with intervals over stars."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.config import RobustnessSettings
from drcnet.evaluate.calibration import wilson_interval
from drcnet.evaluate.metrics import bootstrap_sums
from drcnet.evaluate.runs import order_intervals
from drcnet.robustness.disturb import UNITS, Disturbance

__all__ = ["Answers", "score_answers"]


@dataclass(frozen=True, eq=False)
class Answers:
    """What one run said, undisturbed and disturbed.

    Parameters
    ----------
    run : str
        Its name.
    predicted : ndarray of str, shape (n_disturbance, n_row)
        Classes, in the order of the disturbances and of the rows; the first undisturbed.
    majority : str
        The most frequent class of its training part.
    """

    run: str
    predicted: NDArray[np.str_]
    majority: str


def score_answers(
    rows: pl.DataFrame,
    what: Sequence[Disturbance],
    answers: Sequence[Answers],
    settings: RobustnessSettings,
) -> pl.DataFrame:
    """Score every run under every disturbance, by S/N interval and over all.

    Parameters
    ----------
    rows : DataFrame
        `star`, `class`, `interval`, `fiberid` of the test rows.
    what : sequence of Disturbance
        The first undisturbed.
    answers : sequence of Answers
        The run, then its baselines.
    settings : RobustnessSettings
        Bootstrap draws, coverage, seed, parts of the chip.

    Returns
    -------
    DataFrame
        One row a run, disturbance, level and interval: `run`, `disturbance`, `level`, `text`,
        `unit`, `interval`, `n_rows`, `n_stars`, `accuracy`, `idle` (the accuracy of always giving
        the majority class), `drop` (undisturbed accuracy less this one; for a position: that of
        all rows less this one), `kept` (share of rows whose answer stayed), `ahead` (this run's
        accuracy less that of the run `against`, the first baseline, disturbed alike), and `_low`
        and `_high` of accuracy, drop and ahead. For 'repeats' `accuracy` is the share of pairs of
        a star's rows that got one answer, averaged over stars, and `idle` the share expected of
        answers dealt out at random.
    """
    names = [*order_intervals(rows["interval"]), "all"]
    fiber = rows["fiberid"].to_numpy()
    lines: list[dict[str, Any]] = []
    for number, name in enumerate(names):
        chosen = np.ones(len(rows), bool)
        if name != "all":
            chosen = (rows["interval"] == name).to_numpy()
        if not chosen.any():
            continue
        seed = np.random.SeedSequence([settings.seed, number])
        part = _Part(name, rows.filter(chosen), fiber[chosen], settings, seed)
        mine = [Answers(a.run, a.predicted[:, chosen], a.majority) for a in answers]
        lines += _disturbed(part, what, mine)
        for one in mine:
            lines += _positions(part, one) if name == "all" else []
            lines += _repeats(part, one)
    return pl.DataFrame(lines, infer_schema_length=None).sort("run", maintain_order=True)


@dataclass(frozen=True, eq=False)
class _Part:
    """The rows of one interval."""

    interval: str
    rows: pl.DataFrame
    fiber: NDArray[np.int64]
    settings: RobustnessSettings
    seed: np.random.SeedSequence

    def draw(self, values: NDArray[np.float64], stars: Sequence[str]) -> NDArray[np.float64]:
        """Bootstrap sums over stars; the same draws of stars each time."""
        rng = np.random.default_rng(self.seed)
        return bootstrap_sums(values, stars, self.settings.bootstrap, rng)

    def bounds(self, name: str, draws: NDArray[np.float64]) -> dict[str, float]:
        """Percentile interval of some draws; NaN where one star stands alone."""
        known = draws[np.isfinite(draws)]
        if self.rows["star"].n_unique() < 2 or not len(known):
            return {f"{name}_low": np.nan, f"{name}_high": np.nan}
        tail = 50 * (1 - self.settings.confidence)
        low, high = np.percentile(known, [tail, 100 - tail])
        return {f"{name}_low": float(low), f"{name}_high": float(high)}

    def share(self, value: float, draws: NDArray[np.float64], n_star: int) -> dict[str, float]:
        """A share and its interval; Wilson's of as many trials as stars where all draws agree."""
        found = self.bounds("accuracy", draws)
        if value in (0.0, 1.0) and found["accuracy_low"] == found["accuracy_high"]:
            total = np.array([float(n_star)])
            low, high = wilson_interval(value * total, total)
            found = {"accuracy_low": float(low[0]), "accuracy_high": float(high[0])}
        return {"accuracy": value, **found}


def _disturbed(
    part: _Part, what: Sequence[Disturbance], answers: Sequence[Answers]
) -> list[dict[str, Any]]:
    true = part.rows["class"].to_numpy().astype(str)
    right = np.stack([a.predicted == true for a in answers]).astype(float)  # (run, what, row)
    n_run, n_what, n = right.shape
    sums = part.draw(right.reshape(-1, n).T, part.rows["star"].to_list())
    total = part.draw(np.ones((n, 1)), part.rows["star"].to_list())
    drawn = (sums / total).reshape(-1, n_run, n_what)
    accuracy = right.mean(axis=2)
    lines = []
    for r, one in enumerate(answers):
        idle = float((true == one.majority).mean())
        for w, disturbance in enumerate(what):
            line = _label(part, one.run, disturbance.name)
            line |= {"level": disturbance.level, "text": disturbance.text, "idle": idle}
            line |= part.share(float(accuracy[r, w]), drawn[:, r, w], line["n_stars"])
            line |= _difference(part, "drop", accuracy[r, 0] - accuracy[r, w],
                                drawn[:, r, 0] - drawn[:, r, w])  # fmt: skip
            line["kept"] = float((one.predicted[w] == one.predicted[0]).mean())
            if r == 0 and n_run > 1:
                line["against"] = answers[1].run
                line |= _difference(part, "ahead", accuracy[0, w] - accuracy[1, w],
                                    drawn[:, 0, w] - drawn[:, 1, w])  # fmt: skip
            lines.append(line)
    return lines


def _positions(part: _Part, one: Answers) -> list[dict[str, Any]]:
    """Accuracy by the fibre's place on the chip; nothing is disturbed."""
    true = part.rows["class"].to_numpy().astype(str)
    right = (one.predicted[0] == true).astype(float)
    edges = np.linspace(0, part.fiber.max(), part.settings.positions + 1).round().astype(int)
    stars = part.rows["star"].to_list()
    whole = part.draw(np.stack([right, np.ones(len(right))], axis=1), stars)
    lines = []
    for low, high in pairwise(edges):
        here = ((part.fiber > low) & (part.fiber <= high)).astype(float)
        if not here.any():
            continue
        sums = part.draw(np.stack([right * here, here], axis=1), stars)
        with np.errstate(invalid="ignore"):
            drawn = sums[:, 0] / sums[:, 1]
        value = float((right * here).sum() / here.sum())
        line = _label(part, one.run, "position")
        line |= {"level": (low + 1 + high) / 2, "text": f"{low + 1}-{high}", "unit": "fibre"}
        line["n_rows"] = int(here.sum())
        line["n_stars"] = part.rows.filter(here > 0)["star"].n_unique()
        line["idle"] = float((true[here > 0] == one.majority).mean())
        line |= part.share(value, drawn, line["n_stars"])
        overall = whole[:, 0] / whole[:, 1]
        lines.append(line | _difference(part, "drop", right.mean() - value, overall - drawn))
    return lines


def _repeats(part: _Part, one: Answers) -> list[dict[str, Any]]:
    """How often two rows of a star get one answer; nothing is disturbed."""
    table = pl.DataFrame({"star": part.rows["star"], "said": one.predicted[0].tolist()})
    count = table.group_by("star", "said").len().group_by("star")
    pairs = count.agg(
        (pl.col("len") * (pl.col("len") - 1)).sum().alias("same"),
        pl.col("len").sum().alias("n"),
    ).filter(pl.col("n") > 1).sort("star")  # fmt: skip
    if len(pairs) < 2:
        return []
    share = (pairs["same"] / (pairs["n"] * (pairs["n"] - 1))).to_numpy().astype(float)
    drawn = part.draw(np.stack([share, np.ones(len(share))], axis=1), pairs["star"].to_list())
    said = table["said"].value_counts()["count"].to_numpy() / len(table)
    line = _label(part, one.run, "repeats")
    line |= {"level": 0.0, "text": "pairs of a star", "unit": "agreement"}
    line |= {"n_rows": int(pairs["n"].sum()), "n_stars": len(pairs)}
    line["idle"] = float((said**2).sum())
    return [line | part.share(float(share.mean()), drawn[:, 0] / drawn[:, 1], len(pairs))]


def _label(part: _Part, run: str, name: str) -> dict[str, Any]:
    """Every column, so that each line has them all."""
    nothing = dict.fromkeys(("drop", "drop_low", "drop_high", "kept"), np.nan)
    nothing |= dict.fromkeys(("ahead", "ahead_low", "ahead_high"), np.nan)
    return {
        "run": run,
        "disturbance": name,
        "level": 0.0,
        "text": "",
        "unit": UNITS.get(name, ""),
        "interval": part.interval,
        "n_rows": len(part.rows),
        "n_stars": part.rows["star"].n_unique(),
        "accuracy": np.nan,
        "accuracy_low": np.nan,
        "accuracy_high": np.nan,
        "idle": np.nan,
        **nothing,
        "against": "",
    }


def _difference(
    part: _Part, name: str, value: float, draws: NDArray[np.float64]
) -> dict[str, float]:
    return {name: float(value), **part.bounds(name, draws)}
