import numpy as np
import polars as pl
import pytest
from sklearn.metrics import brier_score_loss, log_loss

from drcnet.evaluate import calibration


@pytest.fixture
def truth_and_p(rng):
    p = rng.dirichlet([1, 1, 1], 4000)
    truth = np.array([rng.choice(3, p=row) for row in p])
    return truth, p


def test_nll_and_brier_are_scikit_learns(truth_and_p):
    truth, p = truth_and_p
    assert calibration.negative_log_likelihood(truth, p) == pytest.approx(log_loss(truth, p))
    expected = np.mean(
        [((row - np.eye(3)[t]) ** 2).sum() for row, t in zip(p, truth, strict=True)]
    )
    assert calibration.brier_score(truth, p) == pytest.approx(expected)
    # of two classes scikit-learn sums over one of them, we over both
    q = p[:, :2] / p[:, :2].sum(axis=1, keepdims=True)
    two = truth < 2
    theirs = brier_score_loss(truth[two] == 1, q[two, 1])
    assert calibration.brier_score(truth[two], q[two]) == pytest.approx(2 * theirs)


def test_true_probabilities_have_no_calibration_error(truth_and_p):
    assert calibration.expected_calibration_error(*truth_and_p) < 0.03


def test_the_error_of_a_boaster_is_its_excess():
    truth = np.array([0, 0, 0, 1])
    p = np.tile([1.0, 0.0], (4, 1))
    assert calibration.expected_calibration_error(truth, p) == pytest.approx(0.25)


def test_no_probabilities_and_no_rows_give_nan():
    nothing = np.full((2, 3), np.nan)
    for score in ("negative_log_likelihood", "brier_score", "expected_calibration_error"):
        assert np.isnan(getattr(calibration, score)(np.array([0, 1]), nothing))
        assert np.isnan(getattr(calibration, score)(np.zeros(0, int), np.zeros((0, 3))))


def test_a_zero_probability_of_the_truth_is_bad_but_finite():
    assert calibration.negative_log_likelihood(np.array([1]), np.array([[1.0, 0.0]])) < 20


def test_reliability_table_adds_up(predictions, make_run):
    table = calibration.reliability_table(make_run(predictions), bins=8)
    both = table.filter(pl.col("interval") == "all")
    assert both["n_rows"].sum() == len(predictions)
    assert (both["confidence"] > both["low"]).all()
    assert (both["confidence"] <= both["high"] + 1e-12).all()
    right = (both["accuracy"] * both["n_rows"]).sum()
    assert right == pytest.approx((predictions["class"] == predictions["predicted"]).sum())
    assert (table["accuracy_low"] <= table["accuracy"] + 1e-12).all()


def test_a_run_without_probabilities_has_an_empty_table(predictions, make_run):
    run = make_run(predictions.drop("p_F", "p_G", "p_K"))
    table = calibration.reliability_table(run)
    assert table.is_empty()
    assert "confidence" in table.columns
