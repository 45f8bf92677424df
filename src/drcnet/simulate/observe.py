"""Stars on the sky, seen through fibres: positions, velocities, dust, brightness, S/N."""

from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.config import SimulateSettings
from drcnet.errors import SpectrumError
from drcnet.frames.velocity import heliocentric_velocity
from drcnet.instruments import InstrumentProfile
from drcnet.simulate.assign import DEAD, Assignment
from drcnet.simulate.catalog_out import Observation, designation
from drcnet.simulate.exposure import throughput
from drcnet.simulate.light import FiberInput
from drcnet.simulate.plan import Exposure, Plate, place_stars
from drcnet.simulate.signal_to_noise import BANDS, NoiseModel
from drcnet.simulate.sky import SkyModel
from drcnet.simulate.spectra import StarSet

__all__ = ["draw_positions", "exposure_fibers", "exposure_sky", "observe", "solar_like"]

_MJD_JD = 2400000.5


def draw_positions(settings: SimulateSettings, count: int) -> pl.DataFrame:
    """Draw what belongs to a star for the whole night.

    Parameters
    ----------
    settings : SimulateSettings
        The seed.
    count : int
        Stars.

    Returns
    -------
    DataFrame
        One row a star: `designation`, `ra`, `dec` (degrees), `rv` (heliocentric, km/s, spread
        50), `reddening` (E(B-V), exponential with mean 0.06).
    """
    ra, dec = place_stars(count, settings.seed)
    rng = np.random.default_rng([settings.seed, 5])
    return pl.DataFrame(
        {
            "designation": [designation(a, d) for a, d in zip(ra, dec, strict=True)],
            "ra": ra,
            "dec": dec,
            "rv": rng.normal(0.0, 50.0, count),
            "reddening": rng.exponential(0.06, count),
        }
    )


def solar_like(stars: StarSet) -> NDArray[np.float32]:
    """Choose the star most like the Sun, for moonlight.

    Parameters
    ----------
    stars : StarSet
        The night's stars.

    Returns
    -------
    ndarray, shape (n_pix,)
        Its flux.

    Raises
    ------
    SpectrumError
        No star has a known temperature.
    """
    table = stars.table
    apart = (
        ((table["teff"] - 5772.0) / 100.0) ** 2
        + ((table["logg"] - 4.44) / 0.3).fill_nan(2.0).fill_null(2.0) ** 2
        + (table["feh"] / 0.2).fill_nan(2.0).fill_null(2.0) ** 2
    )
    known = apart.fill_null(np.nan).to_numpy()
    if not np.isfinite(known).any():
        raise SpectrumError("stars", "a star of known teff (moonlight needs one)", "none")
    return stars.flux[int(np.nanargmin(known))]


def observe(
    settings: SimulateSettings,
    profile: InstrumentProfile,
    stars: StarSet,
    positions: pl.DataFrame,
    seen: tuple[Plate, int, Assignment],
) -> Observation:
    """Give the stars of one plate and spectrograph the brightness that their S/N asks for.

    Parameters
    ----------
    settings : SimulateSettings
        The night.
    profile : InstrumentProfile
        The instrument.
    stars : StarSet
        The stars.
    positions : DataFrame
        From `draw_positions`.
    seen : tuple
        Plate, spectrograph, assignment.

    Returns
    -------
    Observation
        With the catalogue's S/N in each band.
    """
    plate, spid, assignment = seen
    dead = tuple(np.flatnonzero(assignment.star == DEAD).tolist())
    is_star = assignment.star >= 0
    row = np.maximum(assignment.star, 0)
    flux = np.where(is_star[:, None], stars.flux[row], np.float32(0))
    fibers = FiberInput(
        flux=flux,
        scale=np.zeros(len(row)),
        velocity=np.where(is_star, positions["rv"].to_numpy()[row], 0.0),
        reddening=np.where(is_star, positions["reddening"].to_numpy()[row], 0.0),
        throughput=throughput(settings, profile, spid, dead),
        fwhm=stars.fwhm,
    )
    sky = SkyModel(settings.sky_level, plate.moon, airmass=plate.airmass)
    noise = NoiseModel(profile, settings, sky, solar_like(stars), settings.exposure_time)
    scale = noise.scale_for(fibers, assignment.target)
    snr = {name: noise.snr(fibers, scale, band) for name, band in BANDS.items()}
    return Observation(plate, spid, assignment, replace(fibers, scale=scale), snr)


def exposure_fibers(
    seen: Observation,
    exposure: Exposure,
    positions: pl.DataFrame,
    settings: SimulateSettings,
    profile: InstrumentProfile,
) -> FiberInput:
    """Change the light of a plate to that of one of its exposures.

    Parameters
    ----------
    seen : Observation
        Plate and spectrograph; velocities are heliocentric.
    exposure : Exposure
        When.
    positions : DataFrame
        From `draw_positions`.
    settings : SimulateSettings
        Seed, exposure time.
    profile : InstrumentProfile
        Local time.

    Returns
    -------
    FiberInput
        Velocities as seen from the ground; throughput with this exposure's drift.
    """
    row = np.maximum(seen.assignment.star, 0)
    middle = exposure.lmjm / 1440.0 + settings.exposure_time / 172_800.0
    jd = middle - profile.utc_offset_hours / 24.0 + _MJD_JD
    orbit = heliocentric_velocity(
        positions["ra"].to_numpy()[row], positions["dec"].to_numpy()[row], jd
    )
    rng = np.random.default_rng([settings.seed, 7, seen.spid, exposure.run])
    drift = rng.normal(1.0, 0.01, len(row)) * rng.normal(1.0, 0.02)
    return replace(
        seen.fibers,
        velocity=np.where(seen.assignment.star >= 0, seen.fibers.velocity - orbit, 0.0),
        throughput=seen.fibers.throughput * drift,
    )


def exposure_sky(plate: Plate, exposure: Exposure, settings: SimulateSettings) -> SkyModel:
    """Draw the sky over one exposure.

    Parameters
    ----------
    plate : Plate
        Moon and airmass.
    exposure : Exposure
        Which.
    settings : SimulateSettings
        Seed and level.

    Returns
    -------
    SkyModel
        Airglow varies by a fifth between exposures, the moon by a tenth.
    """
    rng = np.random.default_rng([settings.seed, 8, exposure.run])
    return SkyModel(
        settings.sky_level,
        float(plate.moon * np.clip(rng.normal(1.0, 0.1), 0.5, 1.5)),
        float(np.clip(rng.normal(1.0, 0.2), 0.4, 1.8)),
        plate.airmass,
    )
