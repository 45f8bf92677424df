"""The frame's sky from its sky fibres, and what of it each fibre sees."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from scipy.linalg import solveh_banded
from scipy.ndimage import median_filter

from drcnet.stripes.spline import cubic_basis, cubic_values

__all__ = ["Sky", "choose_sky_fibers", "measure_sky", "scale_errors"]

_CLIP = 4.0
_CONTINUUM = 101  # rows of the running median that is taken off to leave lines
_SPREAD = 0.02  # by how much fibres differ between lamp and sky
_TELLURIC = (  # vacuum angstrom: O2 B, H2O, O2 A, H2O, H2O
    (6860.0, 6980.0),
    (7160.0, 7360.0),
    (7590.0, 7720.0),
    (8120.0, 8400.0),
    (8920.0, 9800.0),
)
_STAR_LINES = 0.02  # error of the scale for a star as bright as the sky, by the star's lines
_WORST_SCALE = 0.1  # a larger difference is a star's line, not the sky's
_MIN_FIBERS = 2  # one fibre alone cannot be checked against another


@dataclass(frozen=True, eq=False)
class Sky:
    """The sky of one arm of one exposure.

    Parameters
    ----------
    light : ndarray, shape (n, rows), float32
        Sky in each fibre, electrons a row, in the units of the optimal extraction; NaN where
        there is none.
    used : ndarray, shape (n,), bool
        Fibres that it was measured on.
    spline : BSpline or None
        Sky of a fibre of throughput 1 against vacuum wavelength; None without sky fibres.
    scatter : float
        Robust standard deviation of the sky fibres about the spline, over that expected; NaN
        without sky fibres.
    scale : ndarray, shape (n,)
        Sky in each fibre over what its throughput on the flat says; 1 where not measured.
    """

    light: NDArray[np.float32]
    used: NDArray[np.bool_]
    spline: BSpline | None
    scatter: float
    scale: NDArray[np.float64]


def choose_sky_fibers(
    optimal: NDArray[np.floating],
    throughput: NDArray[np.floating],
    usable: NDArray[np.bool_],
    *,
    agree: float = 0.06,
    share: float = 0.25,
) -> NDArray[np.bool_]:
    """Find fibres on blank sky: the faintest that agree with each other.

    Parameters
    ----------
    optimal : ndarray, shape (n, rows)
        Optimal extraction, electrons.
    throughput : ndarray, shape (n, rows)
        Relative throughput.
    usable : ndarray, shape (n,), bool
        Fibres that may be taken.
    agree : float
        Largest relative difference of the median light from that of the faintest few.
    share : float
        Largest share of the usable fibres to take.

    Returns
    -------
    ndarray, shape (n,), bool
        The fibres; none where fewer than three agree.
    """
    chosen = np.zeros(len(optimal), dtype=bool)
    if usable.sum() < 3:
        return chosen
    safe = np.where(throughput > 0, throughput, np.nan)
    level = np.full(len(optimal), np.inf)
    level[usable] = np.nanmedian(optimal[usable] / safe[usable], axis=1)
    order = np.argsort(level)[: max(3, int(share * usable.sum()))]
    order = order[np.isfinite(level[order])]
    # The few faintest may be broken rather than dark: start from the tightest triple.
    spread = level[order][2:] - level[order][:-2]
    relative = spread / np.maximum(np.abs(level[order][1:-1]), 1e-6)
    close = np.flatnonzero(relative < agree)
    if len(close) == 0:
        return chosen
    center = level[order][close[0] + 1]
    chosen[order] = np.abs(level[order] - center) <= agree * abs(center)
    return chosen


def measure_sky(
    optimal: NDArray[np.floating],
    ivar: NDArray[np.floating],
    wavelength: NDArray[np.float64],
    throughput: NDArray[np.floating],
    used: NDArray[np.bool_],
) -> Sky:
    """Fit one sky spectrum to the sky fibres and give each fibre its share.

    The fibres sample wavelength at different phases, so a cubic B-spline with a knot a pixel
    through all of them at once is finer than any one of them (Kelson 2003, PASP 115, 688).

    Parameters
    ----------
    optimal, ivar : ndarray, shape (n, rows)
        Optimal extraction (electrons) and its inverse variance.
    wavelength : ndarray, shape (n, rows)
        Vacuum angstrom.
    throughput : ndarray, shape (n, rows)
        Relative throughput; NaN for dead fibres.
    used : ndarray, shape (n,), bool
        The sky fibres.

    Returns
    -------
    Sky
        NaN everywhere without at least two sky fibres.
    """
    alive = np.isfinite(throughput).any(axis=1)
    used = used & alive
    nothing = np.full(optimal.shape, np.nan, dtype=np.float32)
    if used.sum() < _MIN_FIBERS:
        return Sky(
            nothing, np.zeros(len(optimal), dtype=bool), None, float("nan"), np.ones(len(optimal))
        )
    knots = _knots(wavelength[used])
    inside = np.clip(wavelength, knots[0], knots[-1])
    scale = np.ones(len(optimal))
    for turn in range(2):
        scaled = throughput * scale[:, None]
        wave, value, weight = _samples(optimal, ivar, wavelength, scaled, used)
        spline, scatter = _robust_spline(wave, value, weight, knots)
        model = cubic_values(inside.ravel(), spline.t, spline.c).reshape(inside.shape)
        if turn == 0:
            clear = np.where(_telluric(wavelength) & ~used[:, None], 0.0, ivar)
            scale = _scales(optimal, clear, model * throughput, used)
            scale /= np.median(scale[used])
    light = (model * scaled).astype(np.float32)
    light = np.where(alive[:, None], light, np.nan).astype(np.float32)
    return Sky(light, used, spline, scatter, scale)


def _telluric(wavelength: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where the air takes a bite out of a star just where the sky has lines."""
    inside = np.zeros(wavelength.shape, dtype=bool)
    for start, stop in _TELLURIC:
        inside |= (wavelength > start) & (wavelength < stop)
    return inside


