"""Claims asked of runs whose answers are known."""

import numpy as np
import polars as pl
import pytest

from drcnet.config import EvaluateSettings
from drcnet.evaluate.claims import FALLS, OPEN, STANDS, Claim
from drcnet.evaluate.comparison import compare_runs
from drcnet.evaluate.judge import judge_claim, paper_claims, training_of

FEW = EvaluateSettings(bootstrap=300)
BELOW = Claim("2-D below 10", "2-D beats 1-D below 10", "drcnet", "rcnet", ("0-10",))


def answer(rows, shares, rng):
    """Predictions that are right for so large a share of each interval's stars."""
    wrong = {"F": "G", "G": "K", "K": "G"}
    stars = rows["star"].unique(maintain_order=True)
    luck = dict(zip(stars, rng.random(len(stars)), strict=True))
    said = [
        c if luck[s] < shares[i] else wrong[c]
        for c, s, i in rows.select("class", "star", "interval").rows()
    ]
    return rows.with_columns(predicted=pl.Series(said))


@pytest.fixture
def rows(rng, roll):
    return roll(rng, stars=240)


@pytest.fixture
def pair(rows, rng, make_run):
    """A 2-D network that stays good when faint, and a 1-D one that does not."""
    good = answer(rows, {">30": 0.8, "20-30": 0.8, "10-20": 0.8, "0-10": 0.8}, rng)
    poor = answer(rows, {">30": 0.8, "20-30": 0.8, "10-20": 0.8, "0-10": 0.3}, rng)
    card = {"split": "one", "seed": 1, "view": "stripes"}
    return (
        make_run(good, "a", card=card | {"model": "drcnet"}),
        make_run(poor, "b", card=card | {"model": "rcnet", "view": "box"}),
    )


def test_a_true_claim_stands_and_its_reverse_falls(pair):
    found = judge_claim(BELOW, *pair, FEW)
    assert found["verdict"] == STANDS
    assert found["difference_low"] > 0
    assert found["first"] == "a"
    assert found["second"] == "b"
    assert judge_claim(BELOW, *pair[::-1], FEW)["verdict"] == FALLS


def test_what_is_no_more_than_luck_cannot_be_told(pair):
    above = Claim("x", "x", "drcnet", "rcnet", (">30",))
    found = judge_claim(above, *pair, FEW)
    assert found["verdict"] == OPEN
    assert found["difference_low"] <= 0 <= found["difference_high"]


def test_the_difference_is_that_of_compare(pair):
    line = compare_runs(*pair, FEW).filter(pl.col("interval") == "0-10").row(0, named=True)
    found = judge_claim(BELOW, *pair, FEW)
    assert found["difference"] == pytest.approx(line["difference"])
    assert found["value_first"] == pytest.approx(line["accuracy_first"])
    assert found["n_stars"] == line["n_stars"]
    assert found["difference_low"] == pytest.approx(line["difference_low"], abs=0.04)


def test_intervals_are_taken_together_row_by_row(pair):
    both = Claim("x", "x", "drcnet", "rcnet", ("10-20", "0-10"))
    found = judge_claim(both, *pair, FEW)
    rows = pair[1].tested.filter(pl.col("interval").is_in(both.intervals))
    assert found["value_second"] == pytest.approx((rows["class"] == rows["predicted"]).mean())
    assert found["n_rows"] == len(rows)
    assert found["interval"] == "10-20 and 0-10"


def test_what_is_kept_is_the_faint_accuracy_less_the_bright_one(pair):
    kept = Claim("x", "x", "drcnet", "rcnet", (">30", "0-10"), "kept", published=0.9)
    found = judge_claim(kept, *pair, FEW)
    share = {
        i: (r["class"] == r["predicted"]).mean() for (i,), r in pair[1].tested.group_by("interval")
    }
    assert found["value_second"] == pytest.approx(share["0-10"] - share[">30"])
    assert found["verdict"] == STANDS
    assert found["published_inside"] is False


