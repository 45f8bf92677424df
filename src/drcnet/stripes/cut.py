"""Windows along the traces, and what a kernel needs to know of the pixels in them."""

from functools import partial

import numpy as np
from numba import njit
from numpy.typing import NDArray

from drcnet.stripes.pixels import Pixels, frame_pixels
from drcnet.stripes.threads import share_rows
from drcnet.stripes.transpose import RawRows, gather_words, raw_rows, turn_block
from drcnet.stripes.windows import Windows, find_runs, make_windows, one_amplifier

__all__ = [
    "BAD",
    "COSMIC",
    "OFF_CHIP",
    "TILE",
    "Pixels",
    "Windows",
    "cut_stripes",
    "cut_stripes_numpy",
    "frame_pixels",
    "make_windows",
]

BAD = 1
"""Mask bit: bad or saturated pixel."""
COSMIC = 2
"""Mask bit: cosmic ray."""
OFF_CHIP = 4
"""Mask bit: outside the chip."""

TILE = 64
"""Rows a kernel treats at a time: their pixels stay in the cache."""

_BLOCK = 128  # rows turned at a time where amplifiers change along wavelength
_WHOLE = 4096  # and where they do not: long lines spare the memory many a new page


@njit(cache=True, nogil=True)
def _load_tile(  # noqa: PLR0917 (a kernel's arrays)
    pixels: Pixels,
    windows: Windows,
    fiber: int,
    start: int,
    data: NDArray[np.float32],
    noise: NDArray[np.float32],
    state: NDArray[np.uint8],
) -> None:  # pragma: no cover (compiled)
    """Fill a tile with one fibre's electrons, squared read noise and state.

    Parameters
    ----------
    pixels : Pixels
        The frame.
    windows : Windows
        Where the stripes lie.
    fiber, start : int
        Which stripe, and its row at which the tile starts.
    data, noise : ndarray, shape (width, TILE), float32
        Filled with electrons and squared read noise; 0 and 1 off the chip.
    state : ndarray, shape (width, TILE), uint8
        Filled with `BAD` and `OFF_CHIP` bits.
    """
    size = min(TILE, windows.first.shape[1] - start)
    if one_amplifier(pixels, windows, fiber, start, size) >= 0:
        _load_one_amplifier(pixels, windows, fiber, start, data, noise, state)
    else:
        _load_any(pixels, windows, fiber, start, data, noise, state)


@njit(cache=True, nogil=True)
def _load_one_amplifier(  # noqa: PLR0917 (a kernel's arrays)
    pixels: Pixels,
    windows: Windows,
    fiber: int,
    start: int,
    data: NDArray[np.float32],
    noise: NDArray[np.float32],
    state: NDArray[np.uint8],
) -> None:  # pragma: no cover (compiled)
    """Fill a tile that lies on the chip and within one amplifier: the usual case."""
    # Unsigned indices spare the compiler the test for negative ones.
    row = np.uint64(windows.row_start + start)
    amp = pixels.amplifier[windows.first[fiber, start], row]
    gain = pixels.gain[amp]
    spread = pixels.read_noise[amp] * pixels.read_noise[amp]
    size = min(data.shape[1], windows.first.shape[1] - start)
    first, level = windows.first[fiber, start : start + size], pixels.pedestal[amp, row:]
    for k in range(data.shape[0]):
        for t in range(size):
            x, y = np.uint64(first[t] + k), row + np.uint64(t)
            counts = np.float32(pixels.counts[x, y])
            data[k, t] = counts - level[t]
            noise[k, t] = spread
            state[k, t] = counts >= pixels.saturation
    if pixels.bias.shape[0] > 0 or pixels.mask.shape[0] > 0:
        ends = np.empty(size, dtype=np.int64)
        runs = ends[: find_runs(first, ends)]
        for k in range(data.shape[0]):
            _take_bias(pixels, first, (k, windows.row_start + start), runs, data[k])
            _add_mask(pixels, first, (k, windows.row_start + start), runs, state[k])
    for k in range(data.shape[0]):
        for t in range(size):
            data[k, t] *= gain


@njit(cache=True, nogil=True)
def _take_bias(
    pixels: Pixels,
    first: NDArray[np.int32],
    place: tuple[int, int],
    runs: NDArray[np.int64],
    line: NDArray[np.float32],
) -> None:  # pragma: no cover (compiled)
    """Take the master bias, where there is one, off a pixel's line from a row on."""
    if pixels.bias.shape[0] == 0:
        return
    k, row = place
    begin = 0
    for end in runs:
        dark, out = pixels.bias[first[begin] + k, row + begin : row + end], line[begin:end]
        for t in range(len(out)):
            out[t] -= dark[t]
        begin = end


