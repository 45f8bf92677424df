"""What Figure 6 says of DRC-Net, held by arithmetic."""

import pytest
import torch

from drcnet.models import build_model
from drcnet.models.blocks import Backbone, Reduction, ResidualModule


def test_submodules_carry_the_papers_names():
    names = [name for name, _ in build_model("drcnet", 3).named_children()]
    assert names == ["reduction", "features", "fusion", "classifier"]


@pytest.mark.parametrize(("depth", "spatial"), [(1, 7), (3, 3), (5, 1)])
def test_reduction_goes_11_7_3_1(depth, spatial):
    layers = Reduction(11).layers[:depth]
    assert layers(torch.zeros(2, 1, 11, 40)).shape[2:] == (spatial, 40)


def test_reduction_never_mixes_wavelengths():
    x = torch.randn(1, 1, 11, 20)
    struck = x.clone()
    struck[..., 7] += 5
    reduction = Reduction(11)
    changed = (reduction(x) != reduction(struck)).flatten()
    assert changed.nonzero().flatten().tolist() == [7]


def test_linear_reduction_is_one_weighted_sum():
    reduction = Reduction(11, activation="linear").double()
    x = torch.randn(3, 1, 11, 20, dtype=torch.float64)
    base = reduction(torch.zeros(1, 1, 11, 1, dtype=torch.float64))
    eye = torch.eye(11, dtype=torch.float64)[None, None]  # column k lights pixel k
    aperture = (reduction(eye) - base).reshape(1, 1, 11, 1)
    torch.testing.assert_close(reduction(x), (x * aperture).sum(2, keepdim=True) + base)


def test_features_are_1_x_128_from_a_pooled_length_of_11():
    backbone = Backbone(1, 3000)
    x = torch.randn(2, 1, 1, 3000)
    assert backbone.stages(x).shape == (2, 128, 1, 11)
    assert backbone(x).shape == (2, 128)


def test_residual_module_with_a_silent_path_is_its_skip():
    module = ResidualModule(2, 3)
    with torch.no_grad():
        for p in module.path.parameters():
            p.zero_()
    x = torch.randn(2, 2, 1, 10)
    torch.testing.assert_close(module(x), torch.relu(module.skip(x)))


def test_arms_have_their_own_branches_unless_shared():
    x = torch.randn(2, 2, 11, 256)
    swapped = x.flip(1)
    for shared in (False, True):
        torch.manual_seed(0)
        model = build_model("drcnet", 3, n_wave=256, shared_branches=shared)
        vectors = [model.features[k](model.reduction[k](x[:, :1])) for k in (0, -1)]
        assert torch.equal(*vectors) == shared
        assert not torch.equal(model(x), model(swapped))  # fusion still tells the arms apart


def test_defaults_have_neither_dropout_nor_normalisation():
    for name in ("drcnet", "rcnet"):
        kinds = {type(m).__name__ for m in build_model(name, 3).modules()}
        assert not {k for k in kinds if "Norm" in k or "Dropout" in k}
