"""What the page says in words and picks to show; all of it computed from the numbers."""

import math
from collections.abc import Mapping
from typing import Any

import polars as pl

from drcnet.evaluate.evaluate import Evaluation
from drcnet.evaluate.judge import training_of
from drcnet.stripes.flags import MEANINGS, FiberFlag, flag_names

__all__ = ["MANY", "best_run", "drawn_runs", "flag_counts", "misreadings", "summary_sentences"]

MANY = 7
"""More runs than there are colours: then some of them stand for all in charts and tables."""

_FIRST = ("drcnet", "rcnet", "logreg", "ffcnn")  # the paper's models, and the bar for all


def best_run(evaluation: Evaluation, interval: str = "all") -> str:
    """Name the run of the highest accuracy.

    Parameters
    ----------
    evaluation : Evaluation
        The numbers.
    interval : str
        Where.

    Returns
    -------
    str
        The run's name; of equals the first.
    """
    rows = evaluation.scores.filter(
        (pl.col("interval") == interval) & pl.col("accuracy").is_not_nan()
    )
    return str(rows.sort("accuracy", descending=True, maintain_order=True)["run"][0])


def drawn_runs(evaluation: Evaluation) -> list[str]:
    """Choose the runs that get a colour in the charts.

    Parameters
    ----------
    evaluation : Evaluation
        The numbers.

    Returns
    -------
    list of str
        All of them where there are no more than `MANY`; else so many, in the page's order: the
        best over all S/N, one with and one without noise in training of the paper's models and of
        the linear baseline, the best of each interval, then the best of the others.
    """
    names = [run.name for run in evaluation.runs]
    if len(names) <= MANY:
        return names
    whole = evaluation.scores.filter(pl.col("interval") == "all").drop_nans("accuracy")
    order = whole.sort("accuracy", descending=True, maintain_order=True)["run"].to_list()
    tested = evaluation.scores.filter((pl.col("n_rows") > 0) & (pl.col("interval") != "all"))
    best = [best_run(evaluation, name) for name in tested["interval"].unique(maintain_order=True)]
    wanted: dict[tuple[str, str], str] = {}
    for run in evaluation.runs:
        if run.model in _FIRST:
            wanted.setdefault((run.model, training_of(run)), run.name)
    models = sorted(wanted, key=lambda key: _FIRST.index(key[0]))
    chosen = list(dict.fromkeys([*order[:1], *(wanted[key] for key in models), *best, *order]))[
        :MANY
    ]
    return [name for name in names if name in chosen]


def summary_sentences(evaluation: Evaluation) -> list[str]:
    """Say in three sentences what came out.

    Parameters
    ----------
    evaluation : Evaluation
        The numbers.

    Returns
    -------
    list of str
        Three sentences: the best at the highest S/N, the best at the lowest, the borders.
    """
    tested = evaluation.scores.filter((pl.col("n_rows") > 0) & (pl.col("interval") != "all"))
    names = tested["interval"].unique(maintain_order=True).to_list()
    return [
        _at_high(evaluation, names[0]),
        _at_low(evaluation, names[-1], one_interval=len(names) == 1),
        _at_borders(evaluation),
    ]


def flag_counts(index: pl.DataFrame) -> list[dict[str, Any]]:
    """Count the rows of each flag.

    Parameters
    ----------
    index : DataFrame
        `index.parquet`.

    Returns
    -------
    list of dict
        `name`, `meaning`, `n_rows`, `share`, most frequent first; flags that nobody has are
        left out.
    """
    counts: list[dict[str, Any]] = [
        {
            "name": flag_names(flag).replace("_", " "),
            "meaning": MEANINGS[flag],
            "n_rows": int((index["flags"].cast(pl.Int64) & int(flag) != 0).sum()),
        }
        for flag in FiberFlag
    ]
    found: list[dict[str, Any]] = [
        c | {"share": c["n_rows"] / len(index)} for c in counts if c["n_rows"]
    ]
    return sorted(found, key=lambda c: -int(c["n_rows"]))


def misreadings(evaluation: Evaluation) -> list[str]:
    """Warn of what a hurried reader would take from the tables, with this page's own numbers.

    Parameters
    ----------
    evaluation : Evaluation
        The numbers.

    Returns
    -------
    list of str
        Sentences.
    """
    notes = [*_overlaps(evaluation), *_luck(evaluation)]
    row = _row(evaluation, best_run(evaluation), "all")
    notes.append(
        f"{row['n_rows']} test spectra are of {row['n_stars']} stars: visits of one star are not "
        "independent, so intervals come from drawing stars, and are wider than the number of "
        "spectra suggests."
    )
    if row["n_core"]:
        gain = 100 * (row["core_accuracy"] - row["accuracy"])
        notes.append(
            "A plain accuracy mostly measures where the class borders fall: literature types "
            f"disagree by a subclass there. Away from the borders {row['run']} gains "
            f"{gain:+.1f} points; an accuracy of 1 cannot be reached with these labels."
        )
    notes.append(
        "S/N is that of the catalogue's co-added spectrum (snrr); one exposure alone has less. A "
        "star of S/N 10 here may look fainter in its frame than that number suggests."
    )
    if any(row is not None for row in evaluation.scores["published"]):
        notes.append(
            "Published values are one run each on other stars: a difference of a few points to "
            "ours says nothing, and 0.6 point at S/N > 30 is 3.6 stars of 605."
        )
    return notes


