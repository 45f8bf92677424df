"""drcnet evaluate: predictions into numbers."""

from pathlib import Path

import typer

from drcnet.cli.console import (
    ConfigOption,
    JsonOption,
    print_accuracy,
    print_frame,
    print_json,
    say,
)

__all__ = ["command"]


def command(
    runs: list[Path] = typer.Argument(help="Run folders, or a folder of runs."),
    config: Path | None = ConfigOption,
    predictions: Path | None = typer.Option(
        None,
        "--predictions",
        help="A table from elsewhere (CSV, FITS, VOTable, ECSV, Parquet) as a run in RUNS: row, "
        "obsid, exposure and fiberid, or star; class or p_CLASS.",
    ),
    name: str | None = typer.Option(None, "--name", help="That run's name."),
    work: Path | None = typer.Option(None, "--work", help="The work folder with its stars."),
    split: str | None = typer.Option(None, "--split", help="Split file, as for train."),
    as_json: bool = JsonOption,
) -> None:
    """Score runs by S/N interval, with 95% intervals and the majority-class line.

    With --predictions FILE --name NAME --work WORK, another classifier's answers become the run
    RUNS/NAME first, and are scored beside ours.
    """
    from drcnet.cli.settings import find_runs, read_settings
    from drcnet.evaluate.evaluate import evaluate

    settings = read_settings(config, {})
    if predictions is not None:
        _take_in(predictions, runs, name, work, split)
    elif name is not None or work is not None or split is not None:
        raise typer.BadParameter("--name, --work and --split belong to --predictions")
    folders = find_runs(runs)
    evaluation = evaluate(folders, settings.evaluate)
    if as_json:
        pooled = evaluation.pooled.to_dicts()
        print_json({"metrics": evaluation.scores.to_dicts(), "pooled": pooled})
        return
    print_accuracy(evaluation.scores)
    if len(evaluation.pooled):
        title = "Seeds together; spread: standard deviation over seeds"
        print_frame(evaluation.pooled.drop("majority"), title=title)
    say(f"next: drcnet report {' '.join(map(str, runs))} --out report.html")


def _take_in(
    table: Path, runs: list[Path], name: str | None, work: Path | None, split: str | None
) -> None:
    from drcnet.evaluate.foreign import import_predictions

    if name is None or work is None:
        raise typer.BadParameter("--predictions needs --name and --work")
    if len(runs) != 1:
        raise typer.BadParameter("--predictions needs one RUNS, the folder to put the run into")
    import_predictions(table, runs[0] / name, work, split=split)
