"""Plain sums across the stripes, straight from the counts: the quickest spectrum there is.

For a quick look, and for measuring how fast one can be. `drcnet.stripes.extract` makes a sum of
its own beside the optimal one, as it goes over the pixels anyway.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from drcnet.stripes.cut import OFF_CHIP, Pixels, Windows, cut_stripes_numpy
from drcnet.stripes.threads import share_rows
from drcnet.stripes.transpose import RawRows, raw_rows
from drcnet.stripes.windows import find_runs, one_amplifier

__all__ = ["sum_stripes", "sum_stripes_numpy"]

_BLOCK = 64  # rows summed at a time where amplifiers change along wavelength
_WHOLE = 4096  # and where they do not: see `drcnet.stripes.cut`


def sum_stripes(pixels: Pixels, windows: Windows, *, threads: int = 1) -> NDArray[np.float32]:
    """Sum the light in every stripe without cutting it.

    Parameters
    ----------
    pixels : Pixels
        The frame. 16-bit counts with the fibres side by side in memory go fastest, and a bias
        whose rows along wavelength do.
    windows : Windows
        Where the stripes lie.
    threads : int
        Threads to share the rows among.

    Returns
    -------
    ndarray, shape (n, rows), float32
        Electrons, bias subtracted; bad pixels are summed with the others, and pixels off the
        chip count nothing.
    """
    n, rows = windows.first.shape
    light = np.empty((n, rows), dtype=np.float32)
    raw = raw_rows(pixels.counts)
    block = _WHOLE if pixels.amplifier.strides[1] == 0 else _BLOCK

    def work(span: tuple[int, int]) -> None:
        if raw is None:
            _sum_pixels(pixels, windows, span, light)
        else:
            _sum_words(raw, pixels, windows, (*span, block), light)

    share_rows(work, rows, threads)
    return light


@njit(cache=True, nogil=True)
def _sum_words(
    raw: RawRows,
    pixels: Pixels,
    windows: Windows,
    span: tuple[int, int, int],
    light: NDArray[np.float32],
) -> None:  # pragma: no cover (compiled)
    """Sum a span of rows of 16-bit counts, read in the order of the raw array.

    The span's third number is how many rows are summed at a time.
    """
    n, width, last = len(windows.first), windows.width, raw.n_spatial - windows.width
    length = min(span[2], span[1] - span[0])
    block, dark = np.zeros((n, length), np.uint32), np.zeros(length, np.float64)
    for start in range(span[0], span[1], length):
        stop = min(start + length, span[1])
        row, size = windows.row_start + start, stop - start
        first = windows.first[:, start:stop]
        for t in range(np.uint64(size)):
            begin = raw.origin + (row + np.int64(t)) * raw.pitch
            for fiber in range(np.uint64(n)):
                here = first[fiber, t]
                if 0 <= here <= last:
                    i = np.uint64(begin + here)
                    adu = np.uint32(0)
                    for k in range(np.uint64(width)):
                        adu += raw.flat[i + k]
                    block[fiber, t] = adu
        for fiber in range(n):
            amp = one_amplifier(pixels, windows, fiber, start, size)
            if amp < 0:
                _sum_fiber(pixels, windows, (fiber, start, stop), light)
                continue
            level, gain = pixels.pedestal[amp, row : row + size], pixels.gain[amp]
            total, out = block[fiber, :size], light[fiber, start:stop]
            if pixels.bias.shape[0] > 0:
                _sum_bias(pixels, windows, (fiber, start, stop), dark)
            for t in range(size):
                adu = np.float64(total[t]) - width * np.float64(level[t]) - dark[t]
                out[t] = adu * gain


@njit(cache=True, nogil=True)
def _sum_bias(
    pixels: Pixels, windows: Windows, place: tuple[int, int, int], dark: NDArray[np.float64]
) -> None:  # pragma: no cover (compiled)
    """Sum the master bias under some rows of one fibre, a pixel's line at a time."""
    fiber, start, stop = place
    first, row = windows.first[fiber, start:stop], windows.row_start + start
    ends = np.empty(stop - start, dtype=np.int64)
    runs = ends[: find_runs(first, ends)]
    dark[: stop - start] = 0.0
    for k in range(windows.width):
        begin = 0
        for end in runs:
            line = pixels.bias[first[begin] + k, row + begin : row + end]
            total = dark[begin:end]
            for t in range(len(line)):
                total[t] += line[t]
            begin = end


@njit(cache=True, nogil=True)
def _sum_pixels(
    pixels: Pixels, windows: Windows, span: tuple[int, int], light: NDArray[np.float32]
) -> None:  # pragma: no cover (compiled)
    """Sum a span of rows of counts of any kind."""
    for start in range(span[0], span[1], _BLOCK):
        for fiber in range(len(windows.first)):
            _sum_fiber(pixels, windows, (fiber, start, min(start + _BLOCK, span[1])), light)


@njit(cache=True, nogil=True)
def _sum_fiber(
    pixels: Pixels, windows: Windows, place: tuple[int, int, int], light: NDArray[np.float32]
) -> None:  # pragma: no cover (compiled)
    """Sum some rows of one fibre, a pixel at a time."""
    fiber, start, stop = place
    for r in range(start, stop):
        row, total = windows.row_start + r, 0.0
        for k in range(windows.width):
            x = windows.first[fiber, r] + k
            if x < 0 or x >= pixels.counts.shape[0]:
                continue
            amp = pixels.amplifier[x, row]
            adu = np.float64(pixels.counts[x, row]) - pixels.pedestal[amp, row]
            if pixels.bias.shape[0] > 0:
                adu -= pixels.bias[x, row]
            total += adu * pixels.gain[amp]
        light[fiber, r] = total


def sum_stripes_numpy(pixels: Pixels, windows: Windows) -> NDArray[np.float32]:
    """Do what `sum_stripes` does, in NumPy: its twin.

    Parameters
    ----------
    pixels : Pixels
        The frame.
    windows : Windows
        Where the stripes lie.

    Returns
    -------
    ndarray, shape (n, rows), float32
        Electrons; pixels off the chip count nothing.
    """
    stripes, mask = cut_stripes_numpy(pixels, windows)
    inside = np.where(mask & OFF_CHIP, np.float32(0.0), stripes)
    return inside.sum(axis=1, dtype=np.float64).astype(np.float32)
