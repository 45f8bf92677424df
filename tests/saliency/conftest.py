"""A trained linear model on stars whose class shows in one line."""

import shutil

import numpy as np
import polars as pl
import pytest

from drcnet.config import TrainSettings
from drcnet.dataset.store import open_store, write_exposure
from drcnet.train import train


@pytest.fixture(scope="session")
def lined_work(tiny_work, tmp_path_factory):
    """`tiny_work` with wavelengths (blue 4000-5275, red 6000-7275 angstrom) and fibre numbers."""
    work = tmp_path_factory.mktemp("lines") / "work"
    shutil.copytree(tiny_work, work)
    index = pl.read_parquet(work / "index.parquet")
    index = index.with_columns((pl.col("row") + 1).alias("fiberid"))
    index.write_parquet(work / "index.parquet")
    store = open_store(work)
    rows = np.arange(84)
    names = ("stripes", "mask", "box", "box_ivar", "optimal", "optimal_ivar", "sky", "offset")
    for a, (arm, start) in enumerate((("blue", 4000.0), ("red", 6000.0))):
        arrays = {name: store.read(name, rows)[:, a] for name in names}
        # rows 0 to 255 of 4136: a straight line over the whole domain [-1, 1]
        slope = 5.0 * (4136 - 1) / 2
        arrays["wavelength"] = np.tile([start + slope, slope, 0, 0, 0], (84, 1))
        write_exposure(work, 0, arm, arrays)
    return work


@pytest.fixture(scope="session")
def lined_run(lined_work, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lined-runs") / "linear"
    train(lined_work, folder, TrainSettings(model="logreg", options={"components": 10}))
    return folder
