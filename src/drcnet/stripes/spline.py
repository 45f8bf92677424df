"""Values of cubic B-splines at many places."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["add_splines", "cubic_basis", "cubic_design", "cubic_values"]


@njit(cache=True, nogil=True, inline="always")
def _interval(x: float, knots: NDArray[np.float64], j: int) -> int:  # pragma: no cover
    """Number of the knot below a place, looked for first where the last place was."""
    if knots[j] <= x < knots[j + 1]:
        return j
    below = int(np.searchsorted(knots, x, side="right")) - 1
    return min(max(below, 3), len(knots) - 5)


@njit(cache=True, nogil=True)
def cubic_basis(
    u: NDArray[np.float64], knots: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:  # pragma: no cover (compiled)
    """Evaluate the four cubic B-splines that are not 0 at each place (de Boor 1978).

    Parameters
    ----------
    u : ndarray, shape (n,)
        Places, none outside the inner knots.
    knots : ndarray, shape (n_knot,)
        Not decreasing, three more than needed at each end.

    Returns
    -------
    first : ndarray, shape (n,), int64
        Number of the first of the four.
    basis : ndarray, shape (n, 4)
        Their values.
    """
    first = np.empty(len(u), dtype=np.int64)
    basis = np.empty((len(u), 4))
    j = 3
    for i in range(len(u)):
        x = u[i]
        j = _interval(x, knots, j)
        first[i] = j - 3
        value = basis[i]
        value[0] = 1.0
        for degree in range(1, 4):
            rest = 0.0
            for k in range(degree):
                right = knots[j + k + 1]
                left = knots[j + k + 1 - degree]
                part = value[k] / (right - left)
                value[k] = rest + (right - x) * part
                rest = (x - left) * part
            value[degree] = rest
    return first, basis


@njit(cache=True, nogil=True)
def add_splines(
    system: NDArray[np.float64],
    scale: NDArray[np.float64],
    first: NDArray[np.int64],
    basis: NDArray[np.float64],
) -> None:  # pragma: no cover (compiled)
    """Add each place's four splines, times its scale, to its row of a system.

    Parameters
    ----------
    system : ndarray, shape (n, at least n_spline)
        Added to.
    scale : ndarray, shape (n,)
        Scale of each row.
    first, basis : ndarray, shape (n,) and (n, 4)
        From `cubic_basis`.
    """
    for p in range(len(first)):
        for i in range(4):
            system[p, first[p] + i] += scale[p] * basis[p, i]


def cubic_design(u: NDArray[np.float64], knots: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evaluate all cubic B-splines at each place.

    Parameters
    ----------
    u : ndarray, shape (n,)
        Places, none outside the inner knots.
    knots : ndarray, shape (n_knot,)
        Not decreasing.

    Returns
    -------
    ndarray, shape (n, n_knot - 4)
        Their values.
    """
    first, basis = cubic_basis(u, knots)
    design = np.zeros((len(u), len(knots) - 4))
    add_splines(design, np.ones(len(u)), first, basis)
    return design


@njit(cache=True, nogil=True)
def cubic_values(
    u: NDArray[np.float64], knots: NDArray[np.float64], coef: NDArray[np.float64]
) -> NDArray[np.float64]:  # pragma: no cover (compiled)
    """Evaluate a cubic spline by de Boor's recursion; fastest where places increase.

    Parameters
    ----------
    u : ndarray, shape (n,)
        Places, none outside the inner knots.
    knots : ndarray, shape (n_knot,)
        Not decreasing, three more than needed at each end.
    coef : ndarray, shape (n_knot - 4,)
        Coefficients.

    Returns
    -------
    ndarray, shape (n,)
        Values.
    """
    out, part, j = np.empty(len(u)), np.empty(4), 3
    for i in range(len(u)):
        x = u[i]
        if x >= knots[j + 1] and j < len(knots) - 5 and x < knots[j + 2]:
            j += 1
        j = _interval(x, knots, j)
        for k in range(4):
            part[k] = coef[j - 3 + k]
        for degree in range(1, 4):
            for k in range(3, degree - 1, -1):
                left, right = knots[j - 3 + k], knots[j + 1 + k - degree]
                share = (x - left) / (right - left)
                part[k] = (1.0 - share) * part[k - 1] + share * part[k]
        out[i] = part[3]
    return out
