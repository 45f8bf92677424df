"""A night of raw frames, its catalogue and its truth, from settings."""

import hashlib
import json
import multiprocessing
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.config import SimulateSettings, settings_toml
from drcnet.errors import NightError
from drcnet.instruments import InstrumentProfile, load_instrument
from drcnet.provenance import atomic_write, digest, make_provenance
from drcnet.simulate.assign import DEAD, assign, pointings
from drcnet.simulate.catalog_out import Observation, catalog, fiber_truth, write_catalog
from drcnet.simulate.exposure import FrameTask, frame_digest, frame_optics, write_frame
from drcnet.simulate.observe import (
    draw_positions,
    exposure_fibers,
    exposure_sky,
    observe,
    solar_like,
)
from drcnet.simulate.optics import make_optics
from drcnet.simulate.plan import Exposure, frame_file, lmjd_of, make_schedule
from drcnet.simulate.spectra import Progress, StarSet, load_stars

__all__ = [
    "NightPlan",
    "frame_tasks",
    "plan_night",
    "simulate",
    "write_tables",
]

_FORMAT = 2
"""Raised whenever the same settings give other files, so that frames of old code are not kept."""

_PACKED = {".fit": 1.0, ".fit.gz": 0.7, ".fits.fz": 0.55}
"""Size of a file of each ending, of the bytes of its counts."""


def simulate(
    settings: SimulateSettings,
    night: Path,
    *,
    progress: Progress | None = None,
    overwrite: bool = False,
    stars: StarSet | None = None,
) -> Path:
    """Write a night: raw frames, catalogue and truth.

    The files follow from the settings alone; neither the number of workers nor an interruption
    changes them. A frame that is there already, made with the same settings, is kept.
    With more than one worker a script needs the usual ``if __name__ == "__main__":`` guard.

    Parameters
    ----------
    settings : SimulateSettings
        What to simulate.
    night : Path
        The folder to fill; its layout is in docs/conventions.md.
    progress : callable, optional
        Called with a stage, how much of it is done, and its total.
    overwrite : bool
        Replace a night of other settings.
    stars : StarSet, optional
        Stars to use in place of those of the settings' source.

    Returns
    -------
    Path
        `night`.

    Raises
    ------
    NightError
        The folder holds a night of other settings, and `overwrite` is off.
    ConfigError
        The settings cannot be met.
    """
    night = Path(night)
    report = progress or (lambda _stage, _done, _total: None)
    plan = plan_night(settings, stars, progress=progress)
    _claim(night, plan, overwrite=overwrite)
    _run(list(frame_tasks(plan, night / "raw")), settings.workers, report)
    write_tables(plan, night)
    return night


@dataclass(frozen=True, eq=False)
class NightPlan:
    """All decisions of a night, before any pixel.

    Parameters
    ----------
    settings : SimulateSettings
        What was asked.
    profile : InstrumentProfile
        The instrument.
    stars : StarSet
        The stars.
    positions : DataFrame
        Where they stand, from `draw_positions`.
    blank : DataFrame
        Where sky fibres look.
    calibrations : list of Exposure
        Biases, flats and an arc.
    observations : list of Observation
        One a plate and spectrograph.
    digest : str
        Names the night; written into every frame.
    """

    settings: SimulateSettings
    profile: InstrumentProfile
    stars: StarSet
    positions: pl.DataFrame
    blank: pl.DataFrame
    calibrations: list[Exposure]
    observations: list[Observation]
    digest: str


def plan_night(
    settings: SimulateSettings, stars: StarSet | None = None, *, progress: Progress | None = None
) -> NightPlan:
    """Decide everything of a night.

    Parameters
    ----------
    settings : SimulateSettings
        What to simulate.
    stars : StarSet, optional
        Stars to use in place of those of the settings' source.
    progress : callable, optional
        Called with a stage, how much of it is done, and its total.

    Returns
    -------
    NightPlan
        Stars, places, brightness, times.

    Raises
    ------
    ConfigError
        The settings cannot be met.
    """
    profile = load_instrument(settings.instrument)
    if stars is None:
        stars = load_stars(
            settings, settings.stars or pointings(settings, profile), progress=progress
        )
    calibrations, plates = make_schedule(settings)
    n_star, n_sky = (
        len(stars.table),
        settings.sky_fibers * settings.plates * len(settings.spectrographs),
    )
    places = draw_positions(settings, n_star + n_sky)
    positions, blank = places[:n_star], places[n_star:]
    assignments = assign(settings, profile, stars)
    observations = [
        observe(settings, profile, stars, positions, (plate, spid, assignments[plate.index, spid]))
        for plate in plates
        for spid in settings.spectrographs
    ]
    asked = settings.model_dump(mode="json", exclude={"workers", "library", "lines"})
    content = hashlib.sha256(stars.flux.tobytes()).hexdigest()
    name = digest([_FORMAT, asked, profile.model_dump(mode="json"), content])
    return NightPlan(settings, profile, stars, positions, blank, calibrations, observations, name)


