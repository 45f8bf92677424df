"""Where each fibre runs: centres and widths as polynomials along wavelength."""

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from drcnet.errors import FrameError

__all__ = ["TraceSet", "chebyshev_basis"]


def chebyshev_basis(rows: NDArray[np.floating], n_wave: int, degree: int) -> NDArray[np.float64]:
    """Chebyshev polynomials over the row domain [0, n_wave - 1].

    Parameters
    ----------
    rows : ndarray, shape (n_rows,)
        Wavelength pixels.
    n_wave : int
        Pixels along wavelength of the whole frame.
    degree : int
        Highest degree.

    Returns
    -------
    ndarray, shape (degree + 1, n_rows)
        One polynomial a line.
    """
    scaled = 2.0 * np.asarray(rows, dtype=np.float64) / (n_wave - 1) - 1.0
    return np.ascontiguousarray(chebyshev.chebvander(scaled, degree).T)


@dataclass(frozen=True, eq=False)
class TraceSet:
    """Centres and widths of the fibres of one frame.

    Parameters
    ----------
    fiber_id : ndarray, shape (n,), int64
        Fibre of each trace, from 1; 0 where not identified.
    center : ndarray, shape (n, degree + 1)
        Chebyshev coefficients of the centre (spatial pixel) over rows [0, n_wave - 1].
    fwhm : ndarray, shape (n, width_degree + 1)
        Chebyshev coefficients of the spatial FWHM (pixels) over the same rows.
    alive : ndarray, shape (n,), bool
        False where no light was seen and the trace stands in from its neighbours.
    rms : ndarray, shape (n,)
        Rms of the measured centres about the polynomial, pixels; NaN where not alive.
    n_wave : int
        Pixels along wavelength of the frame.
    """

    fiber_id: NDArray[np.int64]
    center: NDArray[np.float64]
    fwhm: NDArray[np.float64]
    alive: NDArray[np.bool_]
    rms: NDArray[np.float64]
    n_wave: int

    def __post_init__(self) -> None:
        """Hold the invariants of shape."""
        n = len(self.fiber_id)
        for name in ("center", "fwhm", "alive", "rms"):
            came = getattr(self, name).shape
            if came[0] != n:
                raise FrameError("TraceSet", f"{name} of {n} fibres", f"shape {came}")

    def __len__(self) -> int:
        """Number of traces."""
        return len(self.fiber_id)

    def centers(self, rows: NDArray[np.floating]) -> NDArray[np.float64]:
        """Evaluate the centres.

        Parameters
        ----------
        rows : ndarray, shape (n_rows,)
            Wavelength pixels.

        Returns
        -------
        ndarray, shape (n, n_rows)
            Spatial pixels.
        """
        return self.center @ chebyshev_basis(rows, self.n_wave, self.center.shape[1] - 1)

    def widths(self, rows: NDArray[np.floating]) -> NDArray[np.float64]:
        """Evaluate the widths.

        Parameters
        ----------
        rows : ndarray, shape (n_rows,)
            Wavelength pixels.

        Returns
        -------
        ndarray, shape (n, n_rows)
            FWHM, pixels.
        """
        return self.fwhm @ chebyshev_basis(rows, self.n_wave, self.fwhm.shape[1] - 1)
