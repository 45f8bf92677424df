"""Before and after calibration, coverage and refusal, on dice whose answers are known."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from drcnet.calibrate.conformal import prediction_sets
from drcnet.calibrate.temperature import Temperature, scale_probabilities
from drcnet.config import EvaluateSettings
from drcnet.evaluate.calibration import debiased_calibration_error, expected_calibration_error
from drcnet.evaluate.doubt import (
    area_under_risk,
    calibrated_run,
    coverage_table,
    doubt_table,
    risk_table,
)

SETTINGS = EvaluateSettings(bootstrap=200)


def with_calibration(run, log_t=0.5, limit=0.8):
    temperature = Temperature((log_t, 0.0, 0.0))
    doubts = SimpleNamespace(
        temperature=temperature,
        coverage=0.9,
        probabilities=lambda p, snrr: scale_probabilities(p, snrr, temperature),
        sets=lambda p, snrr: prediction_sets(p, np.full(len(p), limit)),
    )
    return dataclasses.replace(run, calibration=doubts)


def test_an_uncalibrated_run_has_its_own_scores_only(predictions, make_run):
    run = make_run(predictions)
    assert calibrated_run(run) is run
    table = doubt_table(run, SETTINGS)
    assert table["interval"].to_list() == [">30", "20-30", "10-20", "0-10", "all"]
    assert table["nll"].null_count() == 0
    for name in ("nll_calibrated", "coverage", "temperature", "set_size"):
        assert table[name].null_count() == 5
    assert coverage_table(run, SETTINGS).is_empty()


def test_no_probabilities_leave_blanks_and_no_zeros(predictions, make_run):
    run = with_calibration(make_run(predictions.drop("p_F", "p_G", "p_K")))
    table = doubt_table(run, SETTINGS)
    for name in ("nll", "brier", "ece", "ece_debiased", "aurc", "coverage"):
        assert table[name].null_count() == 5, name
    assert risk_table(run).is_empty()


def test_calibration_changes_probabilities_and_no_class(predictions, make_run):
    run = with_calibration(make_run(predictions))
    after = calibrated_run(run).predictions
    assert after["predicted"].equals(predictions["predicted"])
    assert (after["p_F"] != predictions["p_F"]).all()
    table = doubt_table(run, SETTINGS)
    np.testing.assert_allclose(table["temperature"], np.exp(0.5))
    assert (table["nll"] != table["nll_calibrated"]).all()
    # one temperature for all keeps the order of confidences nearly: three classes may swap a few
    np.testing.assert_allclose(table["aurc"], table["aurc_calibrated"], atol=0.05)


def test_coverage_is_counted(predictions, make_run):
    run = with_calibration(make_run(predictions), log_t=0.0, limit=0.8)
    row = doubt_table(run, SETTINGS).row(-1, named=True)
    p = predictions.select("p_F", "p_G", "p_K").to_numpy()
    truth = np.array(["FGK".index(c) for c in predictions["class"]])
    inside = 1 - p <= 0.8
    assert row["coverage"] == pytest.approx(inside[np.arange(len(p)), truth].mean())
    assert row["set_size"] == pytest.approx(inside.sum(axis=1).mean())
    assert row["coverage_low"] < row["coverage"] < row["coverage_high"]
    assert row["promised"] == 0.9
    by_class = coverage_table(run, SETTINGS).filter(pl.col("interval") == "all")
    mean = np.average(by_class["coverage"], weights=by_class["n_rows"])
    assert mean == pytest.approx(row["coverage"])


def test_all_sets_whole_cover_all(predictions, make_run):
    row = doubt_table(with_calibration(make_run(predictions), limit=1.0), SETTINGS).row(
        0, named=True
    )
    assert (row["coverage"], row["set_size"], row["single"]) == (1.0, 3.0, 0.0)


def test_risk_curve_ends_at_the_accuracy(predictions, make_run):
    run = make_run(predictions)
    table = risk_table(run)
    end = table.filter((pl.col("kept") == 1.0) & (pl.col("interval") == "all"))
    right = (predictions["class"] == predictions["predicted"]).mean()
    assert end["accuracy"].item() == pytest.approx(right)
    for _, part in table.group_by("interval"):
        assert (part["confidence"].diff().drop_nulls() <= 0).all()


def test_area_under_risk(rng):
    right = rng.random(500) < 0.7
    best = area_under_risk(right.astype(float) + 1e-3 * rng.random(500), right)
    worst = area_under_risk(1 - right.astype(float), right)
    blind = area_under_risk(np.ones(500), right)
    assert best < blind < worst
    assert blind == pytest.approx(1 - right.mean())
    shuffled = rng.permutation(500)
    score = rng.integers(0, 4, 500) / 4
    assert area_under_risk(score, right) == pytest.approx(
        area_under_risk(score[shuffled], right[shuffled])
    )


def test_debiased_error_of_perfect_probabilities_is_near_zero(rng):
    """The plain error is not: it grows with the bins' noise."""
    plain, freed = [], []
    for _ in range(60):
        p = rng.dirichlet([1.0, 1.0, 1.0], 100)
        truth = (rng.random((100, 1)) > p.cumsum(axis=1)).sum(axis=1)
        plain.append(expected_calibration_error(truth, p, 10))
        freed.append(debiased_calibration_error(truth, p, 10))
    assert np.mean(plain) > 0.08
    assert np.median(freed) < 0.05
    wrong = np.tile([0.9, 0.05, 0.05], (4000, 1))
    truth = (rng.random(4000) > 0.6).astype(int)  # right 60% of the time
    assert debiased_calibration_error(truth, wrong, 10) == pytest.approx(0.3, abs=0.03)


def test_rows_of_one_star_are_no_witnesses_of_their_own(rng):
    """Perfect probabilities, but each star has 20 rows that are right or wrong together."""
    of_rows, of_stars = [], []
    for _ in range(40):
        p = rng.dirichlet([1.0, 1.0, 1.0], 100)
        truth = (rng.random((100, 1)) > p.cumsum(axis=1)).sum(axis=1)
        many, label, star = (np.repeat(part, 20, axis=0) for part in (p, truth, np.arange(100)))
        of_rows.append(debiased_calibration_error(label, many, 10))
        of_stars.append(debiased_calibration_error(label, many, 10, star))
    assert np.median(of_rows) > 0.1
    assert np.median(of_stars) < 0.05
    wrong = np.tile([0.9, 0.05, 0.05], (4000, 1))
    truth = np.repeat((rng.random(200) > 0.6).astype(int), 20)
    found = debiased_calibration_error(truth, wrong, 10, np.repeat(np.arange(200), 20))
    assert found == pytest.approx(0.3, abs=0.1)
    assert np.isfinite(debiased_calibration_error(truth, wrong, 10, np.zeros(4000)))
