"""Cosmic rays in sky fibres: what the bright stars' noise hides, and a faint star's does not.

A ray that stands out of a faint stripe by far drowns in a bright one, and is not there when the
bright star is faded. Sky fibres are as faint as anything, and show what is missing.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "PIXEL_RAYS",
    "RAYS",
    "RAY_SIGMA",
    "differences",
    "fit_sky",
    "missed_rays",
    "struck_pixels",
]

RAYS = 12
"""Remains of cosmic rays held an arm of a sky fibre."""

PIXEL_RAYS = 64
"""Pixels of cosmic rays held a stripe of a sky fibre."""

RAY_SIGMA = 5.0
"""How far a cosmic ray stands out; what does not is noise."""

_STRETCH = 250  # rows over which a level is taken as even
_MAD_TO_SIGMA = 1.4826
_PROFILE_ERROR = 0.1  # of a pixel's light: a profile that is a little off is no ray


def missed_rays(light: NDArray[np.floating], sky: NDArray[np.floating]) -> NDArray[np.float64]:
    """Find what stands out of the spectrum of a sky fibre.

    Parameters
    ----------
    light, sky : ndarray, shape (L,)
        Electrons, and the frame's sky there.

    Returns
    -------
    ndarray, shape (`RAYS`, 2)
        Row and electrons of each, the brightest first; zeros where there are no more.
    """
    weight = 1.0 / np.sqrt(np.maximum(sky, 0.0) + 100.0)
    basis = np.stack([sky, *differences(sky)], axis=1)
    left = light - sky - basis @ fit_sky(light, sky)
    parts = [part - np.nanmedian(part) for part in np.array_split(left, len(left) // _STRETCH + 1)]
    left = np.concatenate(parts)
    spread = _MAD_TO_SIGMA * np.nanmedian(np.abs(left * weight)) / weight
    return _brightest(np.where(left > RAY_SIGMA * spread, left, 0.0), RAYS)


def struck_pixels(
    stripe: NDArray[np.floating], known: NDArray[np.floating], floor: float
) -> NDArray[np.float64]:
    """Find what stands out of the stripe of a sky fibre.

    Parameters
    ----------
    stripe, known : ndarray, shape (S, L)
        Electrons, and what they are expected to be.
    floor : float
        Variance of a pixel without light.

    Returns
    -------
    ndarray, shape (`PIXEL_RAYS`, 2)
        Pixel (row across times L, plus row along) and electrons of each, the brightest first;
        zeros where there are no more.
    """
    apart, sure = np.nan_to_num(stripe - known), np.maximum(known, 0.0)
    noise = np.sqrt(sure + (_PROFILE_ERROR * sure) ** 2 + floor)
    return _brightest(np.where(apart > RAY_SIGMA * noise, apart, 0.0).ravel(), PIXEL_RAYS)


def _brightest(out: NDArray[np.floating], count: int) -> NDArray[np.float64]:
    """Places and values of the greatest, (count, 2); zeros where there are no more above 0."""
    at = np.argsort(-out, kind="stable")[:count]
    return np.stack([np.where(out[at] > 0, at, 0), out[at]], axis=1)


def fit_sky(optimal: NDArray[np.floating], sky: NDArray[np.floating]) -> NDArray[np.floating]:
    """Fit a sky fibre by the frame's sky and its differences, cosmic rays clipped.

    Parameters
    ----------
    optimal, sky : ndarray, shape (L,)
        Electrons, and the frame's sky there.

    Returns
    -------
    ndarray, shape (3,)
        Shares of the sky and of its first and second difference, in what is left of the fibre.
    """
    basis = np.stack([sky, *differences(sky)], axis=1)
    left = optimal - sky
    weight = 1.0 / np.sqrt(np.maximum(sky, 0.0) + 100.0)
    coef = np.zeros(3)
    for _ in range(3):
        away = np.abs(left - basis @ coef) * weight
        use = np.isfinite(away) & (away < 4 * _MAD_TO_SIGMA * np.nanmedian(away))
        coef = np.linalg.lstsq((basis * weight[:, None])[use], (left * weight)[use])[0]
    return coef


def differences(sky: Any) -> tuple[Any, Any]:
    """First and second central differences along the last axis, 0 at the ends.

    Parameters
    ----------
    sky : ndarray or Tensor, shape (..., L)
        Light.

    Returns
    -------
    (ndarray, ndarray) or (Tensor, Tensor), shape (..., L)
        A pixel's change, and the change's change.
    """
    first, second = 0 * sky, 0 * sky
    first[..., 1:-1] = 0.5 * (sky[..., 2:] - sky[..., :-2])
    second[..., 1:-1] = sky[..., 2:] - 2 * sky[..., 1:-1] + sky[..., :-2]
    return first, second
