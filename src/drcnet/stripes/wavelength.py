"""Vacuum wavelength of every fibre and row, from arcs, sky lines or the nominal profile."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from drcnet.errors import FrameError
from drcnet.instruments import InstrumentProfile
from drcnet.stripes.trace import chebyshev_basis

__all__ = ["WavelengthSet", "nominal_wavelengths"]


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

    def wavelengths(self, rows: NDArray[np.floating]) -> NDArray[np.float64]:
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
