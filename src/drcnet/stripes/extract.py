"""Aperture and optimal extraction with a cosmic-ray mask and model variance."""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from drcnet.config import StripeSettings
from drcnet.stripes.cut import TILE, Pixels, Windows, cut_stripes
from drcnet.stripes.rows import (
    far_light,
    find_cosmics,
    neighbor_light,
    plain_light,
    tile_profile,
)
from drcnet.stripes.spatial import STEP, SpatialProfile
from drcnet.stripes.trace import TraceSet
from drcnet.stripes.weights import weigh, widen
from drcnet.stripes.windows import window_noise

__all__ = [
    "Extracted",
    "Rules",
    "Shapes",
    "extract_stripes",
    "make_rules",
    "make_shapes",
]


class Shapes(NamedTuple):
    """Spatial profiles as the kernels take them.

    Parameters
    ----------
    table : ndarray, shape (n, n_band, n_u), float32
        Light a unit of distance / FWHM.
    place : ndarray, shape (n_tile,), float64
        Place of each tile of rows between the bands, 0 to n_band - 1.
    inverse : ndarray, shape (n, n_tile), float64
        1 / FWHM, pixels.
    norm : ndarray, shape (n, n_tile), float64
        Profile a pixel over table value: 1 / FWHM / share of the light inside the window, so
        that the profile's sum over the exact window is 1.
    glow : ndarray, shape (n, n_tile + 1), float32
        Scattered light (electrons a pixel) to take off, at the tiles' ends; of shape (0, 0)
        where none is.
    """

    table: NDArray[np.float32]
    place: NDArray[np.float64]
    inverse: NDArray[np.float64]
    norm: NDArray[np.float64]
    glow: NDArray[np.float32]


class Rules(NamedTuple):
    """Thresholds of the extraction.

    Parameters
    ----------
    sigma : float
        Cosmic rays stand out by so many standard deviations.
    error : float
        Relative error allowed to the profile when looking for them.
    separate : bool
        Take the neighbours' light off before looking and extracting.
    """

    sigma: float
    error: float
    separate: bool


class Extracted(NamedTuple):
    """What `extract_stripes` measures; all (n, rows) unless said otherwise.

    Parameters
    ----------
    stripes : ndarray, shape (n, width, rows), float32
        Electrons, rounded to 0.25.
    mask : ndarray, shape (n, width, rows), uint8
        `BAD`, `COSMIC` and `OFF_CHIP` bits.
    box, box_ivar, optimal, optimal_ivar : ndarray, float32
        The two extractions and their inverse variances.
    spilt : ndarray, float32
        Light of two neighbours on each side inside the stripe, by the model.
    """

    stripes: NDArray[np.float32]
    mask: NDArray[np.uint8]
    box: NDArray[np.float32]
    box_ivar: NDArray[np.float32]
    optimal: NDArray[np.float32]
    optimal_ivar: NDArray[np.float32]
    spilt: NDArray[np.float32]


def make_rules(settings: StripeSettings) -> Rules:
    """Take the thresholds out of the settings.

    Parameters
    ----------
    settings : StripeSettings
        `cosmic_sigma`, `profile_error`, `separate_neighbors`.

    Returns
    -------
    Rules
        For the kernels.
    """
    return Rules(settings.cosmic_sigma, settings.profile_error, settings.separate_neighbors)


def make_shapes(
    profile: SpatialProfile,
    traces: TraceSet,
    windows: Windows,
    glow: NDArray[np.float32] | None = None,
) -> Shapes:
    """Lay the profile out along the windows.

    Parameters
    ----------
    profile : SpatialProfile
        Measured on the flat.
    traces : TraceSet
        All fibres; only their widths are used.
    windows : Windows
        Where the stripes lie.
    glow : ndarray, shape (n, n_tile + 1), float32, optional
        Scattered light to take off, as in `Shapes`.

    Returns
    -------
    Shapes
        For the kernels.
    """
    rows = windows.first.shape[1]
    start = windows.row_start + np.arange(0, rows, TILE)
    middle = np.minimum(start + TILE / 2.0, windows.row_start + rows)
    fwhm = np.maximum(traces.widths(middle), 0.5)
    table = profile.fiber_tables(len(traces))
    place = np.interp(middle, profile.rows, np.arange(len(profile.rows)))
    share = _window_share(table, place, 0.5 * windows.width / fwhm)
    under = np.zeros((0, 0), np.float32) if glow is None else np.asarray(glow, np.float32)
    return Shapes(table, place, 1.0 / fwhm, 1.0 / (fwhm * share), under)


