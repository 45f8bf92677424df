"""Compiled optimal weights of the extraction, on tiles of rows, and the errors they leave.

As in `rows.py`, the last axis runs along wavelength, and every function has its counterpart in
`extract_numpy.py`.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["MIN_SHARE", "weigh", "widen"]

MIN_SHARE = 0.3
"""Share of a fibre's light that must fall on good pixels for an estimate."""

Floats = NDArray[np.float32]
ZERO = np.float32(0.0)


@njit(cache=True, nogil=True)
def weigh(
    tile: Any, size: int, light: Floats, ivar: Floats
) -> None:  # pragma: no cover (compiled)
    """Optimal weights, twice: the variance is the model's, of the light found before.

    That light is smoothed over three rows (1-2-1): where it is faint, weights that follow its
    noise would make low values look surer than high ones.

    Parameters
    ----------
    tile : tuple
        `data`, `noise`, `state` and `shape`, each (width, rows).
    size : int
        Number of rows.
    light : ndarray, shape (rows,), float32
        First estimate; replaced by the optimal one.
    ivar : ndarray, shape (rows,), float32
        Filled with the inverse variance; 0 where too little light falls on good pixels.
    """
    level = np.empty(size, dtype=np.float32)
    for _ in range(2):
        for t in range(size):
            before, after = light[max(t - 1, 0)], light[min(t + 1, size - 1)]
            smooth = np.float32(0.25) * (before + after) + np.float32(0.5) * light[t]
            level[t] = max(smooth, ZERO)
        top, bottom = np.zeros(size, dtype=np.float32), np.zeros(size, dtype=np.float32)
        share = np.zeros(size, dtype=np.float32)
        for k in range(tile.data.shape[0]):
            for t in range(size):
                shape = tile.shape[k, t] if tile.state[k, t] == 0 else ZERO
                weight = shape / (tile.noise[k, t] + level[t] * tile.shape[k, t])
                top[t] += weight * tile.data[k, t]
                bottom[t] += weight * shape
                share[t] += shape
        for t in range(size):
            if bottom[t] > ZERO:
                light[t] = top[t] / bottom[t]
            ivar[t] = bottom[t] if share[t] >= MIN_SHARE else ZERO


@njit(cache=True, nogil=True)
def widen(
    tile: Any, size: int, doubt: Floats, light: Floats, ivar: Floats
) -> None:  # pragma: no cover (compiled)
    """Add the profile's own error to the variance of the optimal light.

    Errors of the profile's lines, independent of each other, move the light by their weighted
    sum: their variance is that of the lines times the square of their share in the light.

    Parameters
    ----------
    tile : tuple
        `data`, `noise`, `state` and `shape`, each (width, rows).
    size : int
        Number of rows.
    doubt : ndarray, shape (width,), float32
        What `find_cosmics` returned.
    light : ndarray, shape (rows,), float32
        The optimal light.
    ivar : ndarray, shape (rows,), float32
        Its inverse variance; replaced by the smaller one.
    """
    extra, total = np.zeros(size, dtype=np.float32), np.zeros(size, dtype=np.float32)
    for k in range(len(doubt)):
        for t in range(size):
            shape = tile.shape[k, t] if tile.state[k, t] == 0 else ZERO
            weight = shape * shape / (tile.noise[k, t] + max(light[t], ZERO) * tile.shape[k, t])
            extra[t] += weight * weight * doubt[k]
            total[t] += weight
    for t in range(size):
        if total[t] > ZERO and extra[t] > ZERO:
            moved = light[t] / total[t]
            ivar[t] /= np.float32(1.0) + ivar[t] * extra[t] * moved * moved
