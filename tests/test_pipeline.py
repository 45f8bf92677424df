"""The whole line on simulated frames of full size: raw FITS in, a page and classes out.

Each model must beat the majority class by 15 points above S/N 30, and the same model trained on
shuffled labels must not: a leak of the truth anywhere on the line would let it.
"""

import polars as pl
import pytest
from astropy.table import Table

from drcnet.api import demo
from drcnet.config import Settings

pytestmark = pytest.mark.timeout(1800)  # the first test waits for six trainings

MODERN = {
    "optimizer": "adamw",
    "learning_rate": 2e-3,
    "weight_decay": 0.01,
    "schedule": "one-cycle",
    "batch_size": 32,
    "options": {"norm": True},
    "precision": "bf16-mixed",
}
RECIPES = {
    "drcnet": MODERN | {"model": "drcnet", "epochs": 8},
    "rcnet": MODERN | {"model": "rcnet", "epochs": 12},
    "logreg": {"model": "logreg"},
}


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    shuffled = {
        f"{name}-shuffled": recipe | {"shuffle_labels": True} for name, recipe in RECIPES.items()
    }
    settings = Settings.model_validate(
        {
            "title": "the whole line",
            "simulate": {
                "seed": 7,
                "plates": 4,
                "bias_frames": 1,
                "snr_shares": {"30-120": 0.85, "8-30": 0.15},
            },
            "split": {"fractions": (0.6, 0.1, 0.3)},
            "train": RECIPES | shuffled,
        }
    )
    return demo(settings, tmp_path_factory.mktemp("line"))


def gain_above_30(line, run):
    """Points above the majority class, S/N > 30."""
    score = line.scores.filter((pl.col("run") == run) & (pl.col("interval") == ">30"))
    return 100 * (score["accuracy"] - score["majority"]).item()


@pytest.mark.slow
@pytest.mark.parametrize("run", RECIPES)
def test_each_model_beats_the_majority_by_15_points(line, run):
    assert gain_above_30(line, run) > 15


@pytest.mark.slow
@pytest.mark.parametrize("run", RECIPES)
def test_shuffled_labels_teach_nothing(line, run):
    assert gain_above_30(line, f"{run}-shuffled") < 15


@pytest.mark.slow
def test_products_are_there_and_whole(line):
    page = line.report.read_text(encoding="utf-8")
    assert "the whole line" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "| stage | seconds |" in line.results.read_text(encoding="utf-8")
    classes = Table.read(line.out / "classes.fits")
    assert len(classes) == 250
    assert set(line.seconds) >= {"simulate", "prepare", "evaluate", "classify", "report"}


@pytest.mark.slow
def test_fresh_stars_are_classified_better_than_by_chance(line):
    assert line.fresh["right"].mean() > line.fresh["truth"].value_counts()["count"].max() / len(
        line.fresh
    )
