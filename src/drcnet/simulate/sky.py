"""The night sky and the air: continuum, airglow and street-lamp lines, moonlight, telluric bands.

Rates are electrons per second and angstrom of a fibre of throughput 1, at sensitivity 1.
"""

from dataclasses import dataclass
from importlib import resources

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

__all__ = [
    "FULL_MOON",
    "SkyModel",
    "arc_lines",
    "lines_on_grid",
    "sky_lines",
    "smear",
    "telluric_transmission",
]

Spectrum = NDArray[np.float64]

DARK_SKY = 0.10
"""Continuum of a dark sky at 5500 angstrom, electrons a second and angstrom: a 3.3 arcsec fibre
on a 4 m telescope of 4% throughput under V = 21 mag/arcsec2 gives about this (estimated)."""

FULL_MOON = 8.0
"""Moonlight of the full moon, in units of the dark continuum at 5500 angstrom: the V sky at
full moon is 2 to 3 mag brighter (Krisciunas & Schaefer 1991, PASP 103, 1033)."""

# wavelength and relative photon flux of a moonless sky; after Hanuschik 2003, A&A 407, 1157
_CONTINUUM = np.array(
    [
        (3500, 0.9), (3900, 0.9), (4500, 0.9), (5000, 0.92), (5500, 1.0), (5900, 1.12),
        (6200, 1.1), (6800, 1.0), (7500, 1.05), (8300, 1.1), (9300, 1.2),
    ]
)  # fmt: skip

_BANDS = (  # start and stop of heads, depth at airmass 1, tail (angstrom): O2 and H2O
    (6280.0, 6320.0, 0.06, 12.0),  # O2 gamma
    (6472.0, 6580.0, 0.03, 45.0),  # H2O
    (6868.0, 6965.0, 0.33, 32.0),  # O2 B
    (7165.0, 7340.0, 0.16, 80.0),  # H2O
    (7594.0, 7705.0, 0.72, 36.0),  # O2 A
    (8130.0, 8345.0, 0.18, 90.0),  # H2O
    (8940.0, 9240.0, 0.20, 130.0),  # H2O
)


def _read_lines(name: str) -> pl.DataFrame:
    text = (resources.files("drcnet.instruments") / name).read_text(encoding="utf-8")
    return pl.read_csv(text.encode())


def sky_lines() -> pl.DataFrame:
    """Read the shipped night-sky lines.

    Air wavelengths of Osterbrock et al. 1996 (PASP 108, 277) and Osterbrock & Martel 1992
    (PASP 104, 76), taken to vacuum with the formula of Morton (2000, ApJS 130, 403); strengths
    are our rounding, in angstrom of dark continuum.

    Returns
    -------
    DataFrame
        Columns `wavelength_vacuum` (angstrom), `species`, `strength`.
    """
    return _read_lines("sky_lines.csv")


def arc_lines() -> pl.DataFrame:
    """Read the shipped lines of Hg, Cd, Ne, Ar and Kr lamps.

    Air wavelengths as listed by NIST (Kramida et al., Atomic Spectra Database; Saloman &
    Sansonetti 2004 for Ne, Saloman 2007 and 2010 for Kr and Ar), taken to vacuum; strengths are
    our guess of a lamp seen through a spectrograph, arbitrary units.

    Returns
    -------
    DataFrame
        Columns `wavelength_vacuum` (angstrom), `species`, `strength`.
    """
    return _read_lines("arc_lines.csv")


def lines_on_grid(lines: pl.DataFrame, grid: Spectrum) -> Spectrum:
    """Put lines on an even grid, keeping strength and centroid.

    Parameters
    ----------
    lines : DataFrame
        Columns `wavelength_vacuum` and `strength`.
    grid : ndarray, shape (n,)
        Even vacuum wavelengths, angstrom.

    Returns
    -------
    ndarray, shape (n,)
        Strength per angstrom; its sum times the step is the sum of the strengths on the grid.
    """
    step = grid[1] - grid[0]
    place = (lines["wavelength_vacuum"].to_numpy() - grid[0]) / step
    strength = lines["strength"].to_numpy().astype(float)
    inside = (place >= 0) & (place < len(grid) - 1)
    left = place[inside].astype(int)
    part = place[inside] - left
    density = np.zeros(len(grid))
    np.add.at(density, left, strength[inside] * (1 - part) / step)
    np.add.at(density, left + 1, strength[inside] * part / step)
    return density


