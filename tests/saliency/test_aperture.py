"""A learned aperture is the reduction's own weights where it is linear."""

import numpy as np
import polars as pl
import pytest
import torch

from drcnet.models import build_model
from drcnet.saliency.aperture import learnt_aperture, linear_weights


def test_one_layer_is_its_kernel():
    torch.manual_seed(2)
    model = build_model("ladder-weights", 3, n_spatial=11, n_wave=256).eval()
    x = torch.randn(4, 2, 11, 256)
    light = torch.exp(-0.5 * ((torch.arange(11.0) - 5) / 2) ** 2)
    table = learnt_aperture(model, x, light[:, None].expand(4, 2, 11, 256))
    assert table["pixel"].to_list() == [*range(-5, 6)] * 2
    for arm, module in zip(("blue", "red"), model.reduction, strict=True):
        kernel = module.layers[0].weight.detach().numpy().reshape(11)
        mine = table.filter(pl.col("arm") == arm)
        assert mine["weight"].to_numpy() == pytest.approx(kernel / np.abs(kernel).sum(), abs=1e-5)
        assert (mine["high"] - mine["low"]).abs().max() < 1e-5
        assert mine["profile"].sum() == pytest.approx(1)
        assert mine["profile"].arg_max() == 5


def test_models_without_a_reduction_have_no_aperture():
    model = build_model("rcnet", 3, n_wave=256).eval()
    assert learnt_aperture(model, torch.zeros(2, 2, 256), torch.zeros(2, 2, 256)).is_empty()
    assert linear_weights(model, np.zeros((2, 256))).is_empty()


def test_weights_of_components_that_know_the_noise_are_their_slopes_without_noise():
    rng = np.random.default_rng(5)
    label = np.arange(90) % 3
    line = 4 * np.exp(-0.5 * ((np.arange(60) - 8 - 12 * label[:, None]) / 2) ** 2)
    light = 10 - np.repeat(line[:, None], 2, axis=1)
    x = np.stack([light + rng.normal(0, 0.3, light.shape), np.full(light.shape, 11.0)], axis=2)
    model = build_model("ppca", 3, n_wave=60, components=3)
    model.fit(x, label, seed=1, balanced=False)
    table = linear_weights(model, np.arange(120.0).reshape(2, 60))
    assert table.columns == ["arm", "wavelength", "weight_0", "weight_1", "weight_2"]
    weight = table.select("weight_0", "weight_1", "weight_2").to_numpy()  # (2L, K)
    basis = model.get_buffer("basis")
    mean = model.get_buffer("mean")
    # two bright stars that differ by a little of the first component
    light = torch.stack([mean, mean + 1e-2 * basis[:, 0].reshape(2, 60)])
    x = torch.stack([light, torch.full_like(light, 1e9)], dim=2)
    step = (model(x)[1] - model(x)[0]).numpy()
    expected = 1e-2 * basis[:, 0].numpy() @ weight
    assert step - step.mean() == pytest.approx(expected, rel=0.15, abs=0.05 * np.abs(step).max())
