"""Template matching forgives what it should, and nothing else."""

import numpy as np
import pytest
import torch

from drcnet.models import build_model

L = 400


def lines(places, rng, n=20):
    """Spectra of one class: lines at some places, a continuum, little noise; (n, 2, L)."""
    wave = np.arange(L)
    depth = sum(0.5 * np.exp(-0.5 * ((wave - p) / 4) ** 2) for p in places)
    slope = 1 + 0.2 * rng.normal(size=(n, 2, 1)) * np.linspace(-1, 1, L)
    return slope * (1 - depth) * 100 + rng.normal(0, 1, (n, 2, L))


@pytest.fixture(scope="module")
def stars():
    rng = np.random.default_rng(2)
    places = ((60, 220), (60, 300), (120, 220))
    x = np.concatenate([lines(p, rng) for p in places])
    return x, np.repeat(np.arange(3), 20), places


@pytest.fixture(scope="module")
def fitted(stars):
    model = build_model("template", 3, n_wave=L, templates=15)
    model.fit(stars[0], stars[1], seed=0, balanced=False)
    return model


def right(model, x, label):
    return (model(torch.from_numpy(x)).argmax(1).numpy() == label).mean()


def test_noise_continuum_and_velocity_are_forgiven(fitted, stars):
    rng = np.random.default_rng(3)
    x, label, _ = stars
    bent = x * (1 + 0.4 * np.linspace(-1, 1, L) ** 2) * 7.0 + 30.0
    moved = np.stack([np.roll(bent[:, 0], 6, axis=1), np.roll(bent[:, 1], -4, axis=1)], axis=1)
    noisy = moved + rng.normal(0, 100, x.shape)
    assert right(fitted, bent, label) == 1
    assert right(fitted, moved, label) == 1
    assert right(fitted, noisy, label) > 0.9


def test_certainty_falls_with_noise(fitted, stars):
    rng = np.random.default_rng(4)
    x = stars[0]
    certain = []
    for sigma in (5, 60, 2000):
        logits = fitted(torch.from_numpy(x + rng.normal(0, sigma, x.shape)))
        certain.append(torch.softmax(logits, 1).amax(1).mean().item())
    assert certain[0] > certain[1] > certain[2]
    assert certain[2] < 0.7


def test_evidence_is_the_integral_over_the_polynomials(stars):
    """One template, one factor: the Gaussian integral done by hand."""
    rng = np.random.default_rng(5)
    template, star = rng.normal(size=(1, 50)), rng.normal(size=(1, 50))
    weight = rng.uniform(0.5, 2, (1, 50))
    model = build_model("template", 3, n_wave=100, continuum=1, offset=0)
    found = model._evidence(*(torch.from_numpy(v) for v in (star, weight, template))).item()
    factor = np.linspace(-3, 3, 200_001)
    square = (weight * template**2).sum() * factor**2
    power = (weight * star * template).sum() * factor - square / 2
    expected = np.log(np.exp(power).sum() * (factor[1] - factor[0]))
    assert found == pytest.approx(expected, abs=1e-4)


def test_the_brightest_stars_become_templates(stars):
    x, label, _ = stars
    rng = np.random.default_rng(6)
    both = np.concatenate([x + rng.normal(0, 50, x.shape), x])
    model = build_model("template", 3, n_wave=L, templates=30)
    model.fit(both, np.tile(label, 2), seed=0, balanced=True)
    kept = model.get_buffer("spectra").numpy()
    clean = x.reshape(*x.shape[:2], -1, 2).mean(-1)
    assert len(kept) == 30
    assert all((np.abs(clean - one).max(axis=(1, 2)) < 1e-9).any() for one in kept)
