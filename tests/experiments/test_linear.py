import numpy as np
import polars as pl

from drcnet.experiments.linear import fit_linear, star_interval


def test_a_linear_difference_is_learnt(rng):
    label = np.repeat(["F", "G"], 60)
    flux = rng.normal(1.0, 0.01, (120, 50)).astype(np.float32)
    flux[:60, 7] -= 0.2
    model = fit_linear(flux[::2], label[::2])
    assert (model.predict(flux[1::2]) == label[1::2]).mean() > 0.95


def test_accuracy_is_the_share_of_right_rows():
    right = np.array([True, True, False, True])
    value, low, high = star_interval(right, pl.Series(["a", "a", "b", "c"]))
    assert value == 0.75
    assert low < value < high


def test_rows_of_one_star_are_drawn_together():
    """Ten stars of a hundred equal rows each are ten facts, not a thousand."""
    right = np.repeat(np.arange(10) < 5, 100)
    star = pl.Series(np.repeat(np.arange(10), 100).astype(str))
    _, low, high = star_interval(right, star, draws=4000)
    # binomial of n = 10 and p = 1/2: 95% within about +-0.3
    assert 0.5 < high - low < 0.7
    _, low, high = star_interval(right, pl.Series(np.arange(1000).astype(str)), draws=4000)
    assert high - low < 0.07


def test_no_rows_have_no_accuracy():
    assert np.isnan(star_interval(np.array([], bool), pl.Series([], dtype=pl.String))).all()
