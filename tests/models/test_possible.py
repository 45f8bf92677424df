"""Averages over what noise leaves open, against closed forms and many random draws."""

import pytest
import torch

from drcnet.models.classical import fit_logit
from drcnet.models.possible import (
    average_logits,
    draw_components,
    fit_expected_logit,
    normal_points,
)


def covariance(count, size, seed):
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(count, size, size, generator=generator)
    return root @ root.mT / size + 0.1 * torch.eye(size)


@pytest.mark.parametrize(("count", "size"), [(12, 6), (64, 20), (128, 40)])
def test_points_have_the_mean_and_covariance_of_a_normal_distribution(count, size):
    points = normal_points(count, size)
    assert points.shape == (count, size)
    torch.testing.assert_close(points.mean(0), torch.zeros(size), atol=1e-6, rtol=0)
    torch.testing.assert_close(points.T @ points / count, torch.eye(size), atol=1e-5, rtol=0)
    assert torch.equal(points, normal_points(count, size))


def test_a_single_point_is_the_middle():
    assert torch.equal(normal_points(0, 5), torch.zeros(1, 5))
    mean = torch.randn(3, 5)
    assert torch.equal(
        draw_components(mean, torch.eye(5).expand(3, 5, 5), torch.zeros(1, 5)).squeeze(1), mean
    )
    logits = torch.randn(3, 1, 4)
    assert torch.equal(average_logits(logits), logits[:, 0])


@pytest.mark.parametrize("count", [-2, 2, 10, 13])
def test_too_few_points_are_refused(count):
    with pytest.raises(ValueError, match=f"even and at least 12, got {count}"):
        normal_points(count, 6)


def test_draws_have_the_posterior_s_mean_and_covariance():
    wanted, mean = covariance(4, 6, 1), torch.arange(24.0).reshape(4, 6)
    draws = draw_components(mean, torch.linalg.inv(wanted), normal_points(64, 6))
    torch.testing.assert_close(draws.mean(1), mean, atol=1e-5, rtol=1e-5)
    apart = draws - mean[:, None]
    torch.testing.assert_close(apart.mT @ apart / 64, wanted, atol=2e-3, rtol=2e-3)


def test_a_precision_that_rounding_has_spoilt_still_gives_draws():
    spoilt = torch.diag(torch.tensor([1e6, 1.0, -1.0]))[None]
    draws = draw_components(torch.zeros(1, 3), spoilt, normal_points(6, 3))
    assert torch.isfinite(draws).all()
    assert draws[..., 0].abs().max() < 0.01


def test_averages_are_those_of_many_random_draws():
    torch.manual_seed(0)
    wanted, mean, weight = covariance(50, 20, 2), torch.randn(50, 20), 0.5 * torch.randn(3, 20)
    few = draw_components(mean, torch.linalg.inv(wanted), normal_points(64, 20))
    many = mean[:, None] + torch.randn(50, 20000, 20) @ torch.linalg.cholesky(wanted).mT
    p, truth = (average_logits(draws @ weight.T).exp() for draws in (few, many))
    torch.testing.assert_close(p.sum(1), torch.ones(50))
    assert (p - truth).abs().max() < 0.03
    plain = (mean @ weight.T).softmax(1)
    assert (plain - truth).abs().max() > 0.2


def test_a_logit_of_blurred_stars_is_that_of_sharp_ones():
    """Blur that is known is taken out; a logit of the means alone is too flat or too sure."""
    torch.manual_seed(3)
    size, count = 4, 6000
    weight = torch.tensor([[2.0, 0, 0, 0], [0, 0, 0, 0], [-2.0, 0, 1, 0]])
    z = torch.randn(count, size)
    label = torch.distributions.Categorical(logits=z @ weight.T).sample()
    ivar = torch.rand(count, size) * 3 + 0.2  # of a measurement; the prior has 1
    seen = z + torch.randn(count, size) / ivar.sqrt()
    draws = draw_components(
        seen * ivar / (1 + ivar), torch.diag_embed(1 + ivar), normal_points(32, size)
    )
    means = fit_logit(draws.mean(1).numpy(), label.numpy(), seed=0, balanced=False, inverse=100.0)
    start = torch.from_numpy(means["weight"]), torch.from_numpy(means["bias"])
    found, _ = fit_expected_logit(draws, label, *start, inverse=100.0)
    step = weight[0] - weight[2]
    torch.testing.assert_close(found[0] - found[2], step, atol=0.3, rtol=0)
    flat = start[0][0] - start[0][2]
    assert (flat - step).norm() > 2 * (found[0] - found[2] - step).norm()