def frame_tasks(plan: NightPlan, folder: Path) -> Iterator[FrameTask]:
    """List every frame of a night, calibrations first.

    Parameters
    ----------
    plan : NightPlan
        The night.
    folder : Path
        Where the raw frames shall be.

    Yields
    ------
    FrameTask
        One a CCD and exposure; the arms of an exposure follow each other.
    """
    settings, profile = plan.settings, plan.profile
    solar = solar_like(plan.stars)

    def task(
        exposure: Exposure, spid: int, arm: str, dead: tuple[int, ...], **light: Any
    ) -> FrameTask:
        path = folder / frame_file(exposure, spid, arm, profile, settings.file_format)
        return FrameTask(
            path, exposure, spid, arm, settings, profile, plan.digest, dead=dead, **light
        )

    dead = {
        o.spid: tuple(np.flatnonzero(o.assignment.star == DEAD).tolist())
        for o in plan.observations
    }
    for exposure in plan.calibrations:
        for spid in settings.spectrographs:
            for arm in profile.arms:
                yield task(exposure, spid, arm, dead[spid])
    for seen in plan.observations:
        for exposure in seen.plate.exposures:
            fibers = exposure_fibers(seen, exposure, plan.positions, settings, profile)
            sky = exposure_sky(seen.plate, exposure, settings)
            for arm in profile.arms:
                yield task(
                    exposure, seen.spid, arm, dead[seen.spid], fibers=fibers, sky=sky, solar=solar
                )


def _claim(night: Path, plan: NightPlan, *, overwrite: bool) -> None:
    """Make sure that the folder may be filled; clear another night's files if so asked."""
    raw = night / "raw"
    mine = {task.path.name for task in frame_tasks(plan, raw)}
    for stale in raw.glob(".*.partial.*"):  # left by a run that was killed
        stale.unlink()
    there = sorted(raw.glob("*")) if raw.is_dir() else []
    others = [p for p in there if p.name not in mine or frame_digest(p) != plan.digest]
    if others and not overwrite:
        raise NightError(
            night,
            "an empty folder, or a night of the same settings (or overwrite)",
            f"{len(others)} other files, such as {others[0].name}",
        )
    for path in others:
        path.unlink()
    with atomic_write(night / "truth" / "settings.toml") as path:
        path.write_text(settings_toml(plan.settings), encoding="utf-8")


def _run(tasks: list[FrameTask], workers: int | None, report: Progress) -> None:
    """Write the frames that are not there yet, in one process or several."""
    missing = [task for task in tasks if frame_digest(task.path) != task.digest]
    done = len(tasks) - len(missing)
    report("frames", done, len(tasks))
    _check_room(missing)
    count = min(workers or os.cpu_count() or 1, len(missing))
    if count <= 1:
        for task in missing:
            write_frame(task)
            done += 1
            report("frames", done, len(tasks))
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context) as pool:
        futures = [pool.submit(write_frame, task) for task in missing]
        try:
            for future in as_completed(futures):
                future.result()
                done += 1
                report("frames", done, len(tasks))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _check_room(missing: list[FrameTask]) -> None:
    """Refuse before the first frame what the disk cannot hold."""
    if not missing:
        return
    first = missing[0]
    share = _PACKED[first.settings.file_format]
    wanted = len(missing) * 2 * first.profile.shape[0] * first.profile.shape[1] * share
    folder = first.path.parent
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise NightError(
            folder,
            f"{wanted / 1e9:.1f} GB of free disk for {len(missing)} frames",
            f"{free / 1e9:.1f} GB",
        )


def write_tables(plan: NightPlan, night: Path) -> None:
    """Write catalogue, folds, truth and provenance; the last file says that all are there.

    Parameters
    ----------
    plan : NightPlan
        The night.
    night : Path
        Its folder.
    """
    settings = plan.settings
    stars = pl.concat([plan.stars.table, plan.positions], how="horizontal")
    fibers = fiber_truth(plan.observations, plan.stars, plan.positions, plan.blank)
    lmjm = plan.observations[0].plate.exposures[0].lmjm
    table = catalog(fibers, stars, obsdate=settings.date, lmjd=lmjd_of(lmjm), seed=settings.seed)
    write_catalog(table, night)
    folds = stars.select(
        pl.col("designation").str.strip_prefix("LAMOST ").alias("star"), "source", "fold"
    )
    with atomic_write(night / "folds.parquet") as path:
        folds.sort("star").write_parquet(path)
    truth = night / "truth"
    for name, frame in (("stars", stars), ("fibers", fibers)):
        with atomic_write(truth / f"{name}.parquet") as path:
            frame.write_parquet(path)
    with atomic_write(truth / "traces.npz") as path, path.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **_geometry(plan))
    origin = make_provenance(
        settings.model_dump(mode="json", exclude={"workers"}),
        inputs={"night": plan.digest},
        seed=settings.seed,
    )
    with atomic_write(truth / "provenance.json") as path:
        path.write_text(json.dumps(origin, indent=1, sort_keys=True), encoding="utf-8")


def _geometry(plan: NightPlan) -> dict[str, NDArray[np.float64]]:
    """Polynomials of every CCD, and the flexure of every frame: (lmjm, across, along)."""
    settings, profile = plan.settings, plan.profile
    arrays = {"n_wave": np.array(profile.n_wave)}
    exposures = [e for e in plan.calibrations if e.kind != "bias"]
    seen = {e for o in plan.observations for e in o.plate.exposures}
    exposures += sorted(seen, key=lambda e: e.run)
    for spid in settings.spectrographs:
        for arm in profile.arms:
            ccd = f"{spid:02d}-{arm}"
            optics = make_optics(profile, arm, settings, spid)
            for name in ("centers", "fwhm", "wavelength"):
                arrays[f"{ccd}-{name}"] = getattr(optics, name)
            shifts = [frame_optics(settings, profile, spid, arm, e).shift for e in exposures]
            arrays[f"{ccd}-shifts"] = np.array(
                [(e.lmjm, *shift) for e, shift in zip(exposures, shifts, strict=True)]
            )
    return arrays
