"""Stark-broadened hydrogen lines: Balmer and Paschen series."""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["add_hydrogen", "oscillator_strength", "vacuum_wavelength"]

_RYDBERG = 109677.583  # of hydrogen, cm-1
_STARK_K = {(2, 3): 0.00902, (2, 4): 0.01772, (2, 5): 0.02507}
_SELF = {(2, 3): -7.13, (2, 4): -6.79, (2, 5): -6.52}
_LAST = 25  # beyond, the levels dissolve; the continuum begins there (`opacity.py`)
_FAINT = 5e-4


def vacuum_wavelength(lower: int, upper: int) -> float:
    """Locate a line.

    Parameters
    ----------
    lower, upper : int
        Principal quantum numbers.

    Returns
    -------
    float
        Vacuum angstrom.
    """
    return 1e8 / (_RYDBERG * (1.0 / lower**2 - 1.0 / upper**2))


def oscillator_strength(lower: int, upper: int) -> float:
    """Evaluate the absorption oscillator strength.

    Parameters
    ----------
    lower, upper : int
        Principal quantum numbers; lower 2 or more.

    Returns
    -------
    float
        f, after Johnson (1972, ApJ 174, 227), good to a per cent.
    """
    n = lower
    x = 1.0 - (n / upper) ** 2
    if n == 2:
        gaunt = (1.0785, -0.2319, 0.02947)
    else:
        gaunt = (
            0.9935 + 0.2328 / n - 0.1296 / n**2,
            -(0.6282 - 0.5598 / n + 0.5299 / n**2) / n,
            (0.3887 - 1.181 / n + 1.470 / n**2) / n**2,
        )
    factor = gaunt[0] + gaunt[1] / x + gaunt[2] / x**2
    return 32.0 / (3.0 * math.sqrt(3.0) * math.pi) * n / upper**3 / x**3 * factor


def _stark_constant(lower: int, upper: int) -> float:
    """Stark scale K (angstrom per unit normal field) of a line."""
    if (lower, upper) in _STARK_K:
        return _STARK_K[lower, upper]
    n, m = lower, upper
    return 5.5e-5 * n**4 * m**4 / (m**2 - n**2) / (1.0 + 0.13 / (m - n))


def _series() -> NDArray[np.float64]:
    """All lines as rows: wavelength, lower energy (eV), log gf, K, self-broadening."""
    rows = []
    for n in (2, 3):
        for m in range(n + 1, _LAST + 1):
            energy = 13.598 * (1.0 - 1.0 / n**2)
            gf = 2.0 * n**2 * oscillator_strength(n, m)
            width = 10.0 ** _SELF[n, m] if (n, m) in _SELF else 0.0
            rows.append((vacuum_wavelength(n, m), energy, gf, _stark_constant(n, m), width))
    return np.array(rows)


@njit(nogil=True, cache=True, fastmath=True)
def _add(
    opacity: NDArray[np.float64],
    continuum: NDArray[np.float64],
    layers: tuple[NDArray[np.float64], ...],
    lines: NDArray[np.float64],
    grid: tuple[float, float, int],
) -> None:
    temperature, electrons, neutral_h, turbulence, excitation, ground = layers
    start, step, coarse = grid
    n_layer, n_fine = opacity.shape
    for k in range(lines.shape[0]):
        wave, energy, gf, stark, own = lines[k]
        middle = math.floor(math.log(wave / start) / step + 0.5)
        if middle < -4000 or middle > n_fine + 4000:
            continue
        inside = min(max(middle, 0), n_fine - 1)
        for i in range(n_layer):
            t = temperature[i]
            field = 1.25e-9 * electrons[i] ** (2.0 / 3.0)
            w = 4.0 * stark * field
            doppler = wave * math.sqrt(1.6629e8 * t / 1.008 + turbulence[i] ** 2) / 2.99792e10
            emission = 1.0 - math.exp(-1.43878e8 / (wave * t))
            lower = ground[i] * gf * math.exp(-energy * 11604.5 / excitation[i]) * emission
            # per angstrom: 0.02654 lambda^2 / c, c in angstrom/s
            total = 0.02654 * lower * wave * wave / 2.99792458e18
            lorentz = own * neutral_h[i] / 12.566371 * wave * wave / 2.99792458e18
            floor = _FAINT * continuum[i, inside // coarse]
            stark_reach = w * (0.748 * total / (w * floor)) ** 0.4
            self_reach = math.sqrt(lorentz * total / (3.14159 * floor))
            # What the Stark wing, softened by Doppler motion, leaves is a Doppler core.
            soft = 2.175625 / (2.175625 + doppler * doppler / (w * w))
            core = (1.0 - soft**0.75) / (1.7724539 * doppler)
            far = min(max(stark_reach, self_reach), 0.06 * wave)
            half = int(far / wave / step) + 1
            for j in range(max(middle - half, 0), min(middle + half + 1, n_fine)):
                distance = start * math.exp(step * j) - wave
                beta2 = (distance * distance + doppler * doppler) / (w * w) + 2.175625
                phi = 0.748 / (beta2 * math.sqrt(math.sqrt(beta2)) * w)
                x2 = distance * distance / (doppler * doppler)
                if x2 < 25.0:
                    phi += core * math.exp(-x2)
                phi += lorentz / (3.14159 * (distance**2 + lorentz**2 + doppler**2))
                opacity[i, j] += total * phi


def add_hydrogen(
    opacity: NDArray[np.float64],
    continuum: NDArray[np.float64],
    layers: tuple[NDArray[np.float64], ...],
    ground: NDArray[np.float64],
    grid: tuple[float, float, int],
) -> None:
    """Add the Balmer and Paschen lines to the opacity, in place.

    Parameters
    ----------
    opacity : ndarray, shape (n_layer, n_fine)
        cm2 per hydrogen nucleus.
    continuum : ndarray, shape (n_layer, n_coarse)
        Continuous opacity, on every so-many-th fine pixel.
    layers : tuple of ndarray, shape (n_layer,)
        Temperature, electrons per cm3, neutral hydrogen per cm3, turbulence in cm/s, and the
        temperature at which hydrogen is excited.
    ground : ndarray, shape (n_layer,)
        Neutral hydrogen per nucleus, over its partition function.
    grid : tuple
        First wavelength, step in ln(wavelength), fine pixels a coarse pixel.

    Notes
    -----
    phi = 0.748 (beta^2 + 1.475^2)^-1.25 / w per angstrom, w = 4 K F0, F0 = 1.25e-9 Ne^(2/3): the
    Holtsmark -5/2 wing with a flat core that keeps the profile normalised, K from Underhill &
    Waddell (1959); self-broadening of the first three Balmer lines as Lorentzians.
    """
    _add(opacity, continuum, (*layers, ground), _series(), grid)
