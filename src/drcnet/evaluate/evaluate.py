"""Run folders in; `metrics.ecsv`, `confusion.ecsv` and figures out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import polars as pl

from drcnet.config import EvaluateSettings, load_settings, settings_toml
from drcnet.errors import RunError
from drcnet.evaluate.calibration import reliability_table
from drcnet.evaluate.comparison import accuracy_curve, compare_runs, share_rows
from drcnet.evaluate.doubt import calibrated_run, coverage_table, doubt_table, risk_table
from drcnet.evaluate.metrics import score_run
from drcnet.evaluate.pooled import pooled_table
from drcnet.evaluate.runs import Run, order_intervals, read_run
from drcnet.evaluate.tables import accuracy_table, metrics_table, write_ecsv
from drcnet.provenance import atomic_write, file_digest, make_provenance

__all__ = ["EVALUATED", "Evaluation", "assess", "evaluate", "settings_of"]

EVALUATED = "evaluate.toml"
"""The settings that a run folder was evaluated with last."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything that the predictions of some runs say.

    Parameters
    ----------
    runs : tuple of Run
        The runs, in the order given.
    scores : DataFrame
        One row a run and interval: all of `metrics.score_run`, precision, recall and F1 by
        class, and `published`, the paper's accuracy (real LAMOST data).
    classes, confusion : DataFrame
        As in `metrics.Scores`.
    reliability : DataFrame
        As in `calibration.reliability_table`.
    comparisons : DataFrame
        As in `comparison.compare_runs`, for every pair of runs that share test rows.
    curves : DataFrame
        As in `comparison.accuracy_curve`.
    doubt, coverage, risk : DataFrame
        As in `doubt.doubt_table`, `doubt.coverage_table` and `doubt.risk_table`.
    reliability_calibrated : DataFrame
        As `reliability`, of the runs that have a calibration.
    pooled : DataFrame
        As in `pooled.pooled_table`: runs that differ in their seed only, as one line.
    """

    runs: tuple[Run, ...]
    scores: pl.DataFrame
    classes: pl.DataFrame
    confusion: pl.DataFrame
    reliability: pl.DataFrame
    comparisons: pl.DataFrame
    curves: pl.DataFrame
    doubt: pl.DataFrame = field(default_factory=pl.DataFrame)
    coverage: pl.DataFrame = field(default_factory=pl.DataFrame)
    risk: pl.DataFrame = field(default_factory=pl.DataFrame)
    reliability_calibrated: pl.DataFrame = field(default_factory=pl.DataFrame)
    pooled: pl.DataFrame = field(default_factory=pl.DataFrame)

    def summary(self) -> pl.DataFrame:
        """Set the runs side by side, one row an interval, for people to read.

        Returns
        -------
        DataFrame
            As in `tables.accuracy_table`.
        """
        return accuracy_table(self.scores)


def assess(runs: Sequence[Run], settings: EvaluateSettings) -> Evaluation:
    """Score runs; nothing is read or written.

    Parameters
    ----------
    runs : sequence of Run
        At least one; names must differ.
    settings : EvaluateSettings
        Bootstrap draws, coverage, seed, calibration bins.

    Returns
    -------
    Evaluation
        All tables.

    Raises
    ------
    RunError
        There is no run, two have one name, or a run has no test row with a known class.
    """
    _check(runs)
    names = order_intervals(i for run in runs for i in run.tested["interval"].unique())
    scored = [score_run(run, settings, names) for run in runs]
    scores = pl.concat([s.scores for s in scored])
    classes = pl.concat([s.classes for s in scored])
    after = [
        reliability_table(calibrated_run(run), settings.reliability_bins)
        for run in runs
        if run.calibration is not None
    ]
    pairs = [compare_runs(a, b, settings) for a, b in combinations(runs, 2) if share_rows(a, b)]
    return Evaluation(
        runs=tuple(runs),
        scores=metrics_table(scores, classes),
        classes=classes,
        confusion=pl.concat([s.confusion for s in scored]),
        reliability=pl.concat([reliability_table(r, settings.reliability_bins) for r in runs]),
        comparisons=pl.concat(pairs) if pairs else pl.DataFrame(),
        curves=pl.concat([accuracy_curve(run, settings) for run in runs]),
        doubt=pl.concat([doubt_table(run, settings) for run in runs]),
        coverage=pl.concat([coverage_table(run, settings) for run in runs]),
        risk=pl.concat([risk_table(run) for run in runs]),
        reliability_calibrated=pl.concat(after) if after else pl.DataFrame(),
        pooled=pooled_table(runs, settings, names),
    )


def evaluate(runs: Sequence[Path], settings: EvaluateSettings | None = None) -> Evaluation:
    """Score run folders and write what came out into each.

    Parameters
    ----------
    runs : sequence of Path
        Run folders with `predictions.parquet`.
    settings : EvaluateSettings, optional
        Defaults if not given.

    Returns
    -------
    Evaluation
        All tables. `metrics.ecsv`, `confusion.ecsv`, `doubt.ecsv`, `coverage.ecsv`, `risk.ecsv`,
        `evaluate.toml` and, unless the settings say no, `figures/*.png` are written into each
        run folder.

    Raises
    ------
    RunError
        A folder, its predictions or a column is missing; nothing has been written then.
    """
    settings = settings or EvaluateSettings()
    result = assess([read_run(Path(folder)) for folder in runs], settings)
    for run in result.runs:
        _write(run, result, settings)
    return result


def settings_of(runs: Sequence[Path]) -> EvaluateSettings:
    """Find the settings that some run folders were evaluated with.

    Parameters
    ----------
    runs : sequence of Path
        Run folders.

    Returns
    -------
    EvaluateSettings
        Of `evaluate.toml` in them; the defaults where no folder has one.

    Raises
    ------
    RunError
        The folders were evaluated with different settings: evaluate them together first.
    """
    paths = [Path(run) / EVALUATED for run in runs if (Path(run) / EVALUATED).is_file()]
    found = [load_settings(path, EvaluateSettings) for path in paths]
    for path, one in zip(paths, found, strict=True):
        if one != found[0]:
            wanted = f"the settings of {paths[0]} ('drcnet evaluate' gives runs the same)"
            raise RunError(path, wanted, "others")
    return found[0] if found else EvaluateSettings()


def _write(run: Run, result: Evaluation, settings: EvaluateSettings) -> None:
    inputs = {"predictions.parquet": file_digest(run.folder / "predictions.parquet")}
    origin: dict[str, Any] = make_provenance(
        settings.model_dump(mode="json"), inputs=inputs, seed=settings.seed
    )
    mine = pl.col("run") == run.name
    write_ecsv(result.scores.filter(mine), run.folder / "metrics.ecsv", origin)
    write_ecsv(result.confusion.filter(mine), run.folder / "confusion.ecsv", origin)
    for name in ("doubt", "coverage", "risk"):
        write_ecsv(getattr(result, name).filter(mine), run.folder / f"{name}.ecsv", origin)
    settings_file = run.folder / EVALUATED
    with atomic_write(settings_file) as path:
        path.write_text(settings_toml(settings), encoding="utf-8")
    if settings.figures:
        from drcnet.evaluate.figures import save_run_figures  # noqa: PLC0415

        after = result.reliability_calibrated
        save_run_figures(
            run,
            result.scores.filter(mine),
            result.confusion.filter(mine),
            result.reliability.filter(mine),
            after.filter(mine) if len(after) else after,
        )


def _check(runs: Sequence[Run]) -> None:
    if not runs:
        raise RunError("runs", "at least one run folder", "none")
    names = [run.name for run in runs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise RunError("runs", "runs of different names", f"{twice!r} twice")
    for run in runs:
        if run.tested.is_empty():
            path = run.folder / "predictions.parquet"
            raise RunError(path, "test rows with a known class", "none")
