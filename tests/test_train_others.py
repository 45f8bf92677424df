"""Trainings that rest on finished runs: where they begin, who teaches them, what is refused."""

import shutil

import polars as pl
import pytest
import torch

from drcnet.checkpoint import load_classifier, read_card
from drcnet.config import TeacherSettings, TrainSettings
from drcnet.errors import CheckpointError, TrainingError
from drcnet.train import loop, train
from drcnet.train.others import Teachers, learnt_from
from drcnet.train.task import read_task

SMALL = {"widths": [4, 4, 8], "norm": True}
FIRST = TrainSettings(
    model="rcnet",
    options=SMALL,
    optimizer="adamw",
    learning_rate=3e-3,
    schedule="one-cycle",
    batch_size=8,
    epochs=3,
)
HORNE = FIRST.model_copy(update={"model": "hornenet", "options": {"components": 6, "hidden": 8}})


def recipe(base=FIRST, **changes):
    return base.model_copy(update=changes)


def taught(*runs, weight=0.5):
    return TeacherSettings(runs=tuple(map(str, runs)), weight=weight)


def weights_of(run):
    return load_classifier(run, "cpu").model.state_dict()


def parameters_of(run):
    """What gradients move; not what batch normalisation counts."""
    model = load_classifier(run, "cpu").model
    return {name: value.detach() for name, value in model.named_parameters()}


def same(first, second):
    return all(torch.equal(value, second[name]) for name, value in first.items())


def dies_in_epoch(monkeypatch, number):
    """Kill the training after so many epochs were recorded."""
    record = loop._record

    def cut_short(settings, state, row):
        if state.epoch == number:
            raise KeyboardInterrupt
        record(settings, state, row)

    monkeypatch.setattr(loop, "_record", cut_short)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def runs(tiny_work, tmp_path_factory):
    """A folder of runs with two finished ones that differ in their seed."""
    folder = tmp_path_factory.mktemp("runs")
    train(tiny_work, folder / "first", FIRST)
    train(tiny_work, folder / "second", recipe(seed=2))
    return folder


@pytest.fixture(scope="module")
def two_classes(tiny_work, tmp_path_factory):
    """A work folder of the same stars without one class, under other names."""
    import json

    work = tmp_path_factory.mktemp("two") / "work"
    shutil.copytree(tiny_work, work)
    origin = json.loads((work / "provenance.json").read_text())
    origin["settings"]["prepare"]["classes"] = ["F", "K"]
    (work / "provenance.json").write_text(json.dumps(origin))
    index = pl.read_parquet(work / "index.parquet")
    index = index.with_columns(star="other " + pl.col("star"))
    index.write_parquet(work / "index.parquet")
    split = pl.read_parquet(work / "split.parquet")
    split = split.with_columns(star="other " + pl.col("star")).filter(pl.col("class") != "G")
    split.write_parquet(work / "split.parquet")
    return work


def test_it_begins_with_the_other_run_s_weights(runs, tiny_work, tmp_path):
    still = recipe(begin_from=str(runs / "first"), learning_rate=1e-12, epochs=1, keep="last")
    train(tiny_work, tmp_path / "on", still)
    before, after = parameters_of(runs / "first"), parameters_of(tmp_path / "on")
    torch.testing.assert_close(after, before, atol=1e-6, rtol=0)
    card = read_card(tmp_path / "on")
    assert card.training["begun_from"] == "first"
    assert card.training["afresh"] == ""
    assert card.provenance["inputs"]["begin_from"] == read_card(runs / "first").weights


def test_a_name_beside_the_run_comes_before_a_path(runs, tiny_work, tmp_path, monkeypatch):
    monkeypatch.chdir(runs)
    shutil.copytree(runs / "second", tmp_path / "first")
    train(tiny_work, tmp_path / "on", recipe(begin_from="first", epochs=1))
    own = read_card(tmp_path / "on").provenance["inputs"]["begin_from"]
    assert own == read_card(runs / "second").weights


