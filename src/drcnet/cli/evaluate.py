"""drcnet evaluate: predictions into numbers."""

from pathlib import Path

import typer

from drcnet.cli.console import ConfigOption, JsonOption, print_accuracy, print_json, say

__all__ = ["command"]


def command(
    runs: list[Path] = typer.Argument(help="Run folders, or a folder of runs."),
    config: Path | None = ConfigOption,
    as_json: bool = JsonOption,
) -> None:
    """Score runs by S/N interval, with 95% intervals and the majority-class line."""
    from drcnet.cli.settings import find_runs, read_settings
    from drcnet.evaluate.evaluate import evaluate

    settings = read_settings(config, {})
    folders = find_runs(runs)
    evaluation = evaluate(folders, settings.evaluate)
    if as_json:
        print_json({"metrics": evaluation.scores.to_dicts()})
        return
    print_accuracy(evaluation.scores)
    say(f"next: drcnet report {' '.join(map(str, runs))} --out report.html")
