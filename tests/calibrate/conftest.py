"""The toy store of the augmentation's tests, with faint test stars, and a run on it."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from drcnet.config import CalibrateSettings, TrainSettings
from drcnet.dataset.split import write_split
from drcnet.train import train


def _load():
    path = Path(__file__).parents[1] / "dataset" / "test_augment.py"
    spec = importlib.util.spec_from_file_location("toy_store", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


work = _load().work  # pytest finds the fixture by this name


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
