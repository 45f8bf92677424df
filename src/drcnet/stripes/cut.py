"""Windows along the traces, and what a kernel needs to know of the pixels in them."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from drcnet.config import StripeSettings
from drcnet.frames.frame import Frame
from drcnet.stripes.trace import TraceSet

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
]

BAD = 1
"""Mask bit: bad or saturated pixel."""
COSMIC = 2
"""Mask bit: cosmic ray."""
OFF_CHIP = 4
"""Mask bit: outside the chip."""

TILE = 64
"""Rows a kernel treats at a time: their pixels stay in the cache."""


class Pixels(NamedTuple):
    """A frame's arrays as the kernels take them; see `Frame`. Empty arrays stand for none."""

    counts: NDArray[Any]
    pedestal: NDArray[np.float32]
    amplifier: NDArray[np.uint8]
    gain: NDArray[np.float32]
    read_noise: NDArray[np.float32]
    bias: NDArray[np.float32]
    mask: NDArray[np.bool_]
    saturation: np.float32


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


def frame_pixels(frame: Frame) -> Pixels:
    """Collect a frame's arrays for the kernels.

    Parameters
    ----------
    frame : Frame
        The frame.

    Returns
    -------
    Pixels
        The same arrays, none copied.
    """
    return Pixels(
        frame.counts,
        np.ascontiguousarray(frame.pedestal, dtype=np.float32),
        frame.amplifier,
        np.asarray(frame.gain, dtype=np.float32),
        np.asarray(frame.read_noise, dtype=np.float32),
        np.empty((0, 0), np.float32) if frame.bias is None else frame.bias,
        np.empty((0, 0), np.bool_) if frame.mask is None else frame.mask,
        np.float32(frame.profile.saturation),
    )


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
    size = min(data.shape[1], windows.first.shape[1] - start)
    low = windows.first[fiber, start]
    high = low
    for t in range(size):
        low = min(low, windows.first[fiber, start + t])
        high = max(high, windows.first[fiber, start + t])
    high += windows.width
    row = windows.row_start + start
    if low < 0 or high > pixels.counts.shape[0]:
        _load_any(pixels, windows, fiber, start, data, noise, state)
        return
    amp = pixels.amplifier[low, row]
    last = row + size - 1
    same = amp == pixels.amplifier[high - 1, row] and amp == pixels.amplifier[low, last]
    if same and amp == pixels.amplifier[high - 1, last]:
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


@njit(cache=True, nogil=True)
def cut_stripes(
    pixels: Pixels, windows: Windows
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:  # pragma: no cover (compiled)
    """Cut all stripes of a frame.

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
    n, rows = windows.first.shape
    stripes = np.empty((n, windows.width, rows), dtype=np.float32)
    mask = np.empty((n, windows.width, rows), dtype=np.uint8)
    data = np.empty((windows.width, TILE), dtype=np.float32)
    noise = np.empty((windows.width, TILE), dtype=np.float32)
    state = np.empty((windows.width, TILE), dtype=np.uint8)
    for start in range(0, rows, TILE):
        for fiber in range(n):
            load_tile(pixels, windows, fiber, start, data, noise, state)
            for k in range(windows.width):
                for t in range(min(TILE, rows - start)):
                    stripes[fiber, k, start + t] = data[k, t]
                    mask[fiber, k, start + t] = state[k, t]
    return stripes, mask


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
