"""Train what a sweep plans, one run after the other, and put it into tables."""

import contextlib
import json
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.checkpoint import read_card
from drcnet.config import SweepSettings, settings_toml
from drcnet.dataset.split import read_split, split_file
from drcnet.dataset.store import Progress, Store, open_store
from drcnet.errors import DrcnetError, RunError, StoreError
from drcnet.evaluate.runs import read_run
from drcnet.evaluate.tables import write_ecsv
from drcnet.provenance import atomic_write, digest, make_provenance
from drcnet.sweep.page import page_text
from drcnet.sweep.plan import Planned, plan
from drcnet.sweep.table import Finished, line_table, run_table
from drcnet.train import Parts, train
from drcnet.train.summary import summarize

__all__ = ["SweepResult", "sweep"]

_TRACE = "error.txt"
_KEPT = 2 * 10**9  # bytes between runs: stars of one dimension, and what surrounds them


@dataclass(frozen=True, eq=False)
class SweepResult:
    """What a sweep came to.

    Parameters
    ----------
    runs : DataFrame
        One row a run, see `drcnet.sweep.table.run_table`.
    lines : DataFrame
        One row a line: seeds averaged, folds together, see `drcnet.sweep.table.line_table`.
    failed : dict of str to str
        Name of a run to its error.
    page : Path
        The tables as Markdown.
    """

    runs: pl.DataFrame
    lines: pl.DataFrame
    failed: dict[str, str]
    page: Path


def sweep(
    settings: SweepSettings,
    work: Path | str,
    runs: Path,
    *,
    page: Path | None = None,
    finished_only: bool = False,
    keep_bytes: int = _KEPT,
    progress: Progress | None = None,
    report: Callable[[str], None] | None = None,
) -> SweepResult:
    """Train every model, seed and split of a sweep on one store, and compare them.

    Finished runs are left as they are, an interrupted one goes on after its last whole epoch, one
    that failed is tried again. A run that fails, or that another process trains, is listed
    with its error; the rest goes on.

    Parameters
    ----------
    settings : SweepSettings
        What to train.
    work : Path or str
        A work folder that `prepare` has finished, or its URL.
    runs : Path
        Folder of the run folders; sweep.md, sweep.ecsv, sweep.csv and sweep-runs.csv are
        written into it.
    page : Path, optional
        Where to write sweep.md besides.
    finished_only : bool
        Train nothing: tables of the runs that are there, whatever making of the store they were
        trained on (the page says so where there are several), the others named on the page.
    keep_bytes : int, default 2e9
        Memory for what one run reads and another may use. With some 250 kB for each
        row of all splits together, and as much again, what surrounds spectra is read once for
        all folds.
    progress : callable, optional
        Called as progress(stage, done, total).
    report : callable, optional
        Called with one line of text when a run is over.

    Returns
    -------
    SweepResult
        Tables and failures.

    Raises
    ------
    ConfigError
        The sweep names a model, an option or a key that there is not.
    RunError
        A run folder holds a training with other settings.
    StoreError
        There is no finished store.
    """
    planned, runs = plan(settings), Path(runs)
    _check_folders(planned, runs)
    store = open_store(work)
    finished: list[Finished] = []
    parts = Parts(keep_bytes, None if finished_only else _rows_of_all(planned, store))
    pending = [run for run in planned if finished_only and not _is_there(runs / run.name)]
    planned = [run for run in planned if run not in pending]
    for number, run in enumerate(planned):
        if progress is not None:
            progress("runs", number, len(planned))
        folder = runs / run.name
        done = _read(run, folder) if finished_only else _one(run, work, folder, parts, progress)
        finished.append(done)
        if report is not None:
            report(f"{run.name}: {done.describe()}")
    if progress is not None:
        progress("runs", len(planned), len(planned))
    return _write(settings, finished, runs, page, [run.name for run in pending])


def _rows_of_all(planned: list[Planned], store: Store) -> NDArray[np.int64] | None:
    """Rows that changed stars of several splits have; none where one split is all."""
    names = {run.settings.split for run in planned if run.settings.augment.active}
    if len(names) < 2 or not isinstance(store.work, Path):
        return None
    parts = pl.col("part").is_in(["train", "validation"])
    found = []
    for name in names:
        with contextlib.suppress(StoreError):  # the runs of a split that is not there say so
            split = read_split(split_file(store.work, name))
            found.append(split.filter(parts)["row"].to_numpy())
    return np.unique(np.concatenate(found)).astype(np.int64) if found else None


def _is_there(folder: Path) -> bool:
    """Whether a run has come to its end: its predictions are the last that it writes."""
    return all((folder / name).is_file() for name in ("card.json", "predictions.parquet"))


def _check_folders(planned: list[Planned], runs: Path) -> None:
    """Refuse at once what would fail hours later."""
    for run in planned:
        path = runs / run.name / "settings.toml"
        if path.is_file() and path.read_text(encoding="utf-8") != settings_toml(run.settings):
            wanted = "a run with this sweep's settings, or another folder of runs"
            raise RunError(path.parent, wanted, "one with other settings")


def _read(run: Planned, folder: Path) -> Finished:
    """Take a run as it is there."""
    try:
        return Finished(run, read=read_run(folder), summary=summarize(folder, read_card(folder)))
    except DrcnetError as err:
        return Finished(run, error=str(err))


def _one(
    run: Planned, work: Path | str, folder: Path, parts: Parts, progress: Progress | None
) -> Finished:
    """Train one run, whatever comes of it."""
    try:
        summary = train(work, folder, run.settings, progress=progress, parts=parts)
        read = read_run(folder)
    except DrcnetError as err:
        return Finished(run, error=str(err))
    except Exception as err:  # noqa: BLE001  one run's trouble must not end a night of runs
        with atomic_write(folder / _TRACE) as path:
            path.write_text(traceback.format_exc(), encoding="utf-8")
        return Finished(run, error=f"{type(err).__name__}: {err} (see {folder / _TRACE})")
    (folder / _TRACE).unlink(missing_ok=True)
    return Finished(run, read=read, summary=summary)


def _write(
    settings: SweepSettings,
    finished: list[Finished],
    runs: Path,
    page: Path | None,
    pending: list[str],
) -> SweepResult:
    lines, each = line_table(finished, settings), run_table(finished, settings)
    origin = _origin(settings, finished)
    write_ecsv(lines, runs / "sweep.ecsv", origin)
    for table, name in ((lines, "sweep.csv"), (each, "sweep-runs.csv")):
        with atomic_write(runs / name) as path:
            table.write_csv(path)
    text = page_text(settings, finished, lines, each, origin, pending=pending)
    for target in (runs / "sweep.md", *([page] if page is not None else [])):
        with atomic_write(target) as path:
            path.write_text(text, encoding="utf-8")
    failed = {done.run.name: done.error for done in finished if done.error}
    return SweepResult(each, lines, failed, page or runs / "sweep.md")


def _origin(settings: SweepSettings, finished: list[Finished]) -> dict[str, Any]:
    """Settings of the sweep, and the digests of every store and split that its runs saw."""
    inputs = [
        json.dumps(done.read.card["provenance"]["inputs"], sort_keys=True)
        for done in finished
        if done.read is not None
    ]
    named = {digest(text): text for text in dict.fromkeys(inputs)}
    return make_provenance(settings.model_dump(mode="json"), inputs=named)
