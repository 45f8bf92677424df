"""A linear classifier of line spectra, and accuracies with intervals over stars."""

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

__all__ = ["fit_linear", "star_interval"]

_COMPONENTS = 100


def fit_linear(
    flux: NDArray[np.float32], label: NDArray[np.str_], *, strength: float = 0.02
) -> "Pipeline":
    """Fit principal components and a logistic regression on them.

    Parameters
    ----------
    flux : ndarray, shape (n, n_pix)
        Line spectra.
    label : ndarray, shape (n,), str
        What to tell apart.
    strength : float
        Inverse of the penalty, C of scikit-learn.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Fitted.
    """
    from sklearn.decomposition import PCA  # noqa: PLC0415
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415

    count = min(_COMPONENTS, len(flux) - 1, flux.shape[1])
    return make_pipeline(
        PCA(count, whiten=True, svd_solver="randomized", random_state=0),
        LogisticRegression(C=strength, max_iter=2000, class_weight="balanced"),
    ).fit(flux, label)


def star_interval(
    right: NDArray[np.bool_ | np.integer], star: pl.Series, *, draws: int = 1000, seed: int = 1
) -> tuple[float, float, float]:
    """Accuracy with its 95% bootstrap interval over stars.

    Parameters
    ----------
    right : ndarray, shape (n,), bool or int
        Whether each row was told rightly; or 1, 0, -1, the difference of two such.
    star : Series, n rows
        The star of each row; all its rows are drawn together.
    draws : int
        Bootstrap draws.
    seed : int
        Of the draws.

    Returns
    -------
    accuracy, low, high : float
        NaN for no rows.
    """
    if len(right) == 0:
        return (float("nan"),) * 3
    sums = (
        pl.DataFrame({"star": star, "right": right})
        .group_by("star", maintain_order=True)
        .agg(pl.col("right").sum(), pl.len().alias("rows"))
    )
    hits, rows = sums["right"].to_numpy(), sums["rows"].to_numpy()
    drawn = np.random.default_rng(seed).integers(0, len(rows), (draws, len(rows)))
    share = hits[drawn].sum(axis=1) / rows[drawn].sum(axis=1)
    low, high = np.percentile(share, [2.5, 97.5])
    return float(np.mean(right)), float(low), float(high)
