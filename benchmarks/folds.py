"""Runs of a sweep over folds: LINE-paper-K, LINE-large-K, LINE-visits-K."""

import re
from dataclasses import replace

import polars as pl

from drcnet.evaluate.runs import read_run

NAME = re.compile(r"^(?P<line>.+)-(?P<kind>paper|large|visits)-(?P<fold>\d+)$")


def find_folds(folders, kinds=("paper",)):
    """Paths of finished runs under folders of sweeps: {line: {fold: path}}."""
    found = {}
    for folder in folders:
        for path in sorted(folder.iterdir()):
            match = NAME.match(path.name)
            if match and match["kind"] in kinds and (path / "card.json").is_file():
                found.setdefault(match["line"], {})[int(match["fold"])] = path
    return found


def pool(name, runs):
    """One run out of those of all folds: every star as its own fold's model judged it."""
    together = pl.concat([run.tested for run in runs], how="vertical_relaxed")
    return replace(runs[0], name=name, predictions=together, calibration=None)


def pooled_runs(folders, folds, kinds=("paper",)):
    """Runs of each line put together, and how many folds the others have."""
    runs, short = [], {}
    for line, paths in find_folds(folders, kinds).items():
        if len(paths) < folds:
            short[line] = len(paths)
            continue
        runs.append(pool(line, [read_run(path) for _, path in sorted(paths.items())]))
    return runs, short
