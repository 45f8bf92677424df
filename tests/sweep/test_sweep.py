"""A sweep: what it plans, that it goes on, that a failure is a row, and what its tables say."""

import json
import shutil

import polars as pl
import pytest
import torch

from drcnet.config import SweepSettings, TrainSettings, settings_toml
from drcnet.dataset.store import open_store
from drcnet.dataset.writing import locked
from drcnet.errors import ConfigError, RunError, StoreError, TrainingError
from drcnet.models import MODELS
from drcnet.sweep import plan
from drcnet.sweep import run as sweep_run
from drcnet.sweep.run import _rows_of_all, sweep

NETWORK = {"options": {"widths": [4, 4, 8]}, "epochs": 2}
SMALL = SweepSettings(
    title="Small models",
    seeds=(1, 2),
    options={"norm": True},
    recipe=TrainSettings(optimizer="adamw", learning_rate=3e-3, batch_size=8),
    evaluate={"bootstrap": 100},
    lines={
        "logreg": {"recipe": {"options": {"components": 8}}, "noise": (False,)},
        "rcnet": {"recipe": NETWORK},
    },
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def swept(tiny_work, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    return sweep(SMALL, tiny_work, folder / "runs", page=folder / "models.md"), folder


def change(**changes):
    return SweepSettings.model_validate(SMALL.model_dump() | changes)


def test_plan_spells_every_run_out():
    settings = change(splits=("splits/a-0.parquet", "splits/a-1.parquet"), noise=(True, False))
    runs = plan(settings)
    assert [run.name for run in runs if run.line == "logreg"] == [
        "logreg-a-0-s1",
        "logreg-a-0-s2",
        "logreg-a-1-s1",
        "logreg-a-1-s2",
    ]
    noisy = [run for run in runs if run.line == "rcnet-noise"]
    assert len(noisy) == 4
    assert all(run.settings.augment.noise for run in noisy)
    assert len({run.name for run in runs}) == len(runs) == 12


def test_shared_options_reach_the_models_that_have_them():
    runs = {run.line: run.settings for run in plan(SMALL)}
    assert runs["rcnet"].options == {"norm": True, "widths": [4, 4, 8]}
    assert runs["logreg"].options == {"components": 8}
    assert runs["rcnet"].batch_size == 8


def test_one_seed_and_split_need_no_name():
    assert [run.name for run in plan(change(seeds=(7,)))] == ["logreg", "rcnet"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ({"resnet": {}}, "lines.resnet.model: wanted one of drcnet.*'resnet'"),
        ({"rcnet": {"recipe": {"lr": 1}}}, "unknown key 'lr'"),
        ({"rcnet": {"recipe": {"options": {"width": 1}}}}, "options of rcnet .*got width"),
        ({"rcnet": {"noise": (True,)}, "rcnet-noise": {"model": "rcnet"}}, "'rcnet-noise' twice"),
    ],
)
def test_wrong_plan_is_explained(lines, words):
    with pytest.raises(ConfigError, match=words):
        plan(change(lines=lines, seeds=(1,)))


def test_tables_hold_every_line_and_run(swept):
    result, _ = swept
    assert result.failed == {}
    assert result.lines["line"].to_list() == ["logreg", "rcnet"]
    assert result.lines["runs"].to_list() == result.lines["planned"].to_list() == [2, 2]
    assert result.runs["run"].to_list() == ["logreg-s1", "logreg-s2", "rcnet-s1", "rcnet-s2"]
    line = result.lines.row(0, named=True)
    each = result.runs.filter(pl.col("line") == "logreg")
    assert line["accuracy_>30"] == pytest.approx(each["accuracy_>30"].mean())
    assert line["spread_>30"] == pytest.approx(each["accuracy_>30"].std())
    assert line["rows_>30"] == each["rows_>30"][0] == 12
    assert line["accuracy_>30_low"] <= line["accuracy_>30"] <= line["accuracy_>30_high"]
    assert line["majority_>30"] == pytest.approx(1 / 3)
    assert result.lines.filter(model="rcnet")["epochs"].item() == 2
    assert all(result.lines["classified_per_second"] > 0)
    assert all(result.lines["operations"] > 0)


def test_files_hold_the_same_tables(swept):
    from astropy.table import Table

    result, folder = swept
    runs = folder / "runs"
    assert pl.read_csv(runs / "sweep.csv")["line"].to_list() == result.lines["line"].to_list()
    assert pl.read_csv(runs / "sweep-runs.csv")["run"].to_list() == result.runs["run"].to_list()
    table = Table.read(runs / "sweep.ecsv")
    assert table.meta["provenance"]["settings"]["title"] == "Small models"
    assert len(table.meta["provenance"]["inputs"]) == 1
    text = (folder / "models.md").read_text()
    assert text == (runs / "sweep.md").read_text()
    assert "| logreg | " in text
    assert "4 of 4 runs finished" in text
    assert "## Failed" not in text or "failed:" in text


def test_a_failed_line_says_what_is_known_of_it(swept, tiny_work):
    _, folder = swept
    lines = {**SMALL.model_dump()["lines"]}
    lines["rcnet"] |= {"note": "Two epochs are few."}
    told = folder / "told.md"
    sweep(change(lines=lines, margin=0.99), tiny_work, folder / "runs", page=told)
    text = told.read_text()
    assert text.count(". Two epochs are few.") == 1
    assert "- `rcnet`: failed: " in text


def test_finished_runs_are_kept(swept, tiny_work, monkeypatch):
    result, folder = swept
    monkeypatch.setattr(sweep_run, "train", _counting(calls := [], sweep_run.train))
    again = sweep(SMALL, tiny_work, folder / "runs")
    assert again.lines.equals(result.lines)
    assert len(calls) == 4
    stamp = (folder / "runs" / "rcnet-s1" / "weights.safetensors").stat().st_mtime_ns
    sweep(SMALL, tiny_work, folder / "runs")
    assert (folder / "runs" / "rcnet-s1" / "weights.safetensors").stat().st_mtime_ns == stamp


def test_tables_of_what_is_there_train_nothing_and_name_the_rest(swept, tiny_work, monkeypatch):
    _, folder = swept
    more = change(lines=SMALL.model_dump()["lines"] | {"knn": {"noise": (False,)}})
    monkeypatch.setattr(sweep_run, "train", _counting(calls := [], sweep_run.train))
    part = sweep(more, tiny_work, folder / "runs", page=folder / "part.md", finished_only=True)
    assert not calls
    assert "several makings" not in (folder / "part.md").read_text()
    assert part.failed == {}
    assert part.lines["line"].to_list() == ["logreg", "rcnet"]
    assert "Not trained yet: `knn-s1`, `knn-s2`." in (folder / "part.md").read_text()
    assert not (folder / "runs" / "knn-s1").exists()


def test_runs_of_another_making_of_the_set_are_named(swept, tiny_work, tmp_path):
    result, folder = swept
    runs = tmp_path / "runs"
    shutil.copytree(folder / "runs", runs)
    path = runs / "rcnet-s1" / "card.json"
    card = json.loads(path.read_text())
    own, card["provenance"]["inputs"]["store"] = card["provenance"]["inputs"]["store"], "0" * 16
    path.write_text(json.dumps(card))
    again = sweep(SMALL, tiny_work, runs, finished_only=True)
    assert again.lines.equals(result.lines)
    said = f"several makings of the set: {own} (3 runs), {'0' * 16} (1 runs)"
    assert said in (runs / "sweep.md").read_text()


def _counting(calls, function):
    def counted(*args, **kwargs):
        calls.append(args)
        return function(*args, **kwargs)

    return counted


def test_a_failed_run_is_a_row_and_the_rest_goes_on(tiny_work, tmp_path, monkeypatch):
    train = sweep_run.train

    def failing(work, run, settings, **kwargs):
        if settings.model == "logreg" and settings.seed == 1:
            raise TrainingError(run, "a finite loss", "nan")
        if settings.model == "logreg":
            raise MemoryError("no room")
        return train(work, run, settings, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(sweep_run, "train", failing)
        result = sweep(SMALL, tiny_work, tmp_path)
    assert set(result.failed) == {"logreg-s1", "logreg-s2"}
    row = result.lines.row(0, named=True)
    assert (row["runs"], row["planned"]) == (0, 2)
    assert row["verdict"].startswith("failed: ")
    assert "finite loss" in row["verdict"]
    assert "MemoryError: no room" in row["verdict"]
    assert "no room" in (tmp_path / "logreg-s2" / "error.txt").read_text()
    assert result.lines.row(1, named=True)["runs"] == 2
    text = result.page.read_text()
    assert "## Failed" in text
    assert "2 of 4 runs finished" in text
    mended = sweep(SMALL, tiny_work, tmp_path)
    assert mended.failed == {}
    assert not (tmp_path / "logreg-s2" / "error.txt").exists()


def test_interrupted_sweep_goes_on_to_the_same_tables(swept, tiny_work, tmp_path, monkeypatch):
    from drcnet.train import loop

    save = loop.State.save

    def save_then_die(self, *args):
        save(self, *args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop.State, "save", save_then_die)
        with pytest.raises(KeyboardInterrupt):
            sweep(SMALL, tiny_work, tmp_path)
    result = sweep(SMALL, tiny_work, tmp_path)
    same = [name for name in result.lines.columns if "second" not in name]
    assert result.lines.select(same).equals(swept[0].lines.select(same))


def test_a_run_that_another_process_trains_is_left_to_it(tiny_work, tmp_path):
    settings = change(seeds=(1,), lines={"logreg": SMALL.lines["logreg"].model_dump()})
    with locked(tmp_path / "logreg"):
        result = sweep(settings, tiny_work, tmp_path)
        assert "logreg: wanted a folder that nobody else writes" in result.failed["logreg"]
        assert "process" in result.failed["logreg"]
        assert [path.name for path in (tmp_path / "logreg").iterdir()] == [".lock"]
    (tmp_path / "logreg" / ".lock").write_text("process 1 on a machine that was switched off")
    assert sweep(settings, tiny_work, tmp_path).failed == {}
    assert not (tmp_path / "logreg" / ".lock").exists()


def test_stars_are_read_once_to_the_same_bits(tiny_work, tmp_path, monkeypatch):
    from drcnet.train import task, train

    monkeypatch.setattr(task, "load_part", _counting(reads := [], task.load_part))
    lines = {"logreg": SMALL.lines["logreg"].model_dump(), "knn": {}, "rcnet": {"recipe": NETWORK}}
    sweep(change(lines=lines), tiny_work, tmp_path)
    views = {MODELS[name].view for name in lines}
    assert len(reads) == 3 * len(views)
    for run in plan(SMALL):
        alone = tmp_path / "alone" / run.name
        train(tiny_work, alone, run.settings)
        for name in ("weights.safetensors", "predictions.parquet"):
            same = [(place / run.name / name).read_bytes() for place in (tmp_path, alone.parent)]
            assert same[0] == same[1]


def test_other_settings_are_refused_before_anything_is_trained(swept, tiny_work):
    _, folder = swept
    recipe = SMALL.recipe.model_dump() | {"learning_rate": 1.0}
    with pytest.raises(RunError, match=r"logreg-s1.*other settings"):
        sweep(change(recipe=recipe), tiny_work, folder / "runs")


def test_a_run_that_is_never_normalised_is_known_again(tiny_work, tmp_path):
    settings = SweepSettings(
        title="noise",
        splits=["split.parquet"],
        lines={"ppca": {"recipe": {"options": {"components": 4}}}},
    )
    first = sweep(settings, tiny_work, tmp_path / "runs")
    again = sweep(settings, tiny_work, tmp_path / "runs")
    assert not first.failed
    assert again.lines.equals(first.lines)


def test_no_store_is_said_at_once(tmp_path):
    with pytest.raises(StoreError):
        sweep(SMALL, tmp_path / "nothing", tmp_path / "runs")


def test_a_line_that_learns_nothing_is_listed_as_failed(tiny_work, tmp_path):
    recipe = SMALL.recipe.model_dump() | {"learning_rate": 1e-12, "epochs": 2}
    settings = change(
        seeds=(1,), recipe=recipe, lines={"rcnet": {"recipe": {"options": {"widths": [4]}}}}
    )
    result = sweep(settings, tiny_work, tmp_path)
    verdict = result.lines["verdict"].item()
    assert verdict.startswith("failed: ")
    assert "points above the majority class at S/N >30; " in verdict
    assert result.failed == {}
    assert verdict in result.page.read_text()


RESTING = {
    "begin_from": "old/{split}",
    "teachers": {"runs": ["first-noise-{split}-s1", "x-s{seed}"], "weight": 0.3},
}


def test_runs_that_a_line_rests_on_are_those_of_its_split_and_seed():
    lines = {
        "first": {"model": "rcnet", "noise": (True,), "seeds": (1, 2)},
        "next": {"model": "rcnet", "seeds": (4,), "recipe": RESTING},
    }
    runs = plan(change(lines=lines, splits=("splits/a-0.parquet", "splits/a-1.parquet")))
    assert [run.name for run in runs] == [
        *("first-noise-a-0-s1", "first-noise-a-0-s2", "first-noise-a-1-s1", "first-noise-a-1-s2"),
        *("next-a-0", "next-a-1"),
    ]
    last = runs[-1].settings
    assert last.begin_from == "old/a-1"
    assert last.teachers.runs == ("first-noise-a-1-s1", "x-s4")
    assert last.teachers.weight == 0.3
    assert runs[0].settings.begin_from is None
    assert "begin_from" not in settings_toml(runs[0].settings)


@pytest.mark.parametrize("name", ["run-{fold}", "run-{", "run-{}", "run-{0}"])
def test_other_words_in_the_name_of_a_run_are_explained(name):
    with pytest.raises(ConfigError, match=r"lines.next.recipe: wanted .split. or .seed., got"):
        plan(change(lines={"next": {"model": "rcnet", "recipe": {"begin_from": name}}}))


def test_pupil_of_the_lines_above_it(tiny_work, tmp_path):
    recipe = NETWORK | {"epochs": 1}
    teachers = {"runs": ["rcnet-s1", "rcnet-s2"]}
    lines = {
        "rcnet": {"recipe": recipe},
        "pupil": {"model": "rcnet", "seeds": (1,), "recipe": recipe | {"teachers": teachers}},
    }
    result = sweep(change(lines=lines), tiny_work, tmp_path)
    assert result.failed == {}
    assert result.runs["run"].to_list() == ["rcnet-s1", "rcnet-s2", "pupil"]
    assert sweep(change(lines=lines), tiny_work, tmp_path).lines.equals(result.lines)


def test_a_split_that_is_not_there_is_left_to_its_runs(tiny_work):
    store = open_store(tiny_work)
    lines = {"logreg": {"noise": (True,)}}
    splits = ("split.parquet", "splits/none.parquet")
    used = pl.read_parquet(tiny_work / "split.parquet").filter(
        pl.col("part").is_in(["train", "validation"])
    )
    found = _rows_of_all(plan(SweepSettings(lines=lines, splits=splits)), store)
    assert found.tolist() == sorted(used["row"].to_list())
    alone = plan(SweepSettings(lines=lines, splits=splits[:1]))
    plain = plan(SweepSettings(lines={"logreg": {}}, splits=splits))
    assert _rows_of_all(alone, store) is None
    assert _rows_of_all(plain, store) is None  # nothing is changed, nothing to read together
