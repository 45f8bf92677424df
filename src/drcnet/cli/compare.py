"""drcnet compare: runs by S/N interval, with what luck would do; an exit code for CI."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from drcnet.cli.console import ConfigOption, JsonOption, OverwriteOption, print_json, say

if TYPE_CHECKING:
    from drcnet.evaluate.compare import Comparison

__all__ = ["command"]

_WIDTH = 80
_LISTED = 12  # differences beyond luck that are spelt out; more of them are counted


def command(
    runs: list[Path] = typer.Argument(help="Run folders, or a folder of runs."),
    require: list[str] = typer.Option(
        [], "--require", help="RUN>RUN@INTERVAL, >= or a NUMBER; repeatable. Exit 1 if not met."
    ),
    out: Path | None = typer.Option(None, "--out", "-o", help="Pairs: .ecsv, .csv or .md."),
    config: Path | None = ConfigOption,
    overwrite: bool = OverwriteOption,
    as_json: bool = JsonOption,
) -> None:
    """Compare runs on the same test stars: 95% intervals, and differences beyond luck.

    Marks stand against the first run: + better, - worse, where McNemar's test and the bootstrap
    over stars agree after Holm's correction for all pairs and intervals. 'drcnet>logreg@<10' asks
    for such a difference, 'drcnet>=logreg@<10' that there is none the other way round,
    'drcnet>0.8@all' that the interval of the accuracy lies above.
    """
    from drcnet.cli.settings import find_runs, read_settings
    from drcnet.config import EvaluateSettings
    from drcnet.evaluate.compare import compare
    from drcnet.evaluate.evaluate import settings_of

    _check(out, overwrite=overwrite)
    folders = find_runs(runs)
    settings: EvaluateSettings = (
        read_settings(config, {}).evaluate if config is not None else settings_of(folders)
    )
    found = compare(folders, settings, require)
    if out is not None:
        _write(found, out, settings)
    if as_json:
        print_json(_as_dict(found))
    else:
        _print(found, settings.confidence)
    if not found.kept:
        raise typer.Exit(1)


def _check(out: Path | None, *, overwrite: bool) -> None:
    from drcnet.errors import ConfigError

    if out is None:
        return
    if out.suffix not in (".ecsv", ".csv", ".md"):
        raise ConfigError(out, "an output ending in .ecsv, .csv or .md", repr(out.suffix))
    if out.exists() and not overwrite:
        raise ConfigError(out, "a new file, or --overwrite", "one that exists")


def _write(found: "Comparison", out: Path, settings: Any) -> None:
    from drcnet.evaluate.tables import to_markdown, write_ecsv
    from drcnet.provenance import atomic_write, make_provenance

    if out.suffix == ".ecsv":
        origin = make_provenance(settings.model_dump(mode="json"), seed=settings.seed)
        write_ecsv(found.pairs, out, origin)
        return
    text = found.pairs.write_csv() if out.suffix == ".csv" else to_markdown(found.pairs) + "\n"
    with atomic_write(out) as path:
        path.write_text(text, encoding="utf-8")


def _print(found: "Comparison", confidence: float) -> None:
    from rich.console import Console
    from rich.table import Table

    intervals = list(dict.fromkeys(found.scores["interval"]))
    cells = {(r["run"], r["interval"]): r for r in found.scores.iter_rows(named=True)}
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("S/N (snrr)", overflow="fold")
    for name in intervals:
        table.add_column(name, justify="right", no_wrap=True)
    first = found.runs[0]
    table.add_row("[dim]stars", *(f"{cells[first, i]['n_stars']}" for i in intervals))
    table.add_row("[dim]majority", *(_plain(cells[first, i]["majority"]) for i in intervals))
    for run in found.runs:
        best = [_cell(cells[run, i], found.mark(run, i)) for i in intervals]
        table.add_row(run, *best)
    console = Console(highlight=False, width=_WIDTH)
    console.print(f"Accuracy, ± half of {confidence:.0%}; + - : beyond luck against {first}")
    console.print(table)
    sure = found.pairs.filter(found.pairs["significant"] != "")
    if len(sure) > _LISTED:
        say(f"{len(sure)} of {len(found.pairs)} differences are beyond luck; --out FILE has all")
    for row in sure.iter_rows(named=True) if len(sure) <= _LISTED else ():
        say(
            f"{row['interval']}: [bold]{row['significant']}[/] leads "
            f"{row['second'] if row['significant'] == row['first'] else row['first']} by "
            f"{abs(row['difference']):.3f} (corrected p {row['p_bootstrap_holm']:.1g})"
        )
    for verdict in found.verdicts:
        word = "[green]met[/]" if verdict.kept else "[red]NOT MET[/]"
        say(f"{word} {verdict.requirement.text}: {verdict.why}")


def _cell(row: dict[str, Any], mark: str) -> str:
    if not row["n_rows"]:
        return "-"
    half = (row["accuracy_high"] - row["accuracy_low"]) / 2
    return f"{_plain(row['accuracy'])}±{_plain(half)}{mark or ' '}"


def _plain(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def _as_dict(found: "Comparison") -> dict[str, Any]:
    return {
        "scores": found.scores.to_dicts(),
        "pairs": found.pairs.to_dicts(),
        "requirements": [
            {"text": v.requirement.text, "met": v.kept, "why": v.why} for v in found.verdicts
        ],
    }