def smear(spectrum: Spectrum, fwhm: float, step: float) -> Spectrum:
    """Convolve with a Gaussian.

    Parameters
    ----------
    spectrum : ndarray, shape (..., n)
        On an even grid.
    fwhm : float
        FWHM in the units of `step`; 0 or less changes nothing.
    step : float
        Grid step.

    Returns
    -------
    ndarray, shape (..., n)
        The smeared spectrum.
    """
    if fwhm <= 0:
        return spectrum
    return np.asarray(gaussian_filter1d(spectrum, fwhm / 2.35482 / step, axis=-1, mode="nearest"))


def telluric_transmission(wave: Spectrum, airmass: float) -> Spectrum:
    """Transmission of the oxygen and water bands of the air, as simple shapes.

    A band sets in sharply at its head and fades exponentially; depth follows Beer's law.

    Parameters
    ----------
    wave : ndarray
        Vacuum angstrom, as seen from the ground.
    airmass : float
        Airmass.

    Returns
    -------
    ndarray
        Between 0 and 1, of the shape of `wave`.
    """
    depth = np.zeros_like(wave)
    for start, stop, strength, tail in _BANDS:
        inside = (wave >= start) & (wave < stop)
        shape = np.exp(-(wave - start) / tail)
        depth += np.where(inside, -np.log1p(-strength) * shape, 0.0)
    return np.asarray(np.exp(-airmass * depth))


@dataclass(frozen=True, eq=False)
class SkyModel:
    """The sky over one exposure.

    Parameters
    ----------
    level : float
        Continuum and lines relative to a dark site.
    moon : float
        Moonlight as a fraction of full moon.
    airglow : float
        Strength of the airglow lines relative to their mean.
    airmass : float
        Airmass of the field.
    """

    level: float
    moon: float
    airglow: float = 1.0
    airmass: float = 1.2

    def continuum(self, wave: Spectrum) -> Spectrum:
        """Compute the continuum without the moon.

        Parameters
        ----------
        wave : ndarray
            Vacuum angstrom.

        Returns
        -------
        ndarray
            Electrons a second and angstrom.
        """
        return DARK_SKY * self.level * np.interp(wave, _CONTINUUM[:, 0], _CONTINUUM[:, 1])

    def lines(self, grid: Spectrum) -> Spectrum:
        """Compute the unbroadened lines.

        Parameters
        ----------
        grid : ndarray, shape (n,)
            Even vacuum angstrom.

        Returns
        -------
        ndarray, shape (n,)
            Electrons a second and angstrom.
        """
        table = sky_lines()
        lamp = (pl.col("species") == "Hg I") | (pl.col("species") == "Na I")
        factor = pl.when(lamp).then(1.0).otherwise(self.airglow)
        table = table.with_columns(strength=pl.col("strength") * factor)
        return DARK_SKY * self.level * lines_on_grid(table, grid)

    def moonlight(self, wave: Spectrum, solar: Spectrum) -> Spectrum:
        """Compute scattered moonlight: sunlight, bluer by the scattering.

        Parameters
        ----------
        wave : ndarray
            Vacuum angstrom.
        solar : ndarray
            Solar flux per angstrom at `wave`; 1 around 6000 angstrom.

        Returns
        -------
        ndarray
            Electrons a second and angstrom.
        """
        bluer = (wave / 5500.0) ** -1.3
        photons = solar * wave / 5500.0
        return DARK_SKY * FULL_MOON * self.moon * photons * bluer
