"""drcnet robustness: a finished run put through disturbances."""

from pathlib import Path

import typer

from drcnet.cli.console import (
    ConfigOption,
    JsonOption,
    print_frame,
    print_json,
    progress_bars,
    say,
)

__all__ = ["command"]


def command(
    run: Path = typer.Argument(help="Run folder; the sheet is written into it."),
    work: Path = typer.Option(..., "--work", help="Work folder that the run was tested on."),
    against: list[Path] = typer.Option(
        [], "--against", help="Another run, put through the same; may be given more than once."
    ),
    config: Path | None = ConfigOption,
    rows: int | None = typer.Option(None, "--rows", min=20, help="At most so many test rows."),
    seed: int | None = typer.Option(None, "--seed", help="Of all that is drawn."),
    device: str = typer.Option("auto", "--device", help="auto, cpu or cuda."),
    as_json: bool = JsonOption,
) -> None:
    """Disturb the test stars (trace, wavelength, sky, moon, ...) and score the answers.

    Writes robustness.parquet, robustness.ecsv and figures/robustness.png and .pdf. The file given
    by --config holds the fields of RobustnessSettings at its top level.
    """
    from drcnet.config import RobustnessSettings, load_settings
    from drcnet.robustness.sheet import robustness

    given = {"rows": rows, "seed": seed}
    flags = {key: value for key, value in given.items() if value is not None}
    settings = load_settings(config, RobustnessSettings, flags)
    with progress_bars(quiet=as_json) as progress:
        table = robustness(
            run, work, settings, baselines=against, device=device, progress=progress
        )
    if as_json:
        print_json({"robustness": table.to_dicts()})
        return
    shown = table.filter((table["interval"] == "all") & (table["run"] == run.resolve().name))
    columns = ["disturbance", "text", "accuracy", "accuracy_low", "accuracy_high", "drop", "kept"]
    print_frame(
        shown, title="Accuracy under disturbances, all S/N, 95% intervals", columns=columns
    )
    say(f"written: {run / 'robustness.parquet'}; next: drcnet report {run}")
