"""A night and its catalogue into a store: one exposure is one task, and none is done twice.

An exposure counts as finished once its part of the index lies in `parts/`, named by the digest of
everything it was made of; the part is written after the shards. So any moment is a good moment to
be killed, and what is there when all is done does not depend on how often that happened.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from drcnet.config import PrepareSettings, SplitSettings
from drcnet.dataset.calibrations import make_calibrations
from drcnet.dataset.labels import left_out
from drcnet.dataset.parallel import run_tasks
from drcnet.dataset.plan import Plan, check
from drcnet.dataset.split import make_split, split_digest, write_split
from drcnet.dataset.store import (
    ARMS,
    Progress,
    create_store,
    read_provenance,
    write_provenance,
)
from drcnet.dataset.tasks import ExposureTask, find_part, prepare_exposure, recorded
from drcnet.dataset.writing import cannot_write, locked
from drcnet.errors import CatalogError, StoreError
from drcnet.provenance import atomic_write, make_provenance
from drcnet.stripes.flags import FiberFlag

__all__ = ["PrepareSummary", "finish_store", "open_or_create", "prepare"]

_OURS = (
    "provenance.json",
    "index.parquet",
    "split.parquet",
    "left_out.parquet",
    "dataset.zarr",
    "parts",
    "scratch",
    "traces",
)
"""What prepare writes into a work folder, and nothing else is removed from there."""


@dataclass(frozen=True)
class PrepareSummary:
    """What `prepare` did.

    Parameters
    ----------
    work : Path
        The work folder.
    exposures, done, continued : int
        Exposures in the store; made now; found finished.
    rows, usable : int
        Rows of the index; those that can be learnt from.
    classes : dict of str to int
        Usable rows by class.
    refused : int
        Exposures that lack an arm, or both.
    reasons : tuple of str
        Why, one line each.
    problems : tuple of str
        Everything else that the night is missing.
    split : str
        Digest of the split.
    """

    work: Path
    exposures: int
    done: int
    continued: int
    rows: int
    usable: int
    classes: dict[str, int]
    refused: int
    reasons: tuple[str, ...]
    problems: tuple[str, ...]
    split: str

    def as_dict(self) -> dict[str, Any]:
        """Give everything as plain values.

        Returns
        -------
        dict
            JSON-able.
        """
        return asdict(self) | {"work": str(self.work)}

    def describe(self) -> str:
        """Say it in a few lines.

        Returns
        -------
        str
            Text for a terminal.
        """
        found = f", {self.continued} found finished" if self.continued else ""
        shares = ", ".join(f"{name} {count}" for name, count in self.classes.items())
        lines = [
            f"{self.exposures} exposures in {self.work} ({self.done} made now{found})",
            f"{self.rows} rows, {self.usable} usable ({shares or 'no class'}); split {self.split}",
        ]
        lines += [f"refused: {reason}" for reason in self.reasons]
        lines += [f"problem: {problem}" for problem in self.problems]
        return "\n".join(lines)


def prepare(
    night: Path,
    work: Path,
    *,
    catalog: Path | None = None,
    settings: PrepareSettings | None = None,
    split: SplitSettings | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
    client: Any = None,
) -> PrepareSummary:
    """Trace, cut and extract every exposure of a night, join the catalogue, write the store.

    Parameters
    ----------
    night : Path
        A folder of raw frames, or one with `raw/` in it.
    work : Path
        The work folder to fill. What an earlier, interrupted call finished there is kept.
    catalog : Path, optional
        The catalogue; none: `catalog.*` in the night's folder.
    settings : PrepareSettings, optional
        None: the defaults.
    split : SplitSettings, optional
        None: the defaults.
    progress : callable, optional
        Called as progress(stage, done, total).
    overwrite : bool
        Replace a store of other settings or exposures, or a split of other settings. What stays
        the same is kept all the same.
    client : dask.distributed.Client, optional
        Measures the exposures there; night and work must be seen from its workers.

    Returns
    -------
    PrepareSummary
        Counts, refusals and their reasons.

    Raises
    ------
    NightError, CatalogError
        Nothing can be prepared.
    StoreError
        The folder is in use, holds another store, or the disk is full.
    """
    work = Path(work)
    settings, split = settings or PrepareSettings(), split or SplitSettings()
    plan = check(night, catalog=catalog, settings=settings, out=work)
    if plan.catalog is None and not settings.unlabelled:
        came = "none; name one with --catalog, or make a store --unlabelled"
        raise CatalogError(night, "a catalogue beside the frames", came)
    with locked(work):
        open_or_create(work, plan, settings, split, overwrite=overwrite)
        fresh, skipped = _fill(work, plan, settings, progress=progress, client=client)
        index, name = finish_store(work, plan, settings, split)
    problems = [str(p) for p in plan.problems if p.exposure is None] + list(skipped)
    return _summary(work, index, fresh, problems, split=name)


def open_or_create(
    work: Path, plan: Plan, settings: PrepareSettings, split: SplitSettings, *, overwrite: bool
) -> None:
    """Go on with the store that is there, or lay out a new one.

    Parameters
    ----------
    work : Path
        The work folder.
    plan : Plan
        From `check`.
    settings : PrepareSettings
        What to make of the night.
    split : SplitSettings
        How the stars are dealt out.
    overwrite : bool
        Replace another store.

    Raises
    ------
    StoreError
        The folder holds another store, or the disk is too small.
    """
    wanted: dict[str, Any] = {
        "prepare": recorded(settings),
        "exposures": [exposure.key for exposure in plan.exposures],
    }
    splitting = split.model_dump(mode="json")
    there = [name for name in _OURS if (work / name).exists()]
    if "provenance.json" in there:
        found = read_provenance(work).get("settings", {})
        differs = [name for name, value in wanted.items() if found.get(name) != value]
        same = not differs and (overwrite or found.get("split") == splitting)
        if same and "dataset.zarr" in there:
            return
        if not same and not overwrite:
            came = f"a store of other {' and '.join(differs or ['split'])} (overwrite replaces it)"
            raise StoreError(work, "a store of these settings and exposures, or none", came)
    elif there and not overwrite:
        came = f"{', '.join(there)} of unknown origin (overwrite replaces them)"
        raise StoreError(work, "an empty folder or one that prepare made", came)
    if plan.disk_needed > plan.disk_free:
        came = f"{plan.disk_free / 1e6:.0f} MB"
        raise StoreError(work, f"{plan.disk_needed / 1e6:.0f} MB of free disk", came)
    for name in there:
        _remove(work / name)
    create_store(
        work,
        exposures=wanted["exposures"],
        profile=plan.profile,
        settings=settings,
        provenance=make_provenance(wanted | {"split": splitting}, seed=split.seed),
    )


def _fill(
    work: Path,
    plan: Plan,
    settings: PrepareSettings,
    *,
    progress: Progress | None,
    client: Any,
) -> tuple[list[bool], tuple[str, ...]]:
    """Make every calibration and then every exposure; which were made now, and notes."""
    _sweep(work)
    shell: dict[str, Any] = {"workers": settings.workers, "progress": progress, "client": client}
    calibrations, skipped = make_calibrations(
        plan.found,
        instrument=settings.instrument,
        settings=settings.stripes,
        folder=work / "traces",
        scratch=work / "scratch",
        **shell,
    )
    tasks = [
        ExposureTask(
            work,
            number,
            exposure,
            {arm: calibrations[exposure.key, arm] for arm in ARMS},
            plan.joined[exposure.key],
            settings,
        )
        for number, exposure in enumerate(plan.exposures)
    ]
    fresh = [False] * len(tasks)
    for number, now in run_tasks(prepare_exposure, tasks, stage="prepare", **shell):
        fresh[number] = now
    return fresh, skipped


def finish_store(
    work: Path, plan: Plan, settings: PrepareSettings, split: SplitSettings
) -> tuple[pl.DataFrame, str]:
    """Assemble index, split and provenance from the parts, which must all be there.

    Parameters
    ----------
    work : Path
        The work folder.
    plan : Plan
        From `check`.
    settings : PrepareSettings
        What was made of the night.
    split : SplitSettings
        How the stars are dealt out.

    Returns
    -------
    index : DataFrame
        The index, as written.
    name : str
        The split's digest.

    Raises
    ------
    StoreError
        They cannot be written.
    """
    parts = [find_part(work, exposure.key) for exposure in plan.exposures]
    index = pl.concat([pl.read_parquet(part) for part in parts])
    dealt = make_split(index, split)
    name = split_digest(dealt)
    provenance = make_provenance(
        {
            "prepare": recorded(settings),
            "exposures": [exposure.key for exposure in plan.exposures],
            "split": split.model_dump(mode="json"),
        },
        inputs=_all_inputs(parts),
        seed=split.seed,
    )
    try:
        with atomic_write(work / "index.parquet") as partial:
            index.write_parquet(partial)
        write_split(work / "split.parquet", dealt, split)
        with atomic_write(work / "left_out.parquet") as partial:
            left_out(index, dealt).write_parquet(partial)
        write_provenance(work, provenance | {"split_digest": name})
    except OSError as err:
        raise cannot_write(work, err) from err
    _sweep(work)
    return index, name


def _all_inputs(parts: Sequence[Path]) -> dict[str, str]:
    """Object frame to digest, of all exposures."""
    found: dict[str, str] = {}
    for part in parts:
        found |= json.loads(pl.read_parquet_metadata(part)["inputs"])["objects"]
    return dict(sorted(found.items()))


def _sweep(work: Path) -> None:
    """Remove what only a running prepare needs, and what a killed one left half-written."""
    shutil.rmtree(work / "scratch", ignore_errors=True)
    for pattern in ("*.partial", ".*partial.*"):
        for path in list(work.rglob(pattern)):
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _summary(
    work: Path, index: pl.DataFrame, fresh: Sequence[bool], problems: Sequence[str], *, split: str
) -> PrepareSummary:
    usable = index.filter("usable")
    counts = usable["class"].value_counts().sort("class")
    costing = index.filter((pl.col("flags") & int(FiberFlag.ARM_MISSING)) != 0)
    refused = costing.select("exposure", "reason").unique(maintain_order=True)
    return PrepareSummary(
        work=work,
        exposures=len(fresh),
        done=sum(fresh),
        continued=len(fresh) - sum(fresh),
        rows=len(index),
        usable=len(usable),
        classes=dict(counts.iter_rows()),
        refused=len(refused),
        reasons=tuple(f"{key}: {reason}" for key, reason in refused.iter_rows()),
        problems=tuple(problems),
        split=split,
    )
