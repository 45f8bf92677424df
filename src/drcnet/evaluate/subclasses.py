"""Subclasses: how far from a border, and how many subclasses off a prediction is at least."""

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["away_from_borders", "subclass_number", "subclasses_off"]

_SEQUENCE = "OBAFGKM"
_TYPE = re.compile(r"^(?:sd|esd|usd|[dg])?[OBAFGKM](\d(?:\.\d+)?)")


def subclass_number(subclass: Iterable[str | None]) -> NDArray[np.float64]:
    """Read the digit of a subclass.

    Parameters
    ----------
    subclass : iterable of str
        Such as 'F5', 'G3', 'A7V', 'dM2', 'Non', '' or None.

    Returns
    -------
    ndarray, shape (n,)
        0 to 9.x; NaN where there is no digit.

    Examples
    --------
    >>> subclass_number(["F5", "A7V", "dM2", "Non"])
    array([ 5.,  7.,  2., nan])
    """
    found = (_TYPE.match(text or "") for text in subclass)
    return np.array([float(m.group(1)) if m else np.nan for m in found])


def away_from_borders(subclass: Iterable[str | None]) -> NDArray[np.bool_]:
    """Find the stars whose class is hardly disputed: subclasses 2 to 7.

    Parameters
    ----------
    subclass : iterable of str
        As for `subclass_number`.

    Returns
    -------
    ndarray, shape (n,), bool
        True for 2 <= number < 8; False where there is no number.
    """
    number = subclass_number(subclass)
    with np.errstate(invalid="ignore"):
        return np.asarray((number >= 2) & (number < 8))


def subclasses_off(
    subclass: Iterable[str | None], true: Iterable[str], predicted: Iterable[str | None]
) -> NDArray[np.float64]:
    """Count how many subclasses a predicted class is off at least.

    A predicted class is a range of ten subclasses; the distance is to its nearest edge, so a
    G0 star called F is 1 off (F9) and one called G is 0 off.

    Parameters
    ----------
    subclass : iterable of str
        The true subclass.
    true, predicted : iterable of str
        Class letters of the sequence O B A F G K M.

    Returns
    -------
    ndarray, shape (n,)
        Subclasses, >= 0; NaN where the subclass has no digit or a class is no letter of the
        sequence.

    Examples
    --------
    >>> subclasses_off(["G0", "F5", "K2"], ["G", "F", "K"], ["F", "F", "F"])
    array([ 1.,  0., 13.])
    """
    place = {letter: 10.0 * i for i, letter in enumerate(_SEQUENCE)}
    start = np.array([place.get(name, np.nan) for name in true])
    target = np.array([place.get(name or "", np.nan) for name in predicted])
    position = start + subclass_number(subclass)
    with np.errstate(invalid="ignore"):
        off = np.maximum(np.maximum(target - position, position - (target + 9.0)), 0.0)
    return np.where(np.isnan(position) | np.isnan(target), np.nan, off)
