"""Shares, differences and agreement, on answers whose scores are arithmetic."""

import numpy as np
import polars as pl
import pytest

from drcnet.config import RobustnessSettings
from drcnet.robustness.disturb import Disturbance
from drcnet.robustness.score import Answers, score_answers

WHAT = [Disturbance("none"), Disturbance("trace", 1.0)]
SETTINGS = RobustnessSettings(bootstrap=200, positions=2)


def make_rows(n_star=40, visits=2):
    n = n_star * visits
    return pl.DataFrame(
        {
            "star": [f"s{k // visits}" for k in range(n)],
            "class": ["F"] * (n // 2) + ["G"] * (n // 2),
            "interval": [">30", "0-10"] * (n // 2),
            "fiberid": np.arange(n) + 1,
        }
    )


def answers(rows, name="a"):
    """All right undisturbed; under the trace error every fourth row is wrong."""
    true = rows["class"].to_numpy().astype(str)
    wrong = np.where(np.arange(len(rows)) % 4 == 0, "K", true)
    return Answers(name, np.stack([true, wrong]), "F")


def pick(table, name, interval="all", run="a"):
    found = table.filter(
        (pl.col("disturbance") == name) & (pl.col("interval") == interval) & (pl.col("run") == run)
    )
    return found.row(0, named=True)


def test_accuracy_drop_and_answers_kept():
    rows = make_rows()
    table = score_answers(rows, WHAT, [answers(rows)], SETTINGS)
    none, trace = pick(table, "none"), pick(table, "trace")
    assert (none["accuracy"], none["drop"], none["kept"]) == (1.0, 0.0, 1.0)
    assert none["accuracy_low"] < 1  # all right among 40 stars is no certainty
    assert (trace["accuracy"], trace["drop"], trace["kept"]) == (0.75, 0.25, 0.75)
    assert trace["drop_low"] < 0.25 < trace["drop_high"]
    assert trace["idle"] == 0.5
    assert pick(table, "trace", ">30")["accuracy"] == 0.5
    assert pick(table, "trace", "0-10")["accuracy"] == 1.0
    assert (trace["n_rows"], trace["n_stars"]) == (80, 40)


def test_a_baseline_is_compared_on_the_same_draws():
    rows = make_rows()
    same = answers(rows, "b")
    table = score_answers(rows, WHAT, [answers(rows), same], SETTINGS)
    line = pick(table, "trace")
    assert (line["against"], line["ahead"]) == ("b", 0.0)
    assert (line["ahead_low"], line["ahead_high"]) == (0.0, 0.0)
    assert pick(table, "trace", run="b")["against"] == ""


def test_repeats_agree_by_pairs_of_a_star():
    rows = make_rows()
    one = answers(rows)
    said = one.predicted.copy()
    said[0, ::8] = "K"  # a row of every fourth star: that star's one pair disagrees
    table = score_answers(rows, WHAT, [Answers("a", said, "F")], SETTINGS)
    line = pick(table, "repeats")
    assert line["accuracy"] == pytest.approx(0.75)
    assert line["idle"] == pytest.approx((35**2 + 35**2 + 10**2) / 80**2)


def test_positions_split_the_chip():
    rows = make_rows()
    said = answers(rows).predicted.copy()
    said[0, :10] = "K"
    table = score_answers(rows, WHAT, [Answers("a", said, "F")], SETTINGS)
    found = table.filter(pl.col("disturbance") == "position")
    assert found["text"].to_list() == ["1-40", "41-80"]
    assert found["accuracy"].to_list() == [0.75, 1.0]
    assert found["n_rows"].to_list() == [40, 40]
