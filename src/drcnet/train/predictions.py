"""Predictions as a table: the columns of `predictions.parquet`."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.dataset.store import Store

__all__ = ["predictions_table"]


def predictions_table(
    rows: pl.DataFrame, store: Store, probability: NDArray[np.float64], classes: Sequence[str]
) -> pl.DataFrame:
    """Lay predictions out as docs/conventions.md says.

    Parameters
    ----------
    rows : DataFrame, n rows
        Of a split.
    store : Store
        Knows the subclasses.
    probability : ndarray, shape (n, n_class)
        In the order of `rows`.
    classes : sequence of str
        Class names, in the order of the probabilities.

    Returns
    -------
    DataFrame
        row, star, class, subclass, snrr, interval, part, predicted, and p_CLASS a class.
    """
    subclass = store.index.select(pl.col("row").cast(rows["row"].dtype), "subclass")
    named = rows.join(subclass, on="row", how="left", maintain_order="left")
    predicted = np.array(classes)[probability.argmax(axis=1)]
    return named.select(
        "row", "star", "class", "subclass", "snrr", "interval", "part"
    ).with_columns(
        pl.Series("predicted", predicted.tolist(), dtype=pl.String),
        *(pl.Series(f"p_{name}", probability[:, k]) for k, name in enumerate(classes)),
    )
