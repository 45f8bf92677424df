"""drcnet demo: the whole line once through, from simulated frames to the report."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from drcnet.cli.console import (
    ConfigOption,
    JsonOption,
    OverwriteOption,
    print_accuracy,
    print_json,
    progress_bars,
    say,
)

if TYPE_CHECKING:
    import polars as pl

    from drcnet.config import Settings

__all__ = ["DemoResult", "command", "demo"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class DemoResult:
    """What a demo made.

    Parameters
    ----------
    out : Path
        Its folder.
    report : Path
        The page.
    results : Path
        The tables as Markdown.
    scores : DataFrame
        `Evaluation.scores`: one row a run and S/N interval.
    fresh : DataFrame
        What came out for the fresh frames, beside the truth.
    seconds : dict of str to float
        Time of each stage.
    """

    out: Path
    report: Path
    results: Path
    scores: "pl.DataFrame"
    fresh: "pl.DataFrame"
    seconds: dict[str, float]


@dataclass
class _Clock:
    """Seconds of each stage, kept on disk so that an interrupted demo still knows them."""

    path: Path
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began
        self.path.write_text(json.dumps(self.seconds, indent=1))


def demo(
    settings: "Settings",
    out: Path,
    *,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> DemoResult:
    """Simulate, prepare, train, evaluate, report, and classify a fresh frame.

    Parameters
    ----------
    settings : Settings
        All stages.
    out : Path
        Folder to fill: night/, work/, runs/, fresh/, report.html, results.md.
    progress : callable, optional
        ``progress(stage, done, total)``.
    overwrite : bool
        Start over; else an interrupted demo goes on where it stopped.

    Returns
    -------
    DemoResult
        Paths, tables and times.
    """
    from drcnet.cli.demo_page import demo_page
    from drcnet.dataset.build import prepare
    from drcnet.errors import StoreError
    from drcnet.evaluate.evaluate import evaluate
    from drcnet.report.page import report
    from drcnet.simulate.survey import simulate
    from drcnet.train import train

    if overwrite and out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    clock = _Clock(out / "seconds.json")
    if clock.path.exists():
        clock.seconds.update(json.loads(clock.path.read_text()))
    night, work, runs = out / "night", out / "work", out / "runs"
    with clock.stage("simulate"):
        simulate(settings.simulate, night, progress=progress)
    with clock.stage("prepare"):
        prepared = prepare(
            night, work, settings=settings.prepare, split=settings.split, progress=progress
        )
    if not prepared.usable:
        reasons = [*prepared.reasons, *prepared.problems, "no fibre of a known class"]
        raise StoreError(work, "fibres that can be learnt from", f"none ({reasons[0]})")
    for name, recipe in settings.train.items():
        with clock.stage(f"train {name}"):
            train(work, runs / name, recipe, progress=_named(progress, f"train {name}"))
    folders = [runs / name for name in settings.train]
    with clock.stage("evaluate"):
        evaluation = evaluate(folders, settings.evaluate)
    with clock.stage("classify"):
        fresh = _classify_fresh(settings, out, folders[0], progress)
    with clock.stage("report"):
        page = report(folders, out / "report.html", work=work, night=night, title=settings.title)
    results = out / "results.md"
    results.write_text(demo_page(settings, evaluation, fresh, clock.seconds), encoding="utf-8")
    return DemoResult(out, page, results, evaluation.scores, fresh, clock.seconds)


def _named(progress: Progress | None, stage: str) -> Progress | None:
    """Give every model a bar of its own."""
    if progress is None:
        return None
    return lambda _stage, done, total: progress(stage, done, total)


def _classify_fresh(
    settings: "Settings", out: Path, run: Path, progress: Progress | None
) -> "pl.DataFrame":
    """Classify one exposure of another night, and set it beside its truth."""
    import polars as pl

    from drcnet.classify import classify
    from drcnet.simulate.survey import simulate

    night = out / "fresh"
    other = {"seed": settings.simulate.seed + 1000, "plates": 1, "exposures": 1}
    spectrographs = settings.simulate.spectrographs[:1]
    fresh = settings.simulate.model_copy(update=other | {"spectrographs": spectrographs})
    simulate(fresh, night, progress=progress)
    result = classify(night, run, out / "classes.fits", progress=progress, overwrite=True)
    truth = pl.read_parquet(night / "truth" / "fibers.parquet")
    truth = truth.filter(pl.col("class") != "").select("spid", "fiberid", truth="class")
    both = result.table.join(truth, on=["spid", "fiberid"], how="inner")
    return both.drop_nulls("class").select(
        "fiberid", "class", "truth", (pl.col("class") == pl.col("truth")).alias("right")
    )


def command(
    out: Path = typer.Argument(Path("demo"), help="Folder to fill."),
    config: Path | None = ConfigOption,
    overwrite: bool = OverwriteOption,
    as_json: bool = JsonOption,
) -> None:
    """Run the whole line once: simulate, prepare, train, evaluate, classify, report.

    Without --config: two plates of built-in stars and the linear baseline, in a minute or two.
    An interrupted demo goes on where it stopped.
    """
    from drcnet.cli.demo_page import KNOWN_STARS
    from drcnet.cli.settings import read_settings
    from drcnet.config import TrainSettings

    settings = read_settings(config, {})
    if config is None:
        small = settings.simulate.model_copy(update={"plates": 2})
        linear = {"logreg": TrainSettings(model="logreg")}
        settings = settings.model_copy(update={"simulate": small, "train": linear})
    with progress_bars(quiet=as_json) as progress:
        result = demo(settings, out, progress=progress, overwrite=overwrite)
    if as_json:
        print_json(_as_dict(result))
        return
    print_accuracy(result.scores)
    say("\nseconds: " + ", ".join(f"{k} {v:.0f}" for k, v in result.seconds.items()))
    right, total = int(result.fresh["right"].sum()), len(result.fresh)
    known = KNOWN_STARS[settings.simulate.source]
    say(f"fresh frame: {right} of {total} stars right{known}")
    say(f"classes: {out / 'classes.fits'}")
    say(f"tables: {result.results}")
    say(f"report: [bold]{result.report}[/]")


def _as_dict(result: DemoResult) -> dict[str, Any]:
    return {
        "report": result.report,
        "results": result.results,
        "accuracy": result.scores.to_dicts(),
        "seconds": result.seconds,
        "fresh_right": int(result.fresh["right"].sum()),
        "fresh_total": len(result.fresh),
    }
