"""Runs made of dice, with known properties."""

import json

import numpy as np
import polars as pl
import pytest

from drcnet.evaluate.runs import Run

CLASSES = ("F", "G", "K")
RIGHT = {">30": 0.9, "20-30": 0.8, "10-20": 0.7, "0-10": 0.5}
MIDDLE = {">30": 60.0, "20-30": 25.0, "10-20": 15.0, "0-10": 6.0}


def roll_predictions(rng, stars=120, visits=2, gain=0.0, intervals=tuple(RIGHT)):
    """Predictions that are right with a known chance; the same stars for the same generator."""
    lines = []
    for number in range(stars):
        true = CLASSES[rng.choice(3, p=[0.3, 0.4, 0.3])]
        interval = intervals[number % len(intervals)]
        for _ in range(visits):
            right = rng.random() < RIGHT[interval] + gain
            others = [c for c in CLASSES if c != true]
            predicted = true if right else others[rng.integers(2)]
            p = np.full(3, 0.1) + 0.1 * rng.random(3)
            p[CLASSES.index(predicted)] = 0.6 + 0.3 * rng.random()
            p /= p.sum()
            lines.append(
                {
                    "row": len(lines),
                    "star": f"s{number:04d}",
                    "class": true,
                    "subclass": f"{true}{number % 10}",
                    "snrr": MIDDLE[interval] * (0.8 + 0.4 * rng.random()),
                    "interval": interval,
                    "part": "test",
                    "predicted": predicted,
                }
                | {f"p_{c}": float(v) for c, v in zip(CLASSES, p, strict=True)}
            )
    return pl.DataFrame(lines)


@pytest.fixture
def predictions(rng):
    return roll_predictions(rng)


@pytest.fixture
def make_run(tmp_path):
    def make(predictions, name="drcnet", **more):
        return Run(name, tmp_path / name, CLASSES, predictions, **more)

    return make


@pytest.fixture
def write_run(tmp_path):
    def write(predictions, name="drcnet"):
        folder = tmp_path / name
        folder.mkdir()
        predictions.write_parquet(folder / "predictions.parquet")
        card = {"model": name, "classes": list(CLASSES)}
        (folder / "card.json").write_text(json.dumps(card))
        (folder / "settings.toml").write_text(f'model = "{name}"\n')
        (folder / "log.csv").write_text(
            "epoch,train_loss,val_loss,val_accuracy\n1,1.1,1.0,0.4\n2,0.8,0.9,0.6\n3,0.6,0.95,0.6\n"
        )
        return folder

    return write


@pytest.fixture
def roll():
    return roll_predictions
