"""drcnet report: run folders into one HTML page."""

from pathlib import Path

import typer

from drcnet.cli.console import OverwriteOption, say

__all__ = ["command"]


def command(
    runs: list[Path] = typer.Argument(help="Run folders, or a folder of runs."),
    out: Path = typer.Option(Path("report.html"), "--out", "-o", help="The page to write."),
    work: Path | None = typer.Option(
        None, "--work", help="Folder that 'drcnet prepare' made: adds stripes and worst mistakes."
    ),
    night: Path | None = typer.Option(None, "--night", help="Folder of raw frames: adds one."),
    title: str = typer.Option("", "--title", help="Stands on top of the page."),
    overwrite: bool = OverwriteOption,
) -> None:
    """Write one self-contained page: tables, curves, stripes, settings. Works offline."""
    from drcnet.cli.settings import find_runs
    from drcnet.errors import ConfigError
    from drcnet.report.page import report

    if out.exists() and not overwrite:
        raise ConfigError(out, "a new file, or --overwrite", "one that exists")
    page = report(find_runs(runs), out, work=work, night=night, title=title)
    say(f"report: [bold]{page}[/]")
