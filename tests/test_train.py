"""Training: it learns, it resumes to the same bits, and it refuses what cannot be learnt."""

import itertools
import json
import shutil
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from drcnet.checkpoint import load_classifier, read_card
from drcnet.config import TrainSettings
from drcnet.dataset.split import read_split
from drcnet.dataset.store import open_store
from drcnet.errors import CheckpointError, StoreError, TrainingError
from drcnet.train import loop, train

SMALL = {"widths": [4, 4, 8], "norm": True}
MODERN = TrainSettings(
    model="rcnet",
    options=SMALL,
    optimizer="adamw",
    learning_rate=3e-3,
    schedule="one-cycle",
    batch_size=8,
    epochs=4,
)
LOGREG = TrainSettings(model="logreg", options={"components": 8})


def modern(**changes):
    return MODERN.model_copy(update=changes)


def weights_of(run):
    return load_classifier(run, "cpu").model.state_dict()


def log_of(run):
    return pl.read_csv(run / "log.csv").drop("seconds")


def edit_split(work, target, change):
    """A copy of a work folder with another split."""
    shutil.copytree(work, target)
    split = pl.read_parquet(work / "split.parquet").with_columns(change)
    split.write_parquet(target / "split.parquet")
    return target


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """The same bits on every machine, and no waiting where cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def finished(tiny_work, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "rcnet"
    return run, train(tiny_work, run, MODERN)


def test_it_learns_and_writes_the_run_folder(finished):
    run, summary = finished
    log = log_of(run)
    assert log["epoch"].to_list() == [1, 2, 3, 4]
    assert log["train_loss"][-1] < 0.5 * log["train_loss"][0]
    assert summary.validation_accuracy >= 0.9
    assert "validation loss" in summary.describe()
    assert json.loads(json.dumps(summary.as_dict()))["run"] == str(run)
    names = {p.name for p in run.iterdir()}
    assert names == {
        "settings.toml",
        "card.json",
        "weights.safetensors",
        "log.csv",
        "tensorboard",
        "predictions.parquet",
    }
    assert list((run / "tensorboard").glob("events.out.tfevents.*"))


@pytest.mark.parametrize(
    "settings",
    [
        modern(model="drcnet", epochs=6),
        TrainSettings(model="drcnet", options=SMALL, epochs=2, precision="bf16-mixed"),
        LOGREG,
    ],
    ids=["drcnet", "paper-bf16", "logreg"],
)
def test_predictions_are_the_classifier_s_own(tiny_work, tmp_path, settings):
    train(tiny_work, tmp_path / "run", settings)
    table = pl.read_parquet(tmp_path / "run" / "predictions.parquet")
    split = read_split(tiny_work / "split.parquet")
    assert table.columns == [
        *("row", "star", "class", "subclass", "snrr", "interval", "part", "predicted"),
        *("p_F", "p_G", "p_K"),
    ]
    assert table.select(split.columns).equals(split)
    p = table.select("p_F", "p_G", "p_K").to_numpy()
    np.testing.assert_allclose(p.sum(axis=1), 1)
    classifier = load_classifier(tmp_path / "run", "cpu")
    x = open_store(tiny_work).read(classifier.card.view, table["row"].to_numpy())
    np.testing.assert_allclose(classifier.probabilities(x), p, atol=1e-5)
    assert table["predicted"].to_list() == [("F", "G", "K")[k] for k in p.argmax(axis=1)]


def test_modern_recipe_teaches_drcnet_in_few_epochs(tiny_work, tmp_path):
    summary = train(tiny_work, tmp_path / "run", modern(model="drcnet", epochs=6))
    assert summary.validation_accuracy >= 0.9


def test_same_seed_same_bits_and_another_seed_not(tiny_work, tmp_path, finished):
    first = weights_of(finished[0])
    train(tiny_work, tmp_path / "again", MODERN)
    again = weights_of(tmp_path / "again")
    assert all(torch.equal(first[name], again[name]) for name in first)
    train(tiny_work, tmp_path / "other", modern(seed=2))
    other = weights_of(tmp_path / "other")
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("killed_at", [1, 7, 13, 24])
def test_killed_and_resumed_equals_uninterrupted(
    tiny_work, tmp_path, finished, monkeypatch, killed_at
):
    """24 steps in all, 6 an epoch: killed in the first, second, third and last."""
    steps, step = [0], loop._step

    def dying(*args):
        steps[0] += 1
        if steps[0] == killed_at:
            raise KeyboardInterrupt
        return step(*args)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_step", dying)
        with pytest.raises(KeyboardInterrupt):
            train(tiny_work, tmp_path / "run", MODERN)
    assert (tmp_path / "run" / "state.pt").is_file() == (killed_at > 6)
    summary = train(tiny_work, tmp_path / "run", MODERN)
    whole, resumed = weights_of(finished[0]), weights_of(tmp_path / "run")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert log_of(tmp_path / "run").equals(log_of(finished[0]))
    assert summary.best_epoch == finished[1].best_epoch
    first, second = (
        pl.read_parquet(r / "predictions.parquet") for r in (finished[0], tmp_path / "run")
    )
    assert first.equals(second)


@pytest.mark.parametrize("optimizer", ["adagrad", "adamw"])
def test_resume_keeps_dropout_optimizer_and_patience(tiny_work, tmp_path, monkeypatch, optimizer):
    settings = modern(
        options={**SMALL, "classifier_widths": [8], "dropout": 0.3},
        optimizer=optimizer,
        schedule="constant",
        epochs=5,
        patience=2,
        class_weights="inverse",
    )
    whole = train(tiny_work, tmp_path / "whole", settings)
    save = loop.State.save

    def save_then_die(self, *args):
        save(self, *args)
        if self.epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop.State, "save", save_then_die)
        with pytest.raises(KeyboardInterrupt):
            train(tiny_work, tmp_path / "cut", settings)
    cut = train(tiny_work, tmp_path / "cut", settings)
    assert cut.epochs == whole.epochs
    assert log_of(tmp_path / "cut").equals(log_of(tmp_path / "whole"))


def test_one_optimizer_step_a_batch(tiny_work, tmp_path, monkeypatch):
    calls = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda self, *a, **k: (calls.append(1), step(self, *a, **k))[1]
    )
    train(tiny_work, tmp_path / "run", modern(epochs=2, batch_size=10))
    assert len(calls) == 2 * 5  # 48 stars: four batches of 10 and one of 8


def test_finished_run_is_returned_and_other_settings_are_refused(finished, tiny_work, tmp_path):
    run, summary = finished
    before = (run / "weights.safetensors").stat().st_mtime_ns
    assert train(tiny_work, run, MODERN) == summary
    assert (run / "weights.safetensors").stat().st_mtime_ns == before
    with pytest.raises(TrainingError, match="other settings"):
        train(tiny_work, run, modern(seed=2))
    other = edit_split(tiny_work, tmp_path / "work", pl.col("part").replace("validation", "test"))
    split = pl.read_parquet(other / "split.parquet")
    part = pl.when(pl.col("row").is_between(60, 65)).then(pl.lit("validation"))
    split.with_columns(part.otherwise("part").alias("part")).write_parquet(other / "split.parquet")
    with pytest.raises(TrainingError, match="this split, or overwrite, got one on another split"):
        train(other, run, MODERN)


def test_overwrite_throws_the_old_run_away_and_nothing_else(tiny_work, tmp_path):
    train(tiny_work, tmp_path, LOGREG)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "metrics.ecsv").write_text("old")
    summary = train(tiny_work, tmp_path, modern(epochs=1), overwrite=True)
    assert summary.model == "rcnet"
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert not (tmp_path / "metrics.ecsv").exists()


def test_shuffled_labels_come_out_at_chance(tiny_work, tmp_path):
    train(tiny_work, tmp_path / "run", LOGREG.model_copy(update={"shuffle_labels": True}))
    table = pl.read_parquet(tmp_path / "run" / "predictions.parquet")
    tested = table.filter(pl.col("part") == "test")
    assert (tested["class"] == tested["predicted"]).mean() < 0.7
    assert table["class"].to_list() == ["F", "G", "K"] * 28  # the table keeps the truth


def test_loss_that_is_no_number_keeps_the_last_good_epoch(tiny_work, tmp_path, monkeypatch):
    epoch = loop._epoch

    def exploding(bench, state):
        row = epoch(bench, state)
        return row | {"train_loss": float("nan")} if state.epoch == 3 else row

    monkeypatch.setattr(loop, "_epoch", exploding)
    with pytest.raises(TrainingError, match="nan in epoch 3; the weights of epoch [12] are kept"):
        train(tiny_work, tmp_path / "run", MODERN)
    card = read_card(tmp_path / "run")
    assert (card.stopped, card.epochs) == ("error", 2)
    assert load_classifier(tmp_path / "run", "cpu").card == card
    monkeypatch.undo()
    assert train(tiny_work, tmp_path / "run", MODERN).epochs == 4


def test_loss_that_explodes_at_once_is_an_error(tiny_work, tmp_path):
    settings = modern(options={"widths": [4, 4, 8]}, optimizer="adagrad", learning_rate=1e6)
    with pytest.raises(TrainingError, match="in epoch 1; nothing was kept"):
        train(tiny_work, tmp_path / "run", settings)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (pl.when(pl.col("class") == "K").then(pl.lit("test")).otherwise("part"), "no K"),
        (pl.col("part").replace("validation", "test"), "stars in the validation part, got none"),
    ],
)
def test_split_that_cannot_be_learnt_from(tiny_work, tmp_path, change, words):
    work = edit_split(tiny_work, tmp_path / "work", change.alias("part"))
    with pytest.raises(TrainingError, match=words):
        train(work, tmp_path / "run", LOGREG)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "resnet"}, "one of drcnet, rcnet"),
        ({"options": {"width": 3}}, "among n_wave, .*arms.*got width"),
        ({"options": {"arms": "three"}}, "'arms' must be one of"),
        ({"view": "stripes"}, "one of box, optimal, .*, got 'stripes'"),
    ],
)
def test_settings_that_no_model_has(tiny_work, tmp_path, changes, words):
    with pytest.raises(TrainingError, match=words):
        train(tiny_work, tmp_path / "run", modern(**changes))


def test_no_store_is_a_store_error(tmp_path):
    with pytest.raises(StoreError):
        train(tmp_path / "nothing", tmp_path / "run", LOGREG)


def test_damaged_state_is_said(tiny_work, tmp_path, finished):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(finished[0] / "settings.toml", run)
    (run / "state.pt").write_bytes(b"not a state")
    with pytest.raises(CheckpointError, match="damaged"):
        train(tiny_work, run, MODERN)


def test_view_optimal_is_read(tiny_work, tmp_path):
    train(tiny_work, tmp_path / "run", modern(view="optimal", epochs=1))
    assert read_card(tmp_path / "run").view == "optimal"


def test_time_limit_ends_the_cycle_and_is_said(tiny_work, tmp_path, monkeypatch):
    steps = itertools.count()  # a clock that ticks when it is read: once a step, on any machine
    clock = SimpleNamespace(perf_counter=lambda: 0.01 * next(steps), process_time=lambda: 0.0)
    monkeypatch.setattr("drcnet.train.loop.time", clock)
    summary = train(tiny_work, tmp_path / "run", modern(epochs=10_000, max_seconds=1.0))
    assert summary.stopped == "time"
    log = pl.read_csv(tmp_path / "run" / "log.csv")
    assert 5 < len(log) < 100
    assert log["learning_rate"][-1] < 0.2 * log["learning_rate"].max()


def test_budget_of_processor_time(tiny_work, tmp_path):
    settings = modern(epochs=10_000, max_seconds=0.5, clock="processor")
    assert train(tiny_work, tmp_path / "run", settings).stopped == "time"
    seen = read_card(tmp_path / "run").training
    assert seen["cpu_seconds"] >= 0.5
    assert seen["epochs"] <= pl.read_csv(tmp_path / "run" / "log.csv")["epoch"][-1]


def test_keep_last(tiny_work, tmp_path):
    summary = train(tiny_work, tmp_path / "run", modern(keep="last", learning_rate=0.3, epochs=3))
    assert summary.best_epoch == 3


def test_patience_stops_training(tiny_work, tmp_path):
    settings = modern(schedule="constant", learning_rate=1e-12, epochs=50, patience=2)
    summary = train(tiny_work, tmp_path / "run", settings)
    assert summary.stopped == "patience"
    assert summary.epochs < 50


def test_training_leaves_the_global_random_state_alone(tiny_work, tmp_path):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train(tiny_work, tmp_path / "run", modern(epochs=1))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("weights", ["none", "inverse"])
def test_accumulated_pieces_are_the_whole_batch(tiny_work, tmp_path, weights):
    recipe = {"options": {"widths": [4, 4, 8]}, "batch_size": 10, "class_weights": weights}
    train(tiny_work, tmp_path / "whole", modern(**recipe, epochs=2))
    train(tiny_work, tmp_path / "pieces", modern(**recipe, epochs=2, accumulate=3))
    whole, pieces = weights_of(tmp_path / "whole"), weights_of(tmp_path / "pieces")
    for name, value in whole.items():
        torch.testing.assert_close(pieces[name], value, rtol=0, atol=2e-5)
    assert not all(torch.equal(pieces[name], whole[name]) for name in whole)
