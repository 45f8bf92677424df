"""Runs side by side by S/N interval, every pair tested, and promises kept or broken."""

import contextlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import polars as pl

from drcnet.config import EvaluateSettings
from drcnet.errors import ConfigError
from drcnet.evaluate.comparison import compare_runs, holm
from drcnet.evaluate.metrics import score_run
from drcnet.evaluate.runs import Run, order_intervals, read_run

__all__ = ["Comparison", "Requirement", "Verdict", "compare", "parse_requirement"]

_FORM = re.compile(
    r"(?P<first>[^@<>=]+?)\s*(?P<sign>>=|>)\s*(?P<second>[^@<>=]+?)(?:@(?P<at>.+))?"
)
_GRAMMAR = "RUN>RUN@INTERVAL, RUN>=RUN@INTERVAL or RUN>NUMBER@INTERVAL, as drcnet>logreg@<10"


@dataclass(frozen=True)
class Requirement:
    """A promise about runs.

    Parameters
    ----------
    text : str
        As it was given.
    first : str
        A run.
    sign : {'>', '>='}
        '>': better, and not by luck; '>=': not worse, but by luck.
    second : str or float
        A run, or an accuracy.
    interval : str
        As given: an interval's name, '<10' for the one that ends at 10, or 'all'.
    """

    text: str
    first: str
    sign: str
    second: str | float
    interval: str


@dataclass(frozen=True)
class Verdict:
    """Whether a promise is kept.

    Parameters
    ----------
    requirement : Requirement
        The promise.
    kept : bool
        Whether it is.
    why : str
        The numbers it rests on.
    """

    requirement: Requirement
    kept: bool
    why: str


@dataclass(frozen=True, eq=False)
class Comparison:
    """What comparing runs came to.

    Parameters
    ----------
    runs : tuple of str
        Names, in the order given; the first is the one that others are marked against.
    scores : DataFrame
        One row a run and interval, as in `metrics.score_run`.
    pairs : DataFrame
        One row a pair and interval, as in `comparison.compare_runs`, and `p_mcnemar_holm`,
        `p_bootstrap_holm` (corrected over all rows) and `significant`: the name of the better
        run where both are below 1 - confidence, else ''.
    verdicts : tuple of Verdict
        One a requirement.
    """

    runs: tuple[str, ...]
    scores: pl.DataFrame
    pairs: pl.DataFrame
    verdicts: tuple[Verdict, ...] = ()

    @property
    def kept(self) -> bool:
        """Whether every requirement is met."""
        return all(verdict.kept for verdict in self.verdicts)

    def mark(self, run: str, interval: str) -> str:
        """Say how a run stands to the first one.

        Parameters
        ----------
        run, interval : str
            Names.

        Returns
        -------
        str
            '+' better, '-' worse, beyond luck after correction; else ''.
        """
        first = self.runs[0]
        here = self.pairs.filter(
            (pl.col("interval") == interval)
            & (pl.col("first") == first)
            & (pl.col("second") == run)
        )
        found = here["significant"].to_list() if len(here) else [""]
        return {run: "+", first: "-"}.get(found[0], "")


def parse_requirement(text: str) -> Requirement:
    """Read a requirement.

    Parameters
    ----------
    text : str
        Such as 'drcnet>logreg@<10', 'drcnet>=rcnet@>30', 'logreg>0.8@all', 'drcnet>logreg'
        (all rows).

    Returns
    -------
    Requirement
        Its parts; whether such runs and intervals exist is not known yet.

    Raises
    ------
    ConfigError
        It does not follow that form.

    Examples
    --------
    >>> parse_requirement("drcnet>logreg@<10").interval
    '<10'
    >>> parse_requirement("logreg >= 0.8").second
    0.8
    """
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ConfigError("--require", _GRAMMAR, repr(text))
    second: str | float = found["second"].strip()
    with contextlib.suppress(ValueError):
        second = float(second)
    interval = (found["at"] or "all").strip()
    return Requirement(text, found["first"].strip(), found["sign"], second, interval)


