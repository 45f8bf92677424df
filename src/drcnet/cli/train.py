"""drcnet train: models on one split, into run folders."""

from pathlib import Path
from typing import Any

import typer

from drcnet.cli.console import (
    ConfigOption,
    JsonOption,
    OverwriteOption,
    print_json,
    progress_bars,
    say,
)

__all__ = ["command"]


def command(
    work: str = typer.Argument(help="Folder that 'drcnet prepare' made, or its URL."),
    runs: Path = typer.Argument(help="Folder of runs; each model gets a folder of its own in it."),
    config: Path | None = ConfigOption,
    model: str | None = typer.Option(
        None, "--model", "-m", help="Train this model with the paper's recipe (or the file's)."
    ),
    split: str | None = typer.Option(
        None, "--split", help="Split file, also as named inside WORK (splits/paper-0.parquet)."
    ),
    seed: int | None = typer.Option(None, "--seed", help="Initial weights and order of data."),
    device: str | None = typer.Option(None, "--device", help="auto, cpu or cuda."),
    epochs: int | None = typer.Option(None, "--epochs", min=1, help="At most so many epochs."),
    augment: str | None = typer.Option(
        None, "--augment", help="noise: train on faded stars besides; the run is NAME-noise."
    ),
    begin_from: str | None = typer.Option(
        None, "--begin-from", help="Start from this run's weights: a name in RUNS, or a path."
    ),
    teachers: list[str] = typer.Option(
        [], "--teacher", help="Learn from this run's probabilities besides; repeatable."
    ),
    overwrite: bool = OverwriteOption,
    as_json: bool = JsonOption,
) -> None:
    """Train the models that the file's train.NAME tables describe, or the one named by --model.

    An interrupted training goes on where it stopped when the same command is given again, and
    ends with the same result. Several devices or processes share a network's batches where
    torchrun starts the command: torchrun --nproc-per-node 2 -m drcnet train ...
    """
    from drcnet.cli.settings import read_settings
    from drcnet.config import TrainSettings
    from drcnet.train import train
    from drcnet.train.processes import Processes

    quiet = as_json or not Processes.here().first
    recipes = dict(read_settings(config, {}).train)
    if model is not None:
        recipes = {model: recipes.get(model, TrainSettings(model=model))}
    elif not recipes:
        raise typer.BadParameter("give --model NAME, or --config with train.NAME tables")
    if augment not in (None, "noise"):
        raise typer.BadParameter(f"--augment takes 'noise', not {augment!r}")
    flags = {"split": split, "seed": seed, "device": device, "epochs": epochs}
    named: dict[str, Any] = flags | {"begin_from": begin_from}
    given = {key: value for key, value in named.items() if value is not None}
    summaries = []
    for name, recipe in recipes.items():
        if augment is not None:
            name = f"{name}-{augment}"  # noqa: PLW2901  a run of its own beside the plain one
            given["augment"] = recipe.augment.model_dump() | {augment: True}
        if teachers:
            own = {} if recipe.teachers is None else recipe.teachers.model_dump()
            given["teachers"] = own | {"runs": teachers}
        settings = TrainSettings.model_validate(recipe.model_dump() | given)
        with progress_bars(quiet=quiet) as progress:
            summary = train(work, runs / name, settings, progress=progress, overwrite=overwrite)
        summaries.append(summary)
        say(f"{name}: {summary.describe()}", quiet=quiet)
    if as_json and Processes.here().first:
        print_json({"runs": [summary.as_dict() for summary in summaries]})
    say(f"next: drcnet evaluate {runs}", quiet=quiet)
