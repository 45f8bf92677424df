"""Wavelengths from an arc: lines matched to the list, followed from fibre to fibre, and fitted."""

import numpy as np
from numpy.typing import NDArray

from drcnet.config import StripeSettings
from drcnet.errors import FrameError
from drcnet.frames.frame import Frame
from drcnet.instruments import InstrumentProfile
from drcnet.stripes.cut import cut_stripes, frame_pixels, make_windows
from drcnet.stripes.linefit import LineList, fit_lines, isolated, line_list, match_lines
from drcnet.stripes.polynomial import chebyshev_basis
from drcnet.stripes.trace import TraceSet
from drcnet.stripes.wavelength import WavelengthSet, nominal_wavelengths

__all__ = ["fit_arc"]

_MIN_LINES = 8  # an arc with fewer lines in common with the list is no arc
_SMOOTH_DEGREE = 4  # of the polynomial over the fibres
_WORST = 0.3  # pixels: rms above which a fibre's own solution gives way to its neighbours'


def fit_arc(
    frame: Frame, traces: TraceSet, profile: InstrumentProfile, settings: StripeSettings
) -> WavelengthSet:
    """Solve for the wavelengths of all fibres on an arc.

    The middle fibres' lines are matched to the list by a coarse-to-fine search about the
    nominal solution; each line is then followed from fibre to fibre, all centres are fitted,
    and a polynomial is laid through each fibre's lines. Beyond its constant, a polynomial's
    coefficients vary smoothly over the fibres.

    Parameters
    ----------
    frame : Frame
        The arc.
    traces : TraceSet
        All fibres.
    profile : InstrumentProfile
        Nominal wavelengths.
    settings : StripeSettings
        `wavelength_degree`.

    Returns
    -------
    WavelengthSet
        Of source 'arc'.

    Raises
    ------
    FrameError
        Too few lines of the list are on the arc.
    """
    spectra = _arc_spectra(frame, traces, settings)
    degree = settings.wavelength_degree
    nominal = nominal_wavelengths(profile, frame.name.arm, len(traces), degree)
    lines = _lines_within(line_list("arc"), nominal)
    alive = np.flatnonzero(traces.alive)
    middle = int(alive[len(alive) // 2])
    start = _middle_rows(spectra, alive, lines, nominal)
    guess = _follow_lines(spectra, alive, middle, start)
    step = float(nominal.coef[0, 1]) * 2.0 / (traces.n_wave - 1)  # angstrom a row
    alone = isolated(lines, 9.0 * step)
    fit = fit_lines(spectra, np.where(alone, guess, np.nan))
    return _solve(fit.row, fit.error, lines.wavelength, traces, (degree, frame))


def _arc_spectra(frame: Frame, traces: TraceSet, settings: StripeSettings) -> NDArray[np.float64]:
    """Sum of the seven pixels about each trace, all rows; shape (n, n_wave)."""
    narrow = settings.model_copy(
        update={"half_width": 3, "row_start": 0, "row_stop": traces.n_wave, "follow_trace": True}
    )
    stripes, mask = cut_stripes(frame_pixels(frame), make_windows(traces, narrow))
    return np.where(mask == 0, stripes, 0.0).sum(axis=1, dtype=np.float64)


def _lines_within(lines: LineList, nominal: WavelengthSet) -> LineList:
    ends = nominal.wavelengths(np.array([-40.0, nominal.n_wave + 39.0]))[0]
    inside = (lines.wavelength > ends[0]) & (lines.wavelength < ends[1])
    return LineList(lines.wavelength[inside], lines.strength[inside])


def _rows_of(wavelength: NDArray[np.float64], solution: WavelengthSet) -> NDArray[np.float64]:
    """Rows at which fibre 1 of a solution sees the wavelengths."""
    rows = np.arange(-60, solution.n_wave + 60)
    return np.interp(wavelength, solution.wavelengths(rows)[0], rows)


def _middle_rows(
    spectra: NDArray[np.float64],
    alive: NDArray[np.int64],
    lines: LineList,
    nominal: WavelengthSet,
) -> NDArray[np.float64]:
    """Rows of the lines in the middle fibre."""
    near = alive[max(0, len(alive) // 2 - 2) : len(alive) // 2 + 3]
    spectrum = np.median(spectra[near], axis=0)
    place = _rows_of(lines.wavelength, nominal)
    found = match_lines(spectrum, lines, place)
    t = 2.0 * place / (nominal.n_wave - 1) - 1.0
    rows = place + np.polynomial.legendre.legval(t, found)
    middle = spectra[alive[len(alive) // 2]][None]
    for reach, degree in ((4.0, 3), (2.5, 4)):
        fit = fit_lines(middle, rows[None], reach=reach)
        rows = rows + _smooth_move(fit.row[0] - rows, rows, nominal.n_wave, degree)
    return rows


def _smooth_move(
    move: NDArray[np.float64], rows: NDArray[np.float64], n_wave: int, degree: int
) -> NDArray[np.float64]:
    """Robust polynomial through the displacements that are known, at all rows."""
    good = np.isfinite(move)
    basis = chebyshev_basis(rows, n_wave, degree)
    for _ in range(4):
        if good.sum() < degree + 2:
            return np.full(len(rows), np.median(move[good]) if good.any() else 0.0)
        coef = np.linalg.lstsq(basis[:, good].T, move[good], rcond=None)[0]
        away = np.abs(move - coef @ basis)
        limit = max(4.0 * 1.4826 * float(np.median(away[good])), 0.05)
        good = np.isfinite(move) & (away < limit)
    return np.asarray(coef @ basis)


def _follow_lines(
    spectra: NDArray[np.float64],
    alive: NDArray[np.int64],
    middle: int,
    start: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Rows of the lines in every fibre, from the middle one outwards; dead ones NaN."""
    guess = np.full((len(spectra), len(start)), np.nan)
    n_wave = spectra.shape[1]
    upward = alive[alive >= middle]
    downward = alive[alive < middle][::-1]
    for path in (upward, downward):
        rows = start
        for fiber in path:
            fit = fit_lines(spectra[fiber][None], rows[None], rounds=2)
            rows = rows + _smooth_move(fit.row[0] - rows, rows, n_wave, 1)
            guess[fiber] = rows
    return guess


def _solve(
    rows: NDArray[np.float64],
    error: NDArray[np.float64],
    wavelength: NDArray[np.float64],
    traces: TraceSet,
    rest: tuple[int, Frame],
) -> WavelengthSet:
    """Polynomials through the lines, clipped, then smoothed over the fibres."""
    degree, frame = rest
    n = len(rows)
    good = np.isfinite(rows) & (error < 0.3)
    common = good.sum(axis=0) > 0.3 * traces.alive.sum()
    if common.sum() < _MIN_LINES:
        raise FrameError(
            frame.path, f"an arc with at least {_MIN_LINES} known lines", f"{common.sum()} lines"
        )
    good &= common
    coef = np.zeros((n, degree + 1))
    rms = np.full(n, np.nan)
    for turn in range(2):
        for fiber in np.flatnonzero(traces.alive):
            coef[fiber], rms[fiber] = _one_fiber(
                rows[fiber], wavelength, good[fiber], traces.n_wave, degree
            )
        if turn == 0:
            good &= _agreeing(rows, wavelength, good, coef, traces)
    coef = _smooth_over_fibers(coef, rms, traces)
    return WavelengthSet(coef, rms, "arc", int(common.sum()), traces.n_wave)


def _one_fiber(
    rows: NDArray[np.float64],
    wavelength: NDArray[np.float64],
    good: NDArray[np.bool_],
    n_wave: int,
    degree: int,
) -> tuple[NDArray[np.float64], float]:
    """Clipped polynomial through one fibre's lines: coefficients and rms in pixels."""
    used = good.copy()
    degree_now = min(degree, max(1, int(good.sum()) // 3))
    coef = np.full(degree + 1, np.nan)
    residual = np.full(len(rows), np.inf)
    for _ in range(4):
        if used.sum() < degree_now + 2:
            return np.full(degree + 1, np.nan), float("nan")
        basis = chebyshev_basis(rows[used], n_wave, degree_now)
        solved = np.linalg.lstsq(basis.T, wavelength[used], rcond=None)[0]
        model = solved @ chebyshev_basis(np.where(good, rows, 0.0), n_wave, degree_now)
        residual = (wavelength - model) / (2.0 * solved[1] / (n_wave - 1))
        spread = 1.4826 * float(np.median(np.abs(residual[used])))
        used = good & (np.abs(residual) < max(4.0 * spread, 0.03))
    coef = np.zeros(degree + 1)
    coef[: degree_now + 1] = solved
    return coef, float(np.sqrt(np.mean(residual[used] ** 2)))


def _agreeing(
    rows: NDArray[np.float64],
    wavelength: NDArray[np.float64],
    good: NDArray[np.bool_],
    coef: NDArray[np.float64],
    traces: TraceSet,
) -> NDArray[np.bool_]:
    """Lines that do not stand off the solutions in most fibres: blends are left out."""
    scaled = 2.0 * np.where(good, rows, 0.0) / (traces.n_wave - 1) - 1.0
    model = np.stack(
        [np.polynomial.chebyshev.chebval(s, c) for s, c in zip(scaled, coef, strict=True)]
    )
    step = 2.0 * np.nanmedian(coef[traces.alive, 1]) / (traces.n_wave - 1)
    away = np.where(good & np.isfinite(model), (wavelength - model) / step, np.nan)
    seen = np.isfinite(away).any(axis=0)
    typical = np.full(len(wavelength), np.inf)
    typical[seen] = np.nanmedian(away[:, seen], axis=0)
    spread = 1.4826 * np.median(np.abs(typical[seen]))
    return np.abs(typical) < max(4.0 * spread, 0.1)


def _smooth_over_fibers(
    coef: NDArray[np.float64], rms: NDArray[np.float64], traces: TraceSet
) -> NDArray[np.float64]:
    """Coefficients as polynomials over the fibres; the constant keeps each fibre's own value."""
    place = 2.0 * traces.center[:, 0] / max(float(traces.center[:, 0].max()), 1.0) - 1.0
    good = np.isfinite(coef).all(axis=1) & (rms < max(_WORST, 3.0 * float(np.nanmedian(rms))))
    degree = min(_SMOOTH_DEGREE, max(0, int(good.sum()) // 4))
    basis = np.polynomial.chebyshev.chebvander(place, degree)
    out = np.empty_like(coef)
    for k, line in enumerate(coef.T):
        used = good.copy()
        for _ in range(4):
            solved = np.linalg.lstsq(basis[used], line[used], rcond=None)[0]
            away = np.abs(line - basis @ solved)
            limit = 4.0 * 1.4826 * float(np.median(away[used])) + 1e-9
            used = good & (away <= limit)
        out[:, k] = basis @ solved
    out[good, 0] = coef[good, 0]
    return out