@njit(cache=True, nogil=True)
def _add_mask(
    pixels: Pixels,
    first: NDArray[np.int32],
    place: tuple[int, int],
    runs: NDArray[np.int64],
    line: NDArray[np.uint8],
) -> None:  # pragma: no cover (compiled)
    """Mark the masked pixels, where there is a mask, of a pixel's line from a row on."""
    if pixels.mask.shape[0] == 0:
        return
    k, row = place
    begin = 0
    for end in runs:
        bad = pixels.mask[first[begin] + k, row + begin : row + end]
        found = np.uint8(0)
        for t in range(np.uint64(len(bad))):
            found |= np.uint8(bad[t])
        if found:  # seldom: the line is written only then
            for t in range(len(bad)):
                line[begin + t] |= bad[t]
        begin = end


@njit(cache=True, nogil=True)
def _load_any(  # noqa: PLR0917 (a kernel's arrays)
    pixels: Pixels,
    windows: Windows,
    fiber: int,
    start: int,
    data: NDArray[np.float32],
    noise: NDArray[np.float32],
    state: NDArray[np.uint8],
) -> None:  # pragma: no cover (compiled)
    """Fill a tile that leaves the chip or crosses amplifiers, a pixel at a time."""
    size = min(data.shape[1], windows.first.shape[1] - start)
    for k in range(data.shape[0]):
        for t in range(size):
            x, row = windows.first[fiber, start + t] + k, windows.row_start + start + t
            if x < 0 or x >= pixels.counts.shape[0]:
                data[k, t], noise[k, t], state[k, t] = 0.0, 1.0, OFF_CHIP
                continue
            amp = pixels.amplifier[x, row]
            adu = np.float32(pixels.counts[x, row]) - pixels.pedestal[amp, row]
            if pixels.bias.shape[0] > 0:
                adu -= pixels.bias[x, row]
            data[k, t] = adu * pixels.gain[amp]
            noise[k, t] = pixels.read_noise[amp] * pixels.read_noise[amp]
            bad = np.float32(pixels.counts[x, row]) >= pixels.saturation
            state[k, t] = bad or (pixels.mask.shape[0] > 0 and pixels.mask[x, row])


