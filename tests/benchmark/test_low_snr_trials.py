"""The page of the trials, from runs made of dice: what was put in is what it says."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from drcnet.config import SweepSettings, load_settings, settings_toml
from drcnet.sweep import plan

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CLASSES = np.array(["F", "G", "K"])
GAIN = {"distilled": 0.1, "pretrained": -0.1, "stars-25": -0.3, "stars-50": -0.1, "stars-75": 0}
ROWS = 800


@pytest.fixture
def trials(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("folds", "low_snr_trials"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import low_snr_trials

    monkeypatch.setattr(low_snr_trials, "train", pretend)
    return low_snr_trials


def pretend(work, run, settings, parts=None):
    """Leave a run whose rows are right with a chance that follows from its line's name."""
    if not (run / "card.json").is_file():
        line, _, rest = run.name.partition("-noise")
        fold = int(rest.split("-")[2]) if "paper" in rest else 0
        write(run, settings, fold, 0.75 + GAIN.get(line, 0))
    return SimpleNamespace(describe=lambda: "pretended")


def write(run, settings, fold, chance):
    run.mkdir(parents=True)
    true = np.random.default_rng(fold).integers(0, 3, ROWS)
    dice = np.random.default_rng(fold + 10).random(ROWS)
    dice += 0.01 * np.random.default_rng(list(run.name.encode())).normal(size=ROWS)
    said = np.where(dice < chance, true, (true + 1) % 3)
    p = np.full((ROWS, 3), 0.15)
    p[np.arange(ROWS), said] = 0.7
    intervals = np.array([">30", "20-30", "10-20", "0-10"])
    table = pl.DataFrame(
        {
            "row": np.arange(ROWS) + ROWS * fold,
            "star": [f"{fold}-{k}" for k in range(ROWS)],
            "class": CLASSES[true],
            "subclass": [f"{name}5" for name in CLASSES[true]],
            "snrr": 50.0,
            "interval": intervals[np.arange(ROWS) % 4],
            "part": "test",
            "predicted": CLASSES[said],
        }
        | {f"p_{name}": p[:, k] for k, name in enumerate(CLASSES)}
    )
    table.write_parquet(run / "predictions.parquet")
    (run / "settings.toml").write_text(settings_toml(settings))
    numbers = ("parameters", "operations", "seconds", "cpu_seconds", "stars")
    card = dict.fromkeys(("instrument", "view", "weights"), "x") | {
        "model": "hornenet",
        "classes": CLASSES.tolist(),
        "normalize": "none",
        "stripes": {},
        "split": f"split {fold}",
        "seed": settings.seed,
        "training": dict.fromkeys(numbers, 1000.0) | {"machine": "a desk"},
        "provenance": {
            "settings": {"split": settings.split},
            "inputs": {"store": "s", "split": f"split {fold}"},
        },
    }
    (run / "card.json").write_text(json.dumps(card))


def test_page_says_what_was_put_in(trials, tmp_path, monkeypatch, capsys):
    target = tmp_path / "page.md"
    words = ["x", "FGK", "BUILTIN", str(tmp_path / "runs"), "--folds", "2", "--page", str(target)]
    monkeypatch.setattr(sys, "argv", [*words, "--bootstrap", "200"])
    assert trials.main() == 0
    text = target.read_text(encoding="utf-8")
    assert text in capsys.readouterr().out
    lines = {
        name: next(line for line in text.splitlines() if line.startswith("- **") and name in line)
        for name in ("`ensemble`", "`distilled-noise`", "`pretrained-noise`")
    }
    assert "it helps over all S/N, +" in lines["`distilled-noise`"]
    assert "it harms over all S/N, -" in lines["`pretrained-noise`"]
    assert "it does nothing over all S/N" in lines["`ensemble`"]
    assert "the second half of the stars still helped" in text
    assert text.count("| `ensemble` |") == 2
    assert "| `ensemble` | 1 |" in text
    assert "5000" in text  # parameters of five
    made = {path.name for path in (tmp_path / "runs").iterdir()}
    assert {"builtin", "ensemble-paper-0", "ensemble-paper-1"} <= made
    assert not any("paper-2" in name for name in made)
    stamp = (tmp_path / "runs" / "ensemble-paper-0" / "card.json").stat().st_mtime_ns
    assert trials.main() == 0
    assert target.read_text(encoding="utf-8") == text
    assert (tmp_path / "runs" / "ensemble-paper-0" / "card.json").stat().st_mtime_ns == stamp


def test_every_run_stands_below_those_that_it_rests_on(trials):
    settings = load_settings(trials.CONFIG, SweepSettings)
    before = {f"{trials.BUILTIN}/{run.name}" for run in trials.pretraining(settings)}
    runs = trials.planned(settings, 5)
    assert len(runs) == len(plan(settings))
    for run in runs:
        rests = [] if run.settings.teachers is None else list(run.settings.teachers.runs)
        rests += [] if run.settings.begin_from is None else [run.settings.begin_from]
        assert set(rests) <= before
        before.add(run.name)
    assert {line for line in trials.TRIALS if line != "ensemble"} <= {run.line for run in runs}
