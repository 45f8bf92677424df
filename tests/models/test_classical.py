"""Plain arrays give what scikit-learn gave."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from drcnet.models import build_model


@pytest.mark.parametrize("n_class", [2, 3])
def test_logreg_is_the_scikit_learn_pipeline(rng, n_class):
    label = np.arange(60) % n_class
    x = rng.normal(size=(60, 2, 40)) + 0.5 * label[:, None, None] * rng.normal(size=(2, 40))
    flat = x.reshape(60, -1)
    pipeline = make_pipeline(
        StandardScaler(),
        PCA(6, svd_solver="randomized", random_state=0),
        StandardScaler(),
        LogisticRegression(max_iter=5000),
    ).fit(flat, label)
    model = build_model("logreg", n_class, n_wave=40, components=6)
    model.fit(x, label, seed=0, balanced=False)
    p = torch.softmax(model(torch.from_numpy(x)), dim=1).numpy()
    np.testing.assert_allclose(p, pipeline.predict_proba(flat), atol=1e-4)


def test_constant_pixels_and_few_stars_do_no_harm(rng):
    x = rng.normal(size=(6, 2, 40))
    x[:, :, 10:20] = 1.0
    for scaling in ("standard", "robust", "none"):
        model = build_model("logreg", 2, n_wave=40, scaling=scaling)
        model.fit(x, np.arange(6) % 2, seed=0, balanced=True)
        assert torch.isfinite(model(torch.from_numpy(x))).all()


def scikit_scores(model, x):
    """The standardised components that the model hands to its learner."""
    flat = x.reshape(len(x), -1)
    rotation, origin = model.get_buffer("rotation").numpy(), model.get_buffer("origin").numpy()
    return (flat - origin) @ rotation


@pytest.fixture
def crowd(rng):
    label = np.arange(60) % 3
    return rng.normal(size=(60, 2, 40)) + 0.7 * label[:, None, None], label


def test_forest_is_scikit_learns(crowd):
    x, label = crowd
    model = build_model("forest", 3, n_wave=40, components=6, trees=25)
    model.fit(x, label, seed=4, balanced=True)
    scores = scikit_scores(model, x)
    forest = RandomForestClassifier(25, class_weight="balanced", random_state=4)
    expected = forest.fit(scores, label).predict_proba(scores)
    logits = model(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(np.exp(logits) - 1e-3, expected, atol=0.02)
    assert np.abs(np.exp(logits) - 1e-3 - expected).mean() < 1e-3


def test_neighbors_are_scikit_learns(crowd):
    x, label = crowd
    model = build_model("knn", 3, n_wave=40, components=6, neighbors=5)
    model.fit(x[:40], label[:40], seed=0, balanced=False)
    learner = KNeighborsClassifier(5, weights="distance")
    learner.fit(scikit_scores(model, x[:40]), label[:40])
    p = np.exp(model(torch.from_numpy(x[40:])).numpy()) - 1e-3
    np.testing.assert_allclose(p, learner.predict_proba(scikit_scores(model, x[40:])), atol=1e-6)


@pytest.mark.parametrize("n_class", [2, 3])
def test_perceptron_is_scikit_learns(crowd, n_class):
    x, label = crowd[0], crowd[1] % n_class
    model = build_model("mlp", n_class, n_wave=40, components=6, widths=(7, 5))
    model.fit(x, label, seed=2, balanced=False)
    scores = scikit_scores(model, x)
    learner = MLPClassifier(
        (7, 5), alpha=1.0, solver="lbfgs", max_iter=5000, max_fun=100_000, random_state=2
    ).fit(scores, label)
    p = torch.softmax(model(torch.from_numpy(x)), dim=1).numpy()
    np.testing.assert_allclose(p, learner.predict_proba(scores), atol=1e-2)


@pytest.mark.parametrize("n_class", [2, 3])
def test_support_vectors_have_scikit_learns_margins(crowd, n_class):
    x, label = crowd[0], crowd[1] % n_class
    model = build_model("svm", n_class, n_wave=40, components=6)
    model.fit(x, label, seed=2, balanced=True)
    scores = scikit_scores(model, x)
    margins = np.stack(
        [
            SVC(C=3.0, gamma=1 / 6, class_weight="balanced")
            .fit(scores, label == k)
            .decision_function(scores)
            for k in range(n_class)
        ],
        axis=1,
    )
    slope, bias = model.get_buffer("slope").numpy(), model.get_buffer("bias").numpy()
    np.testing.assert_allclose(
        model(torch.from_numpy(x)).numpy(), margins @ slope.T + bias, atol=1e-6
    )
    assert (slope.diagonal() > 0).all()