def cut_stripes(
    pixels: Pixels,
    windows: Windows,
    *,
    threads: int = 1,
    out: tuple[NDArray[np.float32], NDArray[np.uint8]] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Cut all stripes of a frame.

    Parameters
    ----------
    pixels : Pixels
        The frame. 16-bit counts with the fibres side by side in memory go fastest, and a bias
        and mask whose rows along wavelength do.
    windows : Windows
        Where to cut.
    threads : int
        Threads to share the rows among.
    out : tuple of ndarray, optional
        Stripes and mask of an earlier cut of the same shape, to be filled anew: it spares the
        system the finding of 40 MB of memory for each frame.

    Returns
    -------
    stripes : ndarray, shape (n, width, rows), float32
        Electrons, bias subtracted; 0 off the chip.
    mask : ndarray, shape (n, width, rows), uint8
        `BAD` and `OFF_CHIP` bits.
    """
    n, rows = windows.first.shape
    if out is None:
        # NumPy's own allocation may use huge pages, a kernel's does not.
        stripes = np.empty((n, windows.width, rows), dtype=np.float32)
        mask = np.zeros((n, windows.width, rows), dtype=np.uint8)
    else:
        stripes, mask = out
        mask.fill(0)
    raw = raw_rows(pixels.counts)
    if raw is None:
        work = partial(_cut_tiles, pixels, windows)
    else:
        work = partial(_cut_words, raw, pixels, windows)
    block = _WHOLE if pixels.amplifier.strides[1] == 0 else _BLOCK
    share_rows(lambda span: work((*span, block), stripes, mask), rows, threads)
    return stripes, mask


@njit(cache=True, nogil=True)
def _cut_tiles(
    pixels: Pixels,
    windows: Windows,
    span: tuple[int, int, int],
    stripes: NDArray[np.float32],
    mask: NDArray[np.uint8],
) -> None:  # pragma: no cover (compiled)
    """Cut a span of rows from counts of any kind."""
    tile = _empty_tile(windows.width)
    for start in range(span[0], span[1], TILE):
        for fiber in range(len(windows.first)):
            _cut_tile(pixels, windows, (fiber, start, span[1]), tile, stripes, mask)


@njit(cache=True, nogil=True)
def _empty_tile(
    width: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]]:  # pragma: no cover
    shape = width, TILE
    return np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.uint8)


@njit(cache=True, nogil=True)
def _cut_tile(  # noqa: PLR0917 (a kernel's arrays)
    pixels: Pixels,
    windows: Windows,
    place: tuple[int, int, int],
    tile: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]],
    stripes: NDArray[np.float32],
    mask: NDArray[np.uint8],
) -> None:  # pragma: no cover (compiled)
    """Cut one fibre's rows from `start` to the end of the tile or the span."""
    fiber, start, stop = place
    data, noise, state = tile
    _load_tile(pixels, windows, fiber, start, data, noise, state)
    size = min(TILE, stop - start)
    stripes[fiber, :, start : start + size] = data[:, :size]
    mask[fiber, :, start : start + size] = state[:, :size]


@njit(cache=True, nogil=True)
def _cut_words(  # noqa: PLR0917 (a kernel's arrays)
    raw: RawRows,
    pixels: Pixels,
    windows: Windows,
    span: tuple[int, int, int],
    stripes: NDArray[np.float32],
    mask: NDArray[np.uint8],
) -> None:  # pragma: no cover (compiled)
    """Cut a span of rows from 16-bit counts, read in the order of the raw array.

    The span's third number is how many rows are turned at a time.
    """
    n, width = len(windows.first), windows.width
    packed = (width + 3) // 4
    length = min(span[2], (span[1] - span[0] + 3) // 4 * 4)
    block = np.zeros((n, length, packed), dtype=np.uint64)
    words = np.empty((4 * packed, length // 4), dtype=np.uint64)
    lines = words.reshape(packed * length).view(np.uint16).reshape(4 * packed, length)
    tile, ends = _empty_tile(width), np.empty(length, dtype=np.int64)
    calibrated = pixels.bias.shape[0] > 0 or pixels.mask.shape[0] > 0
    for start in range(span[0], span[1], length):
        stop = min(start + length, span[1])
        row, size = windows.row_start + start, stop - start
        gather_words(raw, windows.first[:, start:stop], row, block)
        for fiber in range(n):
            amp = one_amplifier(pixels, windows, fiber, start, size)
            if amp < 0:
                for begin in range(start, stop, TILE):
                    _cut_tile(pixels, windows, (fiber, begin, stop), tile, stripes, mask)
                continue
            turn_block(block[fiber], words)
            first = windows.first[fiber, start:stop]
            runs = ends[: find_runs(first, ends)] if calibrated else ends[:0]
            level, gain = pixels.pedestal[amp, row : row + size], pixels.gain[amp]
            for k in range(width):
                line, out = lines[k, :size], stripes[fiber, k, start:stop]
                top = np.uint16(0)
                for t in range(size):
                    top = line[t] if line[t] > top else top  # noqa: FURB136 (max would widen it)
                if top >= pixels.saturation:
                    mask[fiber, k, start:stop] = line >= pixels.saturation
                for t in range(size):
                    out[t] = np.float32(line[t]) - level[t]
                if calibrated:
                    _take_bias(pixels, first, (k, row), runs, out)
                    _add_mask(pixels, first, (k, row), runs, mask[fiber, k, start:stop])
                for t in range(size):
                    out[t] *= gain


def cut_stripes_numpy(
    pixels: Pixels, windows: Windows
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Do what `cut_stripes` does, in NumPy: its twin.

    Parameters
    ----------
    pixels : Pixels
        The frame.
    windows : Windows
        Where to cut.

    Returns
    -------
    stripes : ndarray, shape (n, width, rows), float32
        Electrons, bias subtracted; 0 off the chip.
    mask : ndarray, shape (n, width, rows), uint8
        `BAD` and `OFF_CHIP` bits.
    """
    x = windows.first[:, None, :] + np.arange(windows.width, dtype=np.int32)[:, None]
    row = windows.row_start + np.arange(x.shape[2])
    n_spatial = pixels.counts.shape[0]
    inside = (x >= 0) & (x < n_spatial)
    x = np.clip(x, 0, n_spatial - 1)
    counts = pixels.counts[x, row]
    amp = pixels.amplifier[x, row]
    adu = counts.astype(np.float32) - pixels.pedestal[amp, row]
    if pixels.bias.size:
        adu -= pixels.bias[x, row]
    stripes = np.where(inside, adu * pixels.gain[amp], np.float32(0.0))
    bad = counts >= pixels.saturation
    if pixels.mask.size:
        bad |= pixels.mask[x, row]
    mask = np.where(inside, bad * np.uint8(BAD), np.uint8(OFF_CHIP)).astype(np.uint8)
    return stripes, mask
