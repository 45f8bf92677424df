"""The extraction of `extract.py` in NumPy: its twin, for tests and for reading."""

import numpy as np
from numpy.typing import NDArray

from drcnet.stripes.cut import BAD, COSMIC, TILE, Pixels, Windows, cut_stripes_numpy
from drcnet.stripes.extract import Extracted, Rules, Shapes
from drcnet.stripes.rows import CORE_SHARE, DARK_SIGMA, LIFT_REACH, LIFT_SIGMA
from drcnet.stripes.spatial import STEP
from drcnet.stripes.weights import MIN_SHARE

__all__ = ["extract_stripes_numpy"]

Array = NDArray[np.float64]


def extract_stripes_numpy(
    pixels: Pixels, windows: Windows, shapes: Shapes, rules: Rules
) -> Extracted:
    """Do what `extract_stripes` does, a step at a time for all fibres and rows.

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
        Stripes, mask, both extractions and the neighbours' light.
    """
    stripes, state = cut_stripes_numpy(pixels, windows)
    data = stripes.astype(np.float64)  # (n, width, rows), as all below
    noise = _noise(pixels, windows)
    under = _glow(windows, shapes)
    data, noise = data - under[:, None], noise + np.maximum(under, 0.0)[:, None]
    shape = _profile(windows, shapes, 0)
    extra = np.zeros_like(data)
    if rules.separate:
        extra = _neighbors(windows, shapes, np.maximum(_plain_light(data, shape, state), 0.0))
    data, noise = data - extra, noise + extra
    light = _plain_light(data, shape, state)
    lift, doubt = _lift(light, data, shape, noise, state, rules.error)
    lifted = shape * lift
    out = _stand_out(light, data, lifted, noise, state, rules)
    cleaned, robust = _reject(data, lifted, noise, state, rules)
    state = np.where(out[:, None], cleaned, state)
    light = np.where(out, robust, light)
    light, ivar = _weigh(light, data, shape, noise, state)
    ivar = _widen(light, ivar, doubt, shape, noise, state)
    box, box_ivar = _box(light, ivar, data, shape, noise, state)
    spilt = extra.sum(axis=1)
    single = (
        a.astype(np.float32)
        for a in (box + spilt + windows.width * under, box_ivar, light, ivar, spilt)
    )
    rounded = (np.rint(4.0 * stripes.astype(np.float64)) / 4.0).astype(np.float32)
    return Extracted(rounded, state, *single)


def _neighbors(windows: Windows, shapes: Shapes, light: Array) -> Array:
    """Light of two neighbours on each side in each fibre's window."""
    n = len(light)
    extra = np.zeros((n, windows.width, light.shape[1]))
    for side in (-2, -1, 1, 2):
        here = slice(max(0, -side), max(0, min(n, n - side)))
        near = slice(max(0, side), max(0, min(n, n + side)))
        extra[here] += _profile(windows, shapes, side)[here] * light[near, None]
    return extra


def _glow(windows: Windows, shapes: Shapes) -> Array:
    """Scattered light to take off a pixel of each fibre and row."""
    rows = windows.first.shape[1]
    if not shapes.glow.size:
        return np.zeros(windows.first.shape)
    tile, part = np.divmod(np.arange(rows), TILE)
    part = part / TILE
    glow = shapes.glow.astype(np.float64)
    return np.asarray((1.0 - part) * glow[:, tile] + part * glow[:, tile + 1])


def _noise(pixels: Pixels, windows: Windows) -> Array:
    """Squared read noise of every pixel of every stripe; 1 off the chip."""
    x = windows.first[:, None, :] + np.arange(windows.width)[:, None]
    inside = (x >= 0) & (x < pixels.counts.shape[0])
    row = windows.row_start + np.arange(x.shape[2])
    amplifier = pixels.amplifier[np.where(inside, x, 0), row]
    return np.where(inside, pixels.read_noise[amplifier].astype(np.float64) ** 2, 1.0)


