"""Runs of a sweep over folds are found by their names, and put together by line and seed."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def folds(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delitem(sys.modules, "folds", raising=False)
    import folds

    return folds


def leave(folder, *names):
    for name in names:
        (folder / name).mkdir()
        (folder / name / "card.json").touch()


def test_lines_seeds_and_folds_are_told_apart(folds, tmp_path):
    leave(tmp_path, "a-noise-paper-0", "a-noise-paper-1", "b-paper-0-s1", "b-paper-1-s1")
    leave(tmp_path, "b-paper-0-s2", "b-large-0", "ensemble-paper-0")
    (tmp_path / "a-noise-paper-2").mkdir()  # begun, not finished
    found = folds.find_seeds([tmp_path])
    assert {line: {s: sorted(f) for s, f in seeds.items()} for line, seeds in found.items()} == {
        "a-noise": {1: [0, 1]},
        "b": {1: [0, 1], 2: [0]},
        "ensemble": {1: [0]},
    }
    assert folds.find_folds([tmp_path], ("large",)) == {"b": {0: tmp_path / "b-large-0"}}


def test_only_whole_seeds_are_put_together(folds, tmp_path, monkeypatch):
    leave(tmp_path, "b-paper-0-s1", "b-paper-1-s1", "b-paper-0-s2", "c-paper-1")
    monkeypatch.setattr(folds, "read_run", lambda path: path.name)
    monkeypatch.setattr(folds, "pool", lambda line, runs: (line, *runs))
    lines, short = folds.pooled_seeds([tmp_path], 2)
    assert lines == {"b": [("b", "b-paper-0-s1", "b-paper-1-s1")]}
    assert short == {"c": 1}