def _overlaps(evaluation: Evaluation) -> list[str]:
    """Pairs whose intervals overlap though the difference is more than chance."""
    pairs, found = evaluation.comparisons, []
    if pairs.is_empty():
        return []
    for pair in pairs.filter(pl.col("better") != "").to_dicts():
        first = _row(evaluation, pair["first"], pair["interval"])
        second = _row(evaluation, pair["second"], pair["interval"])
        low = max(first["accuracy_low"], second["accuracy_low"])
        if low <= min(first["accuracy_high"], second["accuracy_high"]):
            found.append(pair)
    if not found:
        return []
    worst = max(found, key=lambda pair: abs(pair["difference"]))
    where = "over all S/N" if worst["interval"] == "all" else f"at S/N {worst['interval']}"
    gap = 100 * worst["difference"]
    text = (
        "Overlapping intervals do not mean that two runs are equal: both saw the same stars, so "
        f"the paired difference is surer than either accuracy. In {len(found)} comparisons here "
        "the intervals overlap and the difference is still more than chance, for example "
        f"{worst['first']} against {worst['second']} {where} ({gap:+.1f} points)."
    )
    return [text]


def _luck(evaluation: Evaluation) -> list[str]:
    """How many marks chance alone would set."""
    pairs = evaluation.comparisons
    if pairs.is_empty():
        return []
    total = len(pairs.filter(pl.col("n_rows") > 0))
    marked = len(pairs.filter(pl.col("better") != ""))
    text = (
        f"{total} paired comparisons were made and {marked} are marked; if no run were better "
        f"than another, about {0.05 * total:.1f} would be marked all the same."
    )
    return [text]


def _at_high(evaluation: Evaluation, name: str) -> str:
    row = _row(evaluation, best_run(evaluation, name), name)
    ahead = 100 * (row["accuracy"] - row["majority"])
    return (
        f"At S/N {name}, {row['run']} is right for {_percent(row)} of {row['n_rows']} test "
        f"spectra of {row['n_stars']} stars, {ahead:+.1f} points against always answering "
        f"{row['majority_class']}{_published(row)}."
    )


def _at_low(evaluation: Evaluation, name: str, *, one_interval: bool) -> str:
    best = best_run(evaluation, name)
    row = _row(evaluation, best, name)
    start = "There" if one_interval else f"At S/N {name}"
    others = evaluation.scores.filter(
        (pl.col("interval") == name) & (pl.col("run") != best) & (pl.col("n_rows") > 0)
    ).sort("accuracy", descending=True, maintain_order=True)
    if others.is_empty():
        return (
            f"{start} it is right for {_percent(row)}, where always answering "
            f"{row['majority_class']} gives {100 * row['majority']:.1f}%{_published(row)}."
        )
    second = str(others["run"][0])
    told = _difference(evaluation, best, second, name)
    idle = f"always answering {row['majority_class']} gives {100 * row['majority']:.1f}%"
    return f"{start}, {best} leads with {_percent(row)}, where {idle}; {told}."


def _difference(evaluation: Evaluation, best: str, second: str, name: str) -> str:
    """Say whether the lead over the second is more than luck."""
    pairs = evaluation.comparisons
    if not pairs.is_empty():
        both = pl.col("first").is_in([best, second]) & pl.col("second").is_in([best, second])
        pairs = pairs.filter(both & (pl.col("interval") == name))
    if pairs.is_empty():
        return f"{second} follows, but on other test rows"
    row = pairs.row(0, named=True)
    sign = 1 if row["first"] == best else -1
    gap = sign * 100 * row["difference"]
    low, high = sorted(sign * 100 * row[f"difference_{end}"] for end in ("low", "high"))
    bounds = f"95% interval {low:+.1f} to {high:+.1f}".replace("-", "−")
    text = f"its lead over {second}, {gap:+.1f} points ({bounds})"
    return f"{text}, is {'more than chance' if row['better'] else 'not beyond chance'}"


def _at_borders(evaluation: Evaluation) -> str:
    row = _row(evaluation, best_run(evaluation), "all")
    start = f"Over all S/N, {row['run']} is right for {100 * row['accuracy']:.1f}%"
    if not row["n_core"]:
        return f"{start}; no test star has a subclass, so the class borders cannot be told apart."
    return (
        f"{start}, and for {100 * row['core_accuracy']:.1f}% of the {row['n_core']} spectra of "
        f"subclasses 2 to 7, away from the class borders, where one subclass decides."
    )


def _row(evaluation: Evaluation, run: str, interval: str) -> dict[str, Any]:
    rows = evaluation.scores.filter((pl.col("run") == run) & (pl.col("interval") == interval))
    return rows.row(0, named=True)


def _percent(row: Mapping[str, Any]) -> str:
    low, high = row["accuracy_low"], row["accuracy_high"]
    text = f"{100 * row['accuracy']:.1f}%"
    if not (math.isfinite(low) and math.isfinite(high)):
        return text
    return f"{text} (95% interval {100 * low:.1f} to {100 * high:.1f})"


def _published(row: Mapping[str, Any]) -> str:
    if row["published"] is None:
        return ""
    return f" (published, on real LAMOST data: {100 * row['published']:.1f}%)"
