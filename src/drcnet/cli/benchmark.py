"""drcnet benchmark: make the benchmark sets, and look at them."""

from pathlib import Path

import typer

from drcnet.cli.console import (
    JsonOption,
    OverwriteOption,
    WorkersOption,
    print_json,
    progress_bars,
    say,
)

__all__ = ["app"]

app = typer.Typer(
    help="Benchmark sets: simulated surveys of real stars, with their splits.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command("make")
def make_command(
    config: Path = typer.Argument(help="TOML file of the set: configs/benchmarks/NAME.toml."),
    out: Path = typer.Option(..., "--out", "-o", help="Folder to fill: a work folder."),
    workers: int | None = WorkersOption,
    keep_raw: bool = typer.Option(
        False, "--keep-raw", help="Keep the raw frames, 70 MB an exposure."
    ),
    overwrite: bool = OverwriteOption,
    as_json: bool = JsonOption,
) -> None:
    """Simulate a survey, reduce it exposure by exposure, and write its splits.

    The same command goes on where it was stopped; the same file gives the same bytes.
    """
    from drcnet.benchmark import make_benchmark
    from drcnet.config import BenchmarkSettings, load_settings

    settings = load_settings(config, BenchmarkSettings)
    with progress_bars(quiet=as_json) as progress:
        summary = make_benchmark(
            settings,
            out,
            progress=progress,
            keep_raw=keep_raw,
            workers=workers,
            overwrite=overwrite,
        )
    if as_json:
        print_json(summary.as_dict())
    say(summary.tables, quiet=as_json)
    say(
        f"{summary.exposures} exposures ({summary.made} made now, {summary.seconds:.0f} s), "
        f"{summary.usable} usable rows of {summary.stars} stars in {out}",
        quiet=as_json,
    )
