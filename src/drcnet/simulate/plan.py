"""What is observed when: the night's schedule, and which fibre looks at which star."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.config import SimulateSettings
from drcnet.errors import ConfigError
from drcnet.instruments import InstrumentProfile
from drcnet.simulate.spectra import StarSet

__all__ = [
    "DEAD",
    "SKY",
    "Assignment",
    "Exposure",
    "Plate",
    "assign",
    "frame_file",
    "lmjd_of",
    "lmjm_of",
    "make_schedule",
    "place_stars",
    "pointings",
]

SKY, DEAD = -1, -2
"""Values of `Assignment.star` for fibres that see no star."""

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


@dataclass(frozen=True, eq=False)
class Assignment:
    """What the fibres of one spectrograph look at under one plate.

    Parameters
    ----------
    star : ndarray, shape (n_fiber,), int
        Row of the star set, or `SKY` or `DEAD`.
    target : ndarray, shape (n_fiber,)
        Wanted snrr; NaN without a star.
    """

    star: NDArray[np.int64]
    target: NDArray[np.float64]


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
    """
    kinds: dict[str, str] = {kind: letter for letter, kind in profile.file_kinds.items()}
    letter = profile.arms[arm].letter
    late = timedelta(seconds=2 + 5 * list(profile.arms).index(arm) + spid % 4)
    time = (exposure.start + late).strftime("%Y%m%d%H%M%S")
    kind = kinds[exposure.kind]
    return f"r{kind}-{spid:02d}{letter}-{time}-{exposure.run:04d}-{exposure.lmjm}{ending}"


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
        The exposures do not fit between 19:00 and 07:00.
    """
    midnight = datetime.strptime(settings.date, "%Y-%m-%d")  # noqa: DTZ007
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


def pointings(settings: SimulateSettings, profile: InstrumentProfile) -> int:
    """Count the fibres that look at a star, over all plates and spectrographs.

    Parameters
    ----------
    settings : SimulateSettings
        Plates, spectrographs, sky and dead fibres.
    profile : InstrumentProfile
        Fibres.

    Returns
    -------
    int
        Observations of stars.

    Raises
    ------
    ConfigError
        Sky and dead fibres leave no fibre for a star.
    """
    free = profile.fibers.count - settings.sky_fibers - settings.dead_fibers
    if free < 1:
        raise ConfigError(
            "simulate.sky_fibers",
            f"sky and dead fibres fewer than the {profile.fibers.count} fibres",
            f"{settings.sky_fibers} + {settings.dead_fibers}",
        )
    return free * settings.plates * len(settings.spectrographs)


def assign(
    settings: SimulateSettings, profile: InstrumentProfile, stars: StarSet
) -> dict[tuple[int, int], Assignment]:
    """Give every fibre a star, the sky, or nothing.

    Classes come in the shares of the settings; inside a class every star comes once before any
    comes again.

    Parameters
    ----------
    settings : SimulateSettings
        Shares of classes and of S/N intervals, sky and dead fibres, seed.
    profile : InstrumentProfile
        Fibres.
    stars : StarSet
        The stars.

    Returns
    -------
    dict
        (plate index, spectrograph) to Assignment.
    """
    rng = np.random.default_rng([settings.seed, 4])
    total = pointings(settings, profile)
    queue = _star_queue(settings, stars.table, total, rng)
    targets = _targets(settings.snr_shares, total, rng)
    n_fiber = profile.fibers.count
    dead = {
        spid: rng.choice(n_fiber, settings.dead_fibers, replace=False)
        for spid in settings.spectrographs
    }
    result = {}
    used = 0
    for plate in range(settings.plates):
        for spid in settings.spectrographs:
            star = np.full(n_fiber, DEAD)
            alive = np.setdiff1d(np.arange(n_fiber), dead[spid])
            star[rng.choice(alive, settings.sky_fibers, replace=False)] = SKY
            free = np.setdiff1d(alive, np.flatnonzero(star == SKY))
            target = np.full(n_fiber, np.nan)
            star[free] = queue[used : used + len(free)]
            target[free] = targets[used : used + len(free)]
            used += len(free)
            result[plate, spid] = Assignment(star, target)
    return result


def _star_queue(
    settings: SimulateSettings, table: pl.DataFrame, total: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Rows of the star set in the order in which fibres take them."""
    classes = table["class"].to_numpy()
    chosen = np.array(sorted(k for k, v in settings.class_shares.items() if v > 0))
    missing = [name for name in chosen if not (classes == name).any()]
    if missing:
        raise ConfigError("simulate.class_shares", "classes that the source has", str(missing))
    counts = _shares(np.array([settings.class_shares[name] for name in chosen]), total)
    rows = []
    for name, count in zip(chosen, counts, strict=True):
        members = rng.permutation(np.flatnonzero(classes == name))
        rows.append(np.resize(members, count))
    # turns of the queue: all first visits before any second one, so that a plate sees a star once
    turn = np.concatenate([np.arange(len(r)) / max(len(r), 1) for r in rows])
    order = np.argsort(turn + rng.uniform(0, 20.0 / max(total, 20), len(turn)), kind="stable")
    return np.concatenate(rows)[order]


def _targets(
    shares: dict[str, float], total: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Wanted snrr of each observation, log-uniform inside its interval."""
    names = list(shares)
    counts = _shares(np.array([shares[name] for name in names]), total)
    values = []
    for name, count in zip(names, counts, strict=True):
        try:
            low, high = (float(part) for part in name.split("-"))
        except ValueError as err:
            raise ConfigError(
                "simulate.snr_shares", "intervals such as '10-20'", repr(name)
            ) from err
        low = max(low, 2.0)
        if high <= low:
            raise ConfigError("simulate.snr_shares", "an upper edge above 2", repr(name))
        values.append(np.exp(rng.uniform(np.log(low), np.log(high), count)))
    return rng.permutation(np.concatenate(values))


def _shares(weights: NDArray[np.float64], total: int) -> NDArray[np.int64]:
    """Whole numbers in the ratio of the weights that add up to `total` (largest remainders)."""
    if weights.sum() <= 0:
        raise ConfigError("simulate", "a share above 0", str(weights.tolist()))
    exact = weights / weights.sum() * total
    counts = np.floor(exact).astype(np.int64)
    order = np.argsort(counts - exact, kind="stable")
    counts[order[: total - counts.sum()]] += 1
    return counts