def test_statistics_are_not_taken_again(tiny_work, tmp_path, monkeypatch):
    train(tiny_work, tmp_path / "first", recipe(HORNE))
    calls = []
    monkeypatch.setattr(loop, "_begin", lambda *args: calls.append(args))
    settings = recipe(HORNE, begin_from="first", epochs=1, learning_rate=1e-12)
    train(tiny_work, tmp_path / "on", settings)
    assert calls == []
    first, second = weights_of(tmp_path / "first"), weights_of(tmp_path / "on")
    torch.testing.assert_close(first["basis"], second["basis"], atol=0, rtol=0)


def test_other_classes_start_afresh_and_the_card_says_so(two_classes, tiny_work, tmp_path):
    train(two_classes, tmp_path / "two", FIRST)
    settings = recipe(begin_from="two", learning_rate=1e-12, epochs=1, keep="last")
    train(tiny_work, tmp_path / "three", settings)
    before, after = parameters_of(tmp_path / "two"), parameters_of(tmp_path / "three")
    fresh = read_card(tmp_path / "three").training["afresh"].split(", ")
    assert fresh == [name for name in after if after[name].shape != before[name].shape]
    assert 1 <= len(fresh) <= 2
    for name in set(after) - set(fresh):
        torch.testing.assert_close(after[name], before[name], atol=1e-6, rtol=0)


@pytest.mark.parametrize("base", [FIRST, HORNE], ids=["rcnet", "hornenet"])
def test_killed_and_resumed_equals_uninterrupted(base, tiny_work, tmp_path, monkeypatch):
    for seed in (1, 2):
        train(tiny_work, tmp_path / f"s{seed}", recipe(base, seed=seed, epochs=1))
    settings = recipe(base, begin_from="s1", teachers=taught("s1", "s2"), seed=3)
    train(tiny_work, tmp_path / "whole", settings)
    with monkeypatch.context() as patch:
        dies_in_epoch(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            train(tiny_work, tmp_path / "cut", settings)
    assert (tmp_path / "cut" / "state.pt").is_file()
    train(tiny_work, tmp_path / "cut", settings)
    assert same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut"))
    inputs = read_card(tmp_path / "cut").provenance["inputs"]
    assert set(inputs) == {"split", "store", "begin_from", "teacher_1", "teacher_2"}


def test_another_run_of_that_name_is_another_training(runs, tiny_work, tmp_path, monkeypatch):
    shutil.copytree(runs / "first", tmp_path / "first")
    settings = recipe(begin_from="first")
    train(tiny_work, tmp_path / "done", settings)
    with monkeypatch.context() as patch:
        dies_in_epoch(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            train(tiny_work, tmp_path / "cut", settings)
    shutil.rmtree(tmp_path / "first")
    shutil.copytree(runs / "second", tmp_path / "first")
    with pytest.raises(TrainingError, match="this begin_from, or overwrite, got one on another"):
        train(tiny_work, tmp_path / "done", settings)
    with pytest.raises(
        CheckpointError, match="a state of this begin_from .*, got one of another begin_from$"
    ):
        train(tiny_work, tmp_path / "cut", settings)


@pytest.mark.parametrize("what", ["begin_from", "teachers"])
def test_run_that_is_missing_or_unfinished_or_failed(runs, tiny_work, tmp_path, what):
    def named(name):
        return recipe(**{what: name if what == "begin_from" else taught(name)})

    with pytest.raises(TrainingError, match=f"{what} 'nobody': wanted a finished run.*no such"):
        train(tiny_work, tmp_path / "run", named("nobody"))
    (tmp_path / "begun").mkdir()
    with pytest.raises(TrainingError, match="got one that is not finished"):
        train(tiny_work, tmp_path / "run", named("begun"))
    with pytest.raises(TrainingError, match="got the run itself"):
        train(tiny_work, runs / "first", named("first"), overwrite=True)
    shutil.copytree(runs / "first", tmp_path / "mean")
    (tmp_path / "mean" / "weights.safetensors").unlink()
    with pytest.raises(TrainingError, match=f"{what} .*mean: wanted one trained model"):
        train(tiny_work, tmp_path / "run", named("mean"))
    shutil.copytree(runs / "first", tmp_path / "failed")
    card = tmp_path / "failed" / "card.json"
    card.write_text(card.read_text().replace('"stopped": "epochs"', '"stopped": "error"'))
    with pytest.raises(TrainingError, match="got one that ended with an error"):
        train(tiny_work, tmp_path / "run", named("failed"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"begin_from": "first", "model": "racnet"}, "a run of the model racnet, got rcnet"),
        ({"begin_from": "first", "view": "optimal"}, "a run of the view optimal, got box"),
        ({"teachers": taught("first"), "view": "optimal"}, "teachers .*first: .*optimal, got box"),
        ({"begin_from": "first", "normalize": "robust"}, "the normalize robust, got zscore"),
        (
            {"begin_from": "first", "options": {"widths": [4, 4, 6], "norm": True}},
            r"a run with widths \[4, 4, 6\], got widths \[4, 4, 8\]",
        ),
        (
            {"begin_from": "first", "model": "logreg", "options": {}},
            "a network to train, got logreg",
        ),
    ],
)
def test_run_that_does_not_fit(runs, tiny_work, tmp_path, changes, words):
    shutil.copytree(runs / "first", tmp_path / "first")
    with pytest.raises(TrainingError, match=words):
        train(tiny_work, tmp_path / "run", recipe(**changes))