def _profile(windows: Windows, shapes: Shapes, side: int) -> Array:
    """Profile of each fibre, or of its neighbour, at the pixels of the fibre's window.

    A neighbour's is taken at the nearest step of the table, that of the next but one at the
    distance in the middle row of each tile, as the kernel does.
    """
    n, rows = windows.first.shape
    shape = np.zeros((n, windows.width, rows))
    middle = (shapes.table.shape[2] - 1) // 2
    low = np.minimum(shapes.place.astype(np.int64), max(shapes.table.shape[1] - 2, 0))
    high = np.minimum(low + 1, shapes.table.shape[1] - 1)
    part = (shapes.place - low).astype(np.float32)
    tile = np.arange(rows) // TILE
    at = np.arange(rows)
    if abs(side) > 1:
        at = tile * TILE + np.minimum(TILE, rows - tile * TILE) // 2
    for fiber in range(max(0, -side), n - max(0, side)):
        lines = (1 - part)[:, None] * shapes.table[fiber, low]
        lines = lines + part[:, None] * shapes.table[fiber, high]  # (n_tile, n_u)
        scale = shapes.inverse[fiber + side, tile] / STEP
        begin = (windows.first[fiber, at] - windows.center[fiber + side, at]) * scale + middle
        place = begin + np.arange(windows.width)[:, None] * scale + (0.5 if side else 0.0)
        place = np.clip(place, 0.0, shapes.table.shape[2] - 2)
        j = place.astype(np.int64)
        rest = np.zeros_like(place) if side else place - j
        value = (1.0 - rest) * lines[tile, j] + rest * lines[tile, j + 1]
        shape[fiber] = shapes.norm[fiber + side, tile] * value
    return shape


def _plain_light(data: Array, shape: Array, state: NDArray[np.uint8]) -> Array:
    good = state == 0
    bottom = (good * shape**2).sum(axis=1)
    return np.where(
        bottom > 0, (good * shape * data).sum(axis=1) / np.where(bottom > 0, bottom, 1.0), 0.0
    )


def _spread(light: Array, shape: Array, noise: Array) -> Array:
    return noise + np.maximum(light, 0.0)[:, None] * shape


def _away(light: Array, data: Array, shape: Array, noise: Array, rules: Rules) -> Array:
    """Residuals in standard deviations, the profile's own error included."""
    model = light[:, None] * shape
    return (data - model) / np.sqrt(noise + np.maximum(model, 0.0) + (rules.error * model) ** 2)


def _lift(  # noqa: PLR0917 (the kernel's arrays)
    light: Array,
    data: Array,
    shape: Array,
    noise: Array,
    state: NDArray[np.uint8],
    error: float,
) -> tuple[Array, Array]:
    """Data over model of each line of a tile, 1 where photons do not tell it to `error`.

    And its squared distance from 1 less the variance, 0 where photons do not tell.
    """
    good = state == 0
    model = np.maximum(light[:, None] * shape, 0.0)
    spread = noise + model
    reach = np.sqrt(float(LIFT_SIGMA) ** 2 * spread + (float(LIFT_REACH) * error * model) ** 2)
    away = np.clip(data - model, -reach, reach)
    start = np.arange(0, data.shape[2], TILE)
    bottom, total, top = (
        np.add.reduceat(np.where(good, a, 0.0), start, axis=2) for a in (model, spread, away)
    )
    told = total < (error * bottom) ** 2
    safe = np.where(told, bottom, 1.0)
    lift = np.where(told, 1.0 + top / safe, 1.0)  # (n, width, n_tile)
    doubt = np.where(told, (top**2 - total) / safe**2, 0.0)
    tile = np.arange(data.shape[2]) // TILE
    return lift[..., tile], doubt[..., tile]


def _widen(  # noqa: PLR0917 (the kernel's arrays)
    light: Array,
    ivar: Array,
    doubt: Array,
    shape: Array,
    noise: Array,
    state: NDArray[np.uint8],
) -> Array:
    """Inverse variance with the profile's own error."""
    weight = np.where(state == 0, shape**2 / _spread(light, shape, noise), 0.0)
    total = weight.sum(axis=1)
    extra = np.maximum((weight**2 * doubt).sum(axis=1), 0.0)
    return np.asarray(ivar / (1.0 + ivar * extra * (light / np.where(total > 0, total, 1.0)) ** 2))


