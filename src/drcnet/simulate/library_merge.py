"""Which spectra are usable, which are one star, and what that star is called and labelled."""

import hashlib
from collections.abc import Collection

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from drcnet.simulate.library_spectra import SourceSpectra
from drcnet.simulate.mk_type import UnclearTypeError, parse_mk
from drcnet.simulate.red_fill import FILL_FROM, REACHES_TO, reaches_red
from drcnet.simulate.spectra import rest_grid
from drcnet.simulate.star_names import group_by_position

__all__ = [
    "FOLDS",
    "LEFT_OUT_COLUMNS",
    "PREFERENCE",
    "assign_folds",
    "judge_spectra",
    "merge_stars",
    "name_hash",
]

FOLDS = 5
PREFERENCE = ("miles", "indo-us", "pyhammer", "table", "lamost")
"""Whose spectrum and whose type count where sources share a star."""

LEFT_OUT_COLUMNS = {
    "source": pl.String,
    "name": pl.String,
    "type": pl.String,
    "reason": pl.String,
}
_NEEDED = (3900.0, FILL_FROM)  # angstrom that a spectrum must really have


def name_hash(seed: int, name: str) -> str:
    """Order names without favour, and the same on every machine.

    Parameters
    ----------
    seed : int
        Another seed, another order.
    name : str
        A star's name.

    Returns
    -------
    str
        A SHA-256 in hexadecimal digits.
    """
    return hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()


def judge_spectra(sources: list[SourceSpectra], min_snr: float) -> pl.DataFrame:
    """List all spectra of all sources with what speaks against each.

    Parameters
    ----------
    sources : list of SourceSpectra
        As the readers gave them.
    min_snr : float
        Least S/N, where a source tells it.

    Returns
    -------
    DataFrame
        One row a spectrum, in the sources' order: `row` (running number), `source`, the columns
        of `SOURCE_COLUMNS`, `class`, `subclass` (both empty for an unclear type), `type_reason`
        and `reason` (empty where nothing speaks against the type or the spectrum).
    """
    grid = rest_grid()
    needed = (grid >= _NEEDED[0]) & (grid < _NEEDED[1])
    tables = []
    for source in sources:
        parsed = [_parse(text) for text in source.table["type"]]
        whole = np.isfinite(source.flux[:, needed]).all(axis=1)
        # Where most of a source reach the red, the few that do not would be told by their fill.
        red = reaches_red(source.flux)
        short = whole & ~red & (2 * np.count_nonzero(red) > np.count_nonzero(whole))
        tables.append(
            source.table.with_columns(
                pl.lit(source.source).alias("source"),
                pl.Series("class", [p[0] for p in parsed], dtype=pl.String),
                pl.Series("subclass", [p[1] for p in parsed], dtype=pl.String),
                pl.Series("parsed_luminosity", [p[2] for p in parsed], dtype=pl.String),
                pl.Series("type_reason", [p[3] for p in parsed], dtype=pl.String),
                pl.Series("whole", whole, dtype=pl.Boolean),
                pl.Series("short", short, dtype=pl.Boolean),
            )
        )
    too_noisy = (pl.col("snr") < min_snr) & pl.col("snr").is_not_nan()
    return (
        pl.concat(tables)
        .with_row_index("row")
        .with_columns(
            pl.when(pl.col("luminosity") == "")
            .then("parsed_luminosity")
            .otherwise("luminosity")
            .alias("luminosity"),
            pl.when(~pl.col("whole"))
            .then(pl.lit(f"not known from {_NEEDED[0]:.0f} to {_NEEDED[1]:.0f} angstrom"))
            .when("short")
            .then(pl.lit(f"not known to {REACHES_TO:.0f} angstrom, as most of its source are"))
            .when(too_noisy)
            .then(pl.lit(f"S/N below {min_snr:g}"))
            .otherwise(pl.lit(""))
            .alias("reason"),
        )
        .drop("whole", "short", "parsed_luminosity")
    )


