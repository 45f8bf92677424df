"""A sky that may be wrong: against the textbook formula with the columns written out."""

import torch

from drcnet.models.doubt import SkyDoubt, sky_columns
from drcnet.models.ppca import posterior_components

WAVE, C = 50, 3


def scene():
    generator = torch.Generator().manual_seed(3)
    raw = torch.randn(2, WAVE, C, generator=generator, dtype=torch.float64)
    raw -= raw.mean(1, keepdim=True)
    basis = torch.linalg.qr(raw.reshape(2 * WAVE, C)).Q
    sky = 200 + 800 * torch.rand(4, 2, WAVE, generator=generator, dtype=torch.float64)
    return (
        torch.ones(2, WAVE, dtype=torch.float64),
        basis,
        torch.tensor([4.0, 1.0, 0.25], dtype=torch.float64) * 1e-2,
        sky,
    )


def test_columns_are_the_sky_and_its_differences():
    sky = (torch.arange(6.0) ** 2).expand(1, 2, -1)
    plain, first, second = sky_columns(sky)[0, 0]
    assert torch.equal(plain, sky[0, 0])
    assert first.tolist() == [0, 2, 4, 6, 8, 0]
    assert second.tolist() == [0, 2, 2, 2, 2, 0]


def test_it_is_the_posterior_with_the_columns_as_components():
    mean, basis, variance, sky = scene()
    generator = torch.Generator().manual_seed(5)
    c = torch.randn(4, C, generator=generator, dtype=torch.float64) * variance.sqrt()
    light = 100 * (mean + (c @ basis.T).reshape(-1, 2, WAVE)) + 0.03 * sky
    ivar = 0.01 + torch.rand(4, 2, WAVE, generator=generator, dtype=torch.float64)
    columns, prior = sky_columns(sky), torch.full((2, 3), 0.05**2, dtype=torch.float64)
    found = posterior_components(light, ivar, mean, basis, variance, SkyDoubt(columns, prior))
    torch.testing.assert_close(found.mean, c, atol=0.02, rtol=0)
    # by hand, for one star at the level that it found
    level = torch.full((2, 1), 100.0, dtype=torch.float64)
    weight = ivar[0] * level**2
    weight = (weight / (1 + 1e-4 * weight)).flatten()
    wide = torch.zeros(2 * WAVE, C + 8, dtype=torch.float64)
    wide[:, :C] = basis
    star = mean + (c[0] @ basis.T).view(2, WAVE)
    for arm in range(2):
        rows = slice(arm * WAVE, (arm + 1) * WAVE)
        wide[rows, C + 3 * arm : C + 3 * arm + 3] = columns[0, arm].T / 100
        wide[rows, C + 6 + arm] = star[arm]  # its level is free
    precision = wide.T @ (weight[:, None] * wide)
    precision += torch.diag(1 / torch.cat([variance, prior.flatten(), torch.full((2,), 1e3)]))
    rest = (light[0] / level - mean).flatten()
    wanted = torch.linalg.solve(precision, wide.T @ (weight * rest))[:C]
    torch.testing.assert_close(found.mean[0], wanted, atol=3e-3, rtol=0)
    covariance = torch.linalg.inv(found.precision[0])
    wanted = torch.linalg.inv(precision)[:C, :C]
    torch.testing.assert_close(covariance, wanted, atol=1e-6, rtol=0.02)


def test_a_sky_that_is_hardly_doubted_is_believed():
    mean, basis, variance, sky = scene()
    light = 100 + 0.03 * sky
    ivar = torch.ones_like(light)
    doubt = SkyDoubt(sky_columns(sky), torch.full((2, 3), 1e-16, dtype=torch.float64))
    plain = posterior_components(light, ivar, mean, basis, variance)
    found = posterior_components(light, ivar, mean, basis, variance, doubt)
    torch.testing.assert_close(found.mean, plain.mean, atol=1e-3, rtol=0)


def test_an_unknown_sky_takes_no_part():
    mean, basis, variance, _ = scene()
    light, nothing = torch.full((2, 2, WAVE), 100.0).double(), torch.zeros(2, 2, WAVE).double()
    doubt = SkyDoubt(sky_columns(nothing), torch.full((2, 3), 1e-4, dtype=torch.float64))
    found = posterior_components(light, torch.ones_like(light), mean, basis, variance, doubt)
    assert torch.isfinite(found.mean).all()
    found = posterior_components(light, nothing, mean, basis, variance, doubt)
    assert torch.equal(found.mean, torch.zeros(2, C).double())
    assert torch.equal(found.precision, torch.diag(1 / variance).expand(2, -1, -1))