def _stand_out(  # noqa: PLR0917 (the kernel's arrays)
    light: Array,
    data: Array,
    shape: Array,
    noise: Array,
    state: NDArray[np.uint8],
    rules: Rules,
) -> NDArray[np.bool_]:
    far = np.abs(_away(light, data, shape, noise, rules)) > rules.sigma
    return (far & (state == 0)).any(axis=1)


def _reject(
    data: Array, shape: Array, noise: Array, state: NDArray[np.uint8], rules: Rules
) -> tuple[NDArray[np.uint8], Array]:
    """States with cosmic rays marked, and the light of the pixels that remain."""
    light = _median_light(data, shape, state)
    good = state == 0
    for _ in range(3):
        away = _away(light, data, shape, noise, rules)
        hit = np.where(good & (away > rules.sigma), np.uint8(COSMIC), state)
        hit = np.where(good & (away < -DARK_SIGMA * rules.sigma), np.uint8(BAD), hit)
        light = _plain_light(data, shape, hit)
    beside = np.zeros(hit.shape, dtype=bool)
    beside[:, 1:] |= hit[:, :-1] == COSMIC
    beside[:, :-1] |= hit[:, 1:] == COSMIC
    grown = (hit == 0) & beside & (away > 0.5 * rules.sigma)
    hit = np.where(grown, np.uint8(COSMIC), hit)
    return hit, _plain_light(data, shape, hit)


def _median_light(data: Array, shape: Array, state: NDArray[np.uint8]) -> Array:
    """Lower median of the light that each core pixel alone would give."""
    core = (state == 0) & (shape > CORE_SHARE * shape.max(axis=1, keepdims=True))
    ratio = np.sort(np.where(core, data / np.where(core, shape, 1.0), np.inf), axis=1)
    count = core.sum(axis=1)
    middle = np.take_along_axis(ratio, np.maximum(count - 1, 0)[:, None] // 2, axis=1)[:, 0]
    return np.where(count > 0, middle, 0.0)


def _weigh(
    light: Array, data: Array, shape: Array, noise: Array, state: NDArray[np.uint8]
) -> tuple[Array, Array]:
    """Optimal weights, twice; the light and its inverse variance."""
    good = state == 0
    for _ in range(2):
        weight = np.where(good, shape / _spread(_smooth(light), shape, noise), 0.0)
        bottom = (weight * shape).sum(axis=1)
        safe = np.where(bottom > 0, bottom, 1.0)
        light = np.where(bottom > 0, (weight * data).sum(axis=1) / safe, light)
    enough = (good * shape).sum(axis=1) >= MIN_SHARE
    return light, np.where(enough, bottom, 0.0)


def _smooth(light: Array) -> Array:
    """Light over three rows, 1-2-1, within each tile of rows."""
    row = np.arange(light.shape[1])
    tile = row // TILE
    last = np.minimum((tile + 1) * TILE, light.shape[1]) - 1
    before, after = np.maximum(row - 1, tile * TILE), np.minimum(row + 1, last)
    return np.asarray(0.25 * (light[:, before] + light[:, after]) + 0.5 * light)


def _box(  # noqa: PLR0917 (the kernel's arrays)
    light: Array,
    ivar: Array,
    data: Array,
    shape: Array,
    noise: Array,
    state: NDArray[np.uint8],
) -> tuple[Array, Array]:
    """Own light in the windows and its inverse variance; the fit stands in for bad pixels."""
    good = state == 0
    total = np.where(good, data, light[:, None] * shape).sum(axis=1)
    spread = np.where(good, _spread(light, shape, noise), 0.0).sum(axis=1)
    lost = np.where(good, 0.0, shape).sum(axis=1)
    seen = ivar > 0
    return total, np.where(seen, 1.0 / (spread + lost**2 / np.where(seen, ivar, 1.0)), 0.0)
