"""Many small least-squares problems at once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["solve_small"]


def solve_small(
    terms: NDArray[np.float64], data: NDArray[np.float64], weight: NDArray[Any]
) -> NDArray[np.float64]:
    """Solve a small weighted linear least-squares problem for every leading index.

    Parameters
    ----------
    terms : ndarray, shape (n_term, a, b, k)
        Terms at the k points of each of a x b problems.
    data : ndarray, shape (a, b, k)
        What to fit.
    weight : ndarray, shape (a, b, k)
        Weights, or bool for use.

    Returns
    -------
    ndarray, shape (n_term, a, b)
        Coefficients; 0 where nothing may be used.
    """
    n_term = len(terms)
    weighted = terms * weight
    normal = np.empty((*data.shape[:-1], n_term, n_term))
    for i in range(n_term):
        for j in range(i, n_term):
            normal[..., i, j] = np.einsum("abk,abk->ab", weighted[i], terms[j])
            normal[..., j, i] = normal[..., i, j]
    right = np.einsum("iabk,abk->abi", weighted, data)
    scale = 1.0 + np.trace(normal, axis1=-2, axis2=-1)
    normal += 1e-9 * np.eye(n_term) * scale[..., None, None]
    return np.moveaxis(np.linalg.solve(normal, right[..., None])[..., 0], -1, 0)
