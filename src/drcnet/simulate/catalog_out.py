"""The catalogue of a simulated night, in the columns of LAMOST's, and its truth tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from astropy.table import Table
from numpy.typing import NDArray

from drcnet.frames.velocity import LIGHT_SPEED
from drcnet.provenance import atomic_write
from drcnet.simulate.assign import SKY, Assignment
from drcnet.simulate.light import FiberInput
from drcnet.simulate.plan import Plate
from drcnet.simulate.signal_to_noise import BANDS
from drcnet.simulate.spectra import StarSet

__all__ = ["MISSING", "Observation", "catalog", "designation", "fiber_truth", "write_catalog"]

MISSING = -9999.0
"""LAMOST's value for what is not known."""


@dataclass(frozen=True, eq=False)
class Observation:
    """One plate seen by one spectrograph.

    Parameters
    ----------
    plate : Plate
        Name and exposures.
    spid : int
        Spectrograph.
    assignment : Assignment
        What the fibres looked at.
    fibers : FiberInput
        Their light.
    snr : mapping of str to ndarray, each of shape (n_fiber,)
        Catalogue S/N by band; NaN where unknown.
    """

    plate: Plate
    spid: int
    assignment: Assignment
    fibers: FiberInput
    snr: Mapping[str, NDArray[np.float64]]


def designation(ra: float, dec: float) -> str:
    """Name a star by its position, as LAMOST does.

    Parameters
    ----------
    ra, dec : float
        Degrees.

    Returns
    -------
    str
        'LAMOST Jhhmmss.ss+ddmmss.s', truncated.

    Examples
    --------
    >>> designation(15.5, -0.5)
    'LAMOST J010200.00-003000.0'
    """
    hundredths = int(round(ra / 15.0 * 3600.0 * 100.0, 6)) % 8_640_000
    tenths = int(round(abs(dec) * 3600.0 * 10.0, 6))
    seconds, part = divmod(hundredths, 100)
    arc, arc_part = divmod(tenths, 10)
    sign = "-" if dec < 0 else "+"
    return (
        f"LAMOST J{seconds // 3600:02d}{seconds // 60 % 60:02d}{seconds % 60:02d}.{part:02d}"
        f"{sign}{arc // 3600:02d}{arc // 60 % 60:02d}{arc % 60:02d}.{arc_part}"
    )


def fiber_truth(
    observations: Sequence[Observation],
    stars: StarSet,
    positions: pl.DataFrame,
    blank: pl.DataFrame,
) -> pl.DataFrame:
    """Tell what every fibre truly looked at.

    Parameters
    ----------
    observations : sequence of Observation
        The night.
    stars : StarSet
        The stars.
    positions : DataFrame
        One row a star: `designation`, `ra`, `dec`, `rv`, `reddening`.
    blank : DataFrame
        One row a sky fibre, in the order of plates, spectrographs and fibres: `designation`,
        `ra`, `dec`.

    Returns
    -------
    DataFrame
        One row a plate, spectrograph and fibre: `planid`, `spid`, `fiberid`, `lmjmlist`,
        `target` ('star', 'sky', 'dead'), `star`, `class`, `subclass` (empty without a star),
        `designation`, `ra`, `dec` (empty and NaN for a dead fibre), `scale`, `throughput`,
        `velocity` (heliocentric), `reddening`, `snr_target` and the
        catalogue's five S/N (NaN without a star).
    """
    places = pl.concat([part.select("designation", "ra", "dec") for part in (positions, blank)])
    next_blank = len(positions)
    parts = []
    for seen in observations:
        index = seen.assignment.star
        is_star = index >= 0
        kinds = np.where(is_star, "star", np.where(index == SKY, "sky", "dead"))
        columns: dict[str, object] = {
            "planid": [seen.plate.planid] * len(index),
            "spid": np.full(len(index), seen.spid),
            "fiberid": np.arange(1, len(index) + 1),
            "lmjmlist": ["-".join(str(e.lmjm) for e in seen.plate.exposures)] * len(index),
            "target": kinds,
        }
        for name in ("star", "class", "subclass"):
            values = stars.table[name].to_numpy()[np.maximum(index, 0)]
            columns[name] = np.where(is_star, values, "")
        place = np.maximum(index, 0)
        is_sky = index == SKY
        place[is_sky] = next_blank + np.arange(is_sky.sum())
        next_blank += int(is_sky.sum())
        looking = is_star | is_sky
        columns["designation"] = np.where(looking, places["designation"].to_numpy()[place], "")
        for name in ("ra", "dec"):
            columns[name] = np.where(looking, places[name].to_numpy()[place], np.nan)
        for name in ("scale", "throughput", "velocity", "reddening"):
            columns[name] = getattr(seen.fibers, name)
        columns["snr_target"] = seen.assignment.target
        columns |= {name: np.where(is_star, seen.snr[name], np.nan) for name in BANDS}
        parts.append(pl.DataFrame(columns))
    return pl.concat(parts)


