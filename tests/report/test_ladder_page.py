"""The command that makes docs/results/ladder: which runs it takes, and what its page says."""

import importlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from drcnet.config import EvaluateSettings
from drcnet.evaluate.evaluate import assess
from drcnet.evaluate.runs import read_run

ROOT = Path(__file__).parents[2]
FEW = EvaluateSettings(bootstrap=100)


@pytest.fixture
def ladder(monkeypatch):
    """The two scripts as modules."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return SimpleNamespace(
        page=importlib.import_module("ladder_page"), all=importlib.import_module("ladder_report")
    )


def put(run, folder, name, model, *, noise=False, **card):
    """A finished run of another name, model and training."""
    target = folder / name
    shutil.copytree(run, target)
    known = json.loads((run / "card.json").read_text())
    training = {"stars": 40, "epochs": 2.5}
    known |= {"model": model, "split": "one", "view": "box", "weights": name, "stopped": "time"}
    (target / "card.json").write_text(json.dumps(known | {"training": training} | card))
    text = f'model = "{model}"\nmax_seconds = 600.0\nclock = "processor"\n'
    (target / "settings.toml").write_text(text + f"[augment]\nnoise = {str(noise).lower()}\n")
    return target


@pytest.fixture
def folder(tmp_path, runs):
    folder = tmp_path / "runs"
    good, poor = runs
    put(good, folder, "drcnet", "drcnet", view="stripes")
    put(poor, folder, "rcnet", "rcnet")
    put(good, folder, "rcnet-noise", "rcnet", noise=True)
    put(poor, folder, "ladder-box", "ladder-box")
    put(good, folder, "ladder-reduction", "ladder-reduction", view="stripes")
    put(poor, folder, "logreg", "logreg", stopped="fitted")
    return folder


def test_the_page_says_every_claim_with_its_verdict(ladder, folder, tmp_path):
    runs = ladder.all.collect([folder], tmp_path / "scratch")
    evaluation = assess([read_run(run) for run in runs], FEW)
    options = SimpleNamespace(out=tmp_path / "out" / "ladder", runs=[folder], folds=None,
                              outsiders=None, night=None)  # fmt: skip
    options.out.mkdir(parents=True)
    text = ladder.page.write_page(options, evaluation, FEW, [], True).read_text()
    assert "nan" not in text.lower()
    for line in ("2-D beats 1-D below S/N 10", "`drcnet` − `rcnet`, bright stars only",
                 "The paper's reduction beats the box sum", "What a reader would misread",
                 "the paper's reduction (8, 8, 1 channels)", "5 networks were ended"):  # fmt: skip
        assert line in text
    assert "Not finished: `ladder-optimal`, `ladder-weights`, `ladder-kernels`." in text
    assert text.count("| `logreg` |") == 1
    assert "[The report](ladder/report.html)" in text
    gain = {r["interval"]: r for r in evaluation.scores.to_dicts() if r["run"] == "drcnet"}
    assert f"{gain['>30']['accuracy']:.3f} [" in text


def test_runs_are_taken_once_in_order_and_anew_when_trained_anew(ladder, folder, tmp_path):
    other, scratch = tmp_path / "other", tmp_path / "scratch"
    put(folder / "logreg", other, "drcnet", "drcnet", weights="another")
    put(folder / "logreg", other, "ppca", "ppca")
    put(folder / "logreg", other, "elsewhere", "ppca", split="two")
    (folder / "unfinished").mkdir()
    found = ladder.all.collect([folder, other], scratch)
    assert [run.name for run in found] == [
        "ladder-box", "ladder-reduction", "drcnet", "rcnet", "rcnet-noise", "logreg", "ppca"
    ]  # fmt: skip
    known = scratch / "drcnet" / "calibration.json"
    known.write_text("{}")
    ladder.all.collect([folder, other], scratch)
    assert known.exists()
    card = json.loads((folder / "drcnet" / "card.json").read_text())
    (folder / "drcnet" / "card.json").write_text(json.dumps(card | {"weights": "newer"}))
    ladder.all.collect([folder, other], scratch)
    assert not known.exists()


def test_a_fold_that_is_harder_is_told(ladder, folder, tmp_path, runs):
    import ladder_doubts

    folds = [
        put(runs[k == 0], tmp_path / "folds", f"logreg-paper-{k}", "logreg") for k in range(5)
    ]
    (note,) = ladder_doubts.fold_notes([read_run(run) for run in folds])
    assert "points harder" in " ".join(note.split())
    assert "on the 4 others" in note
    assert ladder_doubts.fold_notes([]) == []
