"""Which fibre looks at which star, at which S/N."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.config import SimulateSettings
from drcnet.errors import ConfigError
from drcnet.instruments import InstrumentProfile
from drcnet.simulate.spectra import StarSet

__all__ = ["DEAD", "SKY", "Assignment", "assign", "pointings"]

SKY, DEAD = -1, -2
"""Values of `Assignment.star` for fibres that see no star."""


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
        Sky and dead fibres leave no fibre for a star, or a spectrograph comes twice.
    """
    spids = settings.spectrographs
    if not spids or len(set(spids)) < len(spids) or not all(0 < spid < 100 for spid in spids):
        raise ConfigError("simulate.spectrographs", "different numbers, 1 to 99", str(spids))
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
        if settings.balance_sources:
            rows.append(_balanced(table["source"].to_numpy(), members, count, rng))
        else:
            rows.append(np.resize(members, count))
    # turns of the queue: all first visits before any second one, so that a plate sees a star once
    turn = np.concatenate([np.arange(len(r)) / max(len(r), 1) for r in rows])
    order = np.argsort(turn + rng.uniform(0, 20.0 / max(total, 20), len(turn)), kind="stable")
    return np.concatenate(rows)[order]


def _balanced(
    source: NDArray[np.object_],
    members: NDArray[np.int64],
    count: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """`count` rows of a class, its sources in the shares that they have among all stars."""
    names, every = np.unique(source.astype(str), return_counts=True)
    parts = []
    for name, number in zip(names, _shares(every.astype(float), count), strict=True):
        here = members[source[members] == name]
        if number and not len(here):
            raise ConfigError(
                "simulate.balance_sources", "stars of every source in every class", f"no {name}"
            )
        parts.append(np.resize(here, number))
    # First visits of every star stand before any second one, whatever its source.
    turn = np.concatenate([np.arange(len(p)) / max(len(p), 1) for p in parts])
    order = np.argsort(turn + rng.uniform(0, 1 / max(count, 1), count), kind="stable")
    return np.concatenate(parts)[order]


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
