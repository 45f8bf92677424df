"""Where the stripes lie on a frame, and what the kernels ask of a window."""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from drcnet.config import StripeSettings
from drcnet.stripes.pixels import Pixels
from drcnet.stripes.trace import TraceSet

__all__ = ["Windows", "find_runs", "make_windows", "one_amplifier", "window_noise"]


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
def find_runs(
    first: NDArray[np.int32], ends: NDArray[np.int64]
) -> int:  # pragma: no cover (compiled)
    """Rows over which a window stays on its pixels: within them, memory is read in a line.

    Parameters
    ----------
    first : ndarray, shape (size,), int32
        First pixel of the window in each row.
    ends : ndarray, shape (at least size,), int64
        Filled with the row after each run's last.

    Returns
    -------
    int
        How many runs there are.
    """
    count = 0
    for t in range(1, len(first)):
        if first[t] != first[t - 1]:
            ends[count] = t
            count += 1
    ends[count] = len(first)
    return count + 1


@njit(cache=True, nogil=True)
def window_noise(  # noqa: PLR0917 (a kernel's arrays)
    pixels: Pixels,
    windows: Windows,
    fiber: int,
    start: int,
    size: int,
    noise: NDArray[np.float32],
) -> None:  # pragma: no cover (compiled)
    """Give the squared read noise of some rows of a window.

    Parameters
    ----------
    pixels : Pixels
        The frame.
    windows : Windows
        Where the stripes lie.
    fiber, start, size : int
        Which stripe, the first of its rows, and how many.
    noise : ndarray, shape (width, at least size), float32
        Filled; 1 off the chip.
    """
    amp = one_amplifier(pixels, windows, fiber, start, size)
    if amp >= 0:
        noise[:, :size] = pixels.read_noise[amp] * pixels.read_noise[amp]
        return
    for k in range(noise.shape[0]):
        for t in range(size):
            x, row = windows.first[fiber, start + t] + k, windows.row_start + start + t
            if x < 0 or x >= pixels.counts.shape[0]:
                noise[k, t] = 1.0
            else:
                amp = pixels.amplifier[x, row]
                noise[k, t] = pixels.read_noise[amp] * pixels.read_noise[amp]
