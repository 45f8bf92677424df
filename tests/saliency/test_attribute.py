"""Attributions of models whose answer is known."""

import pytest
import torch
from torch import nn

from drcnet.config import SaliencySettings
from drcnet.saliency.attribute import (
    attribute,
    hide_windows,
    integrated_gradients,
    randomised,
    reference,
)

LABEL = torch.tensor([0, 2])


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(2 * 3 * 20, 3)

    def forward(self, x):
        return self.layer(x.reshape(len(x), -1))


@pytest.fixture
def stars():
    return torch.randn(2, 2, 3, 20, generator=torch.Generator().manual_seed(1))


def test_a_linear_model_is_its_weights_times_the_departure(stars):
    model = Linear()
    blank = torch.zeros_like(stars)
    found = integrated_gradients(model, stars, blank, LABEL, steps=2)
    weight = model.layer.weight
    own = (weight[LABEL] - weight.mean(dim=0)).reshape(stars.shape)
    assert torch.allclose(found, own * stars, atol=1e-5)


def test_attributions_add_up_to_the_change_of_the_answer(stars):
    torch.manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(120, 16), nn.Softplus(), nn.Linear(16, 3))
    blank = reference(stars, SaliencySettings(smooth=3.0))
    found = integrated_gradients(model, stars, blank, LABEL, steps=64).sum(dim=(1, 2, 3))
    change = model(stars) - model(blank)
    own = change[torch.arange(2), LABEL] - change.mean(dim=1)
    assert torch.allclose(found, own, atol=1e-3)


def test_hiding_windows_of_a_linear_model_gives_the_same_sums(stars):
    model = Linear()
    blank = torch.zeros_like(stars)
    exact = integrated_gradients(model, stars, blank, LABEL, steps=2).sum(dim=2)
    hidden = hide_windows(model, stars, blank, LABEL, width=5)
    assert torch.allclose(
        hidden.reshape(2, 2, 4, 5).sum(-1), exact.reshape(2, 2, 4, 5).sum(-1), atol=1e-5
    )


def test_the_smooth_reference_keeps_a_slope_and_drops_a_line():
    x = torch.arange(400.0).repeat(1, 2, 1) / 100
    lined = x.clone()
    lined[..., 200] -= 3
    smooth = reference(lined, SaliencySettings(smooth=20.0))
    inner = slice(80, 320)
    assert torch.allclose(smooth[..., inner], x[..., inner], atol=0.1)
    assert reference(x, SaliencySettings(against="zero")).abs().max() == 0


def test_randomised_weights_are_the_same_numbers_elsewhere():
    model = Linear()
    before = model.layer.weight.clone()
    other = randomised(model, 4)
    assert torch.equal(model.layer.weight, before)
    assert not torch.equal(other.layer.weight, before)
    assert torch.equal(other.layer.weight.flatten().sort()[0], before.flatten().sort()[0])
    assert torch.equal(randomised(model, 4).layer.weight, other.layer.weight)


class Weighed(nn.Module):
    """A linear model of the light, each pixel counted by its inverse variance."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(2 * 60, 3)

    def forward(self, x):
        return self.layer((x[:, :, 0] * x[:, :, 1]).flatten(1))


def test_beside_the_sky_only_the_star_s_part_is_compared():
    generator = torch.Generator().manual_seed(2)
    profile = torch.tensor([0.2, 0.5, 0.3])[:, None]
    sky = 100 + 400 * torch.exp(-(((torch.arange(200) - 90) / 2.0) ** 2))
    star = 300 * (1 - 0.5 * torch.exp(-(((torch.arange(200) - 40) / 3.0) ** 2)))
    stripe = ((star + sky) * profile).expand(2, 2, 3, 200).clone()
    stripe[0, 0, 1, 120:124] = torch.nan
    x = torch.cat([stripe, sky.expand(2, 2, 1, 200)], dim=2)
    blank = reference(x, SaliencySettings(smooth=20), view="stripes-sky")
    assert torch.equal(blank[:, :, -1], x[:, :, -1])
    change = (stripe - blank[:, :, :-1])[1, 1].sum(0)
    assert change[40] < -80  # the star's line is compared with none
    assert abs(change[90]) < 12  # the sky's line is in both
    weight = torch.rand(3, 2, 4, 200, generator=generator)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2 * 4 * 200, 3))
    with torch.no_grad():
        model[1].weight.copy_(weight.flatten(1))
    found = attribute(model, x, torch.tensor([0, 1]), SaliencySettings(), view="stripes-sky")
    assert found.shape == (2, 2, 3, 200)
    assert torch.isfinite(found).all()
    assert (found[0, 0, 1, 120:124] == 0).all()  # unknown is no evidence


def test_neighbours_that_are_known_are_in_both():
    profile = torch.tensor([0.2, 0.5, 0.3])[:, None].expand(3, 200)
    spilt = torch.zeros(3, 200)
    spilt[0, 70:80] = 50.0
    star, sky = torch.full((200,), 300.0), torch.full((200,), 100.0)
    star[40] = 150.0
    rows = [(star + sky) * profile + spilt, sky[None], profile, spilt]
    x = torch.cat(rows).expand(1, 2, 10, 200)
    blank = reference(x, SaliencySettings(smooth=20), view="stripes-flat")
    assert torch.equal(blank[:, :, 3:], x[:, :, 3:])
    change = (x - blank)[0, 0, :3]
    assert change[:, 40].sum() < -100
    assert change[:, 60:].abs().max() < 1
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2 * 10 * 200, 3))
    found = attribute(model, x, torch.tensor([1]), SaliencySettings(), view="stripes-flat")
    assert found.shape == (1, 2, 3, 200)


@pytest.fixture
def weighed():
    x = torch.rand(2, 2, 2, 60, generator=torch.Generator().manual_seed(2)) + 0.5
    x[:, :, :, 20:25] = 0  # nothing known
    return x


def test_a_reference_keeps_the_weights_and_smooths_over_what_is_unknown(weighed):
    weighed[:, :, 0] = torch.where(weighed[:, :, 1] > 0, 7.0, 0.0)
    for against in ("smooth", "zero"):
        settings = SaliencySettings(smooth=8.0, against=against)
        blank = reference(weighed, settings, view="optimal-ivar")
        assert torch.equal(blank[:, :, 1], weighed[:, :, 1])
        known = weighed[:, :, 1] > 0
        level = 7.0 if against == "smooth" else 0.0
        assert torch.allclose(blank[:, :, 0][known], torch.tensor(level), atol=1e-4)
        assert (blank[:, :, 0][~known] == 0).all()
        told = torch.cat([weighed, weighed + 3], dim=2)
        blank_told = reference(told, settings, view="optimal-full")
        assert torch.equal(blank_told, torch.cat([blank, weighed + 3], dim=2))


@pytest.mark.parametrize("method", ["gradients", "occlusion"])
def test_only_the_light_of_a_weighed_spectrum_is_evidence(weighed, method):
    model = Weighed()
    settings = SaliencySettings(smooth=8.0, method=method, window=1)
    found = attribute(model, weighed, LABEL, settings, view="optimal-ivar")
    assert found.shape == (2, 2, 60)
    blank = reference(weighed, settings, view="optimal-ivar")
    own = (model.layer.weight[LABEL] - model.layer.weight.mean(dim=0)).reshape(2, 2, 60)
    exact = own * weighed[:, :, 1] * (weighed - blank)[:, :, 0]
    assert torch.allclose(found, exact, atol=1e-4)
    assert (found[..., 20:25] == 0).all()
