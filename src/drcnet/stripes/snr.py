"""From S/N measured here, a pixel and an exposure, to what the catalogue calls `snrr`."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from drcnet.stripes.measure import ArmStripes
from drcnet.stripes.polynomial import chebyshev_basis

__all__ = [
    "BAND",
    "PIXEL",
    "combined_snr",
    "measured_snrr",
    "pixel_snr",
    "whole_profile",
    "without_sky",
]

BAND = (5500.0, 7000.0)
"""Vacuum angstrom over which the median is taken."""
PIXEL = 1e-4
"""Width of a catalogue pixel, dex."""

_RATIO = np.logspace(-4, 6, 61)  # light of a row over the read noise squared of a pixel
_PHASES = (-0.4, -0.2, 0.0, 0.2, 0.4)  # centre of the trace less that of its pixel
_REACH = 16  # pixels on each side that hold all of a profile
_FWHM_TO_SIGMA = 2.354820045

_STEP = 5e-4  # dex: some thirty catalogue pixels a hundred angstrom are enough for a median


def pixel_snr(
    light: NDArray[np.floating],
    ivar: NDArray[np.floating],
    wavelength: NDArray[np.floating],
    grid: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Squared S/N a catalogue pixel of one arm of one exposure.

    A catalogue pixel holds several rows; their squared S/N add up.

    Parameters
    ----------
    light, ivar : ndarray, shape (n, rows)
        Sky-subtracted light and the inverse variance of that.
    wavelength : ndarray, shape (n, rows)
        Vacuum angstrom, increasing.
    grid : ndarray, shape (n_bin + 1,)
        Edges of the bins to average over, angstrom.

    Returns
    -------
    ndarray, shape (n, n_bin)
        Squared S/N a catalogue pixel, the mean over each bin; 0 where the arm does not reach or
        fewer than half of a bin's rows are good. Negative where the mean light is.
    """
    n, n_bin = len(light), len(grid) - 1
    found = np.zeros((n, n_bin))
    for fiber in range(n):
        place = np.searchsorted(grid, wavelength[fiber]) - 1
        inside = (place >= 0) & (place < n_bin)
        good = inside & (ivar[fiber] > 0) & np.isfinite(light[fiber])
        seen = np.bincount(place[inside], minlength=n_bin)
        used = np.bincount(place[good], minlength=n_bin)
        count = np.maximum(used, 1)
        value, weight = light[fiber, good], ivar[fiber, good]
        # Mean light over mean error: the noise of a single row must not count as signal.
        mean = np.bincount(place[good], value, minlength=n_bin) / count
        spread = np.bincount(place[good], 1.0 / weight, minlength=n_bin) / count
        step = np.gradient(np.log10(wavelength[fiber]))
        dex = np.bincount(place[good], step[good], minlength=n_bin) / count
        full = (used > 0) & (2 * used >= seen)
        safe = np.where(full, spread * dex, 1.0)
        found[fiber] = np.where(full, np.sign(mean) * mean**2 * PIXEL / safe, 0.0)
    return found


def combined_snr(
    light: Sequence[NDArray[np.floating]],
    ivar: Sequence[NDArray[np.floating]],
    wavelength: Sequence[NDArray[np.floating]],
    *,
    band: tuple[float, float] = BAND,
) -> NDArray[np.float64]:
    """S/N in the catalogue's meaning: median a 1e-4 dex over a band, all exposures together.

    Where no arm sees a part of the band (LAMOST's arms meet inside it, and the rows kept end
    before), what lies on both sides is interpolated, so that the median is not that of the
    brighter part alone.

    Parameters
    ----------
    light, ivar : sequence of ndarray, each of shape (n, rows)
        Sky-subtracted light and its inverse variance (that of the sky included), one entry an
        arm and exposure; rows of all entries are the same stars.
    wavelength : sequence of ndarray, each of shape (n, rows)
        Vacuum angstrom.
    band : tuple of float
        Vacuum angstrom; 5500 to 7000 is `snrr`.

    Returns
    -------
    ndarray, shape (n,)
        NaN where no entry reaches the band.

    Examples
    --------
    >>> wave = np.linspace(5500, 7000, 1500)[None]
    >>> light, ivar = np.full((1, 1500), 50.0), np.full((1, 1500), 0.01)
    >>> snr = combined_snr([light] * 4, [ivar] * 4, [wave] * 4)  # four exposures of S/N 5 a row
    >>> float(np.round(snr[0] / np.sqrt(4 * 25.0 * 6250 * np.log(10) * 1e-4), 2))
    1.0
    """
    low, high = np.log10(band[0]), np.log10(band[1])
    grid = 10.0 ** np.linspace(low, high, round((high - low) / _STEP) + 1)
    squared = np.zeros((len(light[0]), len(grid) - 1))
    seen = np.zeros(squared.shape, dtype=bool)
    for one, weight, wave in zip(light, ivar, wavelength, strict=True):
        part = pixel_snr(one, weight, wave, grid)
        squared += part
        seen |= part != 0.0
    known = seen.any(axis=1)
    snr = np.full(len(squared), np.nan)
    for fiber in np.flatnonzero(known):
        bins = np.flatnonzero(seen[fiber])
        every = np.interp(np.arange(squared.shape[1]), bins, squared[fiber, bins])
        middle = np.median(every)
        snr[fiber] = np.sign(middle) * np.sqrt(np.abs(middle))
    return snr


