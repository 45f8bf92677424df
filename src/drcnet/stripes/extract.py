"""Aperture and optimal extraction with a cosmic-ray mask and model variance, in one pass."""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from drcnet.config import StripeSettings
from drcnet.stripes.cut import BAD, COSMIC, OFF_CHIP, Pixels, Windows, _electrons, _is_bad
from drcnet.stripes.spatial import STEP, SpatialProfile, table_grid
from drcnet.stripes.trace import TraceSet

__all__ = [
    "Extracted",
    "Rules",
    "Shapes",
    "extract_stripes",
    "make_rules",
    "make_shapes",
]

TILE = 64
"""Rows treated at a time, over which FWHM and profile are held."""
CORE_SHARE = 0.3
"""Share of the profile's peak from which a pixel enters the first, robust estimate."""
MIN_SHARE = 0.3
"""Share of a fibre's light that must fall on good pixels for an estimate."""
DARK_SIGMA = 1.5
"""Pixels darker than the profile by so many cosmic-ray thresholds are bad."""


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
    """

    table: NDArray[np.float32]
    place: NDArray[np.float64]
    inverse: NDArray[np.float64]
    norm: NDArray[np.float64]


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
        Light of the two neighbours inside the stripe, by the model.
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


def make_shapes(profile: SpatialProfile, traces: TraceSet, windows: Windows) -> Shapes:
    """Lay the profile out along the windows.

    Parameters
    ----------
    profile : SpatialProfile
        Measured on the flat.
    traces : TraceSet
        All fibres; only their widths are used.
    windows : Windows
        Where the stripes lie.

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
    return Shapes(table, place, 1.0 / fwhm, 1.0 / (fwhm * share))


