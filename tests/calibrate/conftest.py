"""The toy store of the augmentation's tests, with faint test stars, and a run on it."""

import runpy
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from drcnet.config import CalibrateSettings, TrainSettings
from drcnet.dataset.split import write_split
from drcnet.train import train


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    path = Path(__file__).parents[1] / "dataset" / "known_light.py"
    make_work = runpy.run_path(str(path))["make_work"]
    return make_work(tmp_path_factory.mktemp("augment") / "work")


@pytest.fixture(scope="module")
def toy(work, tmp_path_factory):
    """Test stars in the faintest interval; one star without class, sky and a dead fibre."""
    folder = tmp_path_factory.mktemp("toy") / "work"
    shutil.copytree(work, folder)
    split = pl.read_parquet(folder / "split.parquet")
    faint = pl.col("part") == "test"
    split = split.with_columns(
        pl.when(faint).then(5.0).otherwise("snrr").alias("snrr"),
        pl.when(faint).then(pl.lit("0-10")).otherwise("interval").alias("interval"),
    )
    write_split(folder / "split.parquet", split)
    index = pl.read_parquet(folder / "index.parquet")
    index = index.with_columns(
        pl.Series("snr_red", np.full(len(index), 32.0)), pl.Series("reason", [""] * len(index))
    )
    index.write_parquet(folder / "index.parquet")
    return folder


@pytest.fixture(scope="module")
def run(toy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "logreg"
    train(toy, folder, TrainSettings(model="logreg", options={"components": 4}))
    return folder


@pytest.fixture
def settings():
    return CalibrateSettings(copies=2, coverage=0.8, false_rejection=0.2, seed=4)
