"""A small store whose stars' surroundings are known, and runs on it."""

import shutil

import numpy as np
import polars as pl
import pytest
import torch

from drcnet.config import TrainSettings
from drcnet.dataset.augment_scene import Scene
from drcnet.robustness import light as light_module
from drcnet.train import train

SKY, READ = 30.0, 16.0


def fake_scene(store, row, x, view):
    """A flat sky of 30 electrons a pixel, no neighbours: what `tiny_work` was made with."""
    n, rows = len(row), x.shape[-1]
    wave = np.linspace(4000, 9000, 2 * rows).reshape(2, rows)
    wavelength = torch.from_numpy(np.broadcast_to(wave, (n, 2, rows)).astype(np.float32).copy())
    nothing = torch.zeros(0)
    keep = torch.full(x.shape, SKY)
    return Scene(keep, torch.full((n, 2), READ), nothing, nothing, nothing, wavelength, nothing)


@pytest.fixture
def scenes(monkeypatch):
    monkeypatch.setattr(light_module, "read_scene", fake_scene)


@pytest.fixture(scope="session")
def small_work(tiny_work, tmp_path_factory):
    work = tmp_path_factory.mktemp("robust") / "work"
    shutil.copytree(tiny_work, work)
    index = pl.read_parquet(work / "index.parquet")
    index = index.with_columns((pl.col("row") + 1).alias("fiberid"))
    index.write_parquet(work / "index.parquet")
    return work


@pytest.fixture(scope="session")
def small_runs(small_work, tmp_path_factory):
    folder = tmp_path_factory.mktemp("robust-runs")
    for name, view in (("linear", "box"), ("sky-free", "optimal-sky")):
        settings = TrainSettings(model="logreg", view=view, options={"components": 10})
        train(small_work, folder / name, settings)
    return folder
