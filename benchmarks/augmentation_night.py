"""Nights in which every star is seen bright and faint, each twice, for augmentation_auc.py.

Plates come in groups of four of the same stars: in the first, half of the stars are bright and the
others faint; in the second it is the other way round, so that neighbours, sky and fibres are
alike; the third and the fourth repeat them at another time, to tell apart what is alike.
"""

import dataclasses
import shutil

import numpy as np
import polars as pl

from drcnet.config import PrepareSettings, SimulateSettings
from drcnet.dataset.build import prepare
from drcnet.dataset.store import open_store
from drcnet.simulate.assign import Assignment
from drcnet.simulate.exposure import frame_digest, write_frame
from drcnet.simulate.observe import observe
from drcnet.simulate.survey import frame_tasks, plan_night, write_tables
from drcnet.stripes.flags import FiberFlag

SNR = (5.0, 10.0, 20.0)
BRIGHT = (40.0, 100.0)
REPEATS = 2
PLATES = 2 * REPEATS  # in a group
_UNUSABLE = FiberFlag.DEAD | FiberFlag.OFF_CHIP | FiberFlag.SATURATED | FiberFlag.TRACE_LOST


def make_night(folder, settings, prepare_settings=None, stars=None):
    """Simulate and prepare a night in groups; gives its store and the table of its sights.

    One row a star and repeat: `faint` and `bright`, rows of the store; `snr` of the faint sight;
    `factor` from the bright to the faint light; `group`, `star` and `repeat`.
    """
    night, work, table = folder / "night", folder / "work", folder / "sights.parquet"
    if not table.exists():
        plan, facts = plan_groups(plan_night(settings, stars))
        for task in frame_tasks(plan, night / "raw"):
            if frame_digest(task.path) != task.digest:
                write_frame(task)
        write_tables(plan, night)
        prepare(night, work, settings=prepare_settings or PrepareSettings(workers=1))
        sights_of(open_store(work), facts).write_parquet(table)
        shutil.rmtree(night / "raw")  # the store has all that is asked for, in a third of the room
    return open_store(work), pl.read_parquet(table)


def plan_groups(plan):
    """Give the plates of each group the same stars; gives star, S/N, factor and plates of each."""
    settings = plan.settings
    rng = np.random.default_rng([settings.seed, 99])
    seen, facts = [], []
    for k in range(0, len(plan.observations), PLATES):
        first = plan.observations[k]
        star = first.assignment.star
        dim, target = rng.random(len(star)) < 0.5, rng.choice(SNR, len(star))
        bright = np.exp(rng.uniform(*np.log(BRIGHT), len(star)))
        group = []
        for one in plan.observations[k : k + PLATES]:
            wanted = np.where(dim if len(group) % 2 == 0 else ~dim, target, bright)
            # the same moon and air for all, so that one brightness means one S/N
            plate = dataclasses.replace(
                one.plate, moon=first.plate.moon, airmass=first.plate.airmass
            )
            assignment = Assignment(star, np.where(star >= 0, wanted, np.nan))
            where = (plate, first.spid, assignment)
            group.append(observe(settings, plan.profile, plan.stars, plan.positions, where))
        seen += group
        scale = np.stack([one.fibers.scale for one in group[:2]])
        with np.errstate(invalid="ignore"):
            facts.append((star, np.where(dim, 0, 1), target, scale.min(0) / scale.max(0)))
    return dataclasses.replace(plan, observations=seen), facts


def sights_of(store, facts):
    """The table of sights; see `make_night`."""
    fiber = np.arange(store.n_fiber)
    bad = (store.index["flags"].to_numpy() & int(_UNUSABLE)) != 0
    parts = []
    for group, (star, dim_in, target, factor) in enumerate(facts):
        rows = (PLATES * group + np.arange(PLATES)[:, None]) * store.n_fiber + fiber
        good = (star >= 0) & ~bad[rows].any(axis=0)
        for repeat in range(REPEATS):
            pair = rows[2 * repeat : 2 * repeat + 2]
            columns = {
                "faint": pair[dim_in, fiber],
                "bright": pair[1 - dim_in, fiber],
                "snr": target,
                "factor": factor,
                "group": group + 0 * fiber,
                "star": group * store.n_fiber + fiber,
                "repeat": repeat + 0 * fiber,
            }
            parts.append(pl.DataFrame({name: value[good] for name, value in columns.items()}))
    return pl.concat(parts)


def night_settings(groups, seed, **changes):
    """Settings of a night of so many groups; at most six fit into one."""
    return SimulateSettings(plates=PLATES * groups, seed=seed, exposures=1, workers=1, **changes)
