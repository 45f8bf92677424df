"""Sets keep their promise on average, and copies of a star are no stars."""

import numpy as np
import pytest

from drcnet.calibrate.conformal import conformal_threshold, prediction_sets, set_names


def dice(rng, n):
    p = rng.dirichlet([1.0, 1.0, 1.0], n)
    return p, (rng.random((n, 1)) > p.cumsum(axis=1)).sum(axis=1)


@pytest.mark.parametrize("coverage", [0.7, 0.9])
def test_the_promise_is_kept_on_average(rng, coverage):
    held = []
    for _ in range(300):
        p, label = dice(rng, 79)
        limit = conformal_threshold(p, label, np.arange(79).astype(str), coverage)
        new, truth = dice(rng, 200)
        sets = 1 - new <= limit  # without the most probable class added
        held.append(sets[np.arange(200), truth].mean())
    error = np.std(held) / np.sqrt(300)
    assert coverage - 3 * error <= np.mean(held) <= coverage + 1 / 80 + 3 * error


def test_copies_of_stars_change_nothing(rng):
    p, label = dice(rng, 60)
    star = np.arange(60).astype(str)
    once = conformal_threshold(p, label, star, 0.9)
    times = np.where(np.arange(60) < 5, 40, 1)
    index = np.repeat(np.arange(60), times)
    assert conformal_threshold(p[index], label[index], star[index], 0.9) == pytest.approx(once)


def test_too_few_stars_exclude_nothing():
    p = np.array([[0.9, 0.1]] * 5)
    assert conformal_threshold(p, np.zeros(5, int), np.array(list("abcde")), 0.9) == 1.0
    assert prediction_sets(p, np.ones(5)).all()


def test_no_set_is_empty_but_that_of_nothing():
    p = np.array([[0.4, 0.35, 0.25], [np.nan] * 3])
    sets = prediction_sets(p, np.array([0.1, 1.0]))
    assert sets.tolist() == [[True, False, False], [False, False, False]]
    assert set_names(sets, ("F", "G", "K")) == ["F", ""]
