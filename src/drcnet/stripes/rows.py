"""Compiled steps of the extraction, on tiles of rows: (width, rows) arrays of one fibre.

The last axis runs along wavelength, so that each step does many rows at a time. Every function
has its counterpart in `extract_numpy.py`.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from drcnet.stripes.cut import BAD, COSMIC, Windows

__all__ = [
    "CORE_SHARE",
    "DARK_SIGMA",
    "LIFT_REACH",
    "LIFT_SIGMA",
    "far_light",
    "find_cosmics",
    "neighbor_light",
    "plain_light",
    "tile_profile",
]

CORE_SHARE = 0.3
"""Share of the profile's peak from which a pixel enters the first, robust estimate."""
DARK_SIGMA = 1.5
"""Pixels darker than the profile by so many cosmic-ray thresholds are bad."""
LIFT_SIGMA = np.float32(3.0)
LIFT_REACH = np.float32(5.0)
"""A residual counts for the profile up to so many sigma of noise, and of the profile's error."""

Floats = NDArray[np.float32]
ZERO = np.float32(0.0)


@njit(cache=True, nogil=True)
def tile_profile(
    line: Floats,
    windows: Windows,
    place: tuple[int, int, int, int],
    units: tuple[float, float],
    shape: Floats,
) -> None:  # pragma: no cover (compiled)
    """Profile of a fibre at the pixels of a window.

    Parameters
    ----------
    line : ndarray, shape (n_u,), float32
        Profile against distance in steps of the table.
    windows : Windows
        Where the stripes lie.
    place : tuple of int
        Whose window, whose profile, first row and number of rows.
    units : tuple of float
        Steps of the table a pixel, and profile a pixel over table value.
    shape : ndarray, shape (width, rows), float32
        Filled with the profile, linearly interpolated.
    """
    window, fiber, start, size = place
    scale, norm = units[0], np.float32(units[1])
    last = np.float32(line.size - 2)
    middle = (line.size - 1) // 2
    step = np.float32(scale)
    for t in range(size):
        away = windows.first[window, start + t] - windows.center[fiber, start + t]
        shape[0, t] = np.float32(away * scale + middle)
    for k in range(shape.shape[0] - 1, -1, -1):  # the first line holds the start until the end
        for t in range(size):
            position = min(max(shape[0, t] + np.float32(k) * step, ZERO), last)
            j = np.uint32(position)
            part = position - np.float32(j)
            value = (np.float32(1.0) - part) * line[j] + part * line[j + np.uint32(1)]
            shape[k, t] = norm * value


@njit(cache=True, nogil=True)
def neighbor_light(  # noqa: PLR0917 (a kernel's arrays)
    line: Floats,
    windows: Windows,
    place: tuple[int, int, int, int],
    units: tuple[float, float],
    light: Floats,
    data: Floats,
    noise: Floats,
    spilt: Floats,
) -> None:  # pragma: no cover (compiled)
    """Take a neighbour's light off a window.

    Parameters
    ----------
    line : ndarray, shape (n_u,), float32
        Profile against distance in steps of the table, taken at the nearest step: wings are
        smooth.
    windows : Windows
        Where the stripes lie.
    place : tuple of int
        Whose window, which neighbour, first row and number of rows.
    units : tuple of float
        Steps of the table a pixel, and profile a pixel over table value.
    light : ndarray, shape (rows,), float32
        First estimate of the neighbour's light; counts only where positive.
    data, noise : ndarray, shape (width, rows), float32
        The light is taken off the one and added to the other.
    spilt : ndarray, shape (rows,), float32
        Grows by the light taken off.
    """
    window, fiber, start, size = place
    scale, norm = units[0], np.float32(units[1])
    last = np.float32(line.size - 2)
    middle = (line.size - 1) // 2
    step = np.float32(scale)
    begin = np.empty(size, dtype=np.float32)
    for t in range(size):
        away = windows.first[window, start + t] - windows.center[fiber, start + t]
        begin[t] = np.float32(away * scale + middle + 0.5)
    for k in range(data.shape[0]):
        for t in range(size):
            position = min(max(begin[t] + np.float32(k) * step, ZERO), last)
            extra = max(light[t], ZERO) * norm * line[np.uint32(position)]
            data[k, t] -= extra
            noise[k, t] += extra
            spilt[t] += extra


