"""Half-open intervals of S/N, and their names."""

import itertools
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from drcnet.errors import ConfigError

__all__ = ["interval_names", "interval_of"]


def interval_names(edges: Sequence[float]) -> tuple[str, ...]:
    """Name the intervals that begin at these edges.

    Parameters
    ----------
    edges : sequence of float
        Lower edges, increasing; the last interval has no upper edge.

    Returns
    -------
    tuple of str
        One name an edge.

    Raises
    ------
    ConfigError
        The edges do not increase, or there are none.

    Examples
    --------
    >>> interval_names((0, 10, 20, 30))
    ('0-10', '10-20', '20-30', '>30')
    """
    if not edges or any(b <= a for a, b in itertools.pairwise(edges)):
        raise ConfigError("split.edges", "at least one edge, increasing", str(tuple(edges)))
    inner = [f"{a:g}-{b:g}" for a, b in itertools.pairwise(edges)]
    return (*inner, f">{edges[-1]:g}")


def interval_of(snrr: ArrayLike, edges: Sequence[float]) -> pl.Series:
    """Say in which interval each value lies.

    Parameters
    ----------
    snrr : array_like, shape (n,)
        S/N.
    edges : sequence of float
        Lower edges, increasing.

    Returns
    -------
    Series, shape (n,), String
        Names; null below the first edge and for NaN.

    Examples
    --------
    >>> interval_of([9.99, 10, 30, float("nan")], (0, 10, 20, 30)).to_list()
    ['0-10', '10-20', '>30', None]
    """
    names = interval_names(edges)
    values = np.asarray(snrr, dtype=np.float64)
    position = np.searchsorted(np.asarray(edges, dtype=np.float64), values, side="right") - 1
    outside = np.isnan(values) | (position < 0)
    chosen = [None if out else names[p] for p, out in zip(position.tolist(), outside, strict=True)]
    return pl.Series("interval", chosen, dtype=pl.String)
