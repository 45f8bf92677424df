"""The catalogue's S/N, by propagating noise through an ideal extraction, and its inverse."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from drcnet.config import SimulateSettings
from drcnet.errors import ConfigError
from drcnet.instruments import InstrumentProfile
from drcnet.simulate.light import PIVOT, FiberInput, extinction, sensitivity
from drcnet.simulate.sky import SkyModel, smear, telluric_transmission
from drcnet.simulate.spectra import rest_grid

__all__ = ["BANDS", "NoiseModel", "optimal_variance"]

BANDS = {
    "snru": (3700.0, 4000.0),
    "snrg": (4000.0, 5500.0),
    "snrr": (5500.0, 7000.0),
    "snri": (7000.0, 8200.0),
    "snrz": (8200.0, 9100.0),
}
"""Vacuum angstrom over which the median is taken; snrr's is LAMOST's, the others inferred."""

PIXEL = 1e-4
"""Width of a catalogue pixel, dex."""

_RATIO = np.logspace(-8, 8, 321)


def optimal_variance(
    light: NDArray[np.float64],
    background: NDArray[np.float64] | float,
    *,
    fwhm: float,
    wing_fraction: float,
) -> NDArray[np.float64]:
    """Variance of an optimal extraction of one row of a fibre.

    With profile p, variance V = light p + background in each pixel, the variance is
    1 / sum(p^2 / V) (Horne 1986, PASP 98, 609, equation 9).

    Parameters
    ----------
    light : ndarray
        Electrons in the row, of star and sky.
    background : ndarray or float
        Variance of a pixel without the fibre's light: read noise squared and scattered light.
    fwhm : float
        FWHM of the spatial profile, pixels.
    wing_fraction : float
        Share of the light in wings that the extraction's profile does not catch.

    Returns
    -------
    ndarray
        Electrons squared, for the full light of the fibre.
    """
    sigma = fwhm / 2.35482
    edges = np.arange(-16, 18) - 0.5
    curve = []
    for phase in (0.0, 0.25, 0.5):
        core = np.diff(0.5 * (1 + erf((edges - phase) / sigma / np.sqrt(2))))
        middle = edges[:-1] + 0.5 - phase
        wing = fwhm / 2 / np.pi / (middle**2 + (fwhm / 2) ** 2)
        p = (1 - wing_fraction) * core + wing_fraction * wing
        curve.append((p**2 / (p + _RATIO[:, None])).sum(axis=1))
    h = np.mean(curve, axis=0)
    light = np.maximum(light, 1e-6)
    ratio = np.log(np.asarray(background) / light + 1e-12)
    return np.asarray(light / np.exp(np.interp(ratio, np.log(_RATIO), np.log(h))))


@dataclass(frozen=True, eq=False)
class _ArmTerms:
    """Electrons a row of each fibre in one arm, on a coarse grid of wavelengths."""

    star: NDArray[np.float64]  # (n_fiber, n), at scale 1
    sky: NDArray[np.float64]  # (n_fiber, n)
    rows: NDArray[np.float64]  # (n,), rows in a catalogue pixel
    inside: NDArray[np.bool_]  # (n,), whether the arm reaches there
    noise: float  # read noise squared, electrons squared a pixel


@dataclass(frozen=True, eq=False)
class NoiseModel:
    """What it takes to predict the S/N of a co-added spectrum.

    Parameters
    ----------
    profile : InstrumentProfile
        Arms, amplifiers.
    settings : SimulateSettings
        Profile width, wings, scattered light, number of exposures and of sky fibres.
    sky : SkyModel
        Mean sky over the exposures.
    solar : ndarray, shape (n_pix,)
        Solar flux on `rest_grid`.
    seconds : float
        Exposure time of one exposure.
    """

    profile: InstrumentProfile
    settings: SimulateSettings
    sky: SkyModel
    solar: NDArray[np.float32]
    seconds: float

    def snr(
        self, fibers: FiberInput, scale: NDArray[np.float64], band: tuple[float, float]
    ) -> NDArray[np.float64]:
        """Predict the median S/N per 1e-4 dex in a band.

        Parameters
        ----------
        fibers : FiberInput
            Stars; their own `scale` is not used.
        scale : ndarray, shape (n_fiber,)
            Brightness, as in `FiberInput`.
        band : tuple of float
            Vacuum angstrom.

        Returns
        -------
        ndarray, shape (n_fiber,)
            S/N of the sum of all exposures; NaN where no arm reaches the band.
        """
        return self._snr(self._terms(fibers, band), scale)

    def scale_for(self, fibers: FiberInput, target: NDArray[np.float64]) -> NDArray[np.float64]:
        """Find the brightness that gives a wanted snrr.

        Parameters
        ----------
        fibers : FiberInput
            Stars.
        target : ndarray, shape (n_fiber,)
            Wanted snrr; fibres with NaN get brightness 0.

        Returns
        -------
        ndarray, shape (n_fiber,)
            Brightness, as in `FiberInput`.

        Raises
        ------
        ConfigError
            No arm of the instrument reaches the band of snrr.
        """
        terms = self._terms(fibers, BANDS["snrr"])
        if not terms:
            raise ConfigError(
                f"instrument {self.profile.name}", "an arm within 5500-7000 angstrom", "none"
            )
        wanted = np.isfinite(target) & (fibers.throughput > 0)
        low, high = np.full(len(target), -9.0), np.full(len(target), 9.0)  # log10 of the scale
        for _ in range(48):
            middle = (low + high) / 2
            above = self._snr(terms, 10.0**middle) > np.where(wanted, target, 0.0)
            high, low = np.where(above, middle, high), np.where(above, low, middle)
        return np.where(wanted, 10.0 ** ((low + high) / 2), 0.0)

    def _terms(self, fibers: FiberInput, band: tuple[float, float]) -> list[_ArmTerms]:
        """Sample star and sky in each arm that reaches the band."""
        wave = 10.0 ** np.arange(np.log10(band[0]), np.log10(band[1]), 5e-4)
        rest = rest_grid()
        place = np.clip(np.searchsorted(rest, wave), 0, len(rest) - 1)
        stars = fibers.flux[:, place] * wave / PIVOT * extinction(wave, fibers.reddening)
        stars = stars * telluric_transmission(wave, self.sky.airmass)
        glow = self.sky.continuum(wave) + self.sky.moonlight(wave, self.solar[place].astype(float))
        grid = np.arange(band[0] - 60, band[1] + 60, 0.5)
        glow = glow + np.interp(wave, grid, self._lines(grid))
        terms = []
        for name, arm in self.profile.arms.items():
            inside = (wave > arm.wavelength_start) & (wave < arm.wavelength_stop)
            if not inside.any():
                continue
            row = (arm.wavelength_stop - arm.wavelength_start) / (self.profile.n_wave - 1)
            factor = sensitivity(wave, self.profile, name) * row * self.seconds * inside
            share = fibers.throughput[:, None]
            rows = wave * np.log(10.0) * PIXEL / row
            noise = float((self.profile.read_noises(name) ** 2).mean())
            terms.append(
                _ArmTerms(stars * factor * share, glow * factor * share, rows, inside, noise)
            )
        return terms

    def _lines(self, grid: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sky lines at about the instrument's resolution."""
        arms = self.profile.arms.values()
        row = max((a.wavelength_stop - a.wavelength_start) for a in arms) / self.profile.n_wave
        return smear(self.sky.lines(grid), self.settings.wavelength_fwhm * row, grid[1] - grid[0])

    def _snr(self, terms: list[_ArmTerms], scale: NDArray[np.float64]) -> NDArray[np.float64]:
        """Median over the band of the arms' S/N added in quadrature."""
        if not terms:
            return np.full(len(scale), np.nan)
        squared = np.zeros_like(terms[0].star)
        covered = np.any([arm.inside for arm in terms], axis=0)
        n_sky = self.settings.sky_fibers or np.inf
        shape = {"fwhm": self.settings.profile_fwhm, "wing_fraction": self.settings.wing_fraction}
        for arm in terms:
            signal = arm.star * scale[:, None]
            variance = optimal_variance(signal + arm.sky, arm.noise, **shape)
            variance = variance + optimal_variance(arm.sky, arm.noise, **shape) / n_sky
            squared += np.where(arm.inside, arm.rows * signal**2 / variance, 0.0)
        value = np.sqrt(self.settings.exposures * squared)
        return np.asarray(np.median(value[:, covered], axis=1))