def catalog(
    truth: pl.DataFrame,
    stars: pl.DataFrame,
    *,
    obsdate: str,
    lmjd: int,
    seed: int,
) -> pl.DataFrame:
    """Make the catalogue that a survey would publish of the night.

    Parameters
    ----------
    truth : DataFrame
        From `fiber_truth`.
    stars : DataFrame
        One row a star: the columns of a star set and of `positions`.
    obsdate : str
        Local date of the evening.
    lmjd : int
        Local modified Julian day.
    seed : int
        For the errors of the velocities.

    Returns
    -------
    DataFrame
        LAMOST's columns, one row a live fibre; sky fibres have objtype 'Sky' and class
        'Unknown'. Dead fibres have no row.
    """
    rows = truth.filter(pl.col("target") != "dead")
    parameters = stars.select("star", "teff", "logg", "feh", true_rv="rv")
    rows = rows.join(parameters, on="star", how="left", maintain_order="left")
    is_star = pl.col("target") == "star"
    noise = pl.Series(np.random.default_rng([seed, 6]).normal(size=len(rows)))
    error = pl.max_horizontal(pl.lit(2.0), 60.0 / pl.col("snrr"))
    plate_number = pl.col("planid").rank("dense").cast(pl.Int64) + 3700
    rows = rows.with_columns(rv_err=error).with_columns(
        rv=pl.col("true_rv") + pl.col("rv_err") * noise,
        obsid=plate_number * 100_000 + pl.col("spid") * 1000 + pl.col("fiberid"),
    )

    def number(name: str, digits: int) -> pl.Expr:
        known = is_star & pl.col(name).is_not_nan() & pl.col(name).is_not_null()
        return pl.when(known).then(pl.col(name).round(digits)).otherwise(MISSING).alias(name)

    return rows.with_columns(z=pl.col("rv") / LIGHT_SPEED).select(
        "obsid",
        "designation",
        pl.lit(obsdate).alias("obsdate"),
        pl.lit(lmjd).alias("lmjd"),
        "planid",
        "spid",
        "fiberid",
        pl.col("ra").round(6).alias("ra_obs"),
        pl.col("dec").round(6).alias("dec_obs"),
        *(number(name, 2) for name in BANDS),
        pl.when(is_star).then(pl.lit("Star")).otherwise(pl.lit("Sky")).alias("objtype"),
        pl.when(is_star).then(pl.lit("STAR")).otherwise(pl.lit("Unknown")).alias("class"),
        pl.when(is_star).then("subclass").otherwise(pl.lit("Non")).alias("subclass"),
        pl.when(is_star).then(pl.lit("Obj")).otherwise(pl.lit("Sky")).alias("fibertype"),
        number("z", 8),
        number("rv", 2),
        number("rv_err", 2),
        number("teff", 1),
        number("logg", 3),
        number("feh", 3),
        "lmjmlist",
    )


def write_catalog(table: pl.DataFrame, night: Path) -> None:
    """Write catalog.csv ('|'-separated) and catalog.fits, the same rows.

    Parameters
    ----------
    table : DataFrame
        The catalogue.
    night : Path
        The night's folder.
    """
    with atomic_write(night / "catalog.csv") as path:
        table.write_csv(path, separator="|")
    as_fits = Table({name: table[name].to_numpy() for name in table.columns})
    for name in table.columns:
        if table[name].dtype == pl.String:
            as_fits[name] = np.array(table[name].to_list(), dtype=str)
    with atomic_write(night / "catalog.fits") as path:
        as_fits.write(path, format="fits")
