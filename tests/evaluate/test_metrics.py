import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk

from drcnet.config import EvaluateSettings
from drcnet.evaluate import metrics

CLASSES = ("F", "G", "K")
FEW = EvaluateSettings(bootstrap=200)


def counted(true, predicted):
    """Confusion counts as the metrics take them, shape (3, 4)."""
    cells = metrics.confusion_cells(true, predicted, CLASSES)
    return np.bincount(cells, minlength=12).reshape(3, 4).astype(float)


def test_counts_and_scores_are_scikit_learns(predictions):
    true, predicted = predictions["class"].to_list(), predictions["predicted"].to_list()
    counts = counted(true, predicted)
    assert np.array_equal(counts[:, :3], sk.confusion_matrix(true, predicted, labels=CLASSES))
    assert metrics.accuracy(counts) == pytest.approx(sk.accuracy_score(true, predicted))
    expected = sk.balanced_accuracy_score(true, predicted)
    assert metrics.balanced_accuracy(counts) == pytest.approx(expected)
    expected = sk.f1_score(true, predicted, average="macro")
    assert metrics.macro_f1(counts) == pytest.approx(expected)
    p, r, f1, _ = sk.precision_recall_fscore_support(true, predicted, labels=CLASSES)
    ours = metrics.class_scores(counts)
    assert ours["precision"] == pytest.approx(p)
    assert ours["recall"] == pytest.approx(r)
    assert ours["f1"] == pytest.approx(f1)


def test_a_class_without_stars_or_predictions_is_unknown_not_zero():
    counts = counted(["F", "F", "G"], ["F", "G", "G"])
    scores = metrics.class_scores(counts)
    assert np.isnan([scores[name][2] for name in scores]).all()
    assert metrics.macro_f1(counts) == pytest.approx(2 / 3)
    assert metrics.balanced_accuracy(counts) == pytest.approx(0.75)


def test_an_answer_that_is_no_class_is_wrong_and_counted():
    counts = counted(["F", "G"], ["F", None])
    assert counts[1, 3] == 1
    assert metrics.accuracy(counts) == 0.5
    assert metrics.class_scores(counts)["recall"][1] == 0


def test_metrics_of_stacked_counts_are_those_of_each(rng):
    counts = rng.integers(0, 9, (5, 3, 4)).astype(float)
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        metric = getattr(metrics, name)
        assert metric(counts) == pytest.approx([float(metric(c)) for c in counts])


def test_bootstrap_draws_whole_stars(rng):
    values = np.ones((6, 1))
    drawn = metrics.bootstrap_sums(values, ["a"] * 5 + ["b"], 400, rng)[:, 0]
    # Two draws out of {a: 5 rows, b: 1 row}: only these sums can come, in the ratio 1:2:1.
    assert set(drawn) == {2.0, 6.0, 10.0}
    assert np.mean(drawn == 6) == pytest.approx(0.5, abs=0.1)


def test_bootstrap_in_pieces_keeps_the_number_of_draws(rng, monkeypatch):
    monkeypatch.setattr(metrics, "_CHUNK", 7)
    drawn = metrics.bootstrap_sums(np.ones((3, 2)), ["a", "b", "c"], 11, rng)
    assert np.array_equal(drawn, np.full((11, 2), 3.0))


def test_interval_width_is_binomial_where_stars_are_independent(rng, roll, make_run):
    run = make_run(roll(rng, stars=800, visits=1, intervals=(">30",)))
    line = metrics.score_run(run, FEW).scores.row(0, named=True)
    expected = 2 * 1.96 * np.sqrt(line["accuracy"] * (1 - line["accuracy"]) / 800)
    assert line["accuracy_high"] - line["accuracy_low"] == pytest.approx(expected, rel=0.2)


def test_rows_copied_do_not_narrow_the_interval(rng, roll, make_run):
    once = roll(rng, stars=100, visits=1, intervals=(">30",))
    copies = pl.concat([once] * 4).with_columns(pl.int_range(pl.len()).alias("row"))
    settings = EvaluateSettings(bootstrap=500)
    narrow, wide = (
        metrics.score_run(make_run(rows), settings).scores.row(0, named=True)
        for rows in (copies, once)
    )
    assert narrow["accuracy_low"] == wide["accuracy_low"]
    assert narrow["accuracy_high"] == wide["accuracy_high"]