@njit(cache=True, nogil=True)
def far_light(  # noqa: PLR0917 (a kernel's arrays)
    line: Floats,
    windows: Windows,
    place: tuple[int, int, int, int],
    units: tuple[float, float],
    light: Floats,
    data: Floats,
    noise: Floats,
    spilt: Floats,
) -> None:  # pragma: no cover (compiled)
    """Take the light of the next fibre but one off a window.

    As `neighbor_light`, but so far out the wings are so flat that the distances in the tile's
    middle row serve for all its rows.

    Parameters
    ----------
    line : ndarray, shape (n_u,), float32
        Profile against distance in steps of the table, taken at the nearest step.
    windows : Windows
        Where the stripes lie.
    place : tuple of int
        Whose window, whose light, first row and number of rows.
    units : tuple of float
        Steps of the table a pixel, and profile a pixel over table value.
    light : ndarray, shape (rows,), float32
        First estimate of the light; counts only where positive.
    data, noise : ndarray, shape (width, rows), float32
        The light is taken off the one and added to the other.
    spilt : ndarray, shape (rows,), float32
        Grows by the light taken off.
    """
    window, fiber, start, size = place
    scale, norm = units[0], np.float32(units[1])
    last = np.float32(line.size - 2)
    row = start + size // 2
    away = windows.first[window, row] - windows.center[fiber, row]
    begin = np.float32(away * scale + (line.size - 1) // 2 + 0.5)
    for k in range(data.shape[0]):
        position = min(max(begin + np.float32(k) * np.float32(scale), ZERO), last)
        share = norm * line[np.uint32(position)]
        for t in range(size):
            extra = max(light[t], ZERO) * share
            data[k, t] -= extra
            noise[k, t] += extra
            spilt[t] += extra


@njit(cache=True, nogil=True)
def plain_light(
    data: Floats, shape: Floats, state: NDArray[np.uint8], size: int, light: Floats
) -> None:  # pragma: no cover (compiled)
    """Unweighted least squares on the pixels that are good.

    Parameters
    ----------
    data, shape : ndarray, shape (width, rows), float32
        Electrons and profile.
    state : ndarray, shape (width, rows), uint8
        0 where good.
    size : int
        Number of rows.
    light : ndarray, shape (rows,), float32
        Filled; 0 where no pixel is good.
    """
    top, bottom = np.zeros(size, dtype=np.float32), np.zeros(size, dtype=np.float32)
    for k in range(data.shape[0]):
        for t in range(size):
            weight = shape[k, t] if state[k, t] == 0 else ZERO
            top[t] += weight * data[k, t]
            bottom[t] += weight * weight
    for t in range(size):
        light[t] = top[t] / bottom[t] if bottom[t] > ZERO else ZERO


@njit(cache=True, nogil=True)
def find_cosmics(
    tile: Any, size: int, limits: tuple[float, float], light: Floats
) -> Floats:  # pragma: no cover (compiled)
    """Mark pixels that stand out of the profile.

    Parameters
    ----------
    tile : tuple
        `data`, `noise`, `state` and `shape`, each (width, rows); `state` is changed.
    size : int
        Number of rows.
    limits : tuple of float
        Threshold in standard deviations, and relative error allowed to the profile.
    light : ndarray, shape (rows,), float32
        Estimate of the light; improved in rows where a pixel stood out.

    Returns
    -------
    ndarray, shape (width,), float32
        Squared relative error of the profile in each line, as the tile shows it, less what its
        noise alone brings (so that it may be negative); 0 where that noise is beyond the error
        allowed.
    """
    sigma, error = np.float32(limits[0]), np.float32(limits[1])
    lift, doubt = _lift(tile, size, error, light)
    out = np.zeros(size, dtype=np.uint8)
    for k in range(tile.data.shape[0]):
        for t in range(size):
            model = light[t] * tile.shape[k, t] * lift[k]
            slack = error * model
            spread = tile.noise[k, t] + max(model, ZERO) + slack * slack
            away = tile.data[k, t] - model
            far = away * away > sigma * sigma * spread
            out[t] |= far and tile.state[k, t] == 0
    for t in range(size):
        if out[t]:
            shape = tile.shape[:, t] * lift
            light[t] = _reject(tile.data[:, t], shape, tile.noise[:, t], tile.state[:, t], limits)
    return doubt


@njit(cache=True, nogil=True)
def _lift(
    tile: Any, size: int, error: np.float32, light: Floats
) -> tuple[Floats, Floats]:  # pragma: no cover (compiled)
    """Data over model of each line of a tile, 1 where photons do not tell it to `error`.

    And its squared distance from 1 less the variance, 0 where photons do not tell.

    A cosmic ray strikes few rows, an error of the profile all of them: the mean over a tile, of
    residuals clipped so that no ray counts for much, is the profile's.
    """
    lift = np.ones(tile.data.shape[0], dtype=np.float32)
    doubt = np.zeros(tile.data.shape[0], dtype=np.float32)
    for k in range(len(lift)):
        bottom, spread, top = ZERO, ZERO, ZERO
        for t in range(size):
            model = max(light[t] * tile.shape[k, t], ZERO)
            good = tile.state[k, t] == 0
            bottom += model if good else ZERO
            spread += tile.noise[k, t] + model if good else ZERO
        if spread >= (error * bottom) ** 2:
            continue
        for t in range(size):
            model = max(light[t] * tile.shape[k, t], ZERO)
            slack = LIFT_REACH * error * model
            reach = np.sqrt(LIFT_SIGMA * LIFT_SIGMA * (tile.noise[k, t] + model) + slack * slack)
            away = min(max(tile.data[k, t] - model, -reach), reach)
            top += away if tile.state[k, t] == 0 else ZERO
        lift[k] += top / bottom
        doubt[k] = (top * top - spread) / (bottom * bottom)
    return lift, doubt


@njit(cache=True, nogil=True)
def _row_light(
    data: Floats, shape: Floats, state: NDArray[np.uint8]
) -> float:  # pragma: no cover (compiled)
    top, bottom = 0.0, 0.0
    for k in range(len(data)):
        if state[k] == 0:
            top += shape[k] * data[k]
            bottom += shape[k] * shape[k]
    return top / bottom if bottom > 0.0 else 0.0


@njit(cache=True, nogil=True)
def _reject(
    data: Floats,
    shape: Floats,
    noise: Floats,
    state: NDArray[np.uint8],
    limits: tuple[float, float],
) -> float:  # pragma: no cover (compiled)
    """Mark one row's pixels that stand out; the light of those that remain."""
    sigma, error = limits
    light = _median_light(data, shape, state)
    away = np.empty(len(data))
    hit = state.copy()
    for _ in range(3):
        for k in range(len(data)):
            model = light * shape[k]
            spread = noise[k] + max(model, 0.0) + (error * model) ** 2
            away[k] = (data[k] - model) / np.sqrt(spread)
            hit[k] = state[k]
            if state[k] == 0 and away[k] > sigma:
                hit[k] = COSMIC
            elif state[k] == 0 and away[k] < -DARK_SIGMA * sigma:
                hit[k] = BAD
        light = _row_light(data, shape, hit)
    _grow(away, hit, state, 0.5 * sigma)
    return _row_light(data, shape, state)


@njit(cache=True, nogil=True)
def _median_light(
    data: Floats, shape: Floats, state: NDArray[np.uint8]
) -> float:  # pragma: no cover (compiled)
    """Lower median of the light that each core pixel alone would give."""
    peak = shape.max()
    ratio = np.empty(len(data))
    count = 0
    for k in range(len(data)):
        if state[k] == 0 and shape[k] > CORE_SHARE * peak:
            ratio[count] = data[k] / shape[k]
            count += 1
    return np.sort(ratio[:count])[(count - 1) // 2] if count > 0 else 0.0


@njit(cache=True, nogil=True)
def _grow(
    away: NDArray[np.float64],
    hit: NDArray[np.uint8],
    state: NDArray[np.uint8],
    limit: float,
) -> None:  # pragma: no cover (compiled)
    """Copy the hits into `state`, with pixels beside a cosmic ray that stand out half as far."""
    last = len(hit) - 1
    for k in range(last + 1):
        state[k] = hit[k]
        beside = (k > 0 and hit[k - 1] == COSMIC) or (k < last and hit[k + 1] == COSMIC)
        if hit[k] == 0 and beside and away[k] > limit:
            state[k] = COSMIC
