"""Line opacity and radiative transfer: the compiled inner loops of the synthesis."""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from drcnet.simulate.voigt import voigt

__all__ = ["add_lines", "emergent_flux", "smooth"]


@njit(nogil=True, cache=True, fastmath=True)
def add_lines(
    opacity: NDArray[np.float64],
    continuum: NDArray[np.float64],
    layers: tuple[NDArray[np.float64], ...],
    lines: tuple[NDArray, ...],
    grid: tuple[float, float, int, float, float],
) -> None:
    """Add Voigt lines to the opacity, in place.

    Parameters
    ----------
    opacity : ndarray, shape (n_layer, n_fine)
        cm2 per hydrogen nucleus.
    continuum : ndarray, shape (n_layer, n_coarse)
        Continuous opacity, on every so-many-th fine pixel.
    layers : tuple of ndarray, shape (n_layer,)
        Temperature, electrons per cm3, neutral hydrogen per cm3, turbulence in cm/s.
    lines : tuple of ndarray
        Populations (n_species, n_layer) and masses (n_species,), then the fields of a `LineList`.
    grid : tuple
        First wavelength, step in ln(wavelength), fine pixels a coarse pixel, share of the
        continuum below which a wing ends, and the longest reach of a wing in ln(wavelength).
    """
    temperature, electrons, neutral_h, turbulence = layers
    populations, mass, wave, species, energy, log_gf, rad, stark, waals = lines
    start, step, coarse, faint, reach = grid
    n_layer, n_fine = opacity.shape
    for k in range(wave.size):
        position = math.log(wave[k] / start) / step
        middle = int(position + 0.5)
        if middle < 0 or middle >= n_fine:
            continue
        frequency = 2.99792458e18 / wave[k]
        for i in range(n_layer):
            t = temperature[i]
            per_weight = populations[species[k], i]
            thermal = 1.6629e8 * t / mass[species[k]]
            doppler = math.sqrt(thermal + turbulence[i] ** 2) / 2.99792458e10  # v / c
            width = doppler * frequency
            lower = math.exp(2.302585 * log_gf[k] - energy[k] * 11604.5 / t)
            emission = 1.0 - math.exp(-1.43878e8 / (wave[k] * t))
            centre = 0.02654 * per_weight * lower * emission / (1.7724539 * width)
            floor = faint * continuum[i, middle // coarse]
            if centre < floor:
                continue
            damping = 10.0 ** rad[k] + 10.0 ** stark[k] * electrons[i]
            damping += 10.0 ** waals[k] * (t / 1e4) ** 0.38 * neutral_h[i]
            a = damping / (12.566371 * width)
            far = max(math.sqrt(a * centre / (1.77245 * floor)), 4.0) * doppler
            half = int(min(far, reach) / step) + 1
            scale = step / doppler
            for j in range(max(middle - half, 0), min(middle + half + 1, n_fine)):
                v = abs(j - position) * scale
                opacity[i, j] += centre * voigt(a, v)


@njit(nogil=True, cache=True, fastmath=True)
def emergent_flux(
    opacity: NDArray[np.float64],
    depth_scale: tuple[NDArray[np.float64], NDArray[np.float64]],
    source: NDArray[np.float64],
    third: NDArray[np.float64],
    step: float,
) -> NDArray[np.float64]:
    """Integrate 2 S E2(tau) dtau over the layers.

    Parameters
    ----------
    opacity : ndarray, shape (n_layer, n_fine)
        cm2 per hydrogen nucleus.
    depth_scale : tuple of ndarray, shape (n_layer,)
        Reference opacity, and the optical depth counted with it.
    source : ndarray, shape (n_layer, n_coarse)
        Source function on coarse pixels; linear between them.
    third : ndarray, shape (n,)
        E3 at 0, `step`, 2 `step`, ...
    step : float
        Step of that table.

    Returns
    -------
    ndarray, shape (n_fine,)
        Flux, in the units of `source`; S is taken linear in E3 between layers.
    """
    reference, tau = depth_scale
    n_layer, n_fine = opacity.shape
    depth = np.empty(n_fine)
    before = np.empty(n_fine)
    flux = np.zeros(n_fine)
    top = third.size - 1
    coarse = (n_fine - 1) // (source.shape[1] - 1)
    for i in range(n_layer):
        grow = 0.0 if i == 0 else 0.5 * math.log(tau[i] / tau[i - 1])
        for j in range(n_fine):
            ratio = opacity[i, j] / reference[i] * tau[i]
            if i == 0:
                depth[j] = ratio
            else:
                older = opacity[i - 1, j] / reference[i - 1] * tau[i - 1]
                depth[j] += grow * (ratio + older)
            place = min(depth[j] / step, top - 1.0)
            cell = int(place)
            e3 = third[cell] + (place - cell) * (third[cell + 1] - third[cell])
            left = j // coarse
            part = (j - left * coarse) / coarse
            right = min(left + 1, source.shape[1] - 1)
            here = source[i, left] * (1.0 - part) + source[i, right] * part
            if i == 0:
                flux[j] = 2.0 * here * (third[0] - e3)
            else:
                above = source[i - 1, left] * (1.0 - part) + source[i - 1, right] * part
                flux[j] += (above + here) * (before[j] - e3)
            before[j] = e3
    return flux


@njit(nogil=True, cache=True, fastmath=True)
def smooth(
    flux: NDArray[np.float64],
    fine: NDArray[np.float64],
    wavelength: NDArray[np.float64],
    sigma: float,
) -> NDArray[np.float64]:
    """Smooth with a Gaussian of constant width.

    Parameters
    ----------
    flux, fine : ndarray, shape (n_fine,)
        Flux, and its wavelengths, evenly spaced in logarithm.
    wavelength : ndarray, shape (n_pix,)
        Where the smoothed flux is wanted, increasing.
    sigma : float
        Standard deviation, in the unit of the wavelengths.

    Returns
    -------
    ndarray, shape (n_pix,)
        Smoothed flux.
    """
    out = np.empty(wavelength.size)
    lower = 0
    for k in range(wavelength.size):
        while lower < fine.size - 1 and fine[lower] < wavelength[k] - 4.0 * sigma:
            lower += 1
        total = 0.0
        weight = 0.0
        j = lower
        while j < fine.size and fine[j] < wavelength[k] + 4.0 * sigma:
            x = (fine[j] - wavelength[k]) / sigma
            w = math.exp(-0.5 * x * x) * fine[j]
            total += w * flux[j]
            weight += w
            j += 1
        out[k] = total / weight
    return out
