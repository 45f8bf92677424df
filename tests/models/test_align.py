"""Fibres pixels apart on one grid: no light is made up and no weight is lost."""

import pytest
import torch

from drcnet.models.align import Align

WAVE = 60


def grid(n=4, first=4000.0, step=1.3):
    return (first + step * torch.arange(WAVE)).expand(n, 2, -1).clone()


@pytest.fixture
def align():
    one = Align(WAVE)
    one.begin(grid())
    return one


def noisy(seed=1):
    generator = torch.Generator().manual_seed(seed)
    weight = 0.5 + torch.rand(4, 2, WAVE, generator=generator)
    return weight, torch.randn(4, 2, WAVE, generator=generator)


def test_what_is_on_the_grid_stays_as_it_is(align):
    weight, light = noisy()
    given, seen = align(grid(), weight, light)
    torch.testing.assert_close(given, weight)
    torch.testing.assert_close(seen, light)


@pytest.mark.parametrize("shift", [0.3, -0.7, 2.5])
def test_weights_are_shared_out_and_none_is_lost_inside(align, shift):
    weight, light = noisy()
    weight[..., :5] = weight[..., -5:] = 0  # nothing near the ends
    given, seen = align(grid() + shift * 1.3, weight, light)
    torch.testing.assert_close(given.sum(-1), weight.sum(-1))
    torch.testing.assert_close((given * seen).sum(-1), (weight * light).sum(-1))


@pytest.mark.parametrize("shift", [0.0, 0.4, -3.8])
def test_a_straight_line_comes_out_where_it_belongs(align, shift):
    wave = grid() + shift * 1.3
    given, seen = align(wave, torch.ones_like(wave), 2 + 0.01 * (wave - 4000))
    inside = slice(5, -5)
    wanted = 2 + 0.01 * (grid() - 4000)
    torch.testing.assert_close(seen[..., inside], wanted[..., inside], atol=1e-4, rtol=0)
    assert (given[..., inside] > 0.9).all()


def test_pixels_beyond_the_grid_are_left_out(align):
    weight, light = noisy()
    given, _ = align(grid() + 10 * WAVE, weight, light)
    assert (given == 0).all()
    given, _ = align(grid() - 10 * WAVE, weight, light)
    assert (given == 0).all()


def test_unknown_pixels_and_arms_stay_unknown(align):
    weight, light = noisy()
    weight[0, 0, 20:30] = 0
    light[0, 0, 20:30] = 1e6
    wave = grid() + 0.4 * 1.3
    wave[1, 1] = torch.nan
    given, seen = align(wave, weight, light)
    assert (given[0, 0, 21:29] == 0).all()
    assert (given[1, 1] == 0).all()
    assert torch.isfinite(seen).all()
    assert seen.abs().max() < 100


def test_the_grid_is_the_mean_of_those_it_begins_with():
    one = Align(WAVE)
    wave = grid()
    wave[0] += 2.0
    wave[1] -= 2.0
    wave[2, 0] = torch.nan
    one.begin(wave)
    torch.testing.assert_close(one.grid[1], grid()[0, 1].double())
    before = one.grid.clone()
    one.begin(torch.full_like(wave, torch.nan))  # nothing known: nothing learnt
    assert torch.equal(one.grid, before)


def test_gradients_pass(align):
    weight, light = noisy()
    light.requires_grad_()
    align(grid() + 0.5, weight, light)[1].sum().backward()
    assert (light.grad[..., 5:-5] > 0).all()
