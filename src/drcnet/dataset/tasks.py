"""One exposure into its rows of the store: a pure function of its task, run in any process.

The part of the index is written last and named by the digest of everything it was made of, so
its presence means that the shards are whole and up to date.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet import __version__
from drcnet.config import PrepareSettings
from drcnet.dataset.calibrations import input_digests
from drcnet.dataset.exposure import ExposureStripes, fiber_table, measure_exposure
from drcnet.dataset.index import index_rows
from drcnet.dataset.store import (
    ARMS,
    ARRAYS,
    SCHEMA,
    shard_digests,
    shard_path,
    write_exposure,
)
from drcnet.dataset.writing import cannot_write
from drcnet.frames.night import Exposure
from drcnet.instruments import load_instrument
from drcnet.provenance import atomic_write, digest

__all__ = ["ExposureTask", "find_part", "prepare_exposure", "recorded"]


@dataclass(frozen=True, eq=False)
class ExposureTask:
    """Everything that `prepare_exposure` needs, sent to another process.

    Parameters
    ----------
    work : Path
        The work folder.
    number : int
        Position of the exposure in the store.
    exposure : Exposure
        Its files.
    calibrations : Mapping of str to (Path, str) or str
        Arm to its calibration's file and digest, or the reason why there is none.
    joined : DataFrame
        Its rows of the catalogue, one a fibre.
    settings : PrepareSettings
        What to make of it.
    """

    work: Path
    number: int
    exposure: Exposure
    calibrations: Mapping[str, tuple[Path, str] | str]
    joined: pl.DataFrame
    settings: PrepareSettings


def prepare_exposure(task: ExposureTask) -> bool:
    """Measure one exposure and write its shards, then its part of the index.

    Parameters
    ----------
    task : ExposureTask
        Which, and into which store.

    Returns
    -------
    bool
        True where it was made now, False where it was found finished.

    Raises
    ------
    StoreError
        It cannot be written.
    """
    inputs = _inputs(task)
    folder = task.work / "parts"
    part = folder / f"{task.exposure.key}.{digest(inputs)}.parquet"
    if part.is_file():
        return False
    for stale in folder.glob(f"{task.exposure.key}.*.parquet"):
        stale.unlink()
    profile = load_instrument(task.settings.instrument)
    measured = measure_exposure(
        task.exposure,
        task.calibrations,
        profile,
        task.settings.stripes,
        scratch=task.work / "scratch",
        sky_fibers=_sky_fibers(task.joined),
    )
    for arm in ARMS:
        _write_arm(task, measured, arm)
    first_row = task.number * profile.fibers.count
    rows = index_rows(fiber_table(measured), task.joined, first_row=first_row)
    try:
        with atomic_write(part) as partial:
            metadata = {
                "inputs": json.dumps(inputs, sort_keys=True),
                "shards": json.dumps(shard_digests(task.work, task.number), sort_keys=True),
            }
            rows.write_parquet(partial, metadata=metadata)
    except OSError as err:
        raise cannot_write(part, err) from err
    return True


def find_part(work: Path, key: str) -> Path:
    """Find the finished part of an exposure.

    Parameters
    ----------
    work : Path
        The work folder.
    key : str
        The exposure.

    Returns
    -------
    Path
        Its Parquet file; there is one once `prepare_exposure` has returned.
    """
    return next((work / "parts").glob(f"{key}.*.parquet"))


def recorded(settings: PrepareSettings) -> dict[str, Any]:
    """Give the settings that a store depends on.

    Parameters
    ----------
    settings : PrepareSettings
        All of them.

    Returns
    -------
    dict
        JSON-able; without the number of workers.
    """
    return settings.model_dump(mode="json", exclude={"workers"})


def _inputs(task: ExposureTask) -> dict[str, Any]:
    """Everything that the exposure's rows follow from."""
    files = (task.exposure.blue, task.exposure.red)
    return {
        "objects": input_digests([f.object for f in files if f is not None]),
        "calibrations": {
            arm: c if isinstance(c, str) else c[1] for arm, c in task.calibrations.items()
        },
        "catalog": digest(task.joined.write_csv()),
        "settings": digest(recorded(task.settings)),
        "number": task.number,
        "schema": SCHEMA,
        "version": __version__,
    }


def _sky_fibers(joined: pl.DataFrame) -> NDArray[np.bool_] | None:
    """Fibres that the catalogue says looked at sky; None where it does not say."""
    sky = joined["is_sky"].to_numpy()
    return sky if sky.any() else None


def _write_arm(task: ExposureTask, measured: ExposureStripes, arm: str) -> None:
    stripes = measured.arms.get(arm)
    if stripes is not None:
        arrays = {name: getattr(stripes, name) for name in ARRAYS}
        write_exposure(task.work, task.number, arm, arrays)
        return
    for name in ARRAYS:  # an earlier version of the frame may have been usable
        shard_path(task.work, arm, name, task.number).unlink(missing_ok=True)
