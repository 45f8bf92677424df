"""The network that is told sky and wavelengths, from the store to its predictions."""

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from drcnet.checkpoint import load_classifier
from drcnet.config import TrainSettings
from drcnet.dataset.loader import load_part
from drcnet.dataset.split import read_split
from drcnet.dataset.store import open_store
from drcnet.train import train
from drcnet.train.task import load_data, read_task


def recipe(view, **options):
    return TrainSettings(
        model="hornenet",
        view=view,
        options={"components": 4, "hidden": 4, **options},
        optimizer="adamw",
        schedule="one-cycle",
        batch_size=8,
        epochs=2,
        augment={"noise": True},
    )


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    made = runpy.run_path(str(Path(__file__).parent / "dataset" / "known_light.py"))["make_work"]
    return made(tmp_path_factory.mktemp("full") / "work")


@pytest.mark.parametrize(("view", "rows"), [("optimal-full", 4), ("stripes-full", 13)])
@pytest.mark.parametrize("tune", [0.0, 0.003])
def test_it_is_trained_kept_and_used_again(work, tmp_path, view, rows, tune):
    train(work, tmp_path / "run", recipe(view, tune=tune))
    classifier = load_classifier(tmp_path / "run", "cpu")
    card = classifier.card
    assert (card.view, card.normalize) == (view, "none")
    assert (card.options["n_spatial"], card.options["told"]) == (rows, True)
    said = pl.read_parquet(tmp_path / "run" / "predictions.parquet").filter(part="test")
    store, split = open_store(work), read_split(work / "split.parquet")
    stars = load_part(store, split, "test", view=view, classes=card.classes)
    p = classifier.probabilities(stars.x.numpy())
    np.testing.assert_allclose(p, said.select("p_F", "p_G", "p_K").to_numpy(), atol=1e-4)
    assert classifier.measures == ("teff", "logg", "feh", "rv_topo")
    assert np.isfinite(classifier.estimates(stars.x.numpy())["rv_topo"]).all()
    grid = classifier.model.align.grid.numpy()
    assert (np.diff(grid) > 0).all()
    np.testing.assert_allclose(grid[0], stars.x[0, 0, -1].numpy(), rtol=1e-6)


def test_velocities_are_learnt_where_the_index_can_tell_them(work):
    blind = load_data(read_task(work, recipe("optimal-full")))
    assert blind.targets.shape[1] == 5
    assert np.isnan(blind.targets[:, 4].numpy()).all()  # no place in the sky, no velocity
    task = read_task(work, recipe("optimal-full"))
    known = {"rv": 30.0, "ra": 120.0, "dec": 20.0, "lmjm": 82495846}
    index = task.store.index.with_columns(pl.lit(v).alias(k) for k, v in known.items())
    seen = load_data(replace(task, store=replace(task.store, index=index))).targets[:, 4]
    assert np.ptp(seen.numpy()) == 0
    assert 0 < abs(float(seen[0]) - 30.0) < 31  # the Earth's orbit
