"""The same red for every star: a fill beyond 7380 angstrom, predicted from its own blue part.

MILES ends at 7410 angstrom, and its last 30 angstrom fall off: by 3-6% against 1-2% in PyHammer
and Indo-US, a mark of the source in every class, so they are not used. Were its stars alone to be
filled, the fill would tell the source, and the sources differ in their mix of classes. So each
star of each source gets one and the same kind of fill: ridge regression from the principal
components of its own spectrum below 7380 angstrom, fitted on spectra that reach the red and belong
to stars of the other folds only. No label and no parameter enters.
"""

import numpy as np
from numpy.typing import NDArray

from drcnet.errors import SpectrumError
from drcnet.simulate.spectra import rest_grid

__all__ = ["FILL_FROM", "REACHES_TO", "fill_red", "reaches_red"]

FILL_FROM = 7380.0
"""Angstrom from which every star is filled."""
REACHES_TO = 9000.0
"""A spectrum known up to here may teach the fill; what is missing beyond is flat."""

_BLUE_FROM = 3900.0
_OVERLAP_FROM = 7280.0  # the fill is scaled to the star over 7280-7380 angstrom
_JOINT_FROM = 7355.0
_JOINT_DECAY = 100.0
_COMPONENTS = 12
_LEAST_TEACHERS = 5


def reaches_red(flux: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Tell which spectra are known up to `REACHES_TO`.

    Parameters
    ----------
    flux : ndarray, shape (n_spectrum, n_pix)
        On `rest_grid`, NaN where a source does not reach.

    Returns
    -------
    ndarray of bool, shape (n_spectrum,)
        Known everywhere from 3900 angstrom to `REACHES_TO`.
    """
    grid = rest_grid()
    needed = (grid >= _BLUE_FROM) & (grid <= REACHES_TO)
    return np.isfinite(flux[:, needed]).all(axis=1)


def fill_red(
    flux: NDArray[np.floating],
    fold: NDArray[np.integer],
    teachers: NDArray[np.floating],
    teacher_fold: NDArray[np.integer],
    *,
    ridge: float = 1e-2,
) -> NDArray[np.float32]:
    """Replace everything beyond `FILL_FROM` by its prediction.

    Parameters
    ----------
    flux : ndarray, shape (n_star, n_pix)
        Spectra on `rest_grid`, of one resolution; what stands beyond `FILL_FROM` is not looked
        at.
    fold : ndarray of int, shape (n_star,)
        Fold of each star.
    teachers : ndarray, shape (n_teacher, n_pix)
        Spectra known over the whole grid, of the same resolution.
    teacher_fold : ndarray of int, shape (n_teacher,)
        Fold of the star of each teacher.
    ridge : float
        Strength of the penalty, relative to the number of teachers (components are scaled to
        unit variance).

    Returns
    -------
    ndarray, shape (n_star, n_pix), float32
        Below `FILL_FROM` as given.

    Raises
    ------
    SpectrumError
        Fewer than five teachers in the other folds of some star.
    """
    grid = rest_grid()
    red = grid >= FILL_FROM
    filled = np.array(flux, dtype=np.float32)
    for one in np.unique(fold):
        elsewhere = teacher_fold != one
        if np.count_nonzero(elsewhere) < _LEAST_TEACHERS:
            raise SpectrumError(
                "library",
                f"at least {_LEAST_TEACHERS} stars in other folds that reach {REACHES_TO:.0f} "
                "angstrom, to fit the red fill (add PyHammer, Indo-US or LAMOST spectra)",
                str(np.count_nonzero(elsewhere)),
            )
        here = np.flatnonzero(fold == one)
        predicted = _predict(flux[here], teachers[elsewhere], ridge)
        filled[np.ix_(here, red)] = predicted
    return filled


def _predict(
    flux: NDArray[np.floating], teachers: NDArray[np.floating], ridge: float
) -> NDArray[np.float32]:
    """Predict the red part, shape (n_star, n_red), of stars from teachers."""
    grid = rest_grid()
    blue = (grid >= _BLUE_FROM) & (grid < FILL_FROM)
    overlap = (grid >= _OVERLAP_FROM) & (grid < FILL_FROM)
    red = grid >= FILL_FROM
    shown, asked = (_unit_level(x, overlap)[:, blue] for x in (teachers, flux))
    target = _unit_level(teachers, overlap)[:, grid >= _OVERLAP_FROM]

    mean = shown.mean(axis=0)
    _, singular, axes = np.linalg.svd(shown - mean, full_matrices=False)
    count = min(_COMPONENTS, int(np.count_nonzero(singular > 1e-6 * singular[0])))
    scale = singular[:count] / np.sqrt(len(shown))
    scores = (shown - mean) @ axes[:count].T / scale  # (n_teacher, count)
    asked_scores = (asked - mean) @ axes[:count].T / scale  # (n_star, count)

    # Hoerl & Kennard 1970: w = (X'X + k I)^-1 X'y, with the mean taken out of y.
    gram = scores.T @ scores + ridge * len(shown) * np.eye(count)
    weight = np.linalg.solve(gram, scores.T @ (target - target.mean(axis=0)))
    fill = target.mean(axis=0) + asked_scores @ weight  # (n_star, n_overlap + n_red)

    joint = int(np.count_nonzero(overlap))
    ratio = flux[:, overlap] / fill[:, :joint]
    # The level of the last 100 angstrom counts; that of the last 25 only beside the joint, so
    # that no step tells which spectra ended there.
    level = np.median(ratio, axis=1)[:, None]
    last = np.median(ratio[:, grid[overlap] > _JOINT_FROM], axis=1)[:, None]
    scale_out = level + (last - level) * np.exp((FILL_FROM - grid[red]) / _JOINT_DECAY)
    return (fill[:, joint:] * scale_out).astype(np.float32)


def _unit_level(flux: NDArray[np.floating], overlap: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Scale each spectrum to 1 beside the joint."""
    return flux / np.median(flux[:, overlap].astype(np.float64), axis=1, keepdims=True)
