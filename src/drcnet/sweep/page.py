"""A sweep as one page of Markdown: every number and sentence on it follows from the runs."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from drcnet.config import SweepSettings, settings_toml
from drcnet.evaluate.paper import PUBLISHED_NAMES, published_accuracy
from drcnet.evaluate.tables import to_markdown
from drcnet.sweep.table import Finished

__all__ = ["page_text"]

_READING = """Accuracy on test rows by S/N interval (snrr), with {confidence:.0f}% intervals from a
bootstrap over stars{seeds}. *majority*: always saying the training part's most frequent class.
*GFLOP*: operations of classifying one star, two a multiply-add (convolutions, matrix products and
distances). *trained/s*, *classified/s*: stars a second. *epochs*: times that every training star
was seen. *cores*: processor seconds a second of training: where it is well below the threads,
other work shared the machine, and fewer epochs were reached than a quiet one would have reached.
Weights are those of the lowest validation loss.
"""

_CLOCKS = {"wall": "training time", "processor": "processor time (all threads together)"}

_NAMES = {
    "view": "view",
    "parameters": "parameters",
    "gflop": "GFLOP",
    "trained": "trained/s",
    "classified": "classified/s",
    "epochs": "epochs",
    "seconds": "seconds",
    "cores": "cores",
    "stopped": "stopped by",
}


def page_text(
    settings: SweepSettings,
    finished: Sequence[Finished],
    lines: pl.DataFrame,
    runs: pl.DataFrame,
    origin: dict[str, Any],
    *,
    pending: Sequence[str] = (),
) -> str:
    """Write the page.

    Parameters
    ----------
    settings : SweepSettings
        The sweep.
    finished : sequence of Finished
        Its runs.
    lines, runs : DataFrame
        From `drcnet.sweep.table`.
    origin : dict
        Its provenance.
    pending : sequence of str
        Runs that are planned and not trained yet.

    Returns
    -------
    str
        Markdown.
    """
    parts = [
        f"# {settings.title}",
        _conditions(settings, finished, origin),
        *([f"Not trained yet: {', '.join(f'`{name}`' for name in pending)}."] if pending else []),
        "## Accuracy",
        _reading(settings),
        to_markdown(_accuracies(lines)),
        "## Size and speed",
        to_markdown(_costs(lines)),
        "## What it says",
        _findings(lines),
        *_failures(lines, settings),
        *_each(lines, runs),
        "## The sweep",
        f"```toml\n{settings_toml(settings).strip()}\n```",
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _conditions(
    settings: SweepSettings, finished: Sequence[Finished], origin: dict[str, Any]
) -> str:
    """What was equal for all, and what it ran on."""
    done = [one.read.card for one in finished if one.read is not None]
    machines = dict.fromkeys(card["training"].get("machine", "unknown") for card in done)
    rows = dict.fromkeys(str(card["training"]["stars"]) for card in done)
    limit = settings.recipe.max_seconds
    budget = (
        "no limit of time"
        if limit is None
        else f"{limit:g} s of {_CLOCKS[settings.recipe.clock]} a network"
    )
    return (
        f"`drcnet sweep` with the file at the end of this page writes it. "
        f"{len(done)} of {len(finished)} runs finished; splits {', '.join(settings.splits)}; "
        f"seeds {', '.join(map(str, settings.seeds))}; "
        f"{' or '.join(rows) or 'no'} training stars; "
        f"budget: {budget} (validation included, reading the stars not), classical learners to "
        f"their end. Machine: {'; '.join(machines) or 'none'}. "
        f"drcnet {origin['versions']['drcnet']}, torch {origin['versions'].get('torch', '?')}; "
        f"settings {origin['settings_digest']}.{_makings(done)}"
    )


def _makings(cards: Sequence[Mapping[str, Any]]) -> str:
    """Name the stores of the runs where there are several: the test rows are then other light."""
    stores = Counter(card["provenance"]["inputs"]["store"] for card in cards)
    if len(stores) < 2:
        return ""
    each = ", ".join(f"{name} ({count} runs)" for name, count in stores.items())
    return f" Trained and tested on several makings of the set: {each}."


def _reading(settings: SweepSettings) -> str:
    several = ", seeds averaged" if len(settings.seeds) > 1 else ""
    return _READING.format(confidence=100 * settings.evaluate.confidence, seeds=several)


def _intervals(table: pl.DataFrame) -> list[str]:
    return [name.removeprefix("rows_") for name in table.columns if name.startswith("rows_")]


def _accuracies(table: pl.DataFrame) -> pl.DataFrame:
    """One row a line as text, the majority class first."""
    names = _intervals(table)
    scored = table.filter(pl.col("runs") > 0)
    rows: list[dict[str, Any]] = []
    if len(scored):
        first = scored.row(0, named=True)
        majority = {n: f"{first[f'majority_{n}']:.3f}" for n in names if first[f"rows_{n}"]}
        rows.append({"line": f"*majority* ({_counts(first, names)} rows)"} | majority)
    for line in table.iter_rows(named=True):
        rows.append({"line": _first(line)} | {n: _cell(line, n) for n in names})
        rows[-1]["verdict"] = line["verdict"].partition(":")[0]
    for model, name in PUBLISHED_NAMES.items():
        if model in table["model"].to_list():
            rows.append({"line": f"*{name}, published, real data*"} | _published(name))
    columns = ["line", *names, "verdict"]
    return pl.DataFrame([{c: row.get(c, "") for c in columns} for row in rows])


def _first(line: dict[str, Any]) -> str:
    return line.get("run") or line["line"]


def _counts(line: dict[str, Any], names: Sequence[str]) -> str:
    return "/".join(str(line[f"rows_{n}"]) for n in names)


def _cell(line: dict[str, Any], interval: str) -> str:
    value = line[f"accuracy_{interval}"]
    if value is None or not line[f"rows_{interval}"]:
        return "–"
    text = f"{value:.3f} [{line[f'accuracy_{interval}_low']:.3f}, "
    text += f"{line[f'accuracy_{interval}_high']:.3f}]"
    spread = line[f"spread_{interval}"]
    return text if spread is None else f"{text} ±{spread:.3f}"


def _published(name: str) -> dict[str, str]:
    rows = published_accuracy().filter(pl.col("model") == name)
    return {row["interval"]: f"{row['accuracy']:.3f}" for row in rows.iter_rows(named=True)}


def _costs(table: pl.DataFrame) -> pl.DataFrame:
    """Parameters, operations, rates, epochs and times, as text."""
    rows = []
    for line in table.iter_rows(named=True):
        row = {"line": _first(line), "view": line["view"]}
        if line["runs"]:
            row |= {
                "parameters": f"{line['parameters']:.0f}",
                "gflop": f"{line['operations'] / 1e9:.4f}",
                "trained": f"{line['stars_per_second']:.0f}",
                "classified": f"{line['classified_per_second']:.0f}",
                "epochs": f"{line['epochs']:.1f}",
                "seconds": f"{line['seconds']:.0f}",
                "cores": f"{line['cpu_seconds'] / max(line['seconds'], 1e-3):.1f}",
                "stopped": line["stopped"],
            }
        rows.append(
            {"line": row["line"]} | {new: row.get(key, "–") for key, new in _NAMES.items()}
        )
    return pl.DataFrame(rows)


def _findings(table: pl.DataFrame) -> str:
    """Leaders, what noise is worth, and how far published models got."""
    scored = table.filter(pl.col("runs") > 0)
    said = []
    for name in _intervals(table):
        known = scored.filter(pl.col(f"accuracy_{name}").is_not_nan())
        if len(known):
            best = known.sort(f"accuracy_{name}", descending=True).row(0, named=True)
            said.append(f"- Highest at S/N {name}: `{best['line']}`, {_cell(best, name)}.")
    return "\n".join([*said, *_noise(scored), *_levels(scored)]) or "Nothing: no run finished."


def _noise(table: pl.DataFrame) -> list[str]:
    """The gain by training stars shown fainter, line by line."""
    rows = {row["line"]: row for row in table.iter_rows(named=True)}
    said = []
    for name, noisy in rows.items():
        plain = rows.get(name.removesuffix("-noise"))
        if not noisy["noise"] or plain is None or plain is noisy:
            continue
        gains = [
            f"{i} {100 * (noisy[f'accuracy_{i}'] - plain[f'accuracy_{i}']):+.1f}"
            for i in _intervals(table)
            if noisy[f"rows_{i}"]
        ]
        said.append(f"- Noise-true training of `{plain['line']}`, points: {', '.join(gains)}.")
    return said


def _levels(table: pl.DataFrame) -> list[str]:
    """Whether a published model reached its published accuracy (of other stars)."""
    said = []
    for row in table.filter(~pl.col("noise")).iter_rows(named=True):
        name = PUBLISHED_NAMES.get(row["model"], "")
        paper = published_accuracy().filter(pl.col("model") == name)
        reached: dict[bool, list[str]] = {True: [], False: []}
        for wanted in paper.iter_rows(named=True):
            high = row.get(f"accuracy_{wanted['interval']}_high")
            if high is not None and not math.isnan(high):
                text = f"{wanted['interval']} ({wanted['accuracy']:.3f})"
                reached[high >= wanted["accuracy"]].append(text)
        words = {True: "its interval reaches the published value", False: "it stays below"}
        parts = [f"{words[k]} at S/N {', '.join(v)}" for k, v in reached.items() if v]
        if parts:
            said.append(f"- `{row['line']}` after {row['epochs']:.1f} epochs: {'; '.join(parts)}.")
    return said


def _failures(table: pl.DataFrame, settings: SweepSettings) -> list[str]:
    failed = table.filter(pl.col("verdict") != "ok")
    if failed.is_empty():
        return []
    rows = []
    for name, why in failed.select("line", "verdict").iter_rows():
        line = settings.lines.get(name) or settings.lines.get(name.removesuffix("-noise"))
        rows.append(
            ". ".join([f"- `{name}`: {why}", *([line.note] if line and line.note else [])])
        )
    return ["## Failed", "\n".join(rows)]


def _each(lines: pl.DataFrame, runs: pl.DataFrame) -> list[str]:
    """Run by run, where a line has several."""
    if len(runs) == len(lines):
        return []
    return ["## Run by run", to_markdown(_accuracies(runs)), to_markdown(_costs(runs))]