def merge_stars(
    spectra: pl.DataFrame, classes: Collection[str]
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Make one row a star of the rows of spectra.

    Parameters
    ----------
    spectra : DataFrame
        As `judge_spectra` gives it.
    classes : collection of str
        Classes kept.

    Returns
    -------
    stars : DataFrame
        One row a star, sorted by name: star, row (of the spectrum that is used), rows (of all its
        spectra), class, subclass, luminosity, teff, logg, feh, source. The first source of
        `PREFERENCE` with a clear type gives the label, the first at all gives the spectrum, and
        the better of two visits comes first.
    left_out : DataFrame
        Columns `LEFT_OUT_COLUMNS`.
    merged : DataFrame
        The further spectra of the stars kept: star, source and type; other_source, other_name
        and other_type; conflict, where both types are clear and differ.
    """
    usable = _ordered(_one_name(spectra.filter(pl.col("reason") == "")))
    clear = usable.filter(pl.col("type_reason") == "")
    labels = clear.unique("star", keep="first", maintain_order=True).select(
        "star", "class", "subclass", "luminosity", label_type="type"
    )
    by_star = usable.group_by("star", maintain_order=True).agg(
        pl.col("row", "source").first(),
        pl.col("row").alias("rows"),
        *(_first_known(name) for name in ("teff", "logg", "feh")),
    )
    stars = by_star.join(labels, on="star").filter(pl.col("class").is_in(list(classes)))
    return (
        stars.sort("star"),
        _left_out(spectra, usable, labels, classes),
        _merged(usable, stars),
    )


def assign_folds(stars: pl.DataFrame, seed: int) -> pl.Series:
    """Deal stars into folds: by star, evenly in every class and source.

    Parameters
    ----------
    stars : DataFrame
        With star, class and source.
    seed : int
        Another seed, another deal.

    Returns
    -------
    Series of int
        0 to `FOLDS` - 1, in the order of `stars`.
    """
    dealt = (
        stars.select("star", "class", "source")
        .with_row_index("place")
        .with_columns(key=pl.Series([name_hash(seed, name) for name in stars["star"]]))
        .sort("class", "source", "key")
        .with_row_index("turn")
        .sort("place")
    )
    return (dealt["turn"].cast(pl.Int64) % FOLDS).alias("fold")


def _parse(text: str) -> tuple[str, str, str, str]:
    try:
        parsed = parse_mk(text)
    except UnclearTypeError as err:
        return "", "", "", str(err)
    return parsed.letter, parsed.subclass, parsed.luminosity, ""


def _one_name(spectra: pl.DataFrame) -> pl.DataFrame:
    """Give rows of one star one name: that of the most preferred row."""
    places = group_by_position(spectra["ra"].to_numpy(), spectra["dec"].to_numpy())
    names = spectra["star"].rank("dense").to_numpy().astype(np.int64) - 1
    group = _join_groups(places, names)
    return _ordered(spectra.with_columns(group=pl.Series(group))).with_columns(
        star=pl.col("star").first().over("group")
    )


def _join_groups(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int32]:
    """Join what either of two groupings joins."""
    if first.size == 0:
        return first.astype(np.int32)
    shift = int(first.max()) + 1
    size = shift + int(second.max()) + 1
    links = coo_matrix((np.ones(first.size), (first, second + shift)), shape=(size, size))
    return connected_components(links, directed=False)[1][first]


def _ordered(spectra: pl.DataFrame) -> pl.DataFrame:
    order = {name: number for number, name in enumerate(PREFERENCE)}
    rank = pl.col("source").replace_strict(order, return_dtype=pl.Int64)
    quality = -pl.col("snr").fill_nan(0.0)
    return spectra.sort(rank, quality, "name", "row", maintain_order=True)


def _first_known(name: str) -> pl.Expr:
    column = pl.col(name).filter(pl.col(name).is_not_nan())
    return column.first().fill_null(float("nan")).alias(name)


def _left_out(
    spectra: pl.DataFrame, usable: pl.DataFrame, labels: pl.DataFrame, classes: Collection[str]
) -> pl.DataFrame:
    unclear = usable.join(labels, on="star", how="anti").with_columns(reason="type_reason")
    other = labels.filter(~pl.col("class").is_in(list(classes))).select(
        "star", reason=pl.lit("class ") + pl.col("class") + pl.lit(" is not asked for")
    )
    unwanted = usable.drop("reason").join(other, on="star")
    wanted = list(LEFT_OUT_COLUMNS)
    unusable = spectra.filter(pl.col("reason") != "")
    return pl.concat([t.select(wanted) for t in (unusable, unclear, unwanted)])


def _merged(usable: pl.DataFrame, stars: pl.DataFrame) -> pl.DataFrame:
    kept = stars.select(
        "star", kept_row="row", kept_source="source", kept_type="label_type", kept_sub="subclass"
    )
    return (
        usable.join(kept, on="star")
        .filter(pl.col("row") != pl.col("kept_row"))
        .select(
            "star",
            source="kept_source",
            type="kept_type",
            other_source="source",
            other_name="name",
            other_type="type",
            conflict=(pl.col("type_reason") == "") & (pl.col("subclass") != pl.col("kept_sub")),
        )
        .sort("star", "other_source", "other_name")
    )
