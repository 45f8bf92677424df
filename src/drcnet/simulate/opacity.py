"""Continuous opacity of a stellar atmosphere, per hydrogen nucleus."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["continuum_opacity", "planck"]

_RYDBERG = 1.0968e-3  # per angstrom
_LOG_E = 0.43429
_IONISATION = 13.598  # eV
_LAST_LINE = 25.0  # upper levels above this are dissolved, so edges begin at that line


def planck(wavelength: NDArray[np.float64], temperature: NDArray[np.float64]) -> NDArray:
    """Evaluate the Planck function per wavelength.

    Parameters
    ----------
    wavelength : ndarray
        Angstrom.
    temperature : ndarray
        Kelvin; broadcast against `wavelength`.

    Returns
    -------
    ndarray
        B_lambda in units of 2 h c^2 (10^4 angstrom)^-5; only ratios are used.
    """
    return (wavelength / 1e4) ** -5 / np.expm1(1.43878e8 / (wavelength * temperature))


def _h_minus_bound_free(wave: NDArray, theta: NDArray) -> NDArray:
    """H- bound-free cm2 per H atom and dyn cm-2 of electrons (Gray 2005, eq. 8.12)."""
    fit = (1.99654, -1.18267e-5, 2.64243e-6, -4.40524e-10, 3.23992e-14, -1.39568e-18, 2.78701e-23)
    cross = np.polynomial.polynomial.polyval(wave, fit) * 1e-18
    cross = np.where(wave < 16200.0, np.maximum(cross, 0.0), 0.0)
    stimulated = 1.0 - 10.0 ** (-theta * 12398.4 / wave)
    return 4.158e-10 * cross * theta**2.5 * 10.0 ** (0.754 * theta) * stimulated


def _h_minus_free_free(wave: NDArray, theta: NDArray) -> NDArray:
    """H- free-free cm2 per H atom and dyn cm-2 of electrons (Gray 2005, eq. 8.13)."""
    x = np.log10(wave)
    f0 = -2.2763 - 1.6850 * x + 0.76661 * x**2 - 0.053346 * x**3
    f1 = 15.2827 - 9.2846 * x + 1.99381 * x**2 - 0.142631 * x**3
    f2 = -197.789 + 190.266 * x - 67.9775 * x**2 + 10.6913 * x**3 - 0.625151 * x**4
    log_theta = np.log10(theta)
    return 1e-26 * 10.0 ** (f0 + f1 * log_theta + f2 * log_theta**2)


def _hydrogen(wave: NDArray, theta: NDArray) -> NDArray:
    """H I bound-free and free-free cm2 per neutral H atom (Gray 2005, eqs. 8.8 and 8.10)."""
    reduced = wave * _RYDBERG
    total = np.zeros(np.broadcast_shapes(wave.shape, theta.shape))
    last = 8
    for n in range(1, last + 1):
        gaunt = 1.0 - 0.3456 / np.cbrt(reduced) * (reduced / n**2 - 0.5)
        excitation = _IONISATION * (1.0 - 1.0 / n**2)
        open_edge = reduced < n**2 / (1.0 - (n / _LAST_LINE) ** 2)
        total = total + np.where(open_edge, gaunt / n**3, 0.0) * 10.0 ** (-theta * excitation)
    above = 10.0 ** (-theta * _IONISATION * (1.0 - 1.0 / (last + 1) ** 2))
    ionised = 10.0 ** (-theta * _IONISATION)
    total = total + _LOG_E / (2.0 * theta * _IONISATION) * (above - ionised)
    photon = 12398.4 / wave
    gaunt = 1.0 + 0.3456 / np.cbrt(reduced) * (_LOG_E / (theta * photon) + 0.5)
    total = total + gaunt * _LOG_E / (2.0 * theta * _IONISATION) * ionised
    return 1.0449e-26 * wave**3 * total * (1.0 - 10.0 ** (-theta * photon))


def continuum_opacity(
    wavelength: NDArray[np.float64],
    temperature: NDArray[np.float64],
    electron_pressure: NDArray[np.float64],
    neutral: NDArray[np.float64],
    *,
    haze: tuple[float, float],
) -> NDArray[np.float64]:
    """Add up the continuous opacity.

    Parameters
    ----------
    wavelength : ndarray, shape (n_wave,)
        Angstrom.
    temperature, electron_pressure : ndarray, shape (n_layer,)
        Kelvin and dyn cm-2.
    neutral : ndarray, shape (n_layer,)
        Atomic neutral hydrogen per hydrogen nucleus.
    haze : tuple of float
        Opacity of metals' edges and of unlisted lines, as a multiple of H- that grows by the
        first number every 1000 angstrom blueward of the second, down to 3600 angstrom (an
        empirical term).

    Returns
    -------
    ndarray, shape (n_layer, n_wave)
        cm2 per hydrogen nucleus; scattering is treated as absorption.
    """
    wave = wavelength[None, :]
    theta = 5040.0 / temperature[:, None]
    pressure = electron_pressure[:, None]
    minus = (_h_minus_bound_free(wave, theta) + _h_minus_free_free(wave, theta)) * pressure
    minus = minus * (1.0 + haze[0] * np.maximum(haze[1] - np.maximum(wave, 3600.0), 0.0) / 1000.0)
    # Rayleigh scattering on H (Dalgarno 1962) and Thomson scattering.
    rayleigh = 5.799e-13 / wave**4 + 1.422e-6 / wave**6 + 2.784 / wave**8
    electrons = 1.0 - neutral[:, None]
    per_neutral = minus + _hydrogen(wave, theta) + rayleigh
    return neutral[:, None] * per_neutral + 6.65e-25 * np.maximum(electrons, 1e-6)