def test_teacher_of_other_classes_is_refused(two_classes, tiny_work, tmp_path):
    train(two_classes, tmp_path / "two", recipe(epochs=1))
    with pytest.raises(TrainingError, match="a run of the classes F G K, got F K"):
        train(tiny_work, tmp_path / "run", recipe(teachers=taught("two")))


@pytest.mark.parametrize("what", ["begin_from", "teachers"])
def test_run_that_has_seen_a_test_star_is_refused_at_any_remove(tiny_work, tmp_path, what):
    """One run learns from what the other split tests; another one merely begins from that."""
    work = tmp_path / "work"
    shutil.copytree(tiny_work, work)
    split = pl.read_parquet(work / "split.parquet")
    bright = pl.col("row") < 3
    other = pl.when(bright).then(pl.lit("test")).otherwise("part").alias("part")
    split.with_columns(other).write_parquet(work / "other.parquet")
    train(work, tmp_path / "own", recipe(epochs=1))
    train(work, tmp_path / "clean", recipe(epochs=1, split="other.parquet"))
    assert learnt_from(tmp_path / "own") - learnt_from(tmp_path / "clean") == {
        "star 0",
        "star 1",
        "star 2",
    }
    train(work, tmp_path / "heir", recipe(epochs=1, begin_from="own"))
    predictions = pl.read_parquet(tmp_path / "heir" / "predictions.parquet")
    clean = predictions.filter(pl.col("row") > 2)  # as if it had itself not seen them
    clean.write_parquet(tmp_path / "heir" / "predictions.parquet")

    def named(name):
        value = name if what == "begin_from" else taught("clean", name)
        return recipe(epochs=1, split="other.parquet", **{what: value})

    train(work, tmp_path / "fine", named("clean"))
    for name in ("own", "heir"):
        with pytest.raises(TrainingError, match=rf"{name}: .*from 3 of them, as star 0"):
            train(work, tmp_path / "run", named(name))


def test_loss_lies_between_labels_and_teachers():
    x, logits = torch.zeros(2, 1), torch.tensor([[2.0, 0.0], [0.0, 1.0]], requires_grad=True)
    said = [torch.tensor([[0.0, 0.0], [4.0, 0.0]]), torch.tensor([[6.0, 0.0], [0.0, 0.0]])]

    class Fixed(torch.nn.Module):
        def __init__(self, logits):
            super().__init__()
            self.logits = torch.nn.Parameter(logits)

        def forward(self, x):
            return self.logits

    teachers = Teachers(tuple(map(Fixed, said)), 0.25)
    mean = (torch.softmax(said[0], 1) + torch.softmax(said[1], 1)) / 2
    torch.testing.assert_close(teachers.probability(x), mean)
    weight = torch.tensor([1.0, 3.0])
    told = -(mean * torch.log_softmax(logits, 1)).sum(1)
    wanted = 0.75 * torch.tensor(2.0) + 0.25 * (told[0] + 3 * told[1]) / 4
    found = teachers.blend(torch.tensor(2.0), logits, x, weight)
    torch.testing.assert_close(found, wanted)
    found.backward()
    assert all(model.logits.grad is None for model in teachers.models)


