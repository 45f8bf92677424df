"""Numba kernels of the simulator: the per-pixel work of a frame."""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["WINDOW", "paint_fibers", "paint_tracks", "poisson_from_normal"]

WINDOW = 40
"""Pixels on each side of a trace that its profile reaches."""

CORE_SIGMAS = 5.0
"""Reach of the Gaussian core, in standard deviations."""


@njit(cache=True)
def paint_fibers(
    image: NDArray[np.float32],
    centers: NDArray[np.float64],
    fwhm: NDArray[np.float64],
    light: NDArray[np.float32],
    wing_fraction: float,
) -> None:
    """Add fibres to an image along their traces.

    Parameters
    ----------
    image : ndarray, shape (n_spatial, n_wave), float32
        Electrons; changed in place.
    centers, fwhm : ndarray, shape (n_fiber, n_wave)
        Centres and FWHM, pixels.
    light : ndarray, shape (n_fiber, n_wave), float32
        Electrons of each fibre and row.
    wing_fraction : float
        Share of the light in Lorentzian wings of the same FWHM.
    """
    n_spatial = image.shape[0]
    for f in range(light.shape[0]):
        for t in range(light.shape[1]):
            total = light[f, t]
            if total == 0.0:
                continue
            center = centers[f, t]
            middle = math.floor(center + 0.5)
            sigma = fwhm[f, t] / 2.3548200450309493
            scale = 1.0 / (sigma * 1.4142135623730951)
            reach = int(CORE_SIGMAS * sigma) + 1
            core = 0.5 * total * (1.0 - wing_fraction)
            first = max(middle - reach, 0)
            last = min(middle + reach, n_spatial - 1)
            lower = math.erf((first - 0.5 - center) * scale)
            for x in range(first, last + 1):
                upper = math.erf((x + 0.5 - center) * scale)
                image[x, t] += core * (upper - lower)
                lower = upper
            if wing_fraction > 0.0:
                gamma2 = 0.25 * fwhm[f, t] * fwhm[f, t]
                wing = total * wing_fraction * 0.5 * fwhm[f, t] / math.pi
                for x in range(max(middle - WINDOW, 0), min(middle + WINDOW, n_spatial - 1) + 1):
                    d = x - center
                    image[x, t] += wing / (d * d + gamma2)


@njit(cache=True)
def poisson_from_normal(
    mean: NDArray[np.float32], normal: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Turn one normal number a pixel into one Poisson number a pixel.

    Below a mean of 12 the Poisson distribution is inverted exactly; above, the normal is bent
    by the first Cornish-Fisher term (Cornish & Fisher 1938), which keeps mean, variance (to
    1/(18 mean)) and skewness.

    Parameters
    ----------
    mean : ndarray, shape (n, m), float32
        Means, not negative.
    normal : ndarray, shape (n, m), float32
        Standard normal numbers.

    Returns
    -------
    ndarray, shape (n, m), float32
        Whole numbers.
    """
    counts = np.empty_like(mean)
    for i in range(mean.shape[0]):
        for j in range(mean.shape[1]):
            lam = mean[i, j]
            z = normal[i, j]
            if lam >= 12.0:
                value = lam + math.sqrt(lam) * z + (z * z - 1.0) / 6.0
                counts[i, j] = max(math.floor(value + 0.5), 0.0)
                continue
            u = 0.5 * math.erfc(-z * 0.7071067811865476)
            term = math.exp(-lam)
            total = term
            k = 0
            while u > total and k < 80:
                k += 1
                term *= lam / k
                total += term
            counts[i, j] = k
    return counts


@njit(cache=True)
def paint_tracks(
    image: NDArray[np.float32],
    start: NDArray[np.float64],
    angle: NDArray[np.float64],
    length: NDArray[np.float64],
    charge: NDArray[np.float64],
) -> None:
    """Add straight tracks of charge to an image.

    Parameters
    ----------
    image : ndarray, shape (n_spatial, n_wave), float32
        Electrons; changed in place.
    start : ndarray, shape (n_track, 2)
        Where tracks begin, pixels.
    angle, length, charge : ndarray, shape (n_track,)
        Direction (radian), length (pixels) and electrons per pixel of length.
    """
    n_spatial, n_wave = image.shape
    step = 0.25
    for k in range(len(angle)):
        dx, dy = math.cos(angle[k]), math.sin(angle[k])
        for s in range(int(length[k] / step) + 1):
            x = start[k, 0] + dx * s * step
            y = start[k, 1] + dy * s * step
            # charge spreads by diffusion: share it between the four nearest pixels
            x0, y0 = math.floor(x), math.floor(y)
            fx, fy = x - x0, y - y0
            for i in range(2):
                for j in range(2):
                    if 0 <= x0 + i < n_spatial and 0 <= y0 + j < n_wave:
                        weight = (fx if i else 1.0 - fx) * (fy if j else 1.0 - fy)
                        image[x0 + i, y0 + j] += charge[k] * step * weight
