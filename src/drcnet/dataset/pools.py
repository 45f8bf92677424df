"""Rows to learn from with labels, without, as blank sky, or not at all."""

import polars as pl

from drcnet.stripes.flags import FiberFlag

__all__ = ["NOT_TAKEN", "POOLS", "REJECTING", "pool_of"]

POOLS = ("labelled", "unlabelled", "sky", "rejected")
"""Star with a label; star without one; blank sky; nothing that can be used."""

NOT_TAKEN = "not taken into this subset"
"""The `reason` of a row that is there only because its exposure is."""

REJECTING = (
    FiberFlag.DEAD
    | FiberFlag.TRACE_LOST
    | FiberFlag.OFF_CHIP
    | FiberFlag.ARM_MISSING
    | FiberFlag.FRAME_REFUSED
)
"""With one of these a fibre's pixels are not those of a star or of the sky in both arms."""


def pool_of() -> pl.Expr:
    """Say in which pool each row of an index is.

    Returns
    -------
    Expr
        One of `POOLS`, from the columns `flags`, `reason` and `usable`. Where there was no
        catalogue, 'sky' is the frame's own guess.
    """
    flags = pl.col("flags")
    return (
        pl.when(pl.col("usable"))
        .then(pl.lit("labelled"))
        .when(((flags & int(REJECTING)) != 0) | (pl.col("reason") == NOT_TAKEN))
        .then(pl.lit("rejected"))
        .when((flags & int(FiberFlag.SKY_FIBER)) != 0)
        .then(pl.lit("sky"))
        .otherwise(pl.lit("unlabelled"))
    )
