"""From spectra to electrons: what each fibre of one exposure sends to each row of a chip."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from drcnet.frames.velocity import LIGHT_SPEED
from drcnet.instruments import InstrumentProfile
from drcnet.simulate.optics import Traces
from drcnet.simulate.sky import (
    SkyModel,
    arc_lines,
    lines_on_grid,
    smear,
    telluric_transmission,
)
from drcnet.simulate.spectra import rest_grid

__all__ = [
    "Camera",
    "FiberInput",
    "arc_light",
    "extinction",
    "flat_light",
    "object_light",
    "sensitivity",
]

PIVOT = 6250.0
"""Angstrom at which brightness is given: the middle of 5500-7000."""

# wavelength and electrons per photon, relative; tuned until the S/N along wavelength followed
# that of LAMOST spectra with snrr 40-400; the dip at 5900 is the dichroic
_SENSITIVITY = np.array(
    [
        (3500, 0.05), (3700, 0.09), (3800, 0.16), (3900, 0.25), (4000, 0.36), (4200, 0.49),
        (4400, 0.56), (4600, 0.70), (4800, 0.84), (5000, 0.84), (5200, 0.81), (5400, 0.77),
        (5600, 0.65), (5700, 0.58), (5800, 0.57), (5900, 0.48), (5950, 0.62), (6000, 0.80),
        (6100, 1.0), (6300, 1.12), (6500, 1.36), (6700, 1.48), (7000, 1.55), (7400, 1.52),
        (7800, 1.20), (8200, 1.05), (8600, 0.75), (8800, 0.64), (9050, 0.52), (9300, 0.38),
    ]
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class FiberInput:
    """What the fibres of one exposure looked at; a star's row is zero for sky and dead fibres.

    Parameters
    ----------
    flux : ndarray, shape (n_fiber, n_pix)
        Stellar flux per angstrom on `rest_grid`; the median over 5500-7000 angstrom is 1.
    scale : ndarray, shape (n_fiber,)
        Electrons a second and angstrom of the star at 6250 angstrom, at sensitivity and
        throughput 1.
    velocity : ndarray, shape (n_fiber,)
        Radial velocity as seen from the ground, km/s.
    reddening : ndarray, shape (n_fiber,)
        E(B-V), magnitudes.
    throughput : ndarray, shape (n_fiber,)
        Fibre throughput around 1; 0 for a dead fibre.
    fwhm : float
        Resolution that `flux` already has, FWHM in angstrom.
    """

    flux: NDArray[np.float32]
    scale: NDArray[np.float64]
    velocity: NDArray[np.float64]
    reddening: NDArray[np.float64]
    throughput: NDArray[np.float64]
    fwhm: float


@dataclass(frozen=True, eq=False)
class Camera:
    """One arm's camera during one exposure.

    Parameters
    ----------
    profile : InstrumentProfile
        The instrument.
    arm : str
        'blue' or 'red'.
    fwhm : float
        Line spread along wavelength, FWHM in pixels.
    seconds : float
        Exposure time.
    """

    profile: InstrumentProfile
    arm: str
    fwhm: float
    seconds: float

    def grid(self, wave: NDArray[np.float64]) -> NDArray[np.float64]:
        """Make an even, fine grid that covers all fibres.

        Parameters
        ----------
        wave : ndarray, shape (n_fiber, n_wave)
            Vacuum angstrom.

        Returns
        -------
        ndarray, shape (n,)
            Vacuum angstrom, a fifth of a pixel a step.
        """
        step = float(np.abs(np.gradient(wave, axis=1)).mean())
        margin = 6 * self.fwhm * step
        return np.arange(wave.min() - margin, wave.max() + margin, step / 5)


def sensitivity(
    wave: NDArray[np.float64], profile: InstrumentProfile, arm: str
) -> NDArray[np.float64]:
    """Electrons per photon of one arm, relative to 1 around 6100 angstrom.

    Parameters
    ----------
    wave : ndarray
        Vacuum angstrom.
    profile : InstrumentProfile
        The instrument; the dichroic lies midway where its arms overlap.
    arm : str
        'blue' or 'red'.

    Returns
    -------
    ndarray
        Of the shape of `wave`.
    """
    whole = np.interp(wave, _SENSITIVITY[:, 0], _SENSITIVITY[:, 1])
    if not {"blue", "red"} <= set(profile.arms):
        return np.asarray(whole)
    middle = (profile.arms["blue"].wavelength_stop + profile.arms["red"].wavelength_start) / 2
    red = 1.0 / (1.0 + np.exp(-(wave - middle) / 35.0))
    return np.asarray(whole * (red if arm == "red" else 1.0 - red))


def extinction(wave: NDArray[np.float64], reddening: NDArray[np.float64]) -> NDArray[np.float64]:
    """Transmission of interstellar dust, 1 at 6250 angstrom.

    Cardelli, Clayton & Mathis 1989 (ApJ 345, 245), equations 3a and 3b, R_V = 3.1.

    Parameters
    ----------
    wave : ndarray, shape (..., n)
        Vacuum angstrom.
    reddening : ndarray, shape (...)
        E(B-V), magnitudes.

    Returns
    -------
    ndarray, shape (..., n)
        Factor on the flux.
    """
    r_v = 3.1

    def curve(angstrom: NDArray[np.float64]) -> NDArray[np.float64]:
        y = 1e4 / angstrom - 1.82
        a = np.polyval([0.32999, -0.77530, 0.01979, 0.72085, -0.02427, -0.50447, 0.17699, 1.0], y)
        b = np.polyval([-2.09002, 5.30260, -0.62251, -5.38434, 1.07233, 2.28305, 1.41338, 0.0], y)
        return np.asarray(a + b / r_v)

    relative = curve(np.asarray(wave)) - curve(np.array(PIVOT))
    return np.asarray(10.0 ** (-0.4 * r_v * np.asarray(reddening)[..., None] * relative))


def object_light(
    fibers: FiberInput,
    traces: Traces,
    sky: SkyModel,
    solar: NDArray[np.float32],
    camera: Camera,
) -> NDArray[np.float32]:
    """Compute the electrons of an exposure of stars and sky.

    Parameters
    ----------
    fibers : FiberInput
        Stars, brightness, velocities, throughput.
    traces : Traces
        Wavelengths of the rows.
    sky : SkyModel
        The sky over the exposure.
    solar : ndarray, shape (n_pix,)
        Solar flux on `rest_grid`, median 1 over 5500-7000 angstrom, of resolution
        `fibers.fwhm`.
    camera : Camera
        Arm, line spread, exposure time.

    Returns
    -------
    ndarray, shape (n_fiber, n_wave), float32
        Electrons a row.
    """
    wave = traces.wavelength
    dispersion = traces.dispersion
    step = float(np.abs(dispersion).mean())
    rest = rest_grid()
    stars = np.zeros(wave.shape)
    for f in np.flatnonzero(fibers.scale > 0):
        shift = 1.0 + fibers.velocity[f] / LIGHT_SPEED
        stars[f] = fibers.scale[f] * CubicSpline(rest, fibers.flux[f])(wave[f] / shift)
    stars *= wave / PIVOT * extinction(wave, fibers.reddening)
    # the stars' own resolution is part of the line spread, not added to it
    left = camera.fwhm**2 - (fibers.fwhm / step) ** 2
    residual = np.sqrt(max(left, 0.0))
    stars = smear(stars, residual, 1.0)
    grid = camera.grid(wave)
    air = telluric_transmission(grid, sky.airmass)
    glow = smear(sky.continuum(grid) + sky.lines(grid), camera.fwhm * step, grid[1] - grid[0])
    moon = sky.moonlight(grid, CubicSpline(rest, solar)(np.clip(grid, rest[0], rest[-1])))
    glow += smear(moon, residual * step, grid[1] - grid[0])
    air = smear(air, camera.fwhm * step, grid[1] - grid[0])
    light = np.maximum(stars, 0.0) * np.interp(wave, grid, air) + np.interp(wave, grid, glow)
    light *= sensitivity(wave, camera.profile, camera.arm) * np.abs(dispersion)
    light *= fibers.throughput[:, None] * camera.seconds
    return light.astype(np.float32)


def flat_light(
    throughput: NDArray[np.float64], traces: Traces, camera: Camera, peak: float = 1.5e5
) -> NDArray[np.float32]:
    """Compute the electrons of a lamp flat: a smooth lamp of 3200 K.

    Parameters
    ----------
    throughput : ndarray, shape (n_fiber,)
        Fibre throughput.
    traces : Traces
        Wavelengths of the rows.
    camera : Camera
        The arm.
    peak : float
        Electrons in the brightest row of a fibre of throughput 1.

    Returns
    -------
    ndarray, shape (n_fiber, n_wave), float32
        Electrons a row.
    """
    wave = traces.wavelength
    photons = (wave / PIVOT) ** -4 / np.expm1(1.43878e8 / wave / 3200.0)
    light = photons * sensitivity(wave, camera.profile, camera.arm)
    # a filter balances the lamp, so that the blue end is not lost
    light = (light / light.max()) ** 0.7
    return (peak * light * throughput[:, None]).astype(np.float32)


def arc_light(
    throughput: NDArray[np.float64], traces: Traces, camera: Camera, peak: float = 2.0e5
) -> NDArray[np.float32]:
    """Compute the electrons of an arc lamp.

    Parameters
    ----------
    throughput : ndarray, shape (n_fiber,)
        Fibre throughput.
    traces : Traces
        Wavelengths of the rows.
    camera : Camera
        The arm.
    peak : float
        Electrons in the brightest row of the strongest line (strength 100).

    Returns
    -------
    ndarray, shape (n_fiber, n_wave), float32
        Electrons a row.
    """
    wave = traces.wavelength
    grid = camera.grid(wave)
    step = float(np.abs(traces.dispersion).mean())
    lines = smear(lines_on_grid(arc_lines(), grid), camera.fwhm * step, grid[1] - grid[0])
    # a Gaussian's peak is 0.9394 / FWHM of its integral
    scale = peak / (100.0 * 0.9394 / (camera.fwhm * step))
    light = np.interp(wave, grid, lines) * scale + 2e-4 * peak
    return (light * throughput[:, None]).astype(np.float32)
