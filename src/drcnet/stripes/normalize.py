"""Z-scores and their alternatives: per stripe and arm, where the numbers are used.

The store keeps electrons. The same function serves training and classification, on NumPy arrays
and on torch tensors, so the two cannot drift.
"""

from types import ModuleType
from typing import Any, TypeVar

import numpy as np

__all__ = ["NORMALIZATIONS", "normalize"]

Array = TypeVar("Array", bound=Any)

NORMALIZATIONS = ("zscore", "robust", "none")

_MAD_TO_SIGMA = 1.4826022185056018  # of a normal distribution


def normalize(x: Array, how: str = "zscore", *, good: Any = None) -> Array:
    """Take each stripe (or spectrum) of each arm to a common scale.

    Parameters
    ----------
    x : ndarray or Tensor, shape (n, 2, ...)
        Electrons: stripes ``(n, 2, 11, 3000)`` or spectra ``(n, 2, 3000)``; float.
    how : {'zscore', 'robust', 'none'}
        Mean and standard deviation over the stripe (the paper's equation 1, its "batch of data
        (11x3000)" read as one stripe of one arm); median and 1.4826 MAD; or nothing.
    good : ndarray or Tensor of bool, same shape, optional
        Pixels to trust; none: all finite ones.

    Returns
    -------
    ndarray or Tensor, same shape and type
        A new array. Pixels that are not finite or not `good` take no part in the statistics and
        come out as 0, the average after a z-score. A stripe without spread (constant, or
        without a single good pixel) comes out as zeros.

    Raises
    ------
    ValueError
        `how` is unknown or `x` has fewer than three axes.

    Examples
    --------
    >>> normalize(np.array([[[1.0, 2.0, 3.0], [5.0, 5.0, np.nan]]]))[0].round(3).tolist()
    [[-1.225, 0.0, 1.225], [0.0, 0.0, 0.0]]
    """
    if how not in NORMALIZATIONS:
        raise ValueError(f"'how' of normalize must be one of {NORMALIZATIONS}, got {how!r}")
    if x.ndim < 3:
        raise ValueError(f"'x' of normalize must have shape (n, 2, ...), got {tuple(x.shape)}")
    xp = _namespace(x)
    flat = x.reshape(*x.shape[:2], -1)  # (n, 2, pixels)
    used = xp.isfinite(flat)
    if good is not None:
        used = used & good.reshape(flat.shape)
    flat = xp.where(used, flat, xp.zeros_like(flat))
    if how != "none":
        centre, spread = _MOMENTS[how](xp, flat, used)
        # a stripe without spread has no scale: infinity takes it to zeros
        spread = xp.where(spread > 0, spread, xp.full_like(spread, np.inf))
        flat = xp.where(used, (flat - centre) / spread, xp.zeros_like(flat))
    return flat.reshape(x.shape)


def _namespace(x: Any) -> ModuleType:
    if isinstance(x, np.ndarray):
        return np
    import torch  # noqa: PLC0415  preparing a store must not need torch

    return torch


def _mean_and_std(xp: Any, flat: Any, used: Any) -> tuple[Any, Any]:
    """Over the used pixels; unused ones are 0 in `flat`. Each of shape (n, 2, 1)."""
    count = xp.asarray(used.sum(-1)[..., None], dtype=flat.dtype)
    count = xp.where(count > 0, count, xp.ones_like(count))
    mean = flat.sum(-1)[..., None] / count
    deviation = xp.where(used, flat - mean, xp.zeros_like(flat))
    # two passes: the counts stand on a pedestal that would eat float32's digits in one
    return mean, xp.sqrt((deviation * deviation).sum(-1)[..., None] / count)


def _median_and_mad(xp: Any, flat: Any, used: Any) -> tuple[Any, Any]:
    median = _median(xp, flat, used)
    return median, _MAD_TO_SIGMA * _median(xp, xp.abs(flat - median), used)


def _median(xp: Any, values: Any, used: Any) -> Any:
    """Median of the used pixels; torch's own takes the lower of the middle two."""
    last = xp.where(used, values, xp.full_like(values, np.inf))
    ordered = np.sort(last, axis=-1) if xp is np else xp.sort(last, dim=-1).values
    count = used.sum(-1)[..., None]
    take = np.take_along_axis if xp is np else xp.take_along_dim
    upper = take(ordered, count // 2 * (count > 0), -1)
    lower = take(ordered, (count - 1) // 2 * (count > 0), -1)
    median = (lower + upper) / 2
    return xp.where(xp.isfinite(median), median, xp.zeros_like(median))


_MOMENTS = {"zscore": _mean_and_std, "robust": _median_and_mad}