def test_precision_and_lead_of_a_class(pair):
    rows = pair[1].tested.filter(pl.col("interval") == "0-10")
    share = {c: (rows.filter(pl.col("predicted") == c)["class"] == c).mean() for c in "FGK"}
    pure = Claim("x", "x", "rcnet", "drcnet", ("0-10",), "precision_F")
    found = judge_claim(pure, *pair[::-1], FEW)
    assert found["value_first"] == pytest.approx(share["F"])
    lead = judge_claim(Claim("x", "x", "rcnet", "", ("0-10",), "lead_F"), pair[1], None, FEW)
    assert lead["difference"] == pytest.approx(share["F"] - max(share["G"], share["K"]))
    assert lead["value_second"] is None
    assert lead["second"] == ""
    # F are never called wrongly here, so F leads whichever stars are drawn
    assert share["F"] == 1
    assert lead["verdict"] == STANDS


def test_a_class_never_predicted_leads_nowhere(rows, make_run):
    never = make_run(rows.with_columns(predicted=pl.lit("G")), "never")
    found = judge_claim(Claim("x", "x", "rcnet", "", ("0-10",), "lead_K"), never, None, FEW)
    assert np.isnan(found["difference"])
    assert found["verdict"] == OPEN
    assert "worse than always answering" in found["remark"]


def test_without_rows_or_class_nothing_is_said(rng, roll, make_run):
    run = make_run(roll(rng, stars=40, intervals=(">30",)), "a")
    assert judge_claim(BELOW, run, run, FEW) is None
    other = Claim("x", "x", "rcnet", "", (">30",), "lead_M")
    assert judge_claim(other, run, None, FEW) is None


def test_runs_are_paired_by_model_split_seed_and_noise(pair, rows, make_run):
    noise = {"augment": {"noise": True}}
    card = {"split": "one", "seed": 1, "view": "box"}
    rcnet = card | {"model": "rcnet"}
    runs = [
        *pair,
        make_run(rows, "faded", card=rcnet, settings=noise),
        make_run(rows, "fold", card=rcnet | {"split": "two"}),
        make_run(rows, "seed", card=rcnet | {"seed": 2}),
        make_run(rows, "sky", card=rcnet | {"view": "optimal-sky"}),
        make_run(rows, "other", card=card | {"model": "logreg"}),
        make_run(rows.with_columns(pl.col("row") + 10_000), "apart", card=rcnet),
    ]
    table = paper_claims(runs, FEW)
    two = table.filter(pl.col("second") != "")
    assert set(two.select("first", "second").rows()) == {
        ("a", "b"), ("b", "a"), ("a", "sky"), ("sky", "a")
    }  # fmt: skip
    assert set(two.filter(pl.col("first") == "sky")["claim"]) == {"1-D at 20-30"}
    sky = two.filter((pl.col("second") == "sky") | (pl.col("first") == "sky"))["trained"]
    assert set(sky) == {"bright stars only; sky sees optimal-sky"}
    assert training_of(runs[2]) == "with faded copies"
    alone = set(table.filter(pl.col("second") == "")["first"])
    assert alone == {"a", "b", "faded", "fold", "seed", "sky", "apart"}


def test_no_claim_is_made_of_runs_that_it_is_not_about(rows, make_run):
    table = paper_claims([make_run(rows, "logreg")], FEW)
    assert table.is_empty()
    assert {"claim", "verdict", "difference_low"} <= set(table.columns)


def test_losers_among_answers_worth_nothing_are_named(rows, rng, make_run):
    none = dict.fromkeys((">30", "20-30", "10-20", "0-10"), 0.0)
    poor = make_run(answer(rows, none, rng), "poor")
    good = make_run(rows.with_columns(predicted="class"), "good")
    assert judge_claim(BELOW, good, poor, FEW)["remark"].startswith("poor is worse than always")
    assert judge_claim(BELOW, poor, poor, FEW)["remark"].startswith("both worse than always")
    assert judge_claim(BELOW, good, good, FEW)["remark"] == ""
