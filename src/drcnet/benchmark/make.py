"""A benchmark set from its settings: survey, store, splits and the tables that describe them."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from drcnet import __version__
from drcnet.benchmark.making import MAKING, folder_bytes, timed_making
from drcnet.benchmark.stream import (
    StreamTask,
    find_exposures,
    finished,
    group_frames,
    stream_exposure,
)
from drcnet.benchmark.tables import mix_text, pooled_text
from drcnet.config import BenchmarkSettings, settings_toml
from drcnet.dataset.build import finish_store, open_or_create
from drcnet.dataset.calibrations import make_calibrations
from drcnet.dataset.intervals import interval_names
from drcnet.dataset.parallel import run_tasks
from drcnet.dataset.plan import Plan, plan_exposures
from drcnet.dataset.split import make_split, split_digest, write_split
from drcnet.dataset.store import ARMS, SCHEMA
from drcnet.dataset.table1 import describe_split
from drcnet.dataset.tasks import ExposureTask
from drcnet.dataset.writing import locked
from drcnet.errors import StoreError
from drcnet.frames.night import Night
from drcnet.provenance import atomic_write, digest
from drcnet.simulate.exposure import FrameTask, frame_digest, write_frame
from drcnet.simulate.spectra import StarSet
from drcnet.simulate.survey import NightPlan, frame_tasks, plan_night, write_tables

__all__ = ["BenchmarkSummary", "make_benchmark"]

Progress = Callable[[str, int, int], None]

_ORIGIN = "benchmark.json"
_OURS = ("night", "splits", "tables.md", "benchmark.toml", MAKING, _ORIGIN)
_STORE = (
    "provenance.json",
    "index.parquet",
    "split.parquet",
    "left_out.parquet",
    "dataset.zarr",
    "parts",
    "scratch",
    "traces",
)


@dataclass(frozen=True)
class BenchmarkSummary:
    """What `make_benchmark` did.

    Parameters
    ----------
    out : Path
        The benchmark's folder, which is a work folder too.
    exposures, made : int
        Exposures in the store; made by this call.
    rows, usable, stars : int
        Rows of the index; those that can be learnt from; their distinct stars.
    splits : dict of str to str
        Name of each split file to its digest.
    seconds : float
        Of this call.
    tables : str
        Text of tables.md.
    """

    out: Path
    exposures: int
    made: int
    rows: int
    usable: int
    stars: int
    splits: dict[str, str]
    seconds: float
    tables: str

    def as_dict(self) -> dict[str, Any]:
        """Give everything as plain values.

        Returns
        -------
        dict
            JSON-able.
        """
        return asdict(self) | {"out": str(self.out)}


def make_benchmark(
    settings: BenchmarkSettings,
    out: Path,
    *,
    progress: Progress | None = None,
    keep_raw: bool = False,
    workers: int | None = None,
    overwrite: bool = False,
    stars: StarSet | None = None,
) -> BenchmarkSummary:
    """Simulate a survey, reduce it exposure by exposure, and split its stars.

    Any moment is a good moment to be killed: the same call goes on where it stopped, and the
    files do not depend on how often that happened, nor on the number of workers; only
    `making.json` does, which says how long each call took.

    Parameters
    ----------
    settings : BenchmarkSettings
        What to make.
    out : Path
        The folder to fill: a work folder (docs/conventions.md) with `night/` (catalogue and
        truth), `splits/`, `tables.md` and `benchmark.toml` in it.
    progress : callable, optional
        Called as progress(stage, done, total).
    keep_raw : bool
        Keep the raw frames in night/raw; else an exposure's are removed once it is measured.
    workers : int, optional
        Processes; none: one a core.
    overwrite : bool
        Replace another benchmark.
    stars : StarSet, optional
        Stars to use in place of those of the settings' source.

    Returns
    -------
    BenchmarkSummary
        Counts, digests and tables.

    Raises
    ------
    StoreError
        The folder holds something else, is in use, or the disk is full.
    ConfigError
        The settings cannot be met.
    """
    t_start = time.perf_counter()
    out = Path(out)
    survey = plan_night(settings.simulate, stars, progress=progress)
    _claim(out, settings, survey, overwrite=overwrite)
    with locked(out), timed_making(out, workers) as making:
        write_tables(survey, out / "night")
        frames = list(frame_tasks(survey, out / "night" / "raw"))
        found = Night(find_exposures(frames, group_frames(frames)), ())
        plan = plan_exposures(
            out / "night", found, catalog=None, settings=settings.prepare, out=out
        )
        open_or_create(out, plan, settings.prepare, settings.split, overwrite=False)
        shell = {"workers": workers, "progress": progress}
        made = _fill(out, plan, settings, frames, shell=shell, keep_raw=keep_raw)
        making.peak_bytes = folder_bytes(out)
        index, name = finish_store(out, plan, settings.prepare, settings.split)
        splits = {"split.parquet": name} | _write_splits(out, index, settings)
        tables = _describe(out, index, settings)
    if not keep_raw:
        shutil.rmtree(out / "night" / "raw", ignore_errors=True)
    usable = index.filter("usable")
    return BenchmarkSummary(
        out=out,
        exposures=len(found.exposures),
        made=made,
        rows=len(index),
        usable=len(usable),
        stars=usable["star"].n_unique(),
        splits=splits,
        seconds=time.perf_counter() - t_start,
        tables=tables,
    )


def _claim(out: Path, settings: BenchmarkSettings, survey: NightPlan, *, overwrite: bool) -> None:
    """Make sure that the folder holds nothing, or the beginnings of this very benchmark."""
    asked = settings.model_dump(
        mode="json", exclude={"simulate": {"workers"}, "prepare": {"workers"}}
    )
    origin = {
        "settings": digest(asked),
        "night": survey.digest,
        "schema": SCHEMA,
        "version": __version__,
    }
    path = out / _ORIGIN
    there = [name for name in (*_OURS, *_STORE) if (out / name).exists()]
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    if there and known != origin:
        if not overwrite:
            came = "one of other settings, stars or version" if known else f"{', '.join(there)}"
            raise StoreError(out, "an empty folder, or this benchmark's (or overwrite)", came)
        for name in there:
            one = out / name
            shutil.rmtree(one) if one.is_dir() else one.unlink()
    with atomic_write(out / "benchmark.toml") as partial:
        plain = BenchmarkSettings.model_validate(asked)
        partial.write_text(settings_toml(plain), encoding="utf-8")
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(origin, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _fill(
    out: Path,
    plan: Plan,
    settings: BenchmarkSettings,
    frames: list[FrameTask],
    *,
    shell: dict[str, Any],
    keep_raw: bool,
) -> int:
    """Make every exposure that is not there; how many were made now."""
    prepare, groups = settings.prepare, group_frames(frames)
    lamps = [frame for frame in frames if frame.exposure.kind != "object"]
    calibrations: dict[tuple[str, str], Any] = {}

    def measuring(number: int) -> ExposureTask:
        exposure = plan.exposures[number]
        of_arm = {arm: calibrations.get((exposure.key, arm), "") for arm in ARMS}
        return ExposureTask(out, number, exposure, of_arm, plan.joined[exposure.key], prepare)

    missing = [n for n in range(len(plan.exposures)) if not finished(measuring(n))]
    if missing or keep_raw:
        absent = [lamp for lamp in lamps if frame_digest(lamp.path) != lamp.digest]
        for _ in run_tasks(write_frame, absent, stage="lamps", **shell):
            pass
    if missing:
        calibrations, _ = make_calibrations(
            plan.found,
            instrument=prepare.instrument,
            settings=prepare.stripes,
            folder=out / "traces",
            scratch=out / "scratch",
            **shell,
        )
    tasks = [
        StreamTask(groups[one.lmjm, one.spid], measuring(number), keep_raw)
        for number, one in enumerate(plan.exposures)
    ]
    return sum(made for _, made in run_tasks(stream_exposure, tasks, stage="exposures", **shell))


def _write_splits(out: Path, index: pl.DataFrame, settings: BenchmarkSettings) -> dict[str, str]:
    """Write the further splits; their names and digests."""
    names = {}
    for kind in settings.splits:
        for fold in range(settings.split.folds):
            asked = settings.split.model_copy(update={"kind": kind, "fold": fold})
            split = make_split(index, asked)
            name = f"splits/{kind}-{fold}.parquet"
            write_split(out / name, split, asked)
            names[name] = split_digest(split)
    return names


def _describe(out: Path, index: pl.DataFrame, settings: BenchmarkSettings) -> str:
    """Write tables.md: what the set holds, class by source, and every split's Table 1."""
    usable = index.filter("usable")
    names = interval_names(settings.split.edges)
    text = [f"# {settings.title}", "", f"{len(usable)} usable rows of {len(index)}, "]
    text[-1] += f"{usable['star'].n_unique()} stars, {index['exposure'].n_unique()} exposures; "
    text[-1] += "S/N is `snrr`."
    text += ["", "## Class by source", "", mix_text(usable), ""]
    files = ["split.parquet"]
    folds = range(settings.split.folds)
    files += [f"splits/{k}-{n}.parquet" for k in settings.splits for n in folds]
    for name in files:
        split = pl.read_parquet(out / name)
        text += [f"## {name}", "", describe_split(split, names), ""]
    if "large" in settings.splits:
        dealt = (pl.read_parquet(out / "splits" / f"large-{n}.parquet") for n in folds)
        text += ["## Test rows of `large`, pooled over the folds", ""]
        text += [pooled_text(dealt, names), ""]
    whole = "\n".join(text)
    with atomic_write(out / "tables.md") as path:
        path.write_text(whole, encoding="utf-8")
    return whole
