"""Operations of small models, counted by hand."""

import numpy as np
from torch import nn

from drcnet.models import build_model
from drcnet.models.cost import operations


def test_a_convolution_and_a_layer_are_counted_by_hand():
    model = nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(40, 3))
    assert operations(model, (2, 10)) == 2 * (10 * 4 * 2 * 3) + 2 * (40 * 3)


def test_counting_changes_nothing():
    model = build_model("rcnet", 3, n_wave=256, norm=True).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    operations(model, (2, 256))
    assert model.training
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())


def test_batch_normalisation_and_arms_do_what_they_should():
    def count(**options):
        return operations(build_model("rcnet", 3, n_wave=256, **options), (2, 256))

    assert count(norm=True) == count()
    assert count(arms="branches") > 1.9 * count()


def test_fitted_models_are_counted_with_their_distances():
    rng = np.random.default_rng(1)
    x, label = rng.normal(size=(30, 2, 16)), np.arange(30) % 3
    logreg = build_model("logreg", 3, n_wave=16, components=5)
    logreg.fit(x, label, seed=1, balanced=False)
    assert operations(logreg, (2, 16)) == 2 * (32 * 5) + 2 * (5 * 3)
    knn = build_model("knn", 3, n_wave=16, components=5)
    knn.fit(x, label, seed=1, balanced=False)
    assert operations(knn, (2, 16)) == 2 * (32 * 5) + 2 * (30 * 5)
