"""Which wrong answers are worth a look."""

import math
from typing import Any

import polars as pl

from drcnet.evaluate.runs import Run

__all__ = ["worst_mistakes"]


def worst_mistakes(run: Run, count: int = 4) -> list[dict[str, Any]]:
    """Pick the mistakes made with the most confidence, at the highest S/N first.

    Parameters
    ----------
    run : Run
        Its test part is looked at.
    count : int
        At most so many, of different stars.

    Returns
    -------
    list of dict
        Rows of the predictions, with `confidence` (NaN without probabilities).
    """
    wrong = run.tested.filter(pl.col("class") != pl.col("predicted"))
    columns = [f"p_{name}" for name in run.classes]
    if set(columns) <= set(wrong.columns):
        confidence = pl.max_horizontal(columns)
    else:
        confidence = pl.lit(math.nan)
    bright = (pl.col("snrr") >= 30).fill_null(value=False)
    wrong = wrong.with_columns(confidence.alias("confidence"), bright.alias("_bright"))
    wrong = wrong.sort("_bright", "confidence", "snrr", descending=True, maintain_order=True)
    wrong = wrong.unique("star", keep="first", maintain_order=True)
    return wrong.drop("_bright").head(count).to_dicts()
