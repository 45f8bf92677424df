"""Plain arrays give what scikit-learn gave."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

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
