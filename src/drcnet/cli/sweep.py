"""drcnet sweep: many models, seeds and splits beside each other."""

from pathlib import Path

import typer

from drcnet.cli.console import JsonOption, print_json, progress_bars, say

__all__ = ["command"]


def command(
    config: Path = typer.Argument(help="TOML file of the sweep: configs/sweeps/NAME.toml."),
    work: str = typer.Argument(help="Folder that 'drcnet prepare' made, or its URL."),
    runs: Path = typer.Argument(help="Folder of runs; the tables are written there too."),
    page: Path | None = typer.Option(
        None, "--page", help="Write the Markdown page here besides (docs/results/models.md)."
    ),
    max_seconds: float | None = typer.Option(
        None, "--max-seconds", min=0.001, help="Time budget of each run of a network."
    ),
    clock: str | None = typer.Option(
        None, "--clock", help="What that counts: wall, or processor where others share it."
    ),
    only: str | None = typer.Option(
        None, "--only", help="Only these lines, separated by commas: a part of the table."
    ),
    finished_only: bool = typer.Option(
        False, "--finished-only", help="Train nothing: tables of the runs that are there."
    ),
    device: str | None = typer.Option(None, "--device", help="auto, cpu or cuda."),
    keep_gb: float = typer.Option(
        2.0, "--keep-gb", min=0.0, help="Memory for what runs share: 8 reads folds together."
    ),
    as_json: bool = JsonOption,
) -> None:
    """Train models by seeds by splits, with and without noise, and write one table.

    The same command goes on where it was stopped: finished runs are kept, and a run that failed
    is tried again. Sweeps may share RUNS: a run that another process trains is left to it, and
    counts as failed here. Exit code 3 where a run failed; the table names it with its error.
    """
    from drcnet.config import SweepSettings, load_settings
    from drcnet.errors import ConfigError
    from drcnet.sweep import sweep

    flags = {"recipe.max_seconds": max_seconds, "recipe.clock": clock, "recipe.device": device}
    given = {key: value for key, value in flags.items() if value is not None}
    settings = load_settings(config, SweepSettings, given)
    if only is not None:
        names = [name.strip() for name in only.split(",")]
        strange = sorted(set(names) - set(settings.lines))
        if strange:
            raise ConfigError(config, f"lines {', '.join(settings.lines)}", ", ".join(strange))
        lines = {name: line for name, line in settings.lines.items() if name in names}
        settings = settings.model_copy(update={"lines": lines})
    with progress_bars(quiet=as_json) as progress:
        result = sweep(
            settings,
            work,
            runs,
            page=page,
            finished_only=finished_only,
            keep_bytes=int(keep_gb * 1e9),
            progress=progress,
            report=lambda text: say(text, quiet=as_json),
        )
    if as_json:
        print_json({"lines": result.lines.to_dicts(), "failed": result.failed})
    say(f"{len(result.runs)} runs, {len(result.failed)} failed: {result.page}", quiet=as_json)
    if result.failed:
        raise typer.Exit(3)