def _window_share(
    table: NDArray[np.float32], place: NDArray[np.float64], half: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Share of a fibre's light inside +-half (in FWHM), by fibre and tile."""
    total = np.cumsum(0.5 * (table[..., 1:] + table[..., :-1]), axis=2, dtype=np.float64) * STEP
    total = np.concatenate([np.zeros_like(total[..., :1]), total], axis=2)  # (n, n_band, n_u)
    low = np.minimum(place.astype(np.int64), max(table.shape[1] - 2, 0))
    high = np.minimum(low + 1, table.shape[1] - 1)
    part = place - low
    fiber = np.arange(len(table))[:, None]
    share = np.zeros(half.shape)
    for side in (1.0, -1.0):
        middle = (table.shape[2] - 1) / 2
        index = np.clip(middle + side * half / STEP, 0.0, table.shape[2] - 1.001)
        j = index.astype(np.int64)
        for band, weight in ((low, 1.0 - part), (high, part)):
            at = total[fiber, band, j]
            end = at + (index - j) * (total[fiber, band, j + 1] - at)
            share += side * weight * end
    return share


class _Tile(NamedTuple):
    """One fibre's pixels and profile in a tile of rows, (width, TILE), and what lies under it."""

    data: NDArray[np.float32]
    noise: NDArray[np.float32]
    state: NDArray[np.uint8]
    shape: NDArray[np.float32]
    line: NDArray[np.float32]  # (n_u,): the profile's table in this tile
    under: NDArray[np.float32]  # (TILE,): scattered light taken off, electrons a pixel


@njit(cache=True, nogil=True)
def _empty_tile(width: int, n_u: int) -> _Tile:  # pragma: no cover (compiled)
    return _Tile(
        np.zeros((width, TILE), dtype=np.float32),
        np.ones((width, TILE), dtype=np.float32),
        np.zeros((width, TILE), dtype=np.uint8),
        np.zeros((width, TILE), dtype=np.float32),
        np.zeros(n_u, dtype=np.float32),
        np.zeros(TILE, dtype=np.float32),
    )


@njit(cache=True, nogil=True)
def _prepare(  # noqa: PLR0917 (a kernel's arrays)
    pixels: Pixels,
    windows: Windows,
    shapes: Shapes,
    place: tuple[int, int],
    tile: _Tile,
    light: NDArray[np.float32],
    out: Extracted,
) -> None:  # pragma: no cover (compiled)
    """Take a fibre's tile from its stripe, find its profile and a first estimate of its light.

    The stripe, as it was cut, is rounded then.
    """
    fiber, number = place
    start = number * TILE
    size = min(TILE, windows.first.shape[1] - start)
    window_noise(pixels, windows, fiber, start, size, tile.noise)
    for k in range(windows.width):
        stripe, mask = out.stripes[fiber, k], out.mask[fiber, k]
        for t in range(size):
            tile.data[k, t] = stripe[start + t]
            tile.state[k, t] = mask[start + t]
            quarter = np.rint(np.float32(4.0) * tile.data[k, t])
            stripe[start + t] = quarter * np.float32(0.25)
    if shapes.glow.shape[0] > 0:
        _take_glow(tile, size, shapes.glow[fiber, number], shapes.glow[fiber, number + 1])
    table, line = shapes.table[fiber], tile.line
    between = shapes.place[number]
    low = min(int(between), max(table.shape[0] - 2, 0))
    high = min(low + 1, table.shape[0] - 1)
    part = np.float32(between - low)
    for j in range(line.size):
        line[j] = (np.float32(1.0) - part) * table[low, j] + part * table[high, j]
    scale = shapes.inverse[fiber, number] / STEP
    norm = shapes.norm[fiber, number]
    tile_profile(line, windows, (fiber, fiber, start, size), (scale, norm), tile.shape)
    plain_light(tile.data, tile.shape, tile.state, size, light)


@njit(cache=True, nogil=True)
def _take_glow(
    tile: _Tile, size: int, first: float, last: float
) -> None:  # pragma: no cover (compiled)
    """Take scattered light, linear over the tile, off its pixels; it adds to the noise."""
    for t in range(size):
        part = np.float32(t) / np.float32(TILE)
        tile.under[t] = (np.float32(1.0) - part) * first + part * last
    for k in range(tile.data.shape[0]):
        for t in range(size):
            tile.data[k, t] -= tile.under[t]
            tile.noise[k, t] += max(tile.under[t], np.float32(0.0))


@njit(cache=True, nogil=True)
def _take_neighbors(  # noqa: PLR0917 (a kernel's arrays)
    windows: Windows,
    shapes: Shapes,
    place: tuple[int, int],
    tile: _Tile,
    lights: NDArray[np.float32],
    spilt: NDArray[np.float32],
) -> None:  # pragma: no cover (compiled)
    """Take the light of two neighbours on each side off a tile; it adds to the noise."""
    fiber, number = place
    start = number * TILE
    size = min(TILE, windows.first.shape[1] - start)
    for step in (-2, -1, 1, 2):
        near = fiber + step
        if near < 0 or near >= len(lights):
            continue
        units = (shapes.inverse[near, number] / STEP, shapes.norm[near, number])
        where = (fiber, near, start, size)
        light = lights[near]
        if abs(step) == 1:
            neighbor_light(tile.line, windows, where, units, light, tile.data, tile.noise, spilt)
        else:
            far_light(tile.line, windows, where, units, light, tile.data, tile.noise, spilt)


@njit(cache=True, nogil=True)
def _finish(
    tile: _Tile, place: tuple[int, int, int], spilt: NDArray[np.float32], out: Extracted
) -> None:  # pragma: no cover (compiled)
    """Sum the window, the fit standing in for pixels not good, and write the results."""
    fiber, start, size = place
    total, spread = np.zeros(size, np.float32), np.zeros(size, np.float32)
    lost = np.zeros(size, np.float32)
    for k in range(tile.data.shape[0]):
        for t in range(size):
            light = out.optimal[fiber, start + t]
            model = light * tile.shape[k, t]
            good = tile.state[k, t] == 0
            total[t] += tile.data[k, t] if good else model
            spread[t] += tile.noise[k, t] + max(model, np.float32(0.0)) if good else 0.0
            lost[t] += np.float32(0.0) if good else tile.shape[k, t]
            out.mask[fiber, k, start + t] = tile.state[k, t]
    for t in range(size):
        ivar = out.optimal_ivar[fiber, start + t]
        under = np.float32(tile.data.shape[0]) * tile.under[t]
        out.box[fiber, start + t] = total[t] + spilt[t] + under
        out.spilt[fiber, start + t] = spilt[t]
        out.box_ivar[fiber, start + t] = 0.0
        if ivar > 0.0:
            out.box_ivar[fiber, start + t] = 1.0 / (spread[t] + lost[t] * lost[t] / ivar)


def extract_stripes(pixels: Pixels, windows: Windows, shapes: Shapes, rules: Rules) -> Extracted:
    """Cut, mask and extract all fibres of a frame.

    Optimal extraction follows Horne (1986, PASP 98, 609), table 1, with the profile measured
    on the flat and the variance from the model (read noise and fitted light), twice. The light
    that a first estimate of two neighbours on each side spills into the window is taken off
    before, and scattered light where it is known.

    Parameters
    ----------
    pixels : Pixels
        The frame.
    windows : Windows
        Where to cut.
    shapes : Shapes
        Spatial profiles.
    rules : Rules
        Thresholds.

    Returns
    -------
    Extracted
        Stripes (all light), mask, both extractions and the neighbours' light.
    """
    stripes, mask = cut_stripes(pixels, windows)
    spectra = (np.empty(windows.first.shape, np.float32) for _ in range(5))
    out = Extracted(stripes, mask, *spectra)
    _extract(pixels, windows, shapes, rules, out)
    return out


@njit(cache=True, nogil=True)
def _extract(
    pixels: Pixels, windows: Windows, shapes: Shapes, rules: Rules, out: Extracted
) -> None:  # pragma: no cover (compiled)
    """Mask and extract stripes that were cut, tile by tile."""
    n, rows = windows.first.shape
    n_u = shapes.table.shape[2]
    tiles = (  # a fibre's light is told apart from that of the next two
        _empty_tile(windows.width, n_u),
        _empty_tile(windows.width, n_u),
        _empty_tile(windows.width, n_u),
    )
    lights = np.zeros((n, TILE), dtype=np.float32)
    spilt = np.zeros(TILE, dtype=np.float32)
    for number in range(len(shapes.place)):
        start = number * TILE
        size = min(TILE, rows - start)
        for ahead in range(n + 2):
            if ahead < n:
                _prepare(
                    pixels,
                    windows,
                    shapes,
                    (ahead, number),
                    tiles[ahead % 3],
                    lights[ahead],
                    out,
                )
            fiber = ahead - 2
            if fiber < 0:
                continue
            tile = tiles[fiber % 3]
            spilt[:] = 0.0
            light, ivar = out.optimal[fiber, start:], out.optimal_ivar[fiber, start:]
            light[:size] = lights[fiber, :size]
            if rules.separate:
                _take_neighbors(windows, shapes, (fiber, number), tile, lights, spilt)
                plain_light(tile.data, tile.shape, tile.state, size, light)
            doubt = find_cosmics(tile, size, (rules.sigma, rules.error), light)
            weigh(tile, size, light, ivar)
            if doubt.any():
                widen(tile, size, doubt, light, ivar)
            _finish(tile, (fiber, start, size), spilt, out)
