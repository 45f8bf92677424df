"""Fibres to stars by their place in the sky, where no plate or exposure number says it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.errors import CatalogError
from drcnet.frames.catalog import CATALOG_COLUMNS, scan_catalog
from drcnet.frames.stars import SAME_STAR_ARCSEC, group_positions, name_stars

__all__ = ["PositionJoin", "join_positions"]

_CELL = 0.1  # degrees: cells of the sky by which most of a catalogue is passed over
_ONE_STAR = 1.0  # arcsec: rows nearer to each other are visits of one star
_LISTED = 3


@dataclass(frozen=True, eq=False)
class PositionJoin:
    """Fibres and the stars they looked at.

    Parameters
    ----------
    table : DataFrame
        A row a fibre, in the order given: fiberid, the catalogue's columns, `separation`
        (arcsec) and `in_catalog`; null where there is no star or the match is refused.
    refused : DataFrame
        A row a fibre whose match is ambiguous or conflicts: fiberid, reason.
    """

    table: pl.DataFrame
    refused: pl.DataFrame


def join_positions(
    catalog: Path | pl.LazyFrame | pl.DataFrame,
    fibers: pl.DataFrame,
    *,
    radius: float = SAME_STAR_ARCSEC,
    night: int | None = None,
) -> PositionJoin:
    """Give every fibre the catalogue's star at its position.

    Several rows of one star (visits) agree if they have one class; the one of highest `snrr`
    counts, and one of this night before all others. Refused are a fibre with two stars in reach,
    one whose star's visits disagree on the class, and fibres that would share a star.

    Parameters
    ----------
    catalog : Path, LazyFrame or DataFrame
        A catalogue as for `scan_catalog`, or a table with its columns.
    fibers : DataFrame
        Columns fiberid (each once), ra, dec (degrees, where the fibre pointed).
    radius : float
        Arcseconds within which a star must lie.
    night : int, optional
        Local modified Julian day whose visits are preferred.

    Returns
    -------
    PositionJoin
        The matches, and what is refused.

    Raises
    ------
    CatalogError
        The fibres' table lacks a column, names a fibre twice or has no position; or no fibre has
        a star in the catalogue.
    """
    _check(fibers)
    rows = scan_catalog(catalog) if isinstance(catalog, Path) else catalog.lazy()
    near = _candidates(rows, fibers, radius)
    pairs = _pairs(near, fibers, radius)
    if pairs.is_empty():
        where = catalog if isinstance(catalog, Path) else "catalogue"
        wanted = f"a star within {radius:g} arcsec of one of {len(fibers)} fibres"
        raise CatalogError(where, wanted, f"none ({len(near)} rows in their part of the sky)")
    reasons = _reasons(pairs)
    chosen = (
        pairs.filter(~pl.col("fiberid").is_in(list(reasons)))
        .with_columns(tonight=pl.col("lmjd").is_in([] if night is None else [night]))
        .sort(
            "fiberid",
            "tonight",
            "snrr",
            "separation",
            descending=[False, True, True, False],
            nulls_last=True,
        )
        .unique("fiberid", keep="first", maintain_order=True)
    )
    columns = [name for name in near.columns if name != "fiberid"]
    matched = chosen.select("fiberid", "row", "separation").join(
        near.with_row_index("row").drop("fiberid"), on="row", how="left"
    )
    table = fibers.select("fiberid").join(
        matched.select("fiberid", *columns, "separation").with_columns(in_catalog=pl.lit(True)),
        on="fiberid",
        how="left",
        maintain_order="left",
    )
    table = table.with_columns(pl.col("in_catalog").fill_null(False))
    refused = pl.DataFrame(
        {"fiberid": list(reasons), "reason": list(reasons.values())},
        schema={"fiberid": pl.Int64, "reason": pl.String},
    ).sort("fiberid")
    return PositionJoin(table, refused)


def _check(fibers: pl.DataFrame) -> None:
    missing = [name for name in ("fiberid", "ra", "dec") if name not in fibers.columns]
    if missing:
        raise CatalogError("fibres", f"the columns {', '.join(missing)}", f"{fibers.columns}")
    twice = fibers.filter(pl.col("fiberid").is_duplicated())["fiberid"].unique().sort()
    if len(twice):
        raise CatalogError("fibres", "each fibre once", f"twice {twice.head(_LISTED).to_list()}")
    placed = fibers.select(
        (pl.col("ra").is_between(0, 360) & pl.col("dec").is_between(-90, 90)).fill_null(False)
    ).to_series()
    if not placed.all():
        lost = fibers.filter(~placed)["fiberid"].head(_LISTED).to_list()
        raise CatalogError("fibres", "ra and dec in degrees", f"none for fibres {lost}")


def _cells(dec: pl.Expr, ra: pl.Expr) -> pl.Expr:
    """Number of the cell of the sky: bands of declination, each cut evenly in right ascension."""
    band = ((dec + 90) / _CELL).floor()
    edge = (band * _CELL - 90).abs().clip(0, 90)
    count = (360 / _CELL * edge.radians().cos()).floor().clip(1)
    cell = ((ra % 360) / 360 * count).floor()
    return (band * 4096 + cell).cast(pl.Int64)


def _candidates(rows: pl.LazyFrame, fibers: pl.DataFrame, radius: float) -> pl.DataFrame:
    """Rows in the cells that the fibres' circles touch: a thousandth of a big catalogue."""
    reach = radius / 3600
    wide = (reach / pl.col("dec").abs().clip(0, 89.9).radians().cos()).clip(0, 180)
    corners = [
        fibers.select(_cells((pl.col("dec") + y * reach).clip(-90, 90), pl.col("ra") + x * wide))
        for x in (-1, 0, 1)
        for y in (-1, 0, 1)
    ]
    # At the poles a circle may touch cells between its corners: there whole bands are taken.
    polar = fibers.filter(pl.col("dec").abs() > 89.5)
    cells = pl.concat([part.rename({part.columns[0]: "cell"}) for part in corners]).unique()
    inside = _cells(pl.col("dec"), pl.col("ra")).is_in(cells["cell"].implode())
    if len(polar):
        inside |= pl.col("dec").abs() > 89.4
    try:
        near = rows.filter(inside).collect(engine="streaming")
    except pl.exceptions.PolarsError as err:
        came = str(err).strip().splitlines()[0]
        raise CatalogError("catalogue", "numbers where numbers belong", came) from err
    return name_stars(near).select(*CATALOG_COLUMNS)


