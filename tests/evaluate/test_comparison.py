import numpy as np
import polars as pl
import pytest

from drcnet.config import EvaluateSettings
from drcnet.errors import RunError
from drcnet.evaluate.comparison import accuracy_curve, compare_runs, mcnemar

FEW = EvaluateSettings(bootstrap=300)


def test_mcnemar_is_the_sign_test():
    assert mcnemar(0, 0) == 1
    assert mcnemar(3, 3) == 1
    assert mcnemar(10, 0) == pytest.approx(2 / 2**10)
    assert mcnemar(0, 10) == mcnemar(10, 0)


def test_a_run_and_itself_differ_by_nothing(predictions, make_run):
    table = compare_runs(make_run(predictions, "a"), make_run(predictions, "b"), FEW)
    assert (table["difference"] == 0).all()
    assert (table["difference_high"] == 0).all()
    assert (table["p_mcnemar"] == 1).all()
    assert (table["better"] == "").all()


def test_a_clear_winner_is_named_whichever_stands_first(predictions, make_run):
    perfect = make_run(predictions.with_columns(predicted="class"), "perfect")
    other = make_run(predictions, "other")
    line = compare_runs(perfect, other, FEW).row(-1, named=True)
    turned = compare_runs(other, perfect, FEW).row(-1, named=True)
    assert line["better"] == turned["better"] == "perfect"
    assert line["only_second"] == turned["only_first"] == 0
    assert line["difference"] == pytest.approx(-turned["difference"])
    assert line["difference"] == pytest.approx(1 - line["accuracy_second"])


def test_only_shared_rows_count_and_empty_intervals_stand(rng, roll, make_run):
    rows = roll(rng, stars=40, intervals=(">30",))
    first, second = make_run(rows, "a"), make_run(rows.head(30), "b")
    table = compare_runs(first, second, FEW)
    assert table["n_rows"].to_list() == [30, 0, 0, 0, 30]
    assert np.isnan(table["difference"][1])
    assert table["better"][1] == ""


def test_runs_of_different_stores_are_refused(predictions, make_run):
    renamed = predictions.with_columns(star="x" + pl.col("star"))
    with pytest.raises(RunError, match="the stars and classes of a"):
        compare_runs(make_run(predictions, "a"), make_run(renamed, "b"), FEW)
    apart = predictions.with_columns(pl.col("row") + 1000)
    with pytest.raises(RunError, match="got none"):
        compare_runs(make_run(predictions, "a"), make_run(apart, "b"), FEW)


def test_curve_of_a_constant_is_constant(predictions, make_run):
    right = make_run(predictions.with_columns(predicted="class"))
    curve = accuracy_curve(right, FEW, points=9)
    assert len(curve) == 9
    assert curve["accuracy"].to_numpy() == pytest.approx(np.ones(9))


def test_curve_rises_where_stars_get_easier(rng, roll, make_run):
    curve = accuracy_curve(make_run(roll(rng, stars=400)), FEW)
    assert curve["accuracy"][-1] > curve["accuracy"][0] + 0.2
    assert (curve["accuracy_low"] < curve["accuracy"]).all()
    assert (curve["accuracy_high"] > curve["accuracy"]).all()


def test_curve_of_few_stars_is_empty(rng, roll, make_run):
    assert accuracy_curve(make_run(roll(rng, stars=5)), FEW).is_empty()
