"""Which rows are one star."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["SAME_STAR_ARCSEC", "group_positions", "name_stars"]

SAME_STAR_ARCSEC = 3.0
"""Positions nearer than this are one star (a fibre is 3.3 arcsec wide)."""


def name_stars(table: pl.DataFrame) -> pl.DataFrame:
    """Fill the column `star`: one name for every row of one star.

    A name that is there stays. Else the designation; else the position, where rows within
    `SAME_STAR_ARCSEC` are one star (and bear the designation of one among them); else the obsid.

    Parameters
    ----------
    table : DataFrame
        Columns star, designation, ra, dec, obsid.

    Returns
    -------
    DataFrame
        The same with `star` filled; null where nothing names the row.
    """
    # Headers write "LAMOST J..." where catalogues write "J...".
    designation = pl.col("designation").str.strip_prefix("LAMOST ")
    table = table.with_columns(star=pl.coalesce("star", designation))
    placed = table["ra"].is_not_null() & table["dec"].is_not_null()
    nameless = table["star"].is_null() & placed
    if nameless.any():
        table = table.with_columns(star=_by_position(table, placed.to_numpy()))
    return table.with_columns(
        star=pl.coalesce("star", pl.concat_str(pl.lit("obsid "), pl.col("obsid").cast(pl.String)))
    )


def group_positions(
    ra: NDArray[np.float64], dec: NDArray[np.float64], radius: float = SAME_STAR_ARCSEC
) -> NDArray[np.int64]:
    """Number groups of positions that are linked by distances below a radius.

    Parameters
    ----------
    ra, dec : ndarray, shape (n,)
        Degrees.
    radius : float
        Arcseconds.

    Returns
    -------
    ndarray, shape (n,)
        The group of each position, 0, 1, ... in the order of first appearance.
    """
    from scipy.sparse import coo_array  # noqa: PLC0415 - only for catalogues without names
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415
    from scipy.spatial import cKDTree  # noqa: PLC0415

    lon, lat = np.radians(ra), np.radians(dec)
    unit = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
    chord = 2 * np.sin(np.radians(radius / 3600) / 2)
    pairs = cKDTree(unit).query_pairs(chord, output_type="ndarray")
    ones = np.ones(len(pairs), bool)
    links = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(len(ra), len(ra)))
    _, labels = connected_components(links, directed=False)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def _by_position(table: pl.DataFrame, placed: NDArray[np.bool_]) -> pl.Series:
    """Names of all rows, those that have none named after their group."""
    ra, dec = table["ra"].to_numpy()[placed], table["dec"].to_numpy()[placed]
    groups = np.full(len(table), -1, np.int64)
    groups[placed] = group_positions(ra, dec)
    # The row that names a group is one with a name if there is one, else the least position, so
    # that the name does not hang on the order of rows.
    named = table.with_columns(group=pl.Series(groups), row=pl.int_range(len(table)))
    order = ["group", pl.col("star").is_null(), "star", "ra", "dec"]
    leaders = (
        named.filter(pl.col("group") >= 0)
        .sort(order)
        .unique("group", keep="first", maintain_order=True)
    )
    position = pl.format("J{}{}", _fixed("ra"), _fixed("dec", sign=True))
    leaders = leaders.select("group", name=pl.coalesce("star", position))
    joined = named.join(leaders, on="group", how="left", maintain_order="left")
    return joined.select(star=pl.coalesce("star", "name")).to_series()


def _fixed(column: str, *, sign: bool = False) -> pl.Expr:
    """Degrees with five decimals, as text."""
    text = pl.col(column).round(5).cast(pl.String)
    return pl.when(pl.col(column) >= 0).then("+" + text).otherwise(text) if sign else text
