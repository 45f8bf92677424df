"""Windows along the traces, and what a kernel needs to know of the pixels in them."""

from functools import partial
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from drcnet.config import StripeSettings
from drcnet.stripes.pixels import Pixels, frame_pixels
from drcnet.stripes.threads import share_rows
from drcnet.stripes.trace import TraceSet
from drcnet.stripes.transpose import RawRows, gather_words, raw_rows, turn_block

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
    "load_tile",
    "make_windows",
    "one_amplifier",
]

BAD = 1
"""Mask bit: bad or saturated pixel."""
COSMIC = 2
"""Mask bit: cosmic ray."""
OFF_CHIP = 4
"""Mask bit: outside the chip."""

TILE = 64
"""Rows a kernel treats at a time: their pixels stay in the cache."""

_BLOCK = 128  # rows turned at a time: all fibres' windows, 750 kB on LAMOST, stay in the cache


class Windows(NamedTuple):
    """Where the stripes lie.

    Parameters
    ----------
    first : ndarray, shape (n, rows), int32
        Spatial pixel of the stripe's first pixel; may lie outside the chip.
    center : ndarray, shape (n, rows), float64
        True centre of the trace, spatial pixel.
    row_start : int
        Frame row of the stripe's first row.
    width : int
        Pixels across the stripe.
    """

    first: NDArray[np.int32]
    center: NDArray[np.float64]
    row_start: int
    width: int

    @property
    def offset(self) -> NDArray[np.float32]:
        """True centre minus the stripe's middle pixel; shape (n, rows)."""
        return (self.center - self.first - self.width // 2).astype(np.float32)


def make_windows(traces: TraceSet, settings: StripeSettings) -> Windows:
    """Lay whole-pixel windows along the traces.

    Parameters
    ----------
    traces : TraceSet
        Where the fibres run.
    settings : StripeSettings
        `half_width`, `row_start`, `row_stop`, `follow_trace`; rows beyond the frame are
        refused by `measure_arm`.

    Returns
    -------
    Windows
        With `follow_trace` the middle pixel is the one nearest the centre in each row; without
        it, the one nearest the centre in the middle of the rows kept.
    """
    center = traces.centers(np.arange(settings.row_start, settings.row_stop))
    if settings.follow_trace:
        middle = np.floor(center + 0.5)
    else:
        line = center[:, center.shape[1] // 2, None]
        middle = np.broadcast_to(np.floor(line + 0.5), center.shape)
    first = (middle - settings.half_width).astype(np.int32)
    return Windows(first, center, settings.row_start, settings.width)


@njit(cache=True, nogil=True)
def one_amplifier(
    pixels: Pixels, windows: Windows, fiber: int, start: int, size: int
) -> int:  # pragma: no cover (compiled)
    """Which amplifier read a whole tile.

    Parameters
    ----------
    pixels : Pixels
        The frame.
    windows : Windows
        Where the stripes lie.
    fiber, start, size : int
        Which stripe, its row at which the tile starts, and the tile's rows.

    Returns
    -------
    int
        The amplifier; -1 where there are several or the tile leaves the chip.
    """
    first = windows.first[fiber, start : start + size]
    low, high = first[0], first[0]
    for t in range(size):
        low = first[t] if first[t] < low else low  # noqa: FURB136 (min would widen it)
        high = first[t] if first[t] > high else high  # noqa: FURB136
    high += windows.width - 1
    if low < 0 or high >= pixels.counts.shape[0]:
        return -1
    row = windows.row_start + start
    last = row + size - 1
    amp = pixels.amplifier[low, row]
    same = amp == pixels.amplifier[high, row] and amp == pixels.amplifier[low, last]
    return amp if same and amp == pixels.amplifier[high, last] else -1


@njit(cache=True, nogil=True)
def load_tile(  # noqa: PLR0917 (a kernel's arrays)
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
    biased, masked = pixels.bias.shape[0] > 0, pixels.mask.shape[0] > 0
    size = min(data.shape[1], windows.first.shape[1] - start)
    for k in range(data.shape[0]):
        for t in range(size):
            x, y = np.uint64(windows.first[fiber, start + t] + k), row + np.uint64(t)
            counts = np.float32(pixels.counts[x, y])
            data[k, t] = counts - pixels.pedestal[amp, y]
            noise[k, t] = spread
            state[k, t] = counts >= pixels.saturation
        if biased:
            for t in range(size):
                x, y = np.uint64(windows.first[fiber, start + t] + k), row + np.uint64(t)
                data[k, t] -= pixels.bias[x, y]
        for t in range(size):
            data[k, t] *= gain
        if masked:
            for t in range(size):
                x, y = np.uint64(windows.first[fiber, start + t] + k), row + np.uint64(t)
                state[k, t] |= pixels.mask[x, y]


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
    pixels: Pixels, windows: Windows, *, threads: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Cut all stripes of a frame.

    Parameters
    ----------
    pixels : Pixels
        The frame. 16-bit counts with the fibres side by side in memory, without bias and mask,
        go fastest.
    windows : Windows
        Where to cut.
    threads : int
        Threads to share the rows among.

    Returns
    -------
    stripes : ndarray, shape (n, width, rows), float32
        Electrons, bias subtracted; 0 off the chip.
    mask : ndarray, shape (n, width, rows), uint8
        `BAD` and `OFF_CHIP` bits.
    """
    n, rows = windows.first.shape
    # NumPy's own allocation may use huge pages, a kernel's does not.
    stripes = np.empty((n, windows.width, rows), dtype=np.float32)
    mask = np.zeros((n, windows.width, rows), dtype=np.uint8)
    raw = None if pixels.bias.size or pixels.mask.size else raw_rows(pixels.counts)
    if raw is None:
        work = partial(_cut_tiles, pixels, windows)
    else:
        work = partial(_cut_words, raw, pixels, windows)
    share_rows(lambda span: work(span, stripes, mask), rows, threads)
    return stripes, mask


@njit(cache=True, nogil=True)
def _cut_tiles(
    pixels: Pixels,
    windows: Windows,
    span: tuple[int, int],
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
    load_tile(pixels, windows, fiber, start, data, noise, state)
    size = min(TILE, stop - start)
    stripes[fiber, :, start : start + size] = data[:, :size]
    mask[fiber, :, start : start + size] = state[:, :size]


@njit(cache=True, nogil=True)
def _cut_words(  # noqa: PLR0917 (a kernel's arrays)
    raw: RawRows,
    pixels: Pixels,
    windows: Windows,
    span: tuple[int, int],
    stripes: NDArray[np.float32],
    mask: NDArray[np.uint8],
) -> None:  # pragma: no cover (compiled)
    """Cut a span of rows from 16-bit counts, read in the order of the raw array."""
    n, width = len(windows.first), windows.width
    packed = (width + 3) // 4
    block = np.zeros((n, _BLOCK, packed), dtype=np.uint64)
    words = np.empty((4 * packed, _BLOCK // 4), dtype=np.uint64)
    lines = words.reshape(packed * _BLOCK).view(np.uint16).reshape(4 * packed, _BLOCK)
    tile = _empty_tile(width)
    for start in range(span[0], span[1], _BLOCK):
        stop = min(start + _BLOCK, span[1])
        row, size = windows.row_start + start, stop - start
        gather_words(raw, windows.first[:, start:stop], row, block)
        for fiber in range(n):
            amp = one_amplifier(pixels, windows, fiber, start, size)
            if amp < 0:
                for begin in range(start, stop, TILE):
                    _cut_tile(pixels, windows, (fiber, begin, stop), tile, stripes, mask)
                continue
            turn_block(block[fiber], words)
            level, gain = pixels.pedestal[amp, row : row + size], pixels.gain[amp]
            for k in range(width):
                line, out = lines[k, :size], stripes[fiber, k, start:stop]
                top = np.uint16(0)
                for t in range(size):
                    top = line[t] if line[t] > top else top  # noqa: FURB136 (max would widen it)
                for t in range(size):
                    out[t] = (np.float32(line[t]) - level[t]) * gain
                if top >= pixels.saturation:
                    mask[fiber, k, start:stop] = line >= pixels.saturation


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
