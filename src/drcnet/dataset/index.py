"""The index of a store: one row a fibre of an exposure, whatever became of it."""

import polars as pl

from drcnet.dataset.exposure import BLOCKING, blocking_reason
from drcnet.dataset.pools import pool_of
from drcnet.frames.frame import night_of
from drcnet.stripes.flags import FiberFlag

__all__ = ["INDEX_SCHEMA", "JOINED_COLUMNS", "index_rows"]

INDEX_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "row": pl.Int64,
    "exposure": pl.String,
    "lmjm": pl.Int64,
    "lmjd": pl.Int64,
    "spid": pl.Int64,
    "fiberid": pl.Int64,
    "star": pl.String,
    "obsid": pl.String,
    "planid": pl.String,
    "class": pl.String,
    "subclass": pl.String,
    "snrr": pl.Float64,
    "snr_blue": pl.Float64,
    "snr_red": pl.Float64,
    "flags": pl.UInt32,
    "reason": pl.String,
    "gain_blue": pl.Float64,
    "gain_red": pl.Float64,
    "read_noise_blue": pl.Float64,
    "read_noise_red": pl.Float64,
    "fwhm_blue": pl.Float64,
    "fwhm_red": pl.Float64,
    "ra": pl.Float64,
    "dec": pl.Float64,
    "rv": pl.Float64,
    "teff": pl.Float64,
    "logg": pl.Float64,
    "feh": pl.Float64,
    "source": pl.String,  # of a simulated star's spectrum; empty for the sky's own
    "fold": pl.Int64,  # -1 where nobody put the star into one
    "usable": pl.Boolean,
    "luminosity": pl.String,
    "unlabelled": pl.String,
    "pool": pl.String,
}

_TEXTS = ("star", "obsid", "planid", "class", "subclass", "luminosity", "unlabelled", "source")
_NUMBERS = ("snrr", "ra", "dec", "rv", "teff", "logg", "feh")

JOINED_COLUMNS = ("fiberid", *_TEXTS, *_NUMBERS, "fold", "is_sky", "in_catalog")
"""What the index takes from the catalogue, and from folds.parquet where that lies beside it."""


def index_rows(fibers: pl.DataFrame, joined: pl.DataFrame, *, first_row: int) -> pl.DataFrame:
    """Put what the frames and what the catalogue say of the fibres together.

    A fibre that the catalogue calls a star is not blank sky, however faint: the flag that the
    frame gave it is taken back. One that it calls sky is, and one that it does not know is
    flagged.

    Parameters
    ----------
    fibers : DataFrame, n_fiber rows
        From `fiber_table`.
    joined : DataFrame, n_fiber rows
        Columns `JOINED_COLUMNS`, of the same fibres in the same order.
    first_row : int
        Row of the first fibre in the store.

    Returns
    -------
    DataFrame, n_fiber rows
        With `INDEX_SCHEMA`. Texts that are not known are empty, numbers NaN.
    """
    told = joined.select(
        pl.col("fiberid"),
        *(pl.col(name).cast(pl.String).fill_null("") for name in _TEXTS),
        *(pl.col(name).cast(pl.Float64).fill_null(float("nan")) for name in _NUMBERS),
        pl.col("fold").cast(pl.Int64).fill_null(-1),
        pl.col("is_sky"),
        pl.col("in_catalog"),
    )
    rows = fibers.join(told, on="fiberid", how="left", maintain_order="left")
    rows = rows.with_columns(
        row=pl.int_range(first_row, first_row + len(rows), dtype=pl.Int64),
        lmjd=pl.col("lmjm").map_elements(night_of, return_dtype=pl.Int64),
        flags=_flags(),
    )
    of_flags = pl.col("flags").map_elements(
        lambda flags: blocking_reason(flags, BLOCKING | FiberFlag.NO_CATALOG),
        return_dtype=pl.String,
    )
    # The reason that names the frame says more than the flag's meaning.
    refused = (pl.col("flags") & int(FiberFlag.ARM_MISSING | FiberFlag.FRAME_REFUSED)) != 0
    rows = rows.with_columns(reason=pl.when(refused).then("reason").otherwise(of_flags))
    usable = (pl.col("reason") == "") & (pl.col("class") != "") & (pl.col("star") != "")
    return (
        rows.with_columns(usable=usable)
        .with_columns(pool=pool_of())
        .select(pl.col(name).cast(dtype) for name, dtype in INDEX_SCHEMA.items())
    )


def _flags() -> pl.Expr:
    sky, unknown = int(FiberFlag.SKY_FIBER), int(FiberFlag.NO_CATALOG)
    flags = pl.col("flags")
    without_sky = flags & (0xFFFFFFFF - sky)
    is_star = pl.col("in_catalog") & ~pl.col("is_sky") & (pl.col("star") != "")
    flags = pl.when(is_star).then(without_sky).when("is_sky").then(flags | sky).otherwise(flags)
    return pl.when(pl.col("in_catalog")).then(flags).otherwise(flags | unknown)
