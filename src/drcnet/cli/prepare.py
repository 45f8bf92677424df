"""drcnet prepare: raw frames and a catalogue into stripes with labels."""

from pathlib import Path

import typer

from drcnet.cli.console import (
    ConfigOption,
    JsonOption,
    OverwriteOption,
    WorkersOption,
    print_json,
    progress_bars,
    say,
)

__all__ = ["command"]


def command(
    night: Path = typer.Argument(help="Folder of raw frames (or one with raw/ in it)."),
    work: Path = typer.Argument(help="Folder to write: traces/, dataset.zarr, index, split."),
    catalog: Path | None = typer.Option(
        None, "--catalog", help="CSV, FITS, Parquet or VOTable; else NIGHT/catalog.*."
    ),
    unlabelled: bool = typer.Option(
        False, "--unlabelled", help="Read no catalogue: a pool of stripes without labels."
    ),
    config: Path | None = ConfigOption,
    workers: int | None = WorkersOption,
    overwrite: bool = OverwriteOption,
    as_json: bool = JsonOption,
) -> None:
    """Trace, cut and extract every exposure, join the catalogue, write the store and the split.

    One exposure is one task. An interrupted prepare goes on where it stopped. A frame that
    cannot be used becomes rows with the reason, and the exit code is 3.
    """
    from drcnet.cli.settings import read_settings
    from drcnet.dataset.build import prepare

    settings = read_settings(
        config, {"prepare.workers": workers, "prepare.unlabelled": unlabelled or None}
    )
    with progress_bars(quiet=as_json) as progress:
        summary = prepare(
            night,
            work,
            catalog=catalog,
            settings=settings.prepare,
            split=settings.split,
            progress=progress,
            overwrite=overwrite,
        )
    if as_json:
        print_json(summary.as_dict())
    say(summary.describe(), quiet=as_json)
    following = (
        f"dataset info {work}"
        if settings.prepare.unlabelled
        else f"train {work} RUNS --config FILE"
    )
    say(f"next: drcnet {following}", quiet=as_json)
    if summary.refused:
        raise typer.Exit(3)
