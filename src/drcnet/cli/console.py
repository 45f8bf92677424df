"""What all commands share in the terminal: progress bars, tables, JSON."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "ConfigOption",
    "JsonOption",
    "OverwriteOption",
    "WorkersOption",
    "print_accuracy",
    "print_frame",
    "print_json",
    "progress_bars",
    "say",
]

_ABREAST = 4  # runs that stand side by side in 80 columns

Progress = Callable[[str, int, int], None]

ConfigOption = typer.Option(
    None, "--config", "-c", help="TOML file with the settings; the flags here replace its values."
)
JsonOption = typer.Option(False, "--json", help="Print one JSON object instead of text.")
OverwriteOption = typer.Option(False, "--overwrite", help="Replace what is already there.")
WorkersOption = typer.Option(
    None, "--workers", "-j", min=1, help="Processes; one a core unless given."
)


def say(text: str, *, quiet: bool = False) -> None:
    """Print a line for a person.

    Parameters
    ----------
    text : str
        Rich markup is understood.
    quiet : bool
        Print nothing (a script asked for JSON).
    """
    if not quiet:
        from rich.console import Console

        Console(highlight=False, soft_wrap=True).print(text)


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object for a script.

    Parameters
    ----------
    value : Mapping
        Anything JSON can hold; paths become strings.
    """
    typer.echo(json.dumps(value, default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return value.tolist() if hasattr(value, "tolist") else str(value)


def print_frame(table: "pl.DataFrame", *, title: str = "", columns: Sequence[str] = ()) -> None:
    """Print a table that fits a terminal of 80 columns.

    Parameters
    ----------
    table : DataFrame
        Rows to print, all of them.
    title : str
        Stands above.
    columns : sequence of str
        Which columns; none: all.
    """
    from rich.console import Console
    from rich.table import Table

    names = list(columns) or table.columns
    drawn = Table(box=None, pad_edge=False)
    for name in names:
        numeric = table[name].dtype.is_numeric()
        drawn.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in table.select(names).iter_rows():
        drawn.add_row(*(_cell(value) for value in row))
    console = Console(highlight=False)
    if title:
        console.print(title)
    console.print(drawn)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def print_accuracy(scores: "pl.DataFrame") -> None:
    """Print accuracy by S/N interval in a terminal of 80 columns.

    A few runs stand side by side, a column each; more of them have a line each.

    Parameters
    ----------
    scores : DataFrame
        `Evaluation.scores`.
    """
    import polars as pl

    few = scores["run"].n_unique() <= _ABREAST
    table = _by_interval(scores) if few else _by_run(scores)
    print_frame(table, title="Accuracy on test rows by S/N interval (snrr), ± half of 95%")
    published: dict[str, list[str]] = {}
    for cell in scores.filter(pl.col("published").is_not_null()).iter_rows(named=True):
        value = f"{cell['interval']} {cell['published']:.3f}"
        values = published.setdefault(cell["model"], [])
        if value not in values:
            values.append(value)
    for model, values in published.items():
        say(f"paper's {model} (real data): {', '.join(values)}")


def _by_interval(scores: "pl.DataFrame") -> "pl.DataFrame":
    import polars as pl

    rows: dict[str, dict[str, Any]] = {}
    for cell in scores.iter_rows(named=True):
        line = rows.setdefault(cell["interval"], {})
        if not line:
            line |= {"S/N": cell["interval"], "rows": cell["n_rows"]}
            line["majority"] = f"{cell['majority']:.3f}"
        half = (cell["accuracy_high"] - cell["accuracy_low"]) / 2
        line[cell["run"]] = f"{cell['accuracy']:.3f} ±{half:.3f}"
    names = list(dict.fromkeys(name for line in rows.values() for name in line))
    return pl.DataFrame([{name: line.get(name) for name in names} for line in rows.values()])


def _by_run(scores: "pl.DataFrame") -> "pl.DataFrame":
    import polars as pl

    counts: dict[str, Any] = {"run": "rows"}
    idle: dict[str, Any] = {"run": "majority"}
    rows: dict[str, dict[str, Any]] = {}
    for cell in scores.iter_rows(named=True):
        name = cell["interval"]
        counts.setdefault(name, str(cell["n_rows"]))
        idle.setdefault(name, _short(cell["majority"]))
        half = (cell["accuracy_high"] - cell["accuracy_low"]) / 2
        value = f"{_short(cell['accuracy'])}±{_short(half)}" if cell["n_rows"] else "-"
        rows.setdefault(cell["run"], {"run": cell["run"]})[name] = value
    return pl.DataFrame([counts, idle, *rows.values()])


def _short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


@contextlib.contextmanager
def progress_bars(*, quiet: bool = False) -> Iterator[Progress]:
    """Show progress on standard error.

    Parameters
    ----------
    quiet : bool
        Show nothing.

    Yields
    ------
    callable
        ``progress(stage, done, total)``, to be handed to the functions that do the work.
    """
    if quiet:
        yield lambda stage, done, total: None  # noqa: ARG005
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    bars = Bars(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    tasks: dict[str, Any] = {}
    with bars:

        def update(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield update