def _pairs(near: pl.DataFrame, fibers: pl.DataFrame, radius: float) -> pl.DataFrame:
    """Every fibre and row within the radius, with the group of the row's star."""
    from scipy.spatial import cKDTree  # noqa: PLC0415 - only where positions are joined

    schema = {"fiberid": pl.Int64, "row": pl.UInt32, "separation": pl.Float64}
    if near.is_empty():
        return pl.DataFrame(schema=schema)
    stars = _unit(near["ra"].to_numpy(), near["dec"].to_numpy())
    places = _unit(fibers["ra"].to_numpy(), fibers["dec"].to_numpy())
    chord = 2 * np.sin(np.radians(radius / 3600) / 2)
    found = cKDTree(places).sparse_distance_matrix(cKDTree(stars), chord, output_type="ndarray")
    groups = group_positions(near["ra"].to_numpy(), near["dec"].to_numpy(), _ONE_STAR)
    row = found["j"].astype(np.int64)
    return pl.DataFrame(
        {
            "fiberid": fibers["fiberid"].to_numpy()[found["i"]],
            "row": row.astype(np.uint32),
            "separation": np.degrees(2 * np.arcsin(found["v"] / 2)) * 3600,
            "group": groups[row],
            "snrr": near["snrr"].to_numpy()[row],
            "class": near["class"].gather(row),
            "obsid": near["obsid"].gather(row),
            "lmjd": near["lmjd"].gather(row),
        }
    ).with_columns(pl.col("snrr").fill_nan(None))


def _unit(ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.float64]:
    lon, lat = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)


def _reasons(pairs: pl.DataFrame) -> dict[int, str]:
    """Fibre to why its match is refused."""
    reasons: dict[int, str] = {}
    by_fiber = pairs.sort("fiberid", "separation").group_by("fiberid", maintain_order=True)
    summary = by_fiber.agg(
        pl.col("group").n_unique().alias("stars"),
        pl.col("class").drop_nulls().unique().sort().alias("classes"),
        pl.col("obsid").head(_LISTED),
        pl.col("separation").max(),
    )
    for fiber, stars, classes, obsids, far in summary.iter_rows():
        listed = ", ".join(str(o) for o in obsids)
        if stars > 1:
            reasons[fiber] = f"{stars} stars within {far:.1f} arcsec (obsid {listed})"
        elif len(classes) > 1:
            reasons[fiber] = f"visits of one star disagree: {', '.join(classes)} (obsid {listed})"
    shared = (
        pairs.unique(["fiberid", "group"])
        .filter(pl.col("group").is_duplicated())
        .sort("fiberid")
        .group_by("group", maintain_order=True)
        .agg("fiberid")
    )
    for _, claimed in shared.iter_rows():
        for fiber in claimed:
            others = ", ".join(str(other) for other in claimed if other != fiber)
            reasons.setdefault(fiber, f"its star is also that of fibre {others}")
    return reasons
