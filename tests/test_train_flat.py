"""The network that is told what the flat knows, from the store to its predictions."""

import runpy
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from drcnet.checkpoint import load_classifier
from drcnet.config import TrainSettings
from drcnet.dataset.loader import load_part
from drcnet.dataset.split import read_split
from drcnet.dataset.store import open_store
from drcnet.errors import CheckpointError
from drcnet.train import train

FLAT = TrainSettings(
    model="hornenet",
    view="stripes-flat",
    options={"components": 4, "hidden": 4},
    optimizer="adamw",
    schedule="one-cycle",
    batch_size=8,
    epochs=2,
    augment={"noise": True, "trace_shift": 0.5},
)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    made = runpy.run_path(str(Path(__file__).parent / "dataset" / "known_light.py"))["make_work"]
    return made(tmp_path_factory.mktemp("flat") / "work")


def test_it_is_trained_kept_and_used_again(work, tmp_path):
    train(work, tmp_path / "run", FLAT)
    classifier = load_classifier(tmp_path / "run", "cpu")
    card = classifier.card
    assert (card.view, card.normalize) == ("stripes-flat", "none")
    assert (card.options["n_spatial"], card.options["flat"]) == (34, True)
    said = pl.read_parquet(tmp_path / "run" / "predictions.parquet").filter(part="test")
    store, split = open_store(work), read_split(work / "split.parquet")
    stars = load_part(store, split, "test", view=card.view, classes=card.classes)
    p = classifier.probabilities(stars.x.numpy())
    np.testing.assert_allclose(p, said.select("p_F", "p_G", "p_K").to_numpy(), atol=1e-4)
    stars.x[0, 1, :11] = np.nan
    assert np.isnan(classifier.probabilities(stars.x.numpy())[0]).all()
    with pytest.raises(CheckpointError, match="input of shape"):
        classifier.probabilities(stars.x[:, :, :12].numpy())
