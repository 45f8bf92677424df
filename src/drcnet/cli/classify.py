"""drcnet classify: new frames into one row a fibre."""

from pathlib import Path

import typer

from drcnet.cli.console import (
    JsonOption,
    OverwriteOption,
    WorkersOption,
    print_frame,
    print_json,
    progress_bars,
    say,
)

__all__ = ["command"]


def command(
    frames: list[Path] = typer.Argument(
        help="Object frames (blue and red), or folders of frames with their flats."
    ),
    checkpoint: Path = typer.Option(..., "--checkpoint", "-k", help="Run folder of a model."),
    out: Path = typer.Option(
        Path("classes.fits"), "--out", "-o", help="Table: .fits, .parquet, .vot, .ecsv or .csv."
    ),
    flats: Path | None = typer.Option(
        None, "--flats", help="Folder of flats, arcs and biases, if not beside the frames."
    ),
    workers: int | None = WorkersOption,
    overwrite: bool = OverwriteOption,
    as_json: bool = JsonOption,
) -> None:
    """Classify the fibres of new frames; no catalogue is needed.

    Every fibre is a row: its class and probabilities, or the reason why there are none.
    """
    from drcnet.classify import classify

    with progress_bars(quiet=as_json) as progress:
        result = classify(
            frames,
            checkpoint,
            out,
            flats=flats,
            workers=workers,
            progress=progress,
            overwrite=overwrite,
        )
    table = result.table
    classes = table["class"].drop_nulls().value_counts(sort=True)
    if as_json:
        print_json(
            {
                "table": out,
                "fibers": len(table),
                "classified": len(table) - table["class"].null_count(),
                "classes": dict(classes.iter_rows()),
                "problems": [str(problem) for problem in result.problems],
            }
        )
    else:
        print_frame(classes.rename({"count": "fibres"}))
        say(f"{len(table)} fibres in [bold]{out}[/]")
        for problem in result.problems:
            say(f"refused: {problem}")
    if result.problems:
        raise typer.Exit(3)
