"""Windows out of a raw array in its own order, turned in registers.

A raw frame is read row by row, a few pixels a fibre; a stripe is written line by line along
wavelength. Between the two lies a block of rows small enough for the cache, which is turned four
by four pixels at a time inside 64-bit words.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["RawRows", "gather_words", "raw_rows", "turn_block"]

_EVEN = np.uint64(0x0000FFFF0000FFFF)
_ODD = np.uint64(0xFFFF0000FFFF0000)
_LOW = np.uint64(0x00000000FFFFFFFF)
_HIGH = np.uint64(0xFFFFFFFF00000000)
_1, _2, _3, _4 = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
_16, _32 = np.uint64(16), np.uint64(32)


class RawRows(NamedTuple):
    """A raw array whose rows are contiguous, laid flat.

    Parameters
    ----------
    flat : ndarray, shape (n_pixel,), uint16
        Memory from the first of its pixels to the last.
    origin, pitch : int
        Row r begins at flat[origin + r * pitch]; the pitch may be negative.
    n_spatial : int
        Pixels of a row.
    """

    flat: NDArray[np.uint16]
    origin: int
    pitch: int
    n_spatial: int


def raw_rows(counts: NDArray[Any]) -> RawRows | None:
    """Lay a frame's counts flat, without a copy.

    Parameters
    ----------
    counts : ndarray, shape (n_spatial, n_wave)
        A frame's counts.

    Returns
    -------
    RawRows or None
        None where the counts are not of 16 bits or fibres do not lie side by side in memory.
    """
    size = np.dtype(np.uint16).itemsize
    if counts.dtype != np.uint16 or counts.strides[0] != size or counts.strides[1] % size:
        return None
    n_spatial, n_wave = counts.shape
    pitch = counts.strides[1] // size
    origin = max(0, -pitch) * (n_wave - 1)
    start = counts[:, -1:] if pitch < 0 else counts
    length = abs(pitch) * (n_wave - 1) + n_spatial
    flat = np.lib.stride_tricks.as_strided(start, (length,), (size,), writeable=False)
    return RawRows(flat, origin, pitch, n_spatial)


@njit(cache=True, nogil=True)
def gather_words(
    raw: RawRows, first: NDArray[np.int32], row: int, block: NDArray[np.uint64]
) -> None:  # pragma: no cover (compiled)
    """Copy the windows of a block of rows, in the order of the raw array.

    Parameters
    ----------
    raw : RawRows
        The pixels.
    first : ndarray, shape (n, size), int32
        First pixel of each window. Windows that leave the chip are not copied.
    row : int
        Row of the raw array that is row 0 of `first`.
    block : ndarray, shape (n, at least size, width / 4), uint64
        Filled with pixels, four a word, the first in the lowest bits.
    """
    flat, last = raw.flat, np.int64(raw.n_spatial - 1)
    width = 4 * block.shape[2]
    for t in range(np.uint64(first.shape[1])):
        begin = raw.origin + (row + np.int64(t)) * raw.pitch
        for fiber in range(np.uint64(len(first))):
            here = np.int64(first[fiber, t])
            if here >= 0 and here + width <= raw.n_spatial:
                i = np.uint64(begin + here)
                for g in range(np.uint64(block.shape[2])):
                    j = i + _4 * g
                    low = np.uint64(flat[j]) | (np.uint64(flat[j + _1]) << _16)
                    high = np.uint64(flat[j + _2]) | (np.uint64(flat[j + _3]) << _16)
                    block[fiber, t, g] = low | (high << _32)
            elif 0 <= here <= last:  # at the chip's edge the last word is not full
                for g in range(block.shape[2]):
                    word = np.uint64(0)
                    for k in range(4):
                        pixel = flat[begin + min(here + 4 * g + k, last)]
                        word |= np.uint64(pixel) << np.uint64(16 * k)
                    block[fiber, t, g] = word


@njit(cache=True, nogil=True)
def turn_block(
    words: NDArray[np.uint64], lines: NDArray[np.uint64]
) -> None:  # pragma: no cover (compiled)
    """Turn 16-bit pixels packed by four: (size, width) to (width, size).

    Parameters
    ----------
    words : ndarray, shape (size, width / 4), uint64
        Four neighbouring pixels of a row a word, the first in the lowest bits.
    lines : ndarray, shape (width, size / 4), uint64
        Filled with four neighbouring rows of a pixel a word.
    """
    for g in range(np.uint64(words.shape[1])):
        one, two = lines[_4 * g], lines[_4 * g + _1]
        three, four = lines[_4 * g + _2], lines[_4 * g + _3]
        for t in range(np.uint64(lines.shape[1])):
            a, b = words[_4 * t, g], words[_4 * t + _1, g]
            c, d = words[_4 * t + _2, g], words[_4 * t + _3, g]
            even, odd = (a & _EVEN) | ((b & _EVEN) << _16), ((a & _ODD) >> _16) | (b & _ODD)
            below = (c & _EVEN) | ((d & _EVEN) << _16), ((c & _ODD) >> _16) | (d & _ODD)
            one[t] = (even & _LOW) | (below[0] << _32)
            two[t] = (odd & _LOW) | (below[1] << _32)
            three[t] = (even >> _32) | (below[0] & _HIGH)
            four[t] = (odd >> _32) | (below[1] & _HIGH)
