"""Whether a classifier could cheat by where a spectrum comes from.

Three questions of one set: can sources be told apart among stars of one class; would the source
alone give the class away; and how much is lost on stars of a source that training never saw.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.benchmark.tables import markdown
from drcnet.dataset.store import open_store
from drcnet.errors import StoreError
from drcnet.experiments.linear import fit_linear, star_interval
from drcnet.experiments.rest_spectra import RestSpectra, from_store

__all__ = [
    "SourceTest",
    "ask_sources",
    "examine_sources",
    "has_sources",
    "sources_section",
    "sources_text",
]

Progress = Callable[[str, int, int], None]

_ROWS = 512
_TITLES = (
    "Class by source (rows used here).",
    (
        "Telling sources apart by lines, stars of other folds taught; `largest_source` is what "
        "always naming the largest gets, `balanced` the mean over sources."
    ),
    "The class guessed from the true source alone, and the largest class.",
    (
        "Class accuracy on one source's stars, taught with all sources, with as many stars of all "
        "(`equal`), and without its own. `loss` = equal - without."
    ),
)
_SECTION = """## What the source could give away

`drcnet benchmark sources`: a linear classifier (principal components and logistic regression) of
line spectra with S/N of 30 and more, at most 4 rows a star. Every number is of stars that it was
not taught; intervals are 95%, bootstrap over stars.
"""


@dataclass(frozen=True, eq=False)
class SourceTest:
    """What the sources give away.

    Parameters
    ----------
    mix : DataFrame
        One row a class and source: rows, stars, share of the class's rows.
    told : DataFrame
        One row a class ('all' for all together): how often the source is told rightly from the
        lines (stars of other folds taught), and how often always saying the largest is right;
        `balanced` and `chance` are the mean over sources and one over their number.
    given_away : DataFrame
        One row: accuracy of the class guessed from the true source alone, and of the largest
        class; equal where sources are balanced.
    left_out : DataFrame
        One row a source: accuracy on its stars (of the fold kept back) taught with all sources,
        with as many stars of all sources as the others have (`equal`), and `without` its own;
        intervals over stars; `loss` is equal less without, row by row.
    """

    mix: pl.DataFrame
    told: pl.DataFrame
    given_away: pl.DataFrame
    left_out: pl.DataFrame


def examine_sources(
    work: Path, *, min_snr: float = 30.0, per_star: int = 4, progress: Progress | None = None
) -> SourceTest:
    """Ask the three questions of a store.

    Parameters
    ----------
    work : Path
        A work folder whose index knows source and fold.
    min_snr : float
        Only rows of this `snrr` and more: what noise hides cannot be cheated with.
    per_star : int
        At most so many rows a star.
    progress : callable, optional
        Called as progress(stage, done, total).

    Returns
    -------
    SourceTest
        Tables.

    Raises
    ------
    StoreError
        The store has fewer than two sources, or no folds.
    """
    store = open_store(work)
    rows = store.index.filter(pl.col("usable") & (pl.col("snrr") >= min_snr))
    if rows["source"].n_unique() < 2 or (rows["fold"] < 0).any():
        came = f"{rows['source'].unique().to_list()}"
        raise StoreError(work, "rows of two sources or more, all in folds", came)
    turn = pl.col("row").shuffle(seed=1).rank("ordinal").over("star")
    chosen = rows.filter(turn <= per_star).sort("row")["row"].to_numpy()
    parts = []
    for start in range(0, len(chosen), _ROWS):
        parts.append(from_store(store, chosen[start : start + _ROWS]))
        if progress is not None:
            progress("read", min(start + _ROWS, len(chosen)), len(chosen))
    spectra = RestSpectra(
        np.concatenate([part.flux for part in parts]), pl.concat(part.table for part in parts)
    )
    return ask_sources(spectra)


def ask_sources(spectra: RestSpectra) -> SourceTest:
    """Ask the three questions of spectra.

    Parameters
    ----------
    spectra : RestSpectra
        Of two sources or more, with folds.

    Returns
    -------
    SourceTest
        Tables.
    """
    table = spectra.table
    mix = (
        table.group_by("class", "source")
        .agg(pl.len().alias("rows"), pl.col("star").n_unique().alias("stars"))
        .with_columns(share=pl.col("rows") / pl.col("rows").sum().over("class"))
        .sort("source", "class")
    )
    told = [_told(spectra.take(pl.col("class") == c), c) for c in sorted(set(table["class"]))]
    told.append(_told(spectra, "all"))
    guessed = table.join(
        mix.sort("rows", descending=True).group_by("source", maintain_order=True).first(),
        on="source",
        suffix="_guess",
    )
    given = (guessed["class"] == guessed["class_guess"]).mean()
    largest = table["class"].value_counts()["count"].max()
    return SourceTest(
        mix=mix,
        told=pl.DataFrame(told),
        given_away=pl.DataFrame(
            {"class_from_source": [given], "largest_class": [largest / len(table)]}  # type: ignore[operator]
        ),
        left_out=pl.DataFrame([_left_out(spectra, s) for s in sorted(set(table["source"]))]),
    )


def _crossed(spectra: RestSpectra, column: str) -> NDArray[np.str_]:
    """What each row is said to be by a classifier that other folds taught."""
    fold = spectra.table["fold"].to_numpy()
    label = spectra.table[column].to_numpy().astype(str)
    said = np.empty(len(fold), dtype=object)
    for k in np.unique(fold):
        model = fit_linear(spectra.flux[fold != k], label[fold != k])
        said[fold == k] = model.predict(spectra.flux[fold == k])
    return said.astype(str)


def _told(spectra: RestSpectra, name: str) -> dict[str, str | int | float]:
    source = spectra.table["source"].to_numpy().astype(str)
    right = _crossed(spectra, "source") == source
    kinds = np.unique(source)
    accuracy, low, high = star_interval(right, spectra.table["star"])
    return {
        "class": name,
        "rows": len(source),
        "stars": spectra.table["star"].n_unique(),
        "accuracy": accuracy,
        "low": low,
        "high": high,
        "largest_source": float(max((source == k).mean() for k in kinds)),
        "balanced": float(np.mean([right[source == k].mean() for k in kinds])),
        "chance": 1.0 / len(kinds),
    }


def _left_out(spectra: RestSpectra, source: str) -> dict[str, str | int | float]:
    """Accuracy on one source's stars, taught with and without that source."""
    own = (spectra.table["source"] == source).to_numpy()
    fold = spectra.table["fold"].to_numpy()
    label = spectra.table["class"].to_numpy().astype(str)
    ways = ("all", "equal", "without")
    said = {way: np.empty(own.sum(), dtype=object) for way in ways}
    for k in np.unique(fold[own]):
        taught = {"all": fold != k, "without": (fold != k) & ~own}
        taught["equal"] = _thinned(spectra.table, taught["all"], taught["without"])
        for way in ways:
            model = fit_linear(spectra.flux[taught[way]], label[taught[way]])
            said[way][fold[own] == k] = model.predict(spectra.flux[own & (fold == k)])
    star = spectra.table.filter(pl.Series(own))["star"]
    line: dict[str, str | int | float] = {"source": source, "rows": int(own.sum())}
    line["stars"] = star.n_unique()
    for way in ways:
        values = star_interval(said[way].astype(str) == label[own], star)
        line |= dict(zip((way, f"{way}_low", f"{way}_high"), values, strict=True))
    right = {way: (said[way].astype(str) == label[own]).astype(int) for way in ways}
    values = star_interval(right["equal"] - right["without"], star)
    return line | dict(zip(("loss", "loss_low", "loss_high"), values, strict=True))


