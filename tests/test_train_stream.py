"""Training on stars that are read while it learns."""

import fsspec
import numpy as np
import polars as pl
import pytest
import torch

from drcnet.checkpoint import load_classifier, read_card
from drcnet.config import AugmentSettings, TrainSettings
from drcnet.errors import TrainingError
from drcnet.train import loop, train
from drcnet.train.recipe import shuffled_labels
from drcnet.train.task import load_data, read_task

SETTINGS = TrainSettings(
    model="rcnet",
    options={"widths": [4, 4, 8], "norm": True},
    optimizer="adamw",
    learning_rate=3e-3,
    batch_size=8,
    epochs=3,
    memory_gb=1e-9,
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def streamed(tiny_work, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "streamed"
    train(tiny_work, run, SETTINGS)
    return run


def test_it_learns_without_holding_the_training_stars(streamed, tiny_work, tmp_path):
    log = pl.read_csv(streamed / "log.csv")
    assert log["train_loss"][-1] < 0.7 * log["train_loss"][0]
    assert 0 <= read_card(streamed).training["waiting"] <= 1
    train(tiny_work, tmp_path / "resident", SETTINGS.model_copy(update={"memory_gb": 10.0}))
    assert "waiting" not in read_card(tmp_path / "resident").training
    here, there = (
        pl.read_parquet(run / "predictions.parquet") for run in (streamed, tmp_path / "resident")
    )
    known = ["row", "star", "class", "part"]
    assert here.select(known).equals(there.select(known))


def test_a_streamed_star_is_predicted_as_any_other(streamed, tiny_work):
    from drcnet.checkpoint import predict, softmax
    from drcnet.dataset.store import open_store

    table = pl.read_parquet(streamed / "predictions.parquet").filter(pl.col("part") == "train")
    x = torch.from_numpy(open_store(tiny_work).read("box", table["row"].to_numpy()))
    model = load_classifier(streamed, "cpu").model
    with torch.no_grad():
        wanted = softmax(predict(model, x, torch.device("cpu"), how="zscore"))
    got = table.select(pl.col("^p_.*$")).to_numpy()
    np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_interrupted_and_resumed_is_the_same_to_the_bit(
    streamed, tiny_work, tmp_path, monkeypatch
):
    record = loop._record

    def stopping(settings, state, row):
        if state.epoch == 2:
            raise KeyboardInterrupt
        record(settings, state, row)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_record", stopping)
        with pytest.raises(KeyboardInterrupt):
            train(tiny_work, tmp_path / "run", SETTINGS)
    train(tiny_work, tmp_path / "run", SETTINGS)
    once = load_classifier(streamed, "cpu").model.state_dict()
    again = load_classifier(tmp_path / "run", "cpu").model.state_dict()
    assert all(torch.equal(once[name], again[name]) for name in once)


def test_a_store_at_a_url_trains_to_the_same_bits(streamed, tiny_work, tmp_path):
    memory = fsspec.filesystem("memory")
    memory.put(str(tiny_work), "/bucket/tiny", recursive=True)
    train("memory://bucket/tiny", tmp_path / "run", SETTINGS)
    memory.rm("/bucket", recursive=True)
    name = "predictions.parquet"
    assert pl.read_parquet(tmp_path / "run" / name).equals(pl.read_parquet(streamed / name))


def test_shuffled_labels_are_streamed_too(tiny_work):
    settings = SETTINGS.model_copy(update={"shuffle_labels": True})
    plain = load_data(read_task(tiny_work, SETTINGS))
    data = load_data(read_task(tiny_work, settings))
    wanted = shuffled_labels(plain.train.label, settings.seed)
    assert not torch.equal(wanted, plain.train.label)
    for batch in data.stream.batches(1):
        assert torch.equal(batch.label, wanted[batch.position])


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"model": "logreg", "options": {"components": 8}}, "the stars of logreg"),
        ({"augment": AugmentSettings(noise=True)}, "augmented stars"),
    ],
)
def test_what_must_lie_in_memory_is_refused(tiny_work, tmp_path, changes, what):
    with pytest.raises(TrainingError, match=f"GB, as {what} must lie in memory, got 1e-09"):
        train(tiny_work, tmp_path / "run", SETTINGS.model_copy(update=changes))