def compare(
    runs: Sequence[Path | Run],
    settings: EvaluateSettings | None = None,
    require: Iterable[str] = (),
) -> Comparison:
    """Compare every pair of runs on their shared test rows.

    Parameters
    ----------
    runs : sequence of Path or Run
        At least two runs of one store and split, of different names.
    settings : EvaluateSettings, optional
        Defaults if not given.
    require : iterable of str
        Requirements, as for `parse_requirement`.

    Returns
    -------
    Comparison
        Scores, tests and verdicts.

    Raises
    ------
    RunError
        A run cannot be read, or two share no test row.
    ConfigError
        Fewer than two runs, two of one name, or a requirement that names no run or interval.
    """
    settings = settings or EvaluateSettings()
    wanted = [parse_requirement(text) for text in require]
    found = [run if isinstance(run, Run) else read_run(Path(run)) for run in runs]
    names = tuple(run.name for run in found)
    if len(found) < 2 or len(set(names)) < len(names):
        raise ConfigError("runs", "two runs or more, of different names", ", ".join(names))
    intervals = order_intervals(i for run in found for i in run.tested["interval"].unique())
    known = [_resolve(one, names, [*intervals, "all"]) for one in wanted]
    scores = pl.concat([score_run(run, settings, intervals).scores for run in found])
    pairs = pl.concat([compare_runs(a, b, settings) for a, b in combinations(found, 2)])
    pairs = _corrected(pairs, 1 - settings.confidence)
    verdicts = [
        _judge(one, interval, scores, pairs) for one, interval in zip(wanted, known, strict=True)
    ]
    return Comparison(names, scores, pairs, tuple(verdicts))


def _corrected(pairs: pl.DataFrame, level: float) -> pl.DataFrame:
    """Correct both tests over all questions asked, and name the winners that are left."""
    columns = [
        pl.Series(f"{name}_holm", holm(pairs[name].to_numpy()))
        for name in ("p_mcnemar", "p_bootstrap")
    ]
    pairs = pairs.with_columns(columns)
    sure = (pl.col("p_mcnemar_holm") < level) & (pl.col("p_bootstrap_holm") < level)
    ahead = pl.when(pl.col("difference") > 0).then("first").otherwise("second")
    return pairs.with_columns(significant=pl.when(sure).then(ahead).otherwise(pl.lit("")))


def _resolve(one: Requirement, names: tuple[str, ...], intervals: list[str]) -> str:
    """The interval meant, after checking that all names exist."""
    for name in (one.first, one.second):
        if isinstance(name, str) and name not in names:
            raise ConfigError(f"--require {one.text}", f"runs among {', '.join(names)}", name)
    if one.first == one.second:
        raise ConfigError(f"--require {one.text}", "two different runs", f"{one.first} twice")
    ends = {f"<{name.partition('-')[2]}": name for name in intervals if name.startswith("0-")}
    interval = ends.get(one.interval, one.interval)
    if interval not in intervals:
        known = ", ".join([*intervals, *ends])
        raise ConfigError(f"--require {one.text}", f"an interval among {known}", one.interval)
    return interval


def _judge(one: Requirement, interval: str, scores: pl.DataFrame, pairs: pl.DataFrame) -> Verdict:
    if isinstance(one.second, float):
        return _judge_number(one, one.second, interval, scores)
    here = pairs.filter(
        (pl.col("interval") == interval)
        & pl.col("first").is_in([one.first, one.second])
        & pl.col("second").is_in([one.first, one.second])
    )
    row = here.row(0, named=True)
    turned = -1 if row["first"] == one.second else 1
    low, high = sorted((turned * row["difference_low"], turned * row["difference_high"]))
    why = (
        f"{one.first} - {one.second} = {turned * row['difference']:+.3f} [{low:+.3f}, {high:+.3f}]"
        f", corrected p {row['p_mcnemar_holm']:.2g} (McNemar), "
        f"{row['p_bootstrap_holm']:.2g} (bootstrap), {row['n_stars']} stars"
    )
    if one.sign == ">":
        return Verdict(one, row["significant"] == one.first, why)
    return Verdict(one, row["n_rows"] > 0 and row["significant"] != one.second, why)


def _judge_number(one: Requirement, least: float, interval: str, scores: pl.DataFrame) -> Verdict:
    """'>': the interval of the accuracy lies above; '>=': it is not all below."""
    here = (pl.col("run") == one.first) & (pl.col("interval") == interval)
    row = scores.filter(here).row(0, named=True)
    low, high = row["accuracy_low"], row["accuracy_high"]
    why = f"{one.first}: {row['accuracy']:.3f} [{low:.3f}, {high:.3f}], {row['n_stars']} stars"
    return Verdict(one, bool(low > least) if one.sign == ">" else bool(high >= least), why)
