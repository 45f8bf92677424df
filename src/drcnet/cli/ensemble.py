"""drcnet ensemble: several runs as one."""

from pathlib import Path

import typer

from drcnet.cli.console import JsonOption, OverwriteOption, print_json, say

__all__ = ["command"]


def command(
    runs: list[Path] = typer.Argument(help="Finished runs of one store and split."),
    out: Path = typer.Option(..., "--out", "-o", help="Run folder to make."),
    overwrite: bool = OverwriteOption,
    as_json: bool = JsonOption,
) -> None:
    """Average the probabilities of several runs into one that is judged like any other.

    Its cost is the sum of theirs. evaluate, compare, report and paper take it; it has no weights,
    so it does not classify. A network of a member's cost learns from them by train --teacher.
    """
    from drcnet.evaluate.ensemble import ensemble

    made = ensemble(runs, out, overwrite=overwrite)
    if as_json:
        print_json({"run": made, "members": [str(run) for run in runs]})
    say(f"{made}: the mean of {len(runs)} runs", quiet=as_json)
    say(f"next: drcnet evaluate {made}", quiet=as_json)
