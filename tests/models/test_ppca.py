"""Components given the noise: against the textbook formula, and where nothing is known."""

import numpy as np
import pytest
import torch

from drcnet.models import build_model
from drcnet.models.ppca import posterior_components

WAVE, COMPONENTS = 40, 3


@pytest.fixture
def scene():
    """Stars of three components, of level 1 in each arm; no components in the level's way."""
    rng = np.random.default_rng(3)
    mean = np.ones((2, WAVE))
    raw = rng.normal(size=(2, WAVE, COMPONENTS))
    raw -= raw.mean(axis=1, keepdims=True)  # orthogonal to the level of either arm
    basis = np.linalg.qr(raw.reshape(2 * WAVE, COMPONENTS))[0]
    variance = np.array([4.0, 1.0, 0.25])
    return tuple(torch.from_numpy(a) for a in (mean, basis, variance))


def stars(scene, c, level):
    mean, basis, _ = scene
    shape = mean + (c @ basis.T).reshape(-1, 2, WAVE)
    return level * shape


def test_without_noise_the_components_come_back(scene):
    c = torch.tensor([[0.02, -0.01, 0.005], [0.0, 0.03, -0.02]], dtype=torch.float64)
    light = stars(scene, c, 500.0)
    found = posterior_components(light, torch.full_like(light, 1e6), *scene).mean
    # a pixel is never trusted below the model's error of 1%, so the prior keeps a little
    assert torch.allclose(found, c, atol=1e-4)


def test_posterior_mean_is_the_textbook_one(scene):
    mean, basis, variance = scene
    rng = np.random.default_rng(4)
    c = torch.zeros(1, COMPONENTS, dtype=torch.float64)
    weight = torch.from_numpy(rng.uniform(0.5, 2.0, (1, 2, WAVE)))
    light = stars(scene, c, 10.0)
    light = light + torch.from_numpy(rng.normal(size=light.shape)) / weight.sqrt()
    found = posterior_components(light, weight, *scene).mean[0]
    # by hand: the level of each arm that fits best, then Bayes with Gaussians
    shape = mean + (found @ basis.T).reshape(2, WAVE)
    level = (weight[0] * light[0] * shape).sum(1) / (weight[0] * shape**2).sum(1)
    ivar = (weight[0] * level[:, None] ** 2).flatten()
    ivar = ivar / (1 + 1e-4 * ivar)
    rest = (light[0] / level[:, None] - mean).flatten()
    precision = basis.T @ torch.diag(ivar) @ basis + torch.diag(1 / variance)
    wanted = torch.linalg.inv(precision) @ basis.T @ (ivar * rest)
    assert torch.allclose(found, wanted, rtol=0.02, atol=2e-3)


def test_the_noisier_the_nearer_to_the_average_star(scene):
    c = torch.tensor([[0.1, 0.1, 0.1]], dtype=torch.float64)
    light = stars(scene, c, 100.0)
    size = [
        float(posterior_components(light, torch.full_like(light, ivar), *scene).mean.norm())
        for ivar in (1e2, 1e-3, 1e-5, 1e-7)
    ]
    assert size == sorted(size, reverse=True)
    assert size[-1] < 0.01 * size[0]


def test_pixels_without_weight_take_no_part(scene):
    c = torch.tensor([[0.05, -0.02, 0.03]], dtype=torch.float64)
    light = stars(scene, c, 100.0)
    weight = torch.ones_like(light)
    weight[:, :, ::3] = 0
    spoilt = torch.where(weight > 0, light, torch.full_like(light, 1e5))
    first = posterior_components(light, weight, *scene).mean
    assert torch.equal(posterior_components(spoilt, weight, *scene).mean, first)


def test_a_missing_arm_is_no_special_case():
    rng = np.random.default_rng(5)
    label = np.arange(90) % 3
    wave = np.arange(WAVE)
    line = 4 * np.exp(-0.5 * ((wave - 8 - 12 * label[:, None]) / 2) ** 2)
    light = 10 - np.repeat(line[:, None], 2, axis=1)
    x = np.stack([light + rng.normal(0, 0.3, light.shape), np.full(light.shape, 11.0)], axis=2)
    model = build_model("ppca", 3, n_wave=WAVE, components=4)
    model.fit(x[:60], label[:60], seed=1, balanced=False)
    lost = torch.from_numpy(x[60:].copy())
    lost[:, 0] = torch.nan
    assert (model(lost).argmax(1).numpy() == label[60:]).all()
    lost[:, 1] = torch.nan
    nothing = model(lost)
    assert torch.isfinite(nothing).all()
    assert torch.equal(nothing, nothing[:1].expand_as(nothing))


def test_a_bent_continuum_tells_nothing():
    """With `continuum`, dust moves the logits by what it does to lines, not by its slope."""
    rng = np.random.default_rng(6)
    label = np.arange(120) % 3
    along = np.linspace(-1, 1, WAVE)
    line = 1.0 * np.exp(-0.5 * ((np.arange(WAVE) - 8 - 12 * label[:, None]) / 2) ** 2)
    light = 10 - np.repeat(line[:, None], 2, axis=1)
    slope = 0.2 * (label[:, None, None] - 1) + rng.normal(0, 0.05, (120, 2, 1))
    light = light * (1 + slope * along)  # the bluer class by class, as F, G and K are
    light = light + rng.normal(0, 0.05, light.shape)
    x = np.stack([light, np.full(light.shape, 400.0)], axis=2)
    models = {}
    for degree in (0, 2):
        models[degree] = build_model(
            "ppca", 3, n_wave=WAVE, components=4, continuum=degree, penalty_inverse=10.0
        )
        models[degree].fit(x[:90], label[:90], seed=1, balanced=False)
    bent = x[90:].copy()
    bent[:, :, 0] *= 1 + 0.3 * along
    bent[:, :, 1] /= (1 + 0.3 * along) ** 2
    straight, bent = torch.from_numpy(x[90:]), torch.from_numpy(bent)
    moved = {k: float((m(bent) - m(straight)).abs().max().detach()) for k, m in models.items()}
    assert moved[2] < 0.35 * moved[0]
    assert (models[2](bent).argmax(1).numpy() == label[90:]).all()
    with pytest.raises(ValueError, match="'continuum' must be"):
        build_model("ppca", 3, continuum=-1)
