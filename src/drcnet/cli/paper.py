"""drcnet paper: the paper's tables and figures from our runs."""

from pathlib import Path

import typer

from drcnet.cli.console import say

__all__ = ["command"]


def command(
    runs: list[Path] = typer.Argument(help="Run folders, or a folder of runs."),
    out: Path = typer.Option(Path("paper"), "--out", "-o", help="Folder to write into."),
    work: Path | None = typer.Option(
        None, "--work", help="Work folder: adds Table 1 and Figures 2, 3 and 4."
    ),
    night: Path | None = typer.Option(None, "--night", help="Raw frames: adds Figure 1."),
) -> None:
    """Write Tables 1 to 5 (ECSV, LaTeX, Markdown) and Figures 1 to 7 (PNG, PDF) of the paper.

    The published values stand beside ours, and a check of whether they agree.
    The paper's claims are asked of the runs, with an interval and a verdict.
    """
    from drcnet.cli.settings import find_runs
    from drcnet.report.paper import write_paper

    written = write_paper(find_runs(runs), out, work=work, night=night)
    say(f"written: {len(written)} files in [bold]{out}[/]")
