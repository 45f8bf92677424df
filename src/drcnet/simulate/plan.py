"""What is observed when, where its stars stand, and how its files are named."""

import math
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from drcnet.config import SimulateSettings
from drcnet.errors import ConfigError
from drcnet.instruments import InstrumentProfile

__all__ = [
    "Exposure",
    "Plate",
    "frame_file",
    "lmjd_of",
    "lmjm_of",
    "make_schedule",
    "place_stars",
]

_MJD_ZERO = datetime(1858, 11, 17)  # noqa: DTZ001  (local time, as LAMOST counts it)
_GAP = 180.0
_FIRST = timedelta(hours=19)
_LAST = timedelta(hours=31)


@dataclass(frozen=True)
class Exposure:
    """One set of frames read out together on all CCDs.

    Parameters
    ----------
    kind : str
        'bias', 'flat', 'arc' or 'object'.
    start : datetime
        Local time.
    run : int
        Running number in the night.
    plate : int
        Index of the plate; -1 for calibration.
    """

    kind: str
    start: datetime
    run: int
    plate: int = -1

    @property
    def lmjm(self) -> int:
        """Local modified Julian minute."""
        return lmjm_of(self.start)


@dataclass(frozen=True)
class Plate:
    """One setting of all fibres.

    Parameters
    ----------
    index : int
        0, 1, ...
    planid : str
        Name of the plan.
    exposures : tuple of Exposure
        When it was observed.
    moon : float
        Moonlight, as a fraction of full moon.
    airmass : float
        Airmass.
    """

    index: int
    planid: str
    exposures: tuple[Exposure, ...]
    moon: float
    airmass: float


def lmjm_of(local: datetime) -> int:
    """Count local modified Julian minutes.

    Parameters
    ----------
    local : datetime
        Local time.

    Returns
    -------
    int
        Whole minutes since local 1858-11-17 00:00.

    Examples
    --------
    >>> lmjm_of(datetime(2015, 9, 23, 23, 45, 27))
    82496145
    """
    return math.floor((local - _MJD_ZERO).total_seconds() / 60.0)


def lmjd_of(lmjm: int) -> int:
    """Count local modified Julian days, noon to noon, as LAMOST does.

    Parameters
    ----------
    lmjm : int
        Local modified Julian minute.

    Returns
    -------
    int
        The day of the night.

    Examples
    --------
    >>> lmjd_of(82496145)
    57289
    """
    return math.floor(lmjm / 1440 + 0.5)


def frame_file(
    exposure: Exposure, spid: int, arm: str, profile: InstrumentProfile, ending: str
) -> str:
    """Name a raw file as the instrument does.

    Parameters
    ----------
    exposure : Exposure
        Kind and time; blue and red share its minute and differ by seconds.
    spid : int
        Spectrograph.
    arm : str
        'blue' or 'red'.
    profile : InstrumentProfile
        Letters of kinds and arms.
    ending : str
        '.fit', '.fit.gz' or '.fits.fz'.

    Returns
    -------
    str
        Such as 'ro-01b-20150923190003-0012-82495860.fit'.

    Raises
    ------
    ConfigError
        The instrument names its files in another way.
    """
    kinds: dict[str, str] = {kind: letter for letter, kind in profile.file_kinds.items()}
    if exposure.kind not in kinds:
        raise ConfigError(
            f"instrument {profile.name}", f"a file letter for '{exposure.kind}'", str(kinds)
        )
    letter = profile.arms[arm].letter
    late = timedelta(seconds=2 + 5 * list(profile.arms).index(arm) + spid % 4)
    time = (exposure.start + late).strftime("%Y%m%d%H%M%S")
    kind = kinds[exposure.kind]
    name = f"r{kind}-{spid:02d}{letter}-{time}-{exposure.run:04d}-{exposure.lmjm}{ending}"
    if not re.match(profile.file_pattern, name):
        raise ConfigError(
            f"instrument {profile.name}",
            f"a file_pattern for names such as {name} (the simulator knows LAMOST's only)",
            profile.file_pattern,
        )
    return name


def make_schedule(settings: SimulateSettings) -> tuple[list[Exposure], list[Plate]]:
    """Lay out the night.

    Parameters
    ----------
    settings : SimulateSettings
        Date, numbers of frames, plates and exposures, exposure time.

    Returns
    -------
    calibrations : list of Exposure
        Biases, flats and one arc, before the first plate.
    plates : list of Plate
        Plates with their exposures.

    Raises
    ------
    ConfigError
        The exposures do not fit between 19:00 and 07:00, or the date is none.
    """
    try:
        midnight = datetime.strptime(settings.date, "%Y-%m-%d")  # noqa: DTZ007
    except ValueError as err:
        raise ConfigError("simulate.date", "YYYY-MM-DD", repr(settings.date)) from err
    kinds = ["bias"] * settings.bias_frames + ["flat"] * settings.flat_frames + ["arc"]
    first = midnight + _FIRST - timedelta(minutes=2 * len(kinds) + 10)
    calibrations = [
        Exposure(kind, first + timedelta(minutes=2 * i), i + 1) for i, kind in enumerate(kinds)
    ]
    spacing = math.ceil((settings.exposure_time + _GAP) / 60.0)
    wanted = settings.plates * settings.exposures
    room = int((_LAST - _FIRST).total_seconds() / 60 // spacing)
    if wanted > room:
        raise ConfigError(
            "simulate.plates",
            f"at most {room} exposures of {settings.exposure_time:g} s in a night",
            f"{settings.plates} plates of {settings.exposures} exposures",
        )
    rng = np.random.default_rng([settings.seed, 2])
    plates = []
    for p in range(settings.plates):
        runs = [p * settings.exposures + e for e in range(settings.exposures)]
        exposures = tuple(
            Exposure(
                "object", midnight + _FIRST + timedelta(minutes=spacing * k), len(kinds) + k + 1, p
            )
            for k in runs
        )
        moon = float(np.clip(settings.moon * rng.uniform(0.3, 1.7), 0, 1))
        planid = f"SIM{midnight:%Y%m%d}P{p + 1:02d}"
        plates.append(Plate(p, planid, exposures, moon, float(rng.uniform(1.0, 1.5))))
    return calibrations, plates


def place_stars(count: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Spread stars over a field of 5 degrees, none within half their mean distance.

    Parameters
    ----------
    count : int
        Stars.
    seed : int
        The night's seed.

    Returns
    -------
    ra, dec : ndarray, shape (count,)
        Degrees; a sunflower pattern in random order, so that no two stars are confused.
    """
    rng = np.random.default_rng([seed, 3])
    ra0, dec0 = rng.uniform(0, 360), rng.uniform(5, 45)
    k = rng.permutation(count) + 0.5
    radius = 2.5 * np.sqrt(k / count)
    angle = np.pi * (3.0 - np.sqrt(5.0)) * k
    dec = dec0 + radius * np.sin(angle)
    ra = (ra0 + radius * np.cos(angle) / np.cos(np.radians(dec))) % 360.0
    return ra, dec
