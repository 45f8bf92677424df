"""Vacuum wavelength of every fibre and row, from arcs, sky lines or the nominal profile."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from drcnet.errors import FrameError
from drcnet.instruments import InstrumentProfile
from drcnet.stripes.linefit import LineList, fit_lines, isolated, line_list
from drcnet.stripes.polynomial import chebyshev_basis
from drcnet.stripes.skyfit import fit_surface

__all__ = ["WavelengthSet", "fit_sky", "nominal_wavelengths"]

_MARGIN = 40  # rows beyond the frame's ends from which lines may have come
_BLEND = 0.02  # of a line's strength: a neighbour that moves its centre
_FAINTEST = 0.02  # of the strongest line: where lines are measured in all fibres


@dataclass(frozen=True, eq=False)
class WavelengthSet:
    """Wavelength solutions of the fibres of one arm.

    Parameters
    ----------
    coef : ndarray, shape (n, degree + 1)
        Chebyshev coefficients of vacuum wavelength (angstrom) over rows [0, n_wave - 1].
    rms : ndarray, shape (n,)
        Rms of the matched lines about the solution, pixels; NaN where nominal.
    source : {'arc', 'sky', 'nominal'}
        What the solution rests on.
    n_lines : int
        Lines used.
    n_wave : int
        Pixels along wavelength of the frame.
    """

    coef: NDArray[np.float64]
    rms: NDArray[np.float64]
    source: Literal["arc", "sky", "nominal"]
    n_lines: int
    n_wave: int

    def __post_init__(self) -> None:
        """Hold the invariants of shape."""
        if self.rms.shape != (len(self.coef),):
            raise FrameError(
                "WavelengthSet", f"rms of {len(self.coef)} fibres", str(self.rms.shape)
            )

    def wavelengths(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Evaluate the solutions.

        Parameters
        ----------
        rows : ndarray, shape (n_rows,)
            Wavelength pixels.

        Returns
        -------
        ndarray, shape (n, n_rows)
            Vacuum angstrom.
        """
        return self.coef @ chebyshev_basis(rows, self.n_wave, self.coef.shape[1] - 1)


def nominal_wavelengths(
    profile: InstrumentProfile, arm: str, count: int, degree: int
) -> WavelengthSet:
    """Wavelengths as the instrument's profile has them: a straight line.

    Parameters
    ----------
    profile : InstrumentProfile
        The instrument.
    arm : str
        Name of the arm.
    count : int
        Number of fibres.
    degree : int
        Highest degree of the polynomial.

    Returns
    -------
    WavelengthSet
        The same solution for every fibre, of source 'nominal'.
    """
    start, stop = profile.arms[arm].wavelength_start, profile.arms[arm].wavelength_stop
    coef = np.zeros((count, degree + 1))
    coef[:, 0] = 0.5 * (start + stop)
    coef[:, 1] = 0.5 * (stop - start)
    return WavelengthSet(coef, np.full(count, np.nan), "nominal", 0, profile.n_wave)


def fit_sky(
    light: NDArray[np.floating],
    ivar: NDArray[np.floating],
    wavelengths: WavelengthSet,
    rows: NDArray[np.int64],
) -> tuple[WavelengthSet, dict[str, float]]:
    """Move wavelengths onto a science frame by the sky lines in that frame itself.

    Parameters
    ----------
    light, ivar : ndarray, shape (n, n_rows)
        Extracted light, sky not subtracted, and its inverse variance.
    wavelengths : WavelengthSet
        Solution of the arc, or nominal.
    rows : ndarray, shape (n_rows,)
        Frame rows of the light.

    Returns
    -------
    WavelengthSet
        Moved along wavelength; of source 'sky' where it was nominal before.
    dict
        'wavelength_shift' (rows by which lines lie beyond the solution given; the median where
        they bend), 'wavelength_shift_error' (rows; inf where there was no line), 'sky_lines'
        (number), 'sky_bends' (whether nominal wavelengths were bent, not only moved).
    """
    nothing = {
        "sky_bends": False,
        "wavelength_shift": 0.0,
        "wavelength_shift_error": float("inf"),
        "sky_lines": 0,
    }
    solved = wavelengths.wavelengths(rows)
    step = float(np.median(np.diff(solved, axis=1)))
    lines = line_list("sky")
    ends = solved[:, [0, -1]]
    inside = (lines.wavelength > ends[:, 0].max()) & (lines.wavelength < ends[:, 1].min())
    alone = isolated(lines, 9.0 * step, share=0.1) & inside
    strong = alone & (lines.strength > 0.1 * lines.strength[inside].max(initial=0.0))
    if not strong.any():
        return wavelengths, nothing
    if wavelengths.source == "nominal":
        bent = _bent(np.where(ivar > 0, light, 0.0), wavelengths, rows, lines)
        if bent is not None:
            return bent
    known = lines.wavelength[strong]
    guess = np.stack([np.interp(known, line, np.arange(len(rows))) for line in solved])
    fit = fit_lines(np.where(ivar > 0, light, 0.0), guess, reach=3.0)
    error = np.where((fit.sigma > 1.0) & (fit.sigma < 4.0), fit.error, np.inf)
    use = np.isfinite(fit.row) & (error < 0.7)
    if use.sum() < 5:
        return wavelengths, nothing
    move = (fit.row - guess)[use]
    weight = 1.0 / (error[use] ** 2 + 0.02**2)
    shift, shift_error = _clipped_mean(move, weight)
    if shift_error > 0.1:
        return wavelengths, nothing
    # Light at row r - shift of the old solution is now at row r: lambda(r) = old(r - shift).
    moved = _shifted(wavelengths, shift)
    source = "sky" if wavelengths.source == "nominal" else wavelengths.source
    found = {
        "wavelength_shift": shift,
        "wavelength_shift_error": shift_error,
        "sky_lines": int(strong.sum()),
        "sky_bends": False,
    }
    return WavelengthSet(
        moved, wavelengths.rms, source, wavelengths.n_lines, wavelengths.n_wave
    ), found