def _scales(
    optimal: NDArray[np.floating],
    ivar: NDArray[np.floating],
    sky: NDArray[np.floating],
    used: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """How much sky each fibre sees beside what its throughput on the flat says; about 1.

    Lines tell it in a fibre on a star, all light in a fibre on the sky. As fibres differ by two
    percent or so, the scale found is drawn towards 1 by its own error.
    """
    scale = np.ones(len(optimal))
    seen = np.isfinite(sky).all(axis=1)
    model, light = sky[seen].astype(np.float64), optimal[seen].astype(np.float64)
    dark = used[seen]
    own = np.median(light, axis=1) / np.maximum(np.median(model, axis=1), 1e-6) - 1.0
    own = np.where(dark, 0.0, np.fmax(own, 0.0))
    weight = np.where(np.isfinite(light), ivar[seen], 0.0).astype(np.float64)
    known = weight > 0
    light = np.where(known, light, model)
    # Noise would lift the median of crowded lines: what is left beside the model has none.
    left = light[~dark] - model[~dark]
    model[~dark] -= _running_median(model[~dark], np.ones_like(known[~dark]))
    light[~dark] = model[~dark] + left - _running_median(left, known[~dark])
    # Away from lines only the star's own lines would speak.
    line = model > 3.0 / np.sqrt(np.maximum(weight, 1e-30))
    weight = np.where(line | dark[:, None], weight, 0.0)
    # A missed cosmic ray must not make the first guess.
    absurd = 0.3 * np.abs(model) + 6.0 / np.sqrt(np.maximum(weight, 1e-30))
    weight = np.where(np.abs(light - model) > absurd, 0.0, weight)
    for _ in range(3):
        bottom = (weight * model**2).sum(axis=1)
        told = bottom > 0.0
        safe = np.where(told, bottom, 1.0)
        found = np.where(told, (weight * model * light).sum(axis=1) / safe, 1.0)
        away = np.abs(light - found[:, None] * model) * np.sqrt(weight)
        weight = np.where(away > _CLIP * 1.5, 0.0, weight)
    error = 1.0 / safe + (_STAR_LINES * own) ** 2
    change = _SPREAD**2 / (_SPREAD**2 + error) * (found - 1.0)
    scale[seen] = np.where(told, 1.0 + np.clip(change, -_WORST_SCALE, _WORST_SCALE), 1.0)
    return scale


def scale_errors(
    optimal: NDArray[np.floating], ivar: NDArray[np.floating], sky: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Say how wrong the sky of faint stars is, from sky fibres taken for such.

    Parameters
    ----------
    optimal, ivar : ndarray, shape (n, rows)
        Of sky fibres.
    sky : ndarray, shape (n, rows)
        Their sky, scaled by all of their light.

    Returns
    -------
    ndarray, shape (n,)
        The scale that their lines alone tell, as they would have to if a star stood there, less
        1. The lines that the air darkens in stars are among them.
    """
    return _scales(optimal, ivar, sky, np.zeros(len(optimal), dtype=bool)) - 1.0


def _running_median(lines: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Running median of each line over its known values alone, drawn through between them.

    A gap must not be filled with anything that is not the star's: beside the bands of the air the
    median would be of a part of the star's values, the lowest.
    """
    out, rows = np.zeros(lines.shape), np.arange(lines.shape[1])
    for line, seen, middle in zip(lines, known, out, strict=True):
        if seen.any():
            median = median_filter(line[seen], _CONTINUUM, mode="nearest")
            middle[:] = np.interp(rows, rows[seen], median)
    return out


def _samples(
    optimal: NDArray[np.floating],
    ivar: NDArray[np.floating],
    wavelength: NDArray[np.float64],
    throughput: NDArray[np.floating],
    used: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """All pixels of the sky fibres, ordered by wavelength, at throughput 1."""
    through = throughput[used].astype(np.float64).ravel()
    wave = wavelength[used].ravel()
    with np.errstate(divide="ignore", invalid="ignore"):
        value = optimal[used].astype(np.float64).ravel() / through
    weight = ivar[used].astype(np.float64).ravel() * through**2
    order = np.argsort(wave, kind="stable")
    keep = order[(weight[order] > 0) & np.isfinite(value[order])]
    return wave[keep], value[keep], weight[keep]


def _knots(wavelength: NDArray[np.float64]) -> NDArray[np.float64]:
    """One knot a pixel, over the range that at least half of the sky fibres see."""
    start, stop = np.median(wavelength[:, 0]), np.median(wavelength[:, -1])
    middle = wavelength[len(wavelength) // 2]
    return np.concatenate([[start], middle[(middle > start) & (middle < stop)][1:-1], [stop]])


def _robust_spline(
    wave: NDArray[np.float64],
    value: NDArray[np.float64],
    weight: NDArray[np.float64],
    knots: NDArray[np.float64],
) -> tuple[BSpline, float]:
    """Weighted cubic B-spline with three rounds of clipping."""
    inside = (wave >= knots[0]) & (wave <= knots[-1])
    wave, value, weight = wave[inside], value[inside], weight[inside]
    full = np.concatenate([[knots[0]] * 3, knots, [knots[-1]] * 3])
    first, basis = cubic_basis(wave, full)
    kept = _no_gross_outliers(value, weight)
    for _ in range(3):
        coef = _banded_fit(first, basis, value, np.where(kept, weight, 0.0), len(full) - 4)
        model = (basis * coef[first[:, None] + np.arange(4)]).sum(axis=1)
        away = np.abs(value - model) * np.sqrt(weight)
        scatter = float(1.4826 * np.median(away))
        kept = away <= _CLIP * max(scatter, 1.0)
    return BSpline(full, coef, 3), scatter


def _no_gross_outliers(
    value: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Samples, in order of wavelength, that a running median does not call absurd.

    A missed cosmic ray would bend the first fit so far that its good neighbours were clipped.
    """
    middle = median_filter(value, 11, mode="nearest")
    return np.asarray(np.abs(value - middle) <= 10.0 / np.sqrt(weight) + 0.5 * np.abs(middle))


def _banded_fit(
    first: NDArray[np.int64],
    basis: NDArray[np.float64],
    value: NDArray[np.float64],
    weight: NDArray[np.float64],
    size: int,
) -> NDArray[np.float64]:
    """Coefficients of a cubic B-spline by its banded normal equations; shape (size,)."""
    bands, right = np.zeros((4, size)), np.zeros(size)
    _add_samples(first, basis, value, weight, (bands, right))
    # A whisper of smoothness carries the fit over stretches that no good pixel sees.
    ridge = 1e-6 * np.median(bands[0])
    bands[0] += 2.0 * ridge
    bands[1, :-1] -= ridge
    return np.asarray(solveh_banded(bands, right, lower=True))


@njit(cache=True, nogil=True)
def _add_samples(
    first: NDArray[np.int64],
    basis: NDArray[np.float64],
    value: NDArray[np.float64],
    weight: NDArray[np.float64],
    system: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:  # pragma: no cover (compiled)
    """Add samples to the normal equations: lower bands and right side."""
    bands, right = system
    for p in range(len(first)):
        for i in range(4):
            part = weight[p] * basis[p, i]
            right[first[p] + i] += part * value[p]
            for j in range(i, 4):
                bands[j - i, first[p] + i] += part * basis[p, j]
