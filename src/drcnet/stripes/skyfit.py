"""How far the sky's lines lie from where they are expected: a smooth surface over the chip."""

import numpy as np
from numpy.polynomial.chebyshev import chebvander, chebvander2d
from numpy.polynomial.legendre import legval
from numpy.typing import NDArray

from drcnet.stripes.linefit import LineList, fit_lines, match_lines

__all__ = ["fit_surface"]

_MIN_LINES = 15  # fewer leave the ends of a bend free
_MIN_SPAN = 0.5  # of the rows, that the lines must reach over
_ROW_DEGREE, _FIBER_DEGREE = 4, 2
_GROUPS = 5  # of fibres whose lines are searched together
_WORST = 0.3  # pixels: rms about the surface beyond which the lines were mistaken


def fit_surface(
    light: NDArray[np.float64],
    rows: NDArray[np.float64],
    lines: LineList,
    alone: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], float, int] | None:
    """Fit the displacement of sky lines as a low-order surface over rows and fibres.

    Groups of fibres are matched to the list by the coarse-to-fine search of the arcs; all
    lines of all fibres are then fitted, and one polynomial is laid through them jointly.

    Parameters
    ----------
    light : ndarray, shape (n, n_row)
        Extracted light, sky not subtracted; 0 where not measured.
    rows : ndarray, shape (n, n_line)
        Rows at which the lines are expected.
    lines : LineList
        All lines that may be there.
    alone : ndarray, shape (n_line,), bool
        The strong lines that stand alone: these are measured.

    Returns
    -------
    tuple or None
        Displacement (rows) in every fibre and row of `light`, shape (n, n_row); robust rms of
        the lines about it; number of lines. None where the lines do not hold a surface.
    """
    n, n_row = light.shape
    if alone.sum() < _MIN_LINES:
        return None
    place = np.linspace(-1.0, 1.0, n) if n > 1 else np.zeros(1)
    guess = rows[:, alone] + _searched(light, rows, lines)[:, alone]
    start = 2.0 * rows[:, alone] / (n_row - 1) - 1.0
    fiber = np.broadcast_to(place[:, None], start.shape)
    degrees = (min(_ROW_DEGREE, int(alone.sum()) // 3), min(_FIBER_DEGREE, n // 4))
    basis = chebvander2d(start, fiber, degrees)
    for reach in (5.0, 3.0, 2.5):
        fit = fit_lines(light, guess, reach=reach)
        sure = np.isfinite(fit.row) & (fit.error < 0.7) & (fit.sigma > 1.0) & (fit.sigma < 4.0)
        if sure.sum() < 2 * basis.shape[-1]:
            return None
        move = np.where(sure, fit.row - rows[:, alone], 0.0)
        weight = np.where(sure, 1.0 / np.hypot(np.where(sure, fit.error, 1.0), 0.02), 0.0)
        coef, used, rms = _robust_surface(basis, move, weight)
        guess = rows[:, alone] + basis @ coef
    seen = used.mean(axis=0) > 0.3 * used.any(axis=1).mean()
    span = np.ptp(np.median(rows[:, alone][:, seen], axis=0)) if seen.any() else 0.0
    if seen.sum() < _MIN_LINES or span < _MIN_SPAN * n_row or rms > _WORST:
        return None
    along = chebvander(np.linspace(-1.0, 1.0, n_row), degrees[0])
    surface = chebvander(place, degrees[1]) @ coef.reshape(degrees[0] + 1, -1).T @ along.T
    return surface, rms, int(seen.sum())


def _searched(
    light: NDArray[np.float64], rows: NDArray[np.float64], lines: LineList
) -> NDArray[np.float64]:
    """Displacements as groups of fibres show them; each group takes the middle of its own."""
    found = np.empty(rows.shape)
    n_row = light.shape[1]
    for some in np.array_split(np.arange(len(light)), min(_GROUPS, max(1, len(light) // 2))):
        expected = np.median(rows[some], axis=0)
        inside = (expected > 0) & (expected < n_row - 1)
        coef = match_lines(
            np.median(light[some], axis=0), lines, np.where(inside, expected, np.nan)
        )
        found[some] = legval(2.0 * expected / (n_row - 1) - 1.0, coef)
    return found


def _robust_surface(
    basis: NDArray[np.float64], move: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], float]:
    """Weighted least squares, clipped: coefficients, points used and their robust rms."""
    used = weight > 0
    size = basis.shape[-1]
    for _ in range(8):
        scaled = basis[used] * weight[used][:, None]
        coef = np.linalg.lstsq(scaled, move[used] * weight[used], rcond=None)[0]
        away = np.abs(move - basis @ coef)
        spread = 1.4826 * float(np.median(away[used]))
        kept = (weight > 0) & (away < max(3.0 * spread, 0.05))
        if kept.sum() < 2 * size:
            break
        used = kept
    return np.asarray(coef, dtype=np.float64), used, spread