def without_sky(arm: ArmStripes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Take the sky off the optimal extraction; its own error adds to the variance.

    Parameters
    ----------
    arm : ArmStripes
        One arm of one exposure.

    Returns
    -------
    light, ivar : ndarray, shape (n, rows)
        Sky-subtracted light and its inverse variance; as they were where there is no sky.
    """
    light, ivar = arm.optimal.astype(np.float64), arm.optimal_ivar.astype(np.float64)
    used = arm.sky_fibers & (arm.optimal_ivar > 0).any(axis=1)
    if not used.any():
        return light, ivar
    own = np.where(ivar[used] > 0, 1.0 / np.where(ivar[used] > 0, ivar[used], 1.0), np.nan)
    seen = np.isfinite(own).any(axis=0)
    spread = np.zeros(light.shape[1])
    spread[seen] = np.nanmean(own[:, seen], axis=0) / used.sum()
    level = np.maximum(np.median(arm.sky[used], axis=0), 1e-6)
    relative = np.nan_to_num(arm.sky / level)
    error = spread * relative**2
    sky = np.nan_to_num(arm.sky.astype(np.float64))
    return light - sky, np.where(ivar > 0, ivar / (1.0 + ivar * error), 0.0)


def whole_profile(
    light: NDArray[np.floating],
    read_noise: NDArray[np.floating],
    fwhm: NDArray[np.floating],
    width: int,
) -> NDArray[np.float64]:
    """Tell what an extraction of the whole profile gains over one of the stripe.

    A stripe of 11 pixels holds 93% of a fibre's light at a FWHM of 7 pixels, so that a bright
    star's S/N is 3.5% below what all its electrons would give, which is what a catalogue states.
    With profile p and variance V = light p + read noise squared, the squared S/N is proportional
    to the sum of p^2 / V over the pixels (Horne 1986, PASP 98, 609, equation 9).

    Parameters
    ----------
    light : ndarray, shape (n, rows)
        Light of star and sky, electrons a row.
    read_noise : ndarray, shape (n,)
        Electrons.
    fwhm : ndarray, shape (n,)
        Of the profile, taken as Gaussian, pixels.
    width : int
        Pixels across the stripe.

    Returns
    -------
    ndarray, shape (n, rows)
        Factor on the inverse variance, 1 or more.

    Examples
    --------
    >>> bright, quiet = np.full((1, 1), 1e6), np.ones(1)
    >>> float(np.round(whole_profile(bright, quiet, 7 * quiet, 11)[0, 0], 2))  # 1 / 0.935
    1.07
    """
    half = _REACH * max(1.0, float(np.nanmax(fwhm, initial=1.0)) / 7.0)
    pixel = np.arange(-np.ceil(half), np.ceil(half) + 1)
    inside = np.abs(pixel) <= width // 2
    ratio = np.log(np.maximum(light, 1e-6) / np.square(read_noise)[:, None])
    gain = np.ones(light.shape)
    for fiber in np.flatnonzero(np.isfinite(fwhm) & (fwhm > 0)):
        scale = np.sqrt(2.0) * fwhm[fiber] / _FWHM_TO_SIGMA
        edges = (pixel[:, None] - np.array(_PHASES)) / scale
        share = 0.5 * (erf(edges + 0.5 / scale) - erf(edges - 0.5 / scale))
        weight = share**2 / (_RATIO[:, None, None] * share + 1.0)
        curve = (weight.sum(axis=1) / weight[:, inside].sum(axis=1)).mean(axis=1)
        gain[fiber] = np.interp(ratio[fiber], np.log(_RATIO), curve)
    return gain


def measured_snrr(
    arms: Sequence[ArmStripes], *, row_start: int, n_wave: int
) -> NDArray[np.float64]:
    """Measure S/N in the catalogue's meaning on the arms of one or more exposures.

    Parameters
    ----------
    arms : sequence of ArmStripes
        Both arms of every exposure of the same stars, in any order.
    row_start : int
        Frame row of the stripes' first row.
    n_wave : int
        Rows of a frame.

    Returns
    -------
    ndarray, shape (n,)
        As `combined_snr`, for an extraction of the whole profile.
    """
    clean = [without_sky(arm) for arm in arms]
    weights, waves = [], []
    for arm, (_, ivar) in zip(arms, clean, strict=True):
        width = arm.stripes.shape[1]
        weights.append(ivar * whole_profile(arm.optimal, arm.read_noise, arm.fwhm, width))
        rows = row_start + np.arange(arm.optimal.shape[1])
        waves.append(arm.wavelength @ chebyshev_basis(rows, n_wave, arm.wavelength.shape[1] - 1))
    return combined_snr([light for light, _ in clean], weights, waves)
