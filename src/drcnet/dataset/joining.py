"""Catalogue rows of every exposure: by fibre number, or by where the fibres pointed.

Numbers come first. Where no row of the catalogue names an exposure's plate and fibres, a night
may say where each fibre pointed (`fibers.parquet` or `fibers.csv` beside its catalogue), and the
stars are then found by position. What was done so, and what was refused, is a problem of the plan.
"""

from pathlib import Path
from typing import Any

import polars as pl

from drcnet.config import PrepareSettings
from drcnet.dataset.folds import with_folds
from drcnet.dataset.index import JOINED_COLUMNS
from drcnet.dataset.labels import add_labels
from drcnet.errors import CatalogError
from drcnet.frames.catalog import join_fibers, read_catalog
from drcnet.frames.frame import night_of
from drcnet.frames.night import Exposure, Problem
from drcnet.frames.positions import join_positions

__all__ = ["FIBERS_NAMES", "join_exposures", "no_rows", "read_pointings"]

FIBERS_NAMES = ("fibers.parquet", "fibers.csv")
"""Where fibres pointed: columns spid, fiberid, ra, dec (degrees); and lmjm, where fibres were
moved between exposures."""

_COLUMNS: dict[str, Any] = {
    "spid": pl.Int64,
    "fiberid": pl.Int64,
    "ra": pl.Float64,
    "dec": pl.Float64,
}


def join_exposures(
    source: Path,
    exposures: tuple[Exposure, ...],
    n_fiber: int,
    settings: PrepareSettings,
    *,
    night: Path,
    problems: list[Problem],
) -> dict[str, pl.DataFrame]:
    """Give every exposure its catalogue rows, one a fibre; classes not asked for become none.

    Parameters
    ----------
    source : Path
        The catalogue.
    exposures : tuple of Exposure
        Of one night.
    n_fiber : int
        Fibres of the instrument.
    settings : PrepareSettings
        Which labels are kept.
    night : Path
        The night's folder, where a file of `FIBERS_NAMES` may lie.
    problems : list of Problem
        What goes wrong is added here.

    Returns
    -------
    dict of str to DataFrame
        Exposure key to columns `JOINED_COLUMNS`.

    Raises
    ------
    CatalogError
        The catalogue or the file of pointings cannot be read, or no exposure is in them.
    """
    table = read_catalog(source, nights={night_of(exposure.lmjm) for exposure in exposures})
    folds = source.parent / "folds.parquet"
    table = with_folds(table, folds)
    pointings = read_pointings(night)
    joined: dict[str, pl.DataFrame] = {}
    last: CatalogError | None = None
    found = 0
    for one in exposures:
        try:
            rows = join_fibers(table, spid=one.spid, lmjm=one.lmjm, n_fiber=n_fiber)
            found += 1
        except CatalogError as err:
            placed = _by_position(source, one, n_fiber, pointings, problems)
            if placed is not None:
                found += 1
                rows = with_folds(placed, folds)
            else:
                last, rows = err, no_rows(table, n_fiber)
                problems.append(Problem(str(source), f"{err}; its rows have no class"))
        joined[one.key] = add_labels(rows, settings).select(JOINED_COLUMNS)
    if not found and last is not None:
        raise CatalogError(source, f"rows of this night's {len(exposures)} exposures", str(last))
    return joined


def no_rows(table: pl.DataFrame, n_fiber: int) -> pl.DataFrame:
    """Give what `join_fibers` gives where no fibre is in the catalogue.

    Parameters
    ----------
    table : DataFrame
        A catalogue, for its columns.
    n_fiber : int
        Fibres of the instrument.

    Returns
    -------
    DataFrame, n_fiber rows
        All null but fiberid, is_sky and in_catalog.
    """
    return table.clear(n_fiber).with_columns(
        fiberid=pl.int_range(1, n_fiber + 1, dtype=pl.Int64),
        is_sky=pl.lit(value=False),
        in_catalog=pl.lit(value=False),
    )


def read_pointings(night: Path) -> pl.DataFrame | None:
    """Read where the fibres of a night pointed.

    Parameters
    ----------
    night : Path
        The folder of the night, or its `raw` folder.

    Returns
    -------
    DataFrame or None
        Columns spid, fiberid, ra, dec, lmjm (null: any exposure); None where the night has no
        such file.

    Raises
    ------
    CatalogError
        It cannot be read or lacks a column.
    """
    folders = [night, night.parent] if night.name == "raw" else [night]
    candidates = (folder / name for folder in folders for name in FIBERS_NAMES)
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        return None
    try:
        parquet = path.suffix == ".parquet"
        table = pl.read_parquet(path) if parquet else pl.read_csv(path)
        missing = [name for name in _COLUMNS if name not in table.columns]
        if missing:
            raise CatalogError(path, f"the columns {', '.join(missing)}", f"{table.columns}")
        if "lmjm" not in table.columns:
            table = table.with_columns(lmjm=pl.lit(None))
        wanted = {**_COLUMNS, "lmjm": pl.Int64}
        return table.select(pl.col(name).cast(dtype) for name, dtype in wanted.items())
    except pl.exceptions.PolarsError as err:
        came = str(err).strip().splitlines()[0]
        raise CatalogError(path, "a table of fibres with numbers in it", came) from err


def _by_position(
    source: Path,
    exposure: Exposure,
    n_fiber: int,
    pointings: pl.DataFrame | None,
    problems: list[Problem],
) -> pl.DataFrame | None:
    """The rows at the places of an exposure's fibres; None where no place is known."""
    if pointings is None:
        return None
    mine = pointings.filter(
        (pl.col("spid") == exposure.spid)
        & (pl.col("lmjm").is_null() | (pl.col("lmjm") == exposure.lmjm))
        & pl.col("fiberid").is_between(1, n_fiber)
    )
    if mine.is_empty():
        return None
    night = night_of(exposure.lmjm)
    try:
        match = join_positions(source, mine.select("fiberid", "ra", "dec"), night=night)
    except CatalogError as err:
        problems.append(Problem(str(source), f"exposure {exposure.key} by position: {err}"))
        return None
    # The S/N of another night's visit is not that of this exposure.
    tonight = pl.col("lmjd") == night
    rows = match.table.drop("separation").with_columns(
        pl.col("is_sky").fill_null(value=False), snrr=pl.when(tonight).then(pl.col("snrr"))
    )
    every = pl.DataFrame({"fiberid": pl.Series(range(1, n_fiber + 1), dtype=pl.Int64)})
    rows = every.join(rows, on="fiberid", how="left", maintain_order="left").with_columns(
        pl.col("is_sky", "in_catalog").fill_null(value=False)
    )
    other = rows.filter(pl.col("in_catalog") & pl.col("snrr").is_null()).height
    said = (
        f"exposure {exposure.key}: {rows['in_catalog'].sum()} of {len(mine)} fibres joined by "
        f"position, {other} of them without an S/N of this night"
    )
    refused = "; ".join(f"fibre {fiber}: {why}" for fiber, why in match.refused.iter_rows())
    said += f"; refused {len(match.refused)}: {refused}" if refused else ""
    problems.append(Problem(str(source), said))
    return rows