def test_an_empty_interval_is_a_line_of_nan(rng, roll, make_run):
    run = make_run(roll(rng, stars=20, intervals=(">30", "0-10")))
    scores = metrics.score_run(run, FEW)
    assert scores.scores["interval"].to_list() == [">30", "20-30", "10-20", "0-10", "all"]
    line = scores.scores.row(1, named=True)
    assert (line["n_rows"], line["n_stars"]) == (0, 0)
    numbers = ("accuracy", "accuracy_low", "macro_f1", "nll", "brier", "ece", "majority")
    assert np.isnan([line[name] for name in numbers]).all()
    assert scores.confusion.filter(pl.col("interval") == "20-30")["n_rows"].sum() == 0


def test_nothing_tested_at_all_is_lines_of_nan(predictions, make_run):
    run = make_run(predictions.with_columns(pl.lit("train").alias("part")))
    table = metrics.score_run(run, FEW).scores
    assert table["n_rows"].sum() == 0
    assert table["accuracy"].is_nan().all()


def test_one_star_has_no_interval_and_perfection_no_certainty(predictions, make_run):
    rows = predictions.filter(pl.col("interval") == ">30").with_columns(predicted="class")
    lone = rows.filter(pl.col("star") == rows["star"][0])
    line = metrics.score_run(make_run(lone), FEW).scores.row(0, named=True)
    assert line["accuracy"] == 1
    assert np.isnan(line["accuracy_low"])
    line = metrics.score_run(make_run(rows), FEW).scores.row(0, named=True)
    n = line["n_stars"]
    assert line["accuracy_high"] == 1
    assert line["accuracy_low"] == pytest.approx(n / (n + 1.959964**2))  # Wilson at k = n


def test_a_class_always_found_is_no_certainty_either(predictions, make_run):
    run = make_run(predictions.with_columns(predicted="class"))
    table = metrics.score_run(run, FEW).classes
    assert (table["recall"] == 1).all()
    assert (table["recall_low"] < 1).all()
    stars = predictions.filter(pl.col("class") == "K")["star"].n_unique()
    last = table.row(-1, named=True)
    assert last["f1_low"] == pytest.approx(stars / (stars + 1.959964**2))


def test_majority_is_that_of_the_training_part_where_it_is_known(predictions, make_run):
    share = (predictions["class"] == "K").mean()
    trained = predictions.with_columns(
        pl.lit("train").alias("part"), pl.lit("K").alias("class"), pl.col("row") + 10_000
    )
    line = metrics.score_run(make_run(pl.concat([predictions, trained])), FEW).scores.row(
        -1, named=True
    )
    assert (line["majority_class"], line["majority"]) == ("K", pytest.approx(share))
    line = metrics.score_run(make_run(predictions), FEW).scores.row(-1, named=True)
    best = predictions["class"].value_counts(sort=True).row(0)
    assert (line["majority_class"], line["majority"]) == (best[0], best[1] / len(predictions))


def test_only_the_test_part_with_a_class_is_scored(predictions, make_run):
    more = predictions.with_columns(
        pl.lit("").alias("class"), pl.lit("Z").alias("predicted"), pl.col("row") + 10_000
    )
    with_more = metrics.score_run(make_run(pl.concat([predictions, more])), FEW).scores
    assert with_more.equals(metrics.score_run(make_run(predictions), FEW).scores)


def test_the_same_seed_gives_the_same_numbers_in_any_order(predictions, make_run):
    shuffled = predictions.sample(fraction=1, shuffle=True, seed=3)
    one, two = (metrics.score_run(make_run(p), FEW).scores for p in (predictions, shuffled))
    assert one.select(pl.exclude("nll", "brier", "ece")).equals(
        two.select(pl.exclude("nll", "brier", "ece"))
    )


def test_core_accuracy_counts_subclasses_two_to_seven(predictions, make_run):
    line = metrics.score_run(make_run(predictions), FEW).scores.row(-1, named=True)
    core = predictions.filter(pl.col("subclass").str.slice(1).cast(pl.Int64).is_between(2, 7))
    assert line["n_core"] == len(core)
    assert line["core_accuracy"] == pytest.approx((core["class"] == core["predicted"]).mean())


def test_class_table_and_confusion_table_agree(predictions, make_run):
    scores = metrics.score_run(make_run(predictions), FEW)
    sums = scores.confusion.group_by("run", "interval", "true").agg(pl.col("n_rows").sum())
    both = scores.classes.join(
        sums, left_on=["run", "interval", "class"], right_on=["run", "interval", "true"]
    )
    assert both["n_true"].to_list() == both["n_rows"].to_list()
    known = scores.classes.filter(pl.col("n_true") > 0)
    assert (known["recall_low"] <= known["recall"]).all()
    assert (known["recall_high"] >= known["recall"]).all()
