"""Chebyshev polynomials over a frame's rows, through many series at once."""

from typing import Any

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

__all__ = ["chebyshev_basis", "robust_chebyshev"]


def chebyshev_basis(rows: NDArray[Any], n_wave: int, degree: int) -> NDArray[np.float64]:
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


def robust_chebyshev(  # noqa: PLR0917 (domain and degree belong together)
    rows: NDArray[np.float64],
    values: NDArray[np.float64],
    good: NDArray[np.bool_],
    n_wave: int,
    degree: int,
    rounds: int = 5,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Lay clipped Chebyshev polynomials through many series at once.

    Parameters
    ----------
    rows : ndarray, shape (n_point,)
        Wavelength pixels.
    values : ndarray, shape (n, n_point)
        What to fit.
    good : ndarray, shape (n, n_point), bool
        Points that may be used.
    n_wave : int
        The domain is [0, n_wave - 1].
    degree : int
        Highest degree; lowered where there are too few points.
    rounds : int
        Rounds of clipping at four robust standard deviations.

    Returns
    -------
    coef : ndarray, shape (n, degree + 1)
        Coefficients.
    rms : ndarray, shape (n,)
        Rms of the points kept.
    kept : ndarray, shape (n, n_point), bool
        Points kept.
    """
    basis = chebyshev_basis(rows, n_wave, degree)
    kept = good.copy()
    ridge = 1e-8 * np.eye(degree + 1)
    values = np.where(np.isfinite(values), values, 0.0)
    for _ in range(rounds):
        normal = np.einsum("fb,ib,jb->fij", kept, basis, basis, optimize=True)
        right = (kept * values) @ basis.T
        coef = np.linalg.solve(normal + ridge, right[..., None])[..., 0]
        residual = np.abs(values - coef @ basis)
        scatter = 1.4826 * _row_median(residual, kept)
        kept = good & (residual <= np.maximum(4.0 * scatter, 1e-3))
    count = np.maximum(kept.sum(axis=1), 1)
    rms = np.sqrt((kept * (values - coef @ basis) ** 2).sum(axis=1) / count)
    return coef, rms, kept


def _row_median(values: NDArray[np.float64], good: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Median of the good values of each line, 0 where there are none; shape (n, 1)."""
    ordered = np.sort(np.where(good, values, np.inf), axis=1)
    middle = np.maximum(good.sum(axis=1) - 1, 0) // 2
    median = ordered[np.arange(len(values)), middle]
    return np.where(np.isfinite(median), median, 0.0)[:, None]
