import numpy as np
import polars as pl
import pytest

from drcnet.config import EvaluateSettings
from drcnet.evaluate import figures
from drcnet.evaluate.calibration import reliability_table
from drcnet.evaluate.metrics import score_run
from drcnet.evaluate.style import COLORS, color_of, new_figure


@pytest.fixture
def ax():
    return new_figure()[1][0, 0]


@pytest.fixture
def scores(predictions, make_run):
    return score_run(make_run(predictions), EvaluateSettings(bootstrap=100))


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_accuracy_shows_runs_majority_and_paper(ax, scores):
    figures.plot_accuracy(ax, scores.scores)
    assert "majority class" in labels(ax)
    assert "DRC-Net, paper (real data)" in labels(ax)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0-10", "10-20", "20-30", ">30"]
    drawn = ax.lines[0].get_ydata()
    rows = scores.scores.filter(pl.col("interval") != "all")
    assert np.array_equal(drawn, rows["accuracy"].to_numpy())


def test_accuracy_leaves_empty_intervals_out(ax, rng, roll, make_run):
    run = make_run(roll(rng, stars=8, intervals=(">30",)))
    scores = score_run(run, EvaluateSettings(bootstrap=100)).scores
    figures.plot_accuracy(ax, scores, paper=False)
    assert len(ax.lines[0].get_ydata()) == 1


@pytest.mark.parametrize(("count", "inside"), [(3, True), (4, False)])
def test_names_of_many_runs_hide_no_line(predictions, make_run, count, inside):
    few = EvaluateSettings(bootstrap=100)
    runs = [score_run(make_run(predictions, f"run{k}"), few).scores for k in range(count)]
    figure, axes = new_figure()
    figures.plot_accuracy(axes[0, 0], pl.concat(runs))
    figure.draw_without_rendering()
    box = axes[0, 0].get_legend().get_window_extent()
    assert bool(box.y1 > axes[0, 0].get_window_extent().y0) is inside


def test_confusion_shows_counts_and_shares(ax, scores):
    table = scores.confusion.filter(pl.col("interval") == ">30")
    figures.plot_confusion(ax, table)
    counts = [int(text.get_text().split("\n")[1]) for text in ax.texts]
    assert counts == table["n_rows"].to_list()
    shares = [float(text.get_text().split("%")[0]) for text in ax.texts]
    assert sum(shares) == pytest.approx(300, abs=3)


def test_training_marks_the_lowest_validation_loss(ax):
    log = pl.DataFrame({"epoch": [1, 2, 3], "train_loss": [3.0, 2, 1], "val_loss": [3.0, 1, 2]})
    figures.plot_training(ax, log)
    assert labels(ax) == ["train loss", "val loss", "lowest"]
    assert ax.lines[-1].get_xydata().tolist() == [[2, 1]]


def test_reliability_draws_before_and_after(ax, predictions, make_run):
    table = reliability_table(make_run(predictions)).filter(pl.col("interval") == ">30")
    after = table.with_columns(pl.col("confidence") * 0.9)
    figures.plot_reliability(ax, table, after, "S/N >30")
    assert ax.get_legend_handles_labels()[1] == ["before", "calibrated"]
    drawn = [np.asarray(bars[0].get_xdata(), dtype=float) for bars in ax.containers]
    assert np.allclose(drawn[1], 0.9 * drawn[0])


def test_reliability_without_a_calibration_is_one_line(ax, predictions, make_run):
    figures.plot_reliability(ax, reliability_table(make_run(predictions)))
    assert ax.get_legend_handles_labels()[1] == ["before"]


def test_histogram_counts_what_is_known(ax):
    figures.plot_snr_histogram(ax, np.array([1.0, 10, 100, np.nan, -9999]))
    assert sum(patch.get_height() for patch in ax.patches) == 3
    figures.plot_snr_histogram(ax, np.array([np.nan]))


def test_frame_and_stripes_are_drawn_at_their_size(rng):
    ax = new_figure()[1][0, 0]
    figures.plot_frame(ax, rng.normal(size=(2100, 3000)), "frame")
    assert ax.images[0].get_extent() == [0, 3000, 0, 2100]
    assert max(ax.images[0].get_array().shape) <= 2100
    axes = new_figure(rows=2)[1][:, 0]
    stripes = rng.normal(size=(2, 11, 50))
    stripes[1] = np.nan
    figures.plot_stripes(axes, stripes, "star")
    assert axes[0].images[0].get_array().shape == (11, 50)


def test_colors_are_distinct_and_legible_on_white():
    light = [
        0.2126 * int(c[1:3], 16) + 0.7152 * int(c[3:5], 16) + 0.0722 * int(c[5:], 16)
        for c in COLORS
    ]
    assert len(set(COLORS)) == len(COLORS)
    assert max(light) < 180  # yellow would be 214
    assert color_of(len(COLORS)) == COLORS[0]


@pytest.mark.parametrize("ending", ["png", "pdf"])
def test_a_figure_is_written_whole(tmp_path, ax, ending):
    path = figures.save_figure(ax.figure, tmp_path / f"a.{ending}")
    assert path.stat().st_size > 500
    assert list(tmp_path.iterdir()) == [path]
