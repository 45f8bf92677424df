"""drcnet extract: raw frames into spectra that other programs open."""

from pathlib import Path

import typer

from drcnet.cli.console import (
    ConfigOption,
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
        help="Object frames, or folders of frames with their flats."
    ),
    out: Path = typer.Option(..., "--out", "-o", help="Folder to write."),
    instrument: str | None = typer.Option(
        None, "--instrument", help="Shipped profile or a TOML file; else recognised."
    ),
    flats: Path | None = typer.Option(
        None, "--flats", help="Folder of flats, arcs and biases, if not beside the frames."
    ),
    stripes: bool = typer.Option(
        False, "--stripes", help="Write the two-dimensional stripes too."
    ),
    config: Path | None = ConfigOption,
    workers: int | None = WorkersOption,
    overwrite: bool = OverwriteOption,
    as_json: bool = JsonOption,
) -> None:
    """Extract the spectra of raw frames: FITS tables and a page to look at for each.

    No catalogue and no model is needed. With --config its prepare.stripes say how; without,
    the whole length of the chip is kept. A frame that cannot be used is listed with the reason.
    """
    from drcnet.cli.settings import read_settings
    from drcnet.extract import extract

    settings = None if config is None else read_settings(config, {}).prepare.stripes
    with progress_bars(quiet=as_json) as progress:
        result = extract(
            frames,
            out,
            instrument=instrument,
            flats=flats,
            settings=settings,
            stripes=stripes,
            workers=workers,
            progress=progress,
            overwrite=overwrite,
        )
    done = result.table.filter(result.table["reason"] == "")
    if as_json:
        print_json({"out": out, "frames": result.table.to_dicts(), "problems": result.problems})
    else:
        print_frame(done, columns=["exposure", "arm", "fibers", "snr"])
        say(f"{len(done)} frames extracted into [bold]{out}[/]; look at the pages (.html)")
        for problem in result.problems:
            say(f"refused: {problem}")
    if result.problems:
        raise typer.Exit(3)
