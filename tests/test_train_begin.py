"""A model that begins with statistics, and learns more of its stars than the class."""

import numpy as np
import polars as pl
import pytest
import torch

from drcnet.checkpoint import load_classifier
from drcnet.config import TrainSettings
from drcnet.errors import CheckpointError, TrainingError
from drcnet.train import loop, train
from drcnet.train.task import load_data, read_task

HORNE = TrainSettings(
    model="hornenet",
    options={"components": 6, "hidden": 8},
    optimizer="adamw",
    learning_rate=1e-3,
    schedule="one-cycle",
    batch_size=8,
    epochs=3,
)


def weights_of(run):
    return load_classifier(run, "cpu").model.state_dict()


def test_it_begins_once_and_a_run_that_was_cut_short_ends_with_the_same_bits(
    tiny_work, tmp_path, monkeypatch
):
    begun, begin, record = [], loop._begin, loop._record

    def counted(bench, state):
        begun.append(state.epoch)
        begin(bench, state)

    def cut_short(settings, state, row):
        if state.epoch == 2:
            raise KeyboardInterrupt
        record(settings, state, row)

    monkeypatch.setattr(loop, "_begin", counted)
    train(tiny_work, tmp_path / "whole", HORNE)
    assert begun == [0]
    tested = pl.read_parquet(tmp_path / "whole" / "predictions.parquet")
    assert (tested["class"] == tested["predicted"]).mean() > 0.9
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_record", cut_short)
        with pytest.raises(KeyboardInterrupt):
            train(tiny_work, tmp_path / "cut", HORNE)
    train(tiny_work, tmp_path / "cut", HORNE)
    assert begun == [0, 0]
    first, second = weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut")
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    card = load_classifier(tmp_path / "cut", "cpu").card
    assert (card.view, card.normalize, card.options["n_spatial"]) == ("stripes-sky", "none", 12)


def test_a_run_measures_parameters_beside_the_class(tiny_work, tmp_path):
    train(tiny_work, tmp_path / "run", HORNE.model_copy(update={"epochs": 1}))
    classifier = load_classifier(tmp_path / "run", "cpu")
    task = read_task(tiny_work, HORNE)
    x = load_data(task).train.x.numpy().copy()
    x[0] = np.nan
    found = classifier.estimates(x)
    assert tuple(found) == classifier.measures == ("teff", "logg", "feh")
    assert np.isnan(found["teff"][0])
    assert np.isfinite(found["teff"][1:]).all()
    assert {name: len(part) for name, part in classifier.estimates(x[:0]).items()} == {
        "teff": 0, "logg": 0, "feh": 0
    }  # fmt: skip
    with pytest.raises(CheckpointError, match="input of shape"):
        classifier.estimates(x[:, :, :-1])


def test_subclass_and_parameters_of_the_training_stars_are_read(tiny_work, tmp_path):
    task = read_task(tiny_work, HORNE)
    data = load_data(task)
    rows = task.store.index.filter(pl.col("row").is_in(data.train.row.tolist())).sort("row")
    assert data.targets.shape == (len(data.train), 5)
    wanted = [float(name[1:]) if len(name) > 1 else float("nan") for name in rows["subclass"]]
    torch.testing.assert_close(
        data.targets[:, 0].double(), torch.tensor(wanted).double(), equal_nan=True
    )
    shuffled = load_data(read_task(tiny_work, HORNE.model_copy(update={"shuffle_labels": True})))
    assert torch.isnan(shuffled.targets).all()


def test_statistics_need_all_stars_in_memory(tiny_work, tmp_path):
    with pytest.raises(TrainingError, match="the stars of hornenet must lie in memory"):
        train(tiny_work, tmp_path / "run", HORNE.model_copy(update={"memory_gb": 1e-4}))


def test_stars_without_a_label_are_read_where_it_begins_with_them(tiny_work, tmp_path):
    settings = HORNE.model_copy(update={"options": HORNE.options | {"unlabelled_turns": 1}})
    assert len(load_data(read_task(tiny_work, HORNE)).pool) == 0
    assert len(load_data(read_task(tiny_work, settings)).pool) == 48
    settings = settings.model_copy(update={"epochs": 1})
    train(tiny_work, tmp_path / "more", settings)
    train(tiny_work, tmp_path / "few", HORNE.model_copy(update={"epochs": 1}))
    first, second = weights_of(tmp_path / "more"), weights_of(tmp_path / "few")
    assert not torch.equal(first["basis"], second["basis"])
    tested = pl.read_parquet(tmp_path / "more" / "predictions.parquet")
    assert (tested["class"] == tested["predicted"]).mean() > 0.9
