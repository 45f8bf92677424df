"""One fold of stars tested, the others learnt from: the splits 'large' and 'paper'.

Of the stars of the other folds a part is kept for validation, chosen evenly in every class and
source. 'large' tests every row of the tested fold and learns from every row above the limit;
'paper' draws the row counts of the paper's Table 1 out of that. Over all folds every star is
tested once.
"""

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from drcnet.config import SplitSettings
from drcnet.dataset.folds import deal_folds, star_key
from drcnet.dataset.intervals import interval_names
from drcnet.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["deal_homes", "draw_counts"]

_STREAM = 3  # numbers that a draw of the first protocol starts from: seed, fold, cell


def deal_homes(stars: pl.DataFrame, settings: SplitSettings) -> pl.DataFrame:
    """Give each star to train, validation or test by its fold.

    Parameters
    ----------
    stars : DataFrame
        One row a star: star, class and, where known, fold and source.
    settings : SplitSettings
        Fold, folds, fractions and seed.

    Returns
    -------
    DataFrame
        Columns star, home.

    Raises
    ------
    ConfigError
        There is no such fold.
    StoreError
        The stars' folds do not fit the settings.
    """
    if settings.fold >= settings.folds:
        raise ConfigError("split.fold", f"a fold of 0 to {settings.folds - 1}", str(settings.fold))
    if "source" not in stars.columns:
        stars = stars.with_columns(source=pl.lit(""))
    fold = deal_folds(stars, folds=settings.folds, seed=settings.seed)
    tested = fold == settings.fold
    train, validation, _ = settings.fractions
    if train <= 0:
        raise ConfigError("split.fractions", "a share to train on", str(settings.fractions))
    share = validation / (train + validation)
    key = [star_key(name, settings.seed, settings.fold) for name in stars["star"]]
    others = (
        stars.with_columns(pl.Series("key", key))
        .filter(~tested)
        .sort("class", "source", "key")
        .with_row_index("turn")
    )
    # Every so manieth star of the sorted list: even over classes and sources.
    turn = pl.col("turn").cast(pl.Int64)
    kept = ((turn + 1) * share).floor() > (turn * share).floor()
    home = pl.when(kept).then(pl.lit("validation")).otherwise(pl.lit("train"))
    return pl.concat(
        [
            others.select("star", home.alias("home")),
            stars.filter(tested).select("star", pl.lit("test").alias("home")),
        ]
    )


def draw_counts(split: pl.DataFrame, settings: SplitSettings) -> pl.DataFrame:
    """Keep as many rows as `settings.counts` says; the rest become 'unused'.

    In each cell the classes keep the shares that they have there, and no star gives a second row
    before every star of its class has given one. Where `faint` is 'learn', training and
    validation get as many rows below the limit besides; the others are those of 'unused'.

    Parameters
    ----------
    split : DataFrame
        Columns row, star, class, interval, part.
    settings : SplitSettings
        `counts` ('train', 'validation', and test rows by interval), edges, fold and seed.

    Returns
    -------
    DataFrame
        The same rows in the same order.

    Raises
    ------
    ConfigError
        A key of `counts` is neither a part nor an interval.
    StoreError
        A cell has fewer rows than wanted.
    """
    names = interval_names(settings.edges)
    unknown = sorted(set(settings.counts) - {"train", "validation", *names})
    if unknown:
        known = ", ".join(("train", "validation", *names))
        raise ConfigError("split.counts", f"counts of {known}", f"{unknown}")
    part = split["part"].to_numpy().astype(object)
    interval = split["interval"].to_numpy()
    bright = split["snrr"].to_numpy() >= settings.train_above
    chosen = np.zeros(len(split), bool)
    for number, name in enumerate(sorted(settings.counts)):
        tested = name not in ("train", "validation")
        cell = (part == "test") & (interval == name) if tested else (part == name) & bright
        stream = [settings.seed, settings.fold, number]
        chosen[_draw_cell(split, cell, name, settings, stream)] = True
        if settings.faint == "learn" and not tested:
            cell = (part == name) & ~bright
            chosen[_draw_cell(split, cell, name, settings, [*stream, 1])] = True
    kept = np.where(chosen, part, "unused").tolist()
    return split.with_columns(pl.Series("part", kept, dtype=pl.String))


def _draw_cell(
    split: pl.DataFrame,
    cell: "NDArray[np.bool_]",
    name: str,
    settings: SplitSettings,
    stream: list[int],
) -> "NDArray[np.int64]":
    """As many rows of a cell as `counts` says under `name`, or an error."""
    rows = np.flatnonzero(cell)
    wanted = settings.counts[name]
    if wanted > len(rows):
        tested = "" if name in ("train", "validation") else "test "
        faint = " below the limit" if len(stream) > _STREAM else ""
        raise StoreError(
            f"split of kind paper, fold {settings.fold}",
            f"{wanted} rows of {tested}{name}{faint}",
            f"{len(rows)}",
        )
    return _draw(split, rows, wanted, np.random.default_rng(stream))


def _draw(
    split: pl.DataFrame, rows: "NDArray[np.int64]", wanted: int, rng: np.random.Generator
) -> "NDArray[np.int64]":
    """`wanted` of the positions `rows`, by class and by turns over the stars."""
    order = rng.permutation(len(rows))
    table = (
        split[rows]
        .select("class", "star")
        .with_columns(place=pl.Series(rows), chance=pl.Series(order))
    )
    table = table.with_columns(turn=pl.col("chance").rank("ordinal").over("star"))
    table = table.sort("class", "turn", "chance").with_columns(
        rank=pl.int_range(pl.len()).over("class"), size=pl.len().over("class")
    )
    # Rank r of n in each class stands at (r + 1/2) / n: the first so many follow the shares.
    place = (pl.col("rank") + 0.5) / pl.col("size")
    return table.sort(place, "class").head(wanted)["place"].to_numpy()
