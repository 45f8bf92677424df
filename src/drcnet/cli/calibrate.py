"""drcnet calibrate: how sure a trained model may be, and what it must refuse."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from drcnet.cli.console import (
    ConfigOption,
    JsonOption,
    print_frame,
    print_json,
    progress_bars,
    say,
)

if TYPE_CHECKING:
    from drcnet.calibrate.product import Calibration

__all__ = ["command"]


def command(
    runs: list[Path] = typer.Argument(help="Run folders, or a folder of runs."),
    work: Path = typer.Option(..., "--work", help="Work folder that they were trained on."),
    outsiders: Path | None = typer.Option(
        None,
        "--outsiders",
        help="Another work folder, with A or M stars: count what is refused of them, "
        "of sky and dead fibres, and in error of the run's own test stars.",
    ),
    config: Path | None = ConfigOption,
    as_json: bool = JsonOption,
) -> None:
    """Make probabilities true at every S/N, from faded validation stars; no test star is used.

    Writes calibration.json into each run folder; evaluate and classify then use it.
    """
    import polars as pl

    from drcnet.calibrate.outsiders import judge_outsiders, judge_tested
    from drcnet.calibrate.run import calibrate
    from drcnet.cli.settings import find_runs, read_settings
    from drcnet.evaluate.tables import write_ecsv
    from drcnet.provenance import digest

    settings = read_settings(config, {}).calibrate
    lines: list[dict[str, Any]] = []
    found: Calibration | None = None
    for run in find_runs(runs):
        with progress_bars(quiet=as_json) as progress:
            found = calibrate(run, work, settings, like=found, progress=progress)
        lines.append({"run": run.name} | _line(found))
        if outsiders is not None:
            table = pl.concat([judge_tested(run, work), judge_outsiders(run, outsiders)])
            origin = {"work": outsiders.name, "calibration": digest(dict(found.provenance))}
            write_ecsv(table, run / "outsiders.ecsv", origin)
            lines[-1]["outsiders"] = table.to_dicts()
            columns = (
                "stars",
                "group",
                "interval",
                "n_rows",
                "rejected",
                "unlike",
                "sure",
                "called",
            )
            if not as_json:
                print_frame(table, title=f"{run.name}: share refused", columns=columns)
    if as_json:
        print_json({"runs": lines})
        return
    for line in lines:
        temperatures = ", ".join(f"{v:.2f} at S/N {k}" for k, v in line["temperature"].items())
        say(f"{line['run']}: temperature {temperatures}")
    say(f"next: drcnet evaluate {' '.join(map(str, runs))}")


def _line(found: "Calibration") -> dict[str, Any]:
    places = (5, 15, 25, 60)
    values = [float(v) for v in found.temperature.at(places)]
    return {
        "temperature": dict(zip(places, values, strict=True)),
        "thresholds": dict(found.thresholds),
        "coverage": found.coverage,
    }