def test_pupil_becomes_its_teacher(runs, tiny_work, tmp_path):
    """With all the weight on a teacher of shuffled labels, it learns that teacher's mistakes."""
    wrong = recipe(shuffle_labels=True, epochs=8, patience=8)
    train(tiny_work, tmp_path / "wrong", wrong)
    settings = recipe(HORNE, view="optimal-ivar", epochs=1, teachers=taught("wrong", weight=1.0))
    with pytest.raises(TrainingError, match="a run of the view optimal-ivar, got box"):
        train(tiny_work, tmp_path / "run", settings)
    settings = recipe(epochs=8, patience=8, teachers=taught("wrong", weight=1.0), keep="last")
    train(tiny_work, tmp_path / "pupil", settings)
    teacher, pupil, truth = (
        pl.read_parquet(path / "predictions.parquet").filter(pl.col("part") == "train")
        for path in (tmp_path / "wrong", tmp_path / "pupil", runs / "first")
    )
    p_teacher, p_pupil, p_truth = (
        torch.from_numpy(one.select("p_F", "p_G", "p_K").to_numpy())
        for one in (teacher, pupil, truth)
    )
    assert (p_pupil - p_teacher).abs().mean() < 0.5 * (p_truth - p_teacher).abs().mean()


def test_teachers_of_a_model_with_a_loss_of_its_own_see_its_batches(tiny_work, tmp_path):
    """What they are shown is the very input of the step, changed as that may be."""
    shown = []
    settings = recipe(HORNE, epochs=1, view="optimal-ivar")
    train(tiny_work, tmp_path / "teacher", settings)
    forward, probability = loop._forward, Teachers.probability

    def watched(self, x):
        shown.append(x)
        return probability(self, x)

    def compared(bench, batch, rows):
        out = forward(bench, batch, rows)
        torch.testing.assert_close(shown[-1], batch[0][rows], equal_nan=True, atol=0, rtol=0)
        return out

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Teachers, "probability", watched)
        patch.setattr(loop, "_forward", compared)
        train(tiny_work, tmp_path / "pupil", recipe(settings, teachers=taught("teacher"), seed=2))
    assert len(shown) == 6
    assert (tmp_path / "pupil" / "seen.parquet").is_file()
    assert not (tmp_path / "teacher" / "seen.parquet").exists()


def test_share_of_the_stars_is_trained_on_and_the_others_are_not_predicted(tiny_work, tmp_path):
    task = read_task(tiny_work, recipe(stars_share=0.25))
    whole = read_task(tiny_work, FIRST)
    assert task.inputs == whole.inputs
    train(tiny_work, tmp_path / "run", recipe(stars_share=0.25, epochs=1))
    table = pl.read_parquet(tmp_path / "run" / "predictions.parquet")
    counts = dict(table.group_by("part").len().iter_rows())
    assert counts == {"train": 12, "validation": 12, "test": 24}
    assert read_card(tmp_path / "run").training["stars"] == 12


def test_flags_of_the_command_name_the_runs(tiny_work, tmp_path, monkeypatch):
    from types import SimpleNamespace

    from typer.testing import CliRunner

    from drcnet import train as room
    from drcnet.cli import app

    asked = []

    def keep(work, run, settings, **_):
        asked.append(settings)
        return SimpleNamespace(describe=lambda: "done")

    monkeypatch.setattr(room, "train", keep)
    words = ["train", str(tiny_work), str(tmp_path), "-m", "rcnet", "--begin-from", "old"]
    shown = CliRunner().invoke(app, [*words, "--teacher", "a", "--teacher", "b"])
    assert shown.exit_code == 0, shown.output
    assert asked[0].begin_from == "old"
    assert asked[0].teachers == TeacherSettings(runs=("a", "b"), weight=0.5)
    CliRunner().invoke(app, words[:5])
    assert asked[1].begin_from is asked[1].teachers is None
    recipe = '[train.rcnet]\nmodel = "rcnet"\nteachers = { runs = ["x"], weight = 0.2 }\n'
    (tmp_path / "recipe.toml").write_text(recipe)
    words = ["train", str(tiny_work), str(tmp_path), "-c", str(tmp_path / "recipe.toml")]
    CliRunner().invoke(app, [*words, "--teacher", "a"])
    assert asked[2].teachers == TeacherSettings(runs=("a",), weight=0.2)
