"""Runs of a sweep over folds: LINE-paper-K, LINE-large-K, LINE-visits-K, each maybe -sN."""

import re
from dataclasses import replace

import polars as pl

from drcnet.evaluate.runs import read_run

BELOW = "all below 20"
"""S/N at which the paper's networks fall."""

NAME = re.compile(r"^(?P<line>.+)-(?P<kind>paper|large|visits)-(?P<fold>\d+)(-s(?P<seed>\d+))?$")


def find_seeds(folders, kinds=("paper",)):
    """Paths of finished runs under folders of sweeps: {line: {seed: {fold: path}}}."""
    found = {}
    for folder in folders:
        for path in sorted(folder.iterdir()):
            match = NAME.match(path.name)
            if match and match["kind"] in kinds and (path / "card.json").is_file():
                seeds = found.setdefault(match["line"], {})
                seeds.setdefault(int(match["seed"] or 1), {})[int(match["fold"])] = path
    return found


def find_folds(folders, kinds=("paper",)):
    """Paths of finished runs of each line's first seed: {line: {fold: path}}."""
    return {line: seeds[min(seeds)] for line, seeds in find_seeds(folders, kinds).items()}


def pool(name, runs):
    """One run out of those of all folds: every star as its own fold's model judged it."""
    together = pl.concat([run.tested for run in runs], how="vertical_relaxed")
    return replace(runs[0], name=name, predictions=together, calibration=None)


def pooled_seeds(folders, folds, kinds=("paper",)):
    """Runs of each line put together, one a seed, and how many folds are whole in no seed."""
    lines, short = {}, {}
    for line, seeds in find_seeds(folders, kinds).items():
        whole = [paths for _, paths in sorted(seeds.items()) if len(paths) >= folds]
        if not whole:
            short[line] = max(map(len, seeds.values()))
            continue
        lines[line] = [
            pool(line, [read_run(path) for _, path in sorted(paths.items())]) for paths in whole
        ]
    return lines, short


def pooled_runs(folders, folds, kinds=("paper",)):
    """Runs of each line's first seed put together, and how many folds the others have."""
    lines, short = pooled_seeds(folders, folds, kinds)
    return [runs[0] for runs in lines.values()], short
