"""drcnet simulate: a night of raw frames."""

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
    night: Path = typer.Argument(help="Folder to write: raw/, catalog.csv, truth/."),
    config: Path | None = ConfigOption,
    library: list[Path] | None = typer.Option(
        None, "--library", help="Folder or table of real spectra to draw stars from (repeatable)."
    ),
    lines: Path | None = typer.Option(
        None, "--lines", help="A fuller line list (CSV) for the built-in stars."
    ),
    plates: int | None = typer.Option(None, "--plates", min=1, help="Plates observed."),
    exposures: int | None = typer.Option(None, "--exposures", min=1, help="Exposures a plate."),
    seed: int | None = typer.Option(None, "--seed", help="Every number follows from this one."),
    workers: int | None = WorkersOption,
    overwrite: bool = OverwriteOption,
    as_json: bool = JsonOption,
) -> None:
    """Write a night of LAMOST-like raw frames, with a catalogue and the truth.

    Stars come from built-in physics, so no data is needed, or from libraries of real spectra
    (--library). The settings are the simulate table of --config.
    """
    from drcnet.cli.settings import read_settings
    from drcnet.simulate.survey import simulate

    settings = read_settings(
        config,
        {
            "simulate.source": "library" if library else None,
            "simulate.library": [str(path) for path in library] if library else None,
            "simulate.lines": lines,
            "simulate.plates": plates,
            "simulate.exposures": exposures,
            "simulate.seed": seed,
            "simulate.workers": workers,
        },
    ).simulate
    with progress_bars(quiet=as_json) as progress:
        simulate(settings, night, progress=progress, overwrite=overwrite)
    frames = sorted((night / "raw").iterdir())
    if as_json:
        print_json({"night": night, "frames": len(frames), "catalog": night / "catalog.csv"})
    say(f"{len(frames)} raw frames and catalog.csv in [bold]{night}[/]", quiet=as_json)
    say(f"next: drcnet prepare {night} WORK", quiet=as_json)