def _window_share(
    table: NDArray[np.float32], place: NDArray[np.float64], half: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Share of a fibre's light inside +-half (in FWHM), by fibre and tile."""
    grid = table_grid()
    total = np.cumsum(0.5 * (table[..., 1:] + table[..., :-1]), axis=2, dtype=np.float64) * STEP
    total = np.concatenate([np.zeros_like(total[..., :1]), total], axis=2)  # (n, n_band, n_u)
    low = np.minimum(place.astype(np.int64), max(table.shape[1] - 2, 0))
    high = np.minimum(low + 1, table.shape[1] - 1)
    part = place - low
    share = np.empty(half.shape)
    for fiber in range(len(table)):
        for tile in range(len(place)):
            line = (1 - part[tile]) * total[fiber, low[tile]] + part[tile] * total[
                fiber, high[tile]
            ]
            ends = np.interp([-half[fiber, tile], half[fiber, tile]], grid, line)
            share[fiber, tile] = ends[1] - ends[0]
    return share


@njit(cache=True, nogil=True)
def _solve_row(
    data: NDArray[np.float64],
    shape: NDArray[np.float64],
    noise: NDArray[np.float64],
    state: NDArray[np.uint8],
    rules: Rules,
) -> tuple[float, float]:  # pragma: no cover (compiled)
    """Light of one row and its inverse variance; marks cosmic rays in `state`."""
    light = _plain_light(data, shape, state)
    if _stands_out(light, data, shape, noise, state, rules):
        light = _reject(data, shape, noise, state, rules)
    bottom, share = 0.0, 0.0
    for _ in range(2):  # the variance is the model's: first of the plain, then of this light
        top, bottom, share = 0.0, 0.0, 0.0
        for k in range(len(data)):
            if state[k] == 0:
                weight = shape[k] / (noise[k] + max(light, 0.0) * shape[k])
                top += weight * data[k]
                bottom += weight * shape[k]
                share += shape[k]
        if bottom <= 0.0:
            return light, 0.0
        light = top / bottom
    return light, bottom if share >= MIN_SHARE else 0.0


@njit(cache=True, nogil=True)
def _plain_light(
    data: NDArray[np.float64], shape: NDArray[np.float64], state: NDArray[np.uint8]
) -> float:  # pragma: no cover (compiled)
    """Unweighted least squares on the pixels that are good."""
    top, bottom = 0.0, 0.0
    for k in range(len(data)):
        if state[k] == 0:
            top += shape[k] * data[k]
            bottom += shape[k] * shape[k]
    return top / bottom if bottom > 0.0 else 0.0


@njit(cache=True, nogil=True)
def _stands_out(  # noqa: PLR0917 (a kernel's arrays)
    light: float,
    data: NDArray[np.float64],
    shape: NDArray[np.float64],
    noise: NDArray[np.float64],
    state: NDArray[np.uint8],
    rules: Rules,
) -> bool:  # pragma: no cover (compiled)
    limit = rules.sigma * rules.sigma
    for k in range(len(data)):
        if state[k] == 0:
            model = light * shape[k]
            spread = noise[k] + max(model, 0.0) + (rules.error * model) ** 2
            if (data[k] - model) ** 2 > limit * spread:
                return True
    return False


@njit(cache=True, nogil=True)
def _reject(
    data: NDArray[np.float64],
    shape: NDArray[np.float64],
    noise: NDArray[np.float64],
    state: NDArray[np.uint8],
    rules: Rules,
) -> float:  # pragma: no cover (compiled)
    """Mark pixels that stand out of the profile; the light of those that remain."""
    light = _median_light(data, shape, state)
    away = np.empty(len(data))
    hit = state.copy()
    for _ in range(3):
        for k in range(len(data)):
            model = light * shape[k]
            spread = noise[k] + max(model, 0.0) + (rules.error * model) ** 2
            away[k] = (data[k] - model) / np.sqrt(spread)
            hit[k] = state[k]
            if state[k] == 0 and away[k] > rules.sigma:
                hit[k] = COSMIC
            elif state[k] == 0 and away[k] < -DARK_SIGMA * rules.sigma:
                hit[k] = BAD
        light = _plain_light(data, shape, hit)
    _grow(away, hit, state, 0.5 * rules.sigma)
    return _plain_light(data, shape, state)


@njit(cache=True, nogil=True)
def _median_light(
    data: NDArray[np.float64], shape: NDArray[np.float64], state: NDArray[np.uint8]
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


@njit(cache=True, nogil=True)
def _blend(
    table: NDArray[np.float32], place: float, line: NDArray[np.float64]
) -> None:  # pragma: no cover (compiled)
    low = min(int(place), max(table.shape[0] - 2, 0))
    high = min(low + 1, table.shape[0] - 1)
    part = place - low
    for j in range(line.size):
        line[j] = (1.0 - part) * table[low, j] + part * table[high, j]


@njit(cache=True, nogil=True)
def _sample(
    line: NDArray[np.float64], first: float, step: float, norm: float, shape: NDArray[np.float64]
) -> None:  # pragma: no cover (compiled)
    """Profile at equidistant pixels: `first` and `step` in samples of `line`."""
    last = line.size - 2
    for k in range(shape.size):
        position = first + k * step
        if position < 0.0 or position >= last:
            shape[k] = 0.0
            continue
        j = int(position)
        part = position - j
        shape[k] = norm * ((1.0 - part) * line[j] + part * line[j + 1])


@njit(cache=True, nogil=True, inline="always")
def _profile(  # noqa: PLR0917 (a kernel's arrays)
    line: NDArray[np.float64],
    shapes: Shapes,
    windows: Windows,
    fiber: int,
    r: int,
    first: int,
    shape: NDArray[np.float64],
) -> None:  # pragma: no cover (compiled)
    """Profile of a fibre at the window's pixels."""
    tile = r // TILE
    scale = shapes.inverse[fiber, tile] / STEP
    begin = (first - windows.center[fiber, r]) * scale + (line.size - 1) // 2
    _sample(line, begin, scale, shapes.norm[fiber, tile], shape)


@njit(cache=True, nogil=True)
def _gather(  # noqa: PLR0917 (a kernel's arrays)
    pixels: Pixels,
    first: int,
    row: int,
    data: NDArray[np.float64],
    noise: NDArray[np.float64],
    state: NDArray[np.uint8],
) -> None:  # pragma: no cover (compiled)
    """Electrons, squared read noise and state of a row's pixels."""
    for k in range(len(data)):
        x = first + k
        if x < 0 or x >= pixels.counts.shape[0]:
            data[k], noise[k], state[k] = 0.0, 1.0, OFF_CHIP
            continue
        data[k] = _electrons(pixels, x, row)
        noise[k] = pixels.read_noise[pixels.amplifier[x, row]] ** 2
        state[k] = BAD if _is_bad(pixels, x, row) else 0


@njit(cache=True, nogil=True)
def _box_row(  # noqa: PLR0917 (a kernel's arrays)
    light: float,
    ivar: float,
    data: NDArray[np.float64],
    shape: NDArray[np.float64],
    noise: NDArray[np.float64],
    state: NDArray[np.uint8],
) -> tuple[float, float]:  # pragma: no cover (compiled)
    """Own light in the window and its inverse variance; the fit stands in for bad pixels."""
    total, spread, lost = 0.0, 0.0, 0.0
    for k in range(len(data)):
        if state[k] == 0:
            total += data[k]
            spread += noise[k] + max(light, 0.0) * shape[k]
        else:
            total += light * shape[k]
            lost += shape[k]
    return total, 1.0 / (spread + lost * lost / ivar) if ivar > 0.0 else 0.0


@njit(cache=True, nogil=True)
def _tile_light(
    pixels: Pixels, windows: Windows, shapes: Shapes, tile: int, light: NDArray[np.float64]
) -> None:  # pragma: no cover (compiled)
    """First estimate of every fibre's light in a tile of rows, shape (n, TILE)."""
    data, noise = np.empty(windows.width), np.empty(windows.width)
    shape = np.empty(windows.width)
    state = np.empty(windows.width, dtype=np.uint8)
    line = np.empty(shapes.table.shape[2])
    start = tile * TILE
    for fiber in range(len(light)):
        _blend(shapes.table[fiber], shapes.place[tile], line)
        for r in range(start, min(start + TILE, windows.first.shape[1])):
            first = windows.first[fiber, r]
            _gather(pixels, first, windows.row_start + r, data, noise, state)
            _profile(line, shapes, windows, fiber, r, first, shape)
            light[fiber, r - start] = max(_plain_light(data, shape, state), 0.0)


@njit(cache=True, nogil=True)
def _neighbors(  # noqa: PLR0917 (a kernel's arrays)
    line: NDArray[np.float64],
    shapes: Shapes,
    windows: Windows,
    fiber: int,
    r: int,
    light: NDArray[np.float64],
    other: NDArray[np.float64],
    extra: NDArray[np.float64],
) -> float:  # pragma: no cover (compiled)
    """Light of the two neighbours in the window's pixels, and its sum."""
    extra[:] = 0.0
    total = 0.0
    for near in (fiber - 1, fiber + 1):
        if 0 <= near < len(light) and light[near, r % TILE] > 0.0:
            _profile(line, shapes, windows, near, r, windows.first[fiber, r], other)
            for k in range(len(extra)):
                extra[k] += light[near, r % TILE] * other[k]
                total += light[near, r % TILE] * other[k]
    return total


@njit(cache=True, nogil=True)
def _empty(n: int, width: int, rows: int) -> Extracted:  # pragma: no cover (compiled)
    return Extracted(
        np.zeros((n, width, rows), dtype=np.float32),
        np.zeros((n, width, rows), dtype=np.uint8),
        np.zeros((n, rows), dtype=np.float32),
        np.zeros((n, rows), dtype=np.float32),
        np.zeros((n, rows), dtype=np.float32),
        np.zeros((n, rows), dtype=np.float32),
        np.zeros((n, rows), dtype=np.float32),
    )


@njit(cache=True, nogil=True)
def extract_stripes(
    pixels: Pixels, windows: Windows, shapes: Shapes, rules: Rules
) -> Extracted:  # pragma: no cover (compiled)
    """Cut, mask and extract all fibres of a frame in one pass.

    Optimal extraction follows Horne (1986, PASP 98, 609), table 1, with the profile measured
    on the flat and the variance from the model (read noise and fitted light), twice. The light
    that a first estimate of the two neighbours spills into the window is taken off before.

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
    n, rows = windows.first.shape
    out = _empty(n, windows.width, rows)
    width = windows.width
    data, noise, shape = np.empty(width), np.empty(width), np.empty(width)
    other, extra = np.empty(width), np.zeros(width)
    state = np.empty(width, dtype=np.uint8)
    line = np.empty(shapes.table.shape[2])
    lights = np.zeros((n, TILE))
    for tile in range(len(shapes.place)):
        if rules.separate:
            _tile_light(pixels, windows, shapes, tile, lights)
        for fiber in range(n):
            _blend(shapes.table[fiber], shapes.place[tile], line)
            for r in range(tile * TILE, min((tile + 1) * TILE, rows)):
                first = windows.first[fiber, r]
                _gather(pixels, first, windows.row_start + r, data, noise, state)
                for k in range(width):
                    out.stripes[fiber, k, r] = np.rint(4.0 * data[k]) / 4.0
                spilt = _neighbors(line, shapes, windows, fiber, r, lights, other, extra)
                for k in range(width):
                    data[k] -= extra[k]
                    noise[k] += extra[k]
                _profile(line, shapes, windows, fiber, r, first, shape)
                light, ivar = _solve_row(data, shape, noise, state, rules)
                total, box_ivar = _box_row(light, ivar, data, shape, noise, state)
                for k in range(width):
                    out.mask[fiber, k, r] = state[k]
                out.optimal[fiber, r], out.optimal_ivar[fiber, r] = light, ivar
                out.box[fiber, r], out.box_ivar[fiber, r] = total + spilt, box_ivar
                out.spilt[fiber, r] = spilt
    return out
