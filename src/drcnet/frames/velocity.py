"""Radial velocities: as catalogues have them, at the Sun, and as spectra do, at the telescope."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.instruments import InstrumentProfile

__all__ = ["LIGHT_SPEED", "heliocentric_velocity", "topocentric_velocity"]

LIGHT_SPEED = 299792.458
"""Kilometres a second."""

_MJD_JD = 2400000.5
_HALF_EXPOSURE = 750.0 / 86400.0  # days


def heliocentric_velocity(
    ra: NDArray[np.float64], dec: NDArray[np.float64], jd: float
) -> NDArray[np.float64]:
    """Velocity to add to what is seen from the ground to stand at the Sun.

    The Earth's orbit only (low-precision solar coordinates of the Astronomical Almanac); its
    rotation, at most 0.4 km/s, is left out.

    Parameters
    ----------
    ra, dec : ndarray
        Degrees.
    jd : float
        Julian date.

    Returns
    -------
    ndarray
        Kilometres a second.
    """
    days = jd - 2451545.0
    anomaly = np.radians(357.528 + 0.9856003 * days)
    longitude = np.radians(
        280.460 + 0.9856474 * days + 1.915 * np.sin(anomaly) + 0.020 * np.sin(2 * anomaly)
    )
    perihelion, eccentricity, speed = np.radians(282.94), 0.01671, 29.7859
    # velocity of the Earth in the ecliptic; the Sun stands at `longitude`, perihelion of the
    # Sun's apparent orbit at 282.94 degrees
    along_x = speed * (np.sin(longitude) + eccentricity * np.sin(perihelion))
    along_y = -speed * (np.cos(longitude) + eccentricity * np.cos(perihelion))
    tilt = np.radians(23.439)
    earth = np.array([along_x, along_y * np.cos(tilt), along_y * np.sin(tilt)])
    a, d = np.radians(ra), np.radians(dec)
    towards = np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)
    return np.asarray(towards @ earth)


def topocentric_velocity(index: pl.DataFrame, profile: InstrumentProfile) -> NDArray[np.float64]:
    """Take the Earth's orbit off catalogued velocities: what a spectrum shows.

    Parameters
    ----------
    index : DataFrame, n rows
        `rv` (heliocentric, km/s), `ra`, `dec` (degrees) and `lmjm` (local modified Julian minutes
        of the exposure's start), as the index of a store has them.
    profile : InstrumentProfile
        Of the instrument: its local time.

    Returns
    -------
    ndarray, shape (n,)
        Kilometres a second as seen from the ground; NaN where velocity or place are unknown.
    """
    jd = index["lmjm"].to_numpy() / 1440.0 + _HALF_EXPOSURE
    jd = jd - profile.utc_offset_hours / 24.0 + _MJD_JD
    rv, ra, dec = (index[name].to_numpy() for name in ("rv", "ra", "dec"))
    orbit = np.array([heliocentric_velocity(a, d, t) for a, d, t in zip(ra, dec, jd, strict=True)])
    return np.asarray(rv - orbit, dtype=np.float64)