def _thinned(
    table: pl.DataFrame, everything: NDArray[np.bool_], fewer: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """As many stars as in `fewer`, of all sources: what the number alone costs."""
    stars = table.filter(pl.Series(everything))["star"].unique().sort()
    count = table.filter(pl.Series(fewer))["star"].n_unique()
    kept = stars.sample(count, seed=1, shuffle=True)
    return everything & table["star"].is_in(kept.implode()).to_numpy()


def sources_text(found: SourceTest) -> str:
    """Write the tables as Markdown.

    Parameters
    ----------
    found : SourceTest
        From `examine_sources`.

    Returns
    -------
    str
        Four tables, each with a line that says what it shows.
    """
    parts = zip(_TITLES, (found.mix, found.told, found.given_away, found.left_out), strict=True)
    return "\n".join(f"{title}\n\n{markdown(table)}" for title, table in parts)


def has_sources(work: Path) -> bool:
    """Tell whether there is anything to ask of a store.

    Parameters
    ----------
    work : Path
        A work folder.

    Returns
    -------
    bool
        True for usable rows of two sources or more, all in folds.
    """
    rows = open_store(work).index.filter("usable")
    return rows["source"].n_unique() > 1 and bool((rows["fold"] >= 0).all())


def sources_section(found: SourceTest) -> str:
    """Write the section of a set's page: the tables, and what they say.

    Parameters
    ----------
    found : SourceTest
        From `examine_sources`.

    Returns
    -------
    str
        Markdown.
    """
    return f"{_SECTION}\n{sources_text(found)}\n{_verdict(found)}"


def _verdict(found: SourceTest) -> str:
    """Read the tables, by rules that hold whatever the numbers are."""
    every = found.told.row(-1, named=True)
    given = found.given_away.row(0, named=True)
    gain = given["class_from_source"] - given["largest_class"]
    lines = [
        (
            f"So: sources are told apart in {every['balanced']:.0%} (mean over sources; guessing "
            f"gets {every['chance']:.0%}), and who knows the source alone gets the class right "
            f"{100 * gain:.1f} points more often than who always says the largest class."
        )
    ]
    for row in found.left_out.iter_rows(named=True):
        span = f"{100 * row['loss_low']:.1f} to {100 * row['loss_high']:.1f}"
        costs = "costs" if row["loss_low"] > 0 else "gains" if row["loss_high"] < 0 else None
        told = f"{costs} something" if costs else "cannot be told from no loss"
        lines.append(
            f"Never having seen {row['source']} {told}: {100 * row['loss']:.1f} points ({span}; "
            f"{row['stars']} stars)."
        )
    return "\n".join(lines) + "\n"
