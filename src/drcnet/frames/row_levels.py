"""Mean of each overscan row, clipped around its median: a kernel and its NumPy twin."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["MAD_TO_SIGMA", "row_levels", "row_levels_numpy"]

MAD_TO_SIGMA = 1.4826
"""Standard deviation over median absolute deviation, of Gaussian noise."""

_CLIP = 5.0
_ROUNDING = 1 / 12  # variance of rounding to whole ADU
_BLOCK = 256  # rows sorted side by side: with 32 columns they stay in the nearest cache
_FAR = 2 * 65535 + 1  # half counts: more than a 16-bit pixel can be off its row's middle


def row_levels(part: NDArray[Any], read_noise: float) -> tuple[NDArray[np.float32], float]:
    """Average each row of an overscan, without pixels that stand out.

    16-bit counts are sorted by a network of exchanges (Batcher 1968, AFIPS 32, 307; the order
    of exchanges is Knuth's algorithm 5.2.2M), many rows at a time; others are left to NumPy.

    Parameters
    ----------
    part : ndarray, shape (n_row, n_column)
        The overscan, ADU.
    read_noise : float
        Read noise in ADU: the least spread that a pixel is held against.

    Returns
    -------
    level : ndarray, shape (n_row,), float32
        Mean of the pixels within five standard deviations of the row's median; ADU.
    noise : float
        Standard error of a row's mean, from the scatter within rows.
    """
    if part.dtype != np.uint16 or not part.size:
        return row_levels_numpy(part, read_noise)
    lines = np.ascontiguousarray(part).T.copy()  # two steps: each row is visited once
    twice, away = np.empty(len(part), np.int32), np.empty(lines.shape, np.int32)
    _row_medians(lines, twice, away)
    middle = [_kth(away.ravel(), k) for k in {(part.size - 1) // 2, part.size // 2}]
    spread = MAD_TO_SIGMA * 0.5 * sum(middle) / len(middle)
    sigma = max(spread, read_noise, 1.0)
    level = np.empty(len(part), np.float32)
    count, squares = _clipped_means(lines, twice, away, np.float32(_CLIP * sigma), level)
    variance = squares / max(count - len(part), 1)
    return level, float(np.sqrt(max(variance, _ROUNDING) / part.shape[1]))


def row_levels_numpy(part: NDArray[Any], read_noise: float) -> tuple[NDArray[np.float32], float]:
    """Do what `row_levels` does, in NumPy: its twin.

    Parameters
    ----------
    part : ndarray, shape (n_row, n_column)
        The overscan, ADU.
    read_noise : float
        Read noise in ADU.

    Returns
    -------
    level : ndarray, shape (n_row,), float32
        Clipped mean of each row, ADU.
    noise : float
        Its standard error.
    """
    part = part.astype(np.float32)
    middle = np.median(part, axis=1)
    away = np.abs(part - middle[:, None])
    spread = MAD_TO_SIGMA * float(np.median(away))
    sigma = max(spread, read_noise, 1.0)
    keep = away < _CLIP * sigma
    count = keep.sum(axis=1)
    mean = (part * keep).sum(axis=1, dtype=np.float64) / np.maximum(count, 1)
    squares = np.sum(away.astype(np.float64) ** 2 * keep)
    variance = squares / max(np.sum(count) - len(middle), 1)
    noise = float(np.sqrt(max(variance, _ROUNDING) / part.shape[1]))
    return np.where(count > 0, mean, middle).astype(np.float32), noise


@njit(cache=True, nogil=True)
def _exchange(low: NDArray[np.uint16], high: NDArray[np.uint16]) -> None:  # pragma: no cover
    """Put the lesser of each pair first."""
    for t in range(len(low)):
        a, b = low[t], high[t]
        low[t] = a if a < b else b  # noqa: FURB136 (min would widen it)
        high[t] = b if a < b else a  # noqa: FURB136


@njit(cache=True, nogil=True)
def _sort_lines(lines: NDArray[np.uint16], start: int, stop: int) -> None:  # pragma: no cover
    """Sort along the first axis, a span of the second at a time."""
    n = len(lines)
    top = 1
    while 2 * top < n:
        top *= 2
    p = top
    while p > 0:
        q, r, d = top, 0, p
        while True:
            for i in range(n - d):
                if i & p == r:
                    _exchange(lines[i][start:stop], lines[i + d][start:stop])
            if q == p:
                break
            d, q, r = q - p, q // 2, p
        p //= 2


@njit(cache=True, nogil=True)
def _row_medians(
    lines: NDArray[np.uint16], twice: NDArray[np.int32], away: NDArray[np.int32]
) -> None:  # pragma: no cover (compiled)
    """Sort each row; twice its median, and by how many half counts each pixel is off it."""
    n, n_row = lines.shape
    for start in range(0, n_row, _BLOCK):
        stop = min(start + _BLOCK, n_row)
        _sort_lines(lines, start, stop)
        below, above = lines[(n - 1) // 2][start:stop], lines[n // 2][start:stop]
        middle = twice[start:stop]
        for t in range(len(middle)):
            middle[t] = np.int32(below[t]) + np.int32(above[t])
        for c in range(n):
            line, out = lines[c][start:stop], away[c][start:stop]
            for t in range(len(middle)):
                off = (np.int32(line[t]) << np.int32(1)) - middle[t]
                out[t] = off if off > np.int32(0) else -off


@njit(cache=True, nogil=True)
def _kth(values: NDArray[np.int32], k: int) -> int:  # pragma: no cover (compiled)
    """Find the k-th least of numbers that are not negative, by halving their range."""
    low, high = np.int32(0), values.max()
    while low < high:
        middle = (low + high) // np.int32(2)
        count = np.int32(0)
        for i in range(len(values)):
            count += np.int32(values[i] <= middle)
        if count > k:
            high = middle
        else:
            low = middle + np.int32(1)
    return int(low)


# The sum is of whole numbers, exact in any order.
@njit(cache=True, nogil=True, fastmath={"reassoc"})
def _clipped_means(
    lines: NDArray[np.uint16],
    twice: NDArray[np.int32],
    away: NDArray[np.int32],
    reach: np.float32,
    level: NDArray[np.float32],
) -> tuple[int, float]:  # pragma: no cover (compiled)
    """Fill the rows' levels; how many pixels they rest on, and the squares of their departures."""
    limit = np.int32(np.ceil(min(2.0 * np.float64(reach), np.float64(_FAR))))
    count, total = np.zeros(len(twice), np.int32), np.zeros(len(twice), np.int64)
    squares = 0.0
    for c in range(len(lines)):
        line, off = lines[c], away[c]
        for t in range(len(twice)):
            near = np.int32(off[t] < limit)
            count[t] += near
            total[t] += near * np.int32(line[t])
            far = np.float64(near * off[t])
            squares += far * far
    for t in range(len(twice)):
        level[t] = total[t] / count[t] if count[t] > 0 else 0.5 * twice[t]
    return int(count.sum()), 0.25 * squares
