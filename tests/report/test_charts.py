import polars as pl
import pytest

from drcnet.config import EvaluateSettings
from drcnet.evaluate.evaluate import assess
from drcnet.evaluate.runs import read_run
from drcnet.report import charts


@pytest.fixture(scope="module")
def evaluation(runs):
    return assess([read_run(r) for r in runs], EvaluateSettings(bootstrap=100))


def test_accuracy_chart_tells_every_point_and_the_paper(evaluation):
    html = charts.accuracy_chart(evaluation.scores)
    assert html.count("drcnet, S/N ") == 4
    assert html.count("published, real LAMOST data") == 9
    assert html.count("always ") == 4
    assert "nan" not in html


def test_curve_chart_has_a_band_a_run(evaluation):
    assert charts.curve_chart(evaluation.curves).count('class="band"') == 2
    assert charts.curve_chart(evaluation.curves.clear()) == ""


def test_training_chart_marks_the_kept_epoch_and_needs_two(evaluation, bare_run):
    html = charts.training_chart(evaluation.runs[0])
    assert "kept: epoch 2" in html
    assert "epoch 3: validation loss 0.9500" in html
    assert charts.training_chart(read_run(bare_run)) == ""


def test_reliability_chart_is_empty_without_probabilities(evaluation):
    assert "calibrated" in charts.reliability_chart(evaluation.reliability)
    assert charts.reliability_chart(evaluation.reliability.clear()) == ""


@pytest.mark.parametrize(("low", "high"), [(0, 1.13), (1, 300), (0, 0.004), (5, 5)])
def test_ticks_are_few_round_and_inside(low, high):
    ticks = charts._round_ticks(low, high)
    assert 1 <= len(ticks) <= 7
    assert all(low - 1e-9 <= value <= high + 1e-6 for value, _ in ticks)
    assert all(float(text) == pytest.approx(value, abs=1e-9) for value, text in ticks)


def test_before_and_after_are_drawn_in_one_chart(evaluation):
    run = evaluation.reliability["run"][0]
    table = evaluation.reliability.filter(pl.col("run") == run)
    name = next(i for i in table["interval"] if i != "all" and
                (table.filter(pl.col("interval") == i)["n_rows"] >= 5).any())  # fmt: skip
    chart = charts.before_after_chart(table, table, name)
    assert "before" in chart
    assert "calibrated" in chart
    assert f"S/N {name}".replace(">", "&gt;") in chart
    assert charts.before_after_chart(table.clear(), table.clear(), name) == ""
