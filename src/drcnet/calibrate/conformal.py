"""Sets of classes that hold the true one as often as promised: split conformal prediction.

A class is in the set where 1 - p is not above a threshold: the quantile of 1 - p(true class) over
stars the model was not trained on (Sadinle, Lei & Wasserman 2019, JASA 114, 223). Several faded
copies of one star are no independent stars: every star counts once, its copies share that, and
the finite-sample term counts stars (pooled distributions of Dunn, Wasserman & Ramdas 2022,
JASA 118, 2491).
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["conformal_threshold", "prediction_sets", "set_names"]


def conformal_threshold(
    p: NDArray[np.float64],
    label: NDArray[np.int64],
    star: NDArray[np.str_],
    coverage: float,
) -> float:
    """Find how improbable a class may be and still belong to the set.

    Parameters
    ----------
    p : ndarray, shape (n, K)
        Probabilities of calibration rows.
    label : ndarray, shape (n,), int64
        True classes.
    star : ndarray, shape (n,), str
        Star of each row.
    coverage : float
        Share of stars whose set shall hold the true class.

    Returns
    -------
    float
        Threshold of 1 - p, at most 1 (all classes), which is what too few stars give.

    Examples
    --------
    >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7]])
    >>> float(conformal_threshold(p, np.zeros(4, int), np.array(list("abcd")), 0.6).round(3))
    0.4
    """
    score = 1.0 - p[np.arange(len(label)), label]
    _, index, count = np.unique(star, return_inverse=True, return_counts=True)
    n = len(count)
    level = np.ceil((n + 1) * coverage - 1e-9) / n if n else np.inf
    if level > 1:
        return 1.0
    order = np.argsort(score, kind="stable")
    reached = np.cumsum(1.0 / (n * count[index[order]]))
    place = int(np.searchsorted(reached, level - 1e-9))
    return float(score[order[min(place, len(order) - 1)]])


def prediction_sets(p: NDArray[np.float64], threshold: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Find the classes that may not be excluded.

    Parameters
    ----------
    p : ndarray, shape (n, K)
        Probabilities; NaN gives an empty set.
    threshold : ndarray, shape (n,)
        Of 1 - p, for each row.

    Returns
    -------
    ndarray of bool, shape (n, K)
        Membership. The most probable class always belongs, so that no star has an empty set;
        that can only raise the coverage.
    """
    known = np.asarray(np.isfinite(p).all(axis=1))
    filled = np.nan_to_num(p)
    top = np.eye(p.shape[1], dtype=bool)[filled.argmax(axis=1)]
    inside = 1.0 - filled <= threshold[:, None] + 1e-12
    return np.asarray(np.logical_and(inside | top, known[:, None]))


def set_names(inside: NDArray[np.bool_], classes: tuple[str, ...]) -> list[str]:
    """Spell sets out.

    Parameters
    ----------
    inside : ndarray of bool, shape (n, K)
        Membership.
    classes : tuple of str
        Class names.

    Returns
    -------
    list of str
        Names joined by ','; empty for an empty set.

    Examples
    --------
    >>> set_names(np.array([[True, True, False], [False, False, True]]), ("F", "G", "K"))
    ['F,G', 'K']
    """
    return [
        ",".join(name for name, here in zip(classes, row, strict=True) if here) for row in inside
    ]