def _bent(
    light: NDArray[np.floating],
    wavelengths: WavelengthSet,
    rows: NDArray[np.int64],
    lines: LineList,
) -> tuple[WavelengthSet, dict[str, float]] | None:
    """Nominal wavelengths bent onto the sky lines of all fibres; None where these are too few."""
    n_wave, degree = wavelengths.n_wave, wavelengths.coef.shape[1] - 1
    solved = wavelengths.wavelengths(np.arange(-_MARGIN, n_wave + _MARGIN))
    step = float(np.median(np.diff(solved, axis=1)))
    near = (lines.wavelength > solved[:, 0].max()) & (lines.wavelength < solved[:, -1].min())
    known = LineList(lines.wavelength[near], lines.strength[near])
    expected = np.stack(
        [
            np.interp(known.wavelength, line, np.arange(-_MARGIN, n_wave + _MARGIN) - rows[0])
            for line in solved
        ]
    )
    inner = (np.median(expected, axis=0) > 0) & (np.median(expected, axis=0) < len(rows) - 1)
    alone = isolated(known, 9.0 * step, share=_BLEND) & inner
    alone &= known.strength > _FAINTEST * known.strength[inner].max(initial=0.0)
    found = fit_surface(np.asarray(light, dtype=np.float64), expected, known, alone)
    if found is None:
        return None
    surface, rms, count = found
    # Light expected at row r is seen at r + surface: lambda(r + surface) = nominal(r).
    nominal = wavelengths.wavelengths(rows)
    coef = np.stack(
        [
            np.linalg.lstsq(chebyshev_basis(rows + move, n_wave, degree).T, line, rcond=None)[0]
            for move, line in zip(surface, nominal, strict=True)
        ]
    )
    note = {
        "wavelength_shift": float(np.median(surface)),
        "wavelength_shift_error": float(rms / np.sqrt(count)),
        "sky_lines": count,
        "sky_bends": True,
    }
    return WavelengthSet(coef, np.full(len(coef), rms), "sky", count, n_wave), note


def _clipped_mean(value: NDArray[np.float64], weight: NDArray[np.float64]) -> tuple[float, float]:
    """Weighted mean after clipping about the median, and its error from the scatter."""
    center = float(np.median(value))
    for _ in range(5):
        away = np.abs(value - center)
        kept = away <= max(3.0 * 1.4826 * float(np.median(away)), 1e-3)
        center = float(np.average(value[kept], weights=weight[kept]))
    spread = np.average((value[kept] - center) ** 2, weights=weight[kept])
    effective = weight[kept].sum() ** 2 / (weight[kept] ** 2).sum()
    return center, float(np.sqrt(spread / max(effective, 1.0)))


def _shifted(wavelengths: WavelengthSet, shift: float) -> NDArray[np.float64]:
    """Coefficients of lambda(row - shift): the same polynomials, read elsewhere."""
    degree = wavelengths.coef.shape[1] - 1
    nodes = np.linspace(0, wavelengths.n_wave - 1, 4 * (degree + 1))
    values = wavelengths.wavelengths(nodes - shift)
    basis = chebyshev_basis(nodes, wavelengths.n_wave, degree)
    return np.asarray(np.linalg.lstsq(basis.T, values.T, rcond=None)[0].T, dtype=np.float64)
