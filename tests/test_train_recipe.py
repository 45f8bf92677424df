"""The recipe by itself: when to stop, how fast to go, what is lost and how much a class weighs."""

import numpy as np
import pytest
import torch

from drcnet.config import TrainSettings
from drcnet.train import EarlyStopping, learning_rate
from drcnet.train.recipe import class_weights, make_loss, shuffled_labels


def test_early_stopping_counts_epochs_in_a_row():
    stopping = EarlyStopping(patience=3)
    losses = [1.0, 2.0, 2.0, 0.5, 0.5, 0.6, 0.7]
    assert [stopping.update(x) for x in losses] == [False] * 6 + [True]
    assert (stopping.best, stopping.waited) == (0.5, 3)
    assert EarlyStopping(patience=1).update(float("nan"))


def test_one_cycle_rises_peaks_and_falls():
    settings = TrainSettings(schedule="one-cycle", learning_rate=1.0)
    rates = [learning_rate(settings, p) for p in np.linspace(0, 1, 101)]
    assert rates[0] == pytest.approx(1 / 25)
    assert max(rates) == rates[30] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(1e-4)
    assert np.all(np.diff(rates[:31]) > 0)
    assert np.all(np.diff(rates[30:]) < 0)
    assert learning_rate(TrainSettings(schedule="constant", learning_rate=0.1), 0.9) == 0.1


def test_double_softmax_cannot_fall_below_0_551():
    logits, label = torch.tensor([[1e4, 0.0, 0.0]]), torch.tensor([0])
    twice = make_loss(TrainSettings(double_softmax=True), None)
    assert float(twice(logits, label)) == pytest.approx(np.log(np.e + 2) - 1, abs=1e-6)
    assert float(make_loss(TrainSettings(), None)(logits, label)) == 0


def test_class_weights_average_one_over_stars():
    label = torch.tensor([0] * 6 + [1] * 3 + [2])
    weights = class_weights(label, 3)
    assert weights[2] / weights[0] == 6
    assert float(weights[label].mean()) == pytest.approx(1)


def test_shuffled_labels_keep_their_numbers():
    label = torch.arange(100) % 3
    dealt = shuffled_labels(label, 1)
    assert torch.equal(torch.bincount(dealt), torch.bincount(label))
    assert not torch.equal(dealt, label)
