"""Stars in folds: as a night says, or dealt here evenly in every class.

A simulated night puts its stars into folds before anything else, because what is fitted for a
star's spectrum (the fill beyond a library's red end) is fitted on the other folds; it says so in
folds.parquet beside its catalogue. A real night says nothing, and its stars are dealt here.
"""

import hashlib
from pathlib import Path

import polars as pl

from drcnet.errors import CatalogError, StoreError

__all__ = ["FOLD_COLUMNS", "deal_folds", "star_key", "with_folds"]

FOLD_COLUMNS = {"star": pl.String, "source": pl.String, "fold": pl.Int64}
"""Columns of folds.parquet; `star` is the catalogue's name of it."""


def star_key(star: str, *words: object) -> str:
    """Order stars without favour, the same on every machine.

    Parameters
    ----------
    star : str
        A star's name.
    *words : object
        Seeds; other ones, another order.

    Returns
    -------
    str
        A SHA-256 in hexadecimal digits.
    """
    return hashlib.sha256(":".join(map(str, (*words, star))).encode()).hexdigest()


def with_folds(catalog: pl.DataFrame, path: Path | None = None) -> pl.DataFrame:
    """Add the columns `source` and `fold` to a catalogue.

    Parameters
    ----------
    catalog : DataFrame
        With the column star.
    path : Path, optional
        folds.parquet; it may be absent.

    Returns
    -------
    DataFrame
        The same rows; both columns are null where the file does not know the star, or is absent.

    Raises
    ------
    CatalogError
        The file cannot be read, lacks a column, or names a star twice.
    """
    if path is None or not path.is_file():
        return catalog.with_columns(
            pl.lit(None, pl.String).alias("source"), pl.lit(None, pl.Int64).alias("fold")
        )
    try:
        folds = pl.read_parquet(path, columns=list(FOLD_COLUMNS)).cast(pl.Schema(FOLD_COLUMNS))
    except (OSError, pl.exceptions.PolarsError) as err:
        came = str(err).strip().splitlines()[0]
        raise CatalogError(path, f"a table with columns {list(FOLD_COLUMNS)}", came) from err
    twice = folds.filter(pl.col("star").is_duplicated())["star"]
    if len(twice):
        raise CatalogError(path, "every star once", f"{twice[0]} twice")
    return catalog.join(folds, on="star", how="left", maintain_order="left")


def deal_folds(stars: pl.DataFrame, *, folds: int, seed: int) -> pl.Series:
    """Say in which fold each star is.

    Parameters
    ----------
    stars : DataFrame
        One row a star: star, class and fold (-1 or null for none; the column may be absent).
    folds : int
        How many there are.
    seed : int
        Deals the stars that are in none.

    Returns
    -------
    Series of int, in the order of `stars`
        0 to `folds` - 1. Folds that are given stay; where no star has one, all are dealt evenly
        in every class.

    Raises
    ------
    StoreError
        Some stars have a fold and some do not, or a fold is none of 0 to `folds` - 1.
    """
    given = stars["fold"].fill_null(-1) if "fold" in stars.columns else None
    if given is not None and (given >= 0).any():
        if (given < 0).any():
            came = f"{int((given < 0).sum())} of {len(given)} in none"
            raise StoreError("folds", "every star in a fold, or none", came)
        if int(given.max()) != folds - 1:  # type: ignore[arg-type]
            raise StoreError("split.folds", f"the {int(given.max()) + 1} of the night", str(folds))  # type: ignore[arg-type]
        return given
    key = pl.Series("key", [star_key(name, seed, "fold") for name in stars["star"]])
    turn = (
        stars.select("class", key)
        .with_row_index("place")
        .sort("class", "key")
        .with_row_index("turn")
        .sort("place")["turn"]
    )
    return (turn.cast(pl.Int64) % folds).alias("fold")
