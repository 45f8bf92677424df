import numpy as np
import polars as pl
import pytest

from drcnet.simulate.red_fill import FILL_FROM, REACHES_TO, reaches_red
from drcnet.simulate.spectra import rest_grid


@pytest.fixture(scope="session")
def fill_errors():
    """How well the fill meets spectra of which it had not seen the red."""
    return _fill_errors


def _fill_errors(filled, known, source):
    """One row a source and one for "all": stars, and two rms over truth minus one.

    `fill_rms` is that of the fill over 7380-9000 angstrom, `flat_rms` that of going on flat from
    7280-7380 angstrom. Only stars that reach the red (`known`: NaN where a source does not) are
    measured, and the fill of each came from other folds than its own.
    """
    grid = rest_grid()
    red = (grid >= FILL_FROM) & (grid <= REACHES_TO)
    overlap = (grid >= 7280) & (grid < FILL_FROM)
    rows = np.flatnonzero(reaches_red(known))
    truth = known[np.ix_(rows, red)].astype(np.float64)
    flat = np.median(known[np.ix_(rows, overlap)], axis=1)[:, None]
    table = pl.DataFrame(
        {
            "source": [source[row] for row in rows],
            "fill": ((filled[np.ix_(rows, red)] / truth - 1) ** 2).mean(axis=1),
            "flat": ((flat / truth - 1) ** 2).mean(axis=1),
        },
        schema={"source": pl.String, "fill": pl.Float64, "flat": pl.Float64},
    )
    both = pl.concat([table, table.with_columns(source=pl.lit("all"))])
    return both.group_by("source", maintain_order=True).agg(
        pl.len().alias("stars"),
        pl.col("fill").mean().sqrt().alias("fill_rms"),
        pl.col("flat").mean().sqrt().alias("flat_rms"),
    )
