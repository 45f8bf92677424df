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
