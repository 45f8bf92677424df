"""The level an amplifier adds to every pixel, from its overscan.

A row's overscan has a few dozen pixels: their mean is uncertain by a sixth of the read noise, and
taken off row by row that error is common to all pixels of the row. The sum of 11 pixels then
carries a third more noise than the chip gave it, the same in every fibre. A level that moves
slowly is therefore averaged over rows; only what demonstrably moves faster is followed.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from drcnet.frames.row_levels import MAD_TO_SIGMA, row_levels
from drcnet.instruments import InstrumentProfile

__all__ = ["OverscanWay", "overscan_levels", "smooth_levels"]

OverscanWay = Literal["smooth", "row", "constant"]
"""How the overscan's level follows the rows; see `StripeSettings.overscan`."""

_WINDOWS = (101, 31, 9, 3, 1)  # rows, from what is expected to what must be demonstrated
_SIGNIFICANT = 4.5  # standard deviations that make a change of level: 7 in a million by chance
_MEDIAN_NOISE = 1.2533  # noise of a median over that of a mean, sqrt(pi / 2)
_MAD_ERROR = 1.65  # relative error of a squared MAD, times the square root of the count


def overscan_levels(
    raw: NDArray[Any], profile: InstrumentProfile, arm: str, way: OverscanWay = "smooth"
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Overscan level of each amplifier.

    Where read-out rows run across wavelength (dispersion along y), the level follows each row.
    Where they run along it, an amplifier has one level, and what each row departs from it is
    given back as a second array, to be subtracted with the bias.

    Parameters
    ----------
    raw : ndarray, shape `profile.shape`
        The raw array, ADU.
    profile : InstrumentProfile
        Amplifiers and their overscan.
    arm : str
        'blue' or 'red'.
    way : str
        'row': the mean of each row. 'smooth': a running median of them that keeps what is no
        noise (`smooth_levels`). 'constant': one level an amplifier.

    Returns
    -------
    pedestal : ndarray, shape (n_amp, n_wave), float32
        Level at each wavelength row, ADU.
    residual : ndarray, shape (n_spatial, n_wave), float32, or None
        What rows along wavelength depart from it, ADU.
    """
    across = profile.dispersion_axis == 0
    directions = profile.arms[arm]
    sign = directions.direction if across else directions.fiber_direction
    pedestal = np.empty((len(profile.amplifiers), profile.n_wave), np.float32)
    residual = None if across else np.zeros((profile.n_spatial, profile.n_wave), np.float32)
    spans = profile.turned_spans(arm)
    for number, (amp, (space, wave)) in enumerate(zip(profile.amplifiers, spans, strict=True)):
        part = raw[slice(*amp.overscan_y), slice(*amp.overscan_x)]
        rows, noise = row_levels(part, amp.read_noise / amp.gain)
        pedestal[number] = np.median(rows)
        if amp.overscan_y != amp.data_y or way == "constant":
            continue  # rows of the overscan are not rows of the data: one level
        rows = (smooth_levels(rows, noise) if way == "smooth" else rows)[::sign]
        if across:
            pedestal[number, wave] = rows
        elif residual is not None:
            residual[space, wave] = (rows - pedestal[number, 0])[:, None]
    return pedestal, residual


def smooth_levels(rows: NDArray[np.float32], noise: float) -> NDArray[np.float32]:
    """Smooth row levels as far as they are noise.

    The running median over 101 rows is replaced by those over 31, 9, 3 rows and the row itself
    wherever the narrower one departs from it by 4.5 of its own standard deviations (the rule of
    Lepski 1990, Theory Probab. Appl. 35, 454): a ramp, a step or a single row is followed as
    closely as it can be told from noise. Where rows scatter about the result by more than their
    noise, without any being so far off, that share of the departures is followed as well (the
    shrinkage of James & Stein 1961).

    Parameters
    ----------
    rows : ndarray, shape (n_row,), float32
        Level of each row, in the order of the readout.
    noise : float
        Standard deviation of one of them.

    Returns
    -------
    ndarray, shape (n_row,), float32
        The level.

    Examples
    --------
    >>> jump = np.repeat(np.float32([1000, 1003]), 200)
    >>> bool((smooth_levels(jump, 0.5) == jump).all())
    True
    """
    level = rows
    for window in _WINDOWS:
        narrow = median_filter(rows, window, mode="reflect") if window > 1 else rows
        error = noise * (_MEDIAN_NOISE / np.sqrt(window) if window > 1 else 1.0)
        first = window == _WINDOWS[0]
        level = (
            narrow
            if first
            else np.where(np.abs(narrow - level) > _SIGNIFICANT * error, narrow, level)
        )
    away = rows - level
    usual = away[away != 0]
    scatter = (MAD_TO_SIGMA * float(np.median(np.abs(usual)))) ** 2 if len(usual) else 0.0
    limit = 1 + _SIGNIFICANT * _MAD_ERROR / np.sqrt(max(len(usual), 1))
    if scatter > limit * noise**2:
        level = level + (1 - noise**2 / scatter) * away
    return level.astype(np.float32)
