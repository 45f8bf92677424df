"""Optimal extraction from the stripe alone, held against the one that knows everything."""

import pytest
import torch

from drcnet.models.collapse import Collapse

SPATIAL, WAVE, READ = 11, 600, 5.0


def profile(center=0.3, sigma=1.8):
    across = torch.arange(SPATIAL) - SPATIAL // 2
    shape = torch.exp(-0.5 * ((across - center) / sigma) ** 2)
    return shape / shape.sum()


def stripes(n, level, *, seed=0, haze=0.0):
    """Stripes of a smooth spectrum with a line; the light that was there."""
    generator = torch.Generator().manual_seed(seed)
    wave = torch.arange(WAVE)
    light = level * (1 + 0.2 * torch.sin(wave / 90) - 0.6 * torch.exp(-(((wave - 250) / 4) ** 2)))
    expected = (light * profile()[:, None] + haze).expand(n, 2, SPATIAL, WAVE)
    noise = torch.randn(expected.shape, generator=generator)
    return expected + noise * (expected + READ**2).sqrt(), light


def horne(stripe, light):
    """The extraction that knows profile and light (Horne 1986, equation 8)."""
    p = profile()[:, None]
    weight = p / (light * p + READ**2)
    ivar = (weight * p).sum(0)
    return (weight * stripe).sum(2) / ivar, ivar


@pytest.mark.parametrize("level", [100.0, 1000.0, 20000.0])
def test_it_is_as_good_as_one_that_knows_profile_and_light(level):
    torch.manual_seed(1)
    stripe, light = stripes(30, level)
    found = Collapse(read_noise=READ)(stripe)
    known, ivar = horne(stripe, light)
    ours, theirs = ((one - light).detach() for one in (found.light, known))
    assert ours.std() < 1.03 * theirs.std()
    assert abs(ours.mean()) < 0.01 * level
    assert torch.allclose(found.ivar.mean(), ivar.mean(), rtol=0.05)
    scatter = (ours * found.ivar.sqrt()).detach().std()
    assert 0.93 < scatter < 1.07  # the inverse variance is what it says


def test_a_cosmic_ray_is_doubted():
    stripe, light = stripes(4, 300.0)
    struck = stripe.clone()
    struck[:, :, 3, 400] += 5000.0
    model = Collapse(read_noise=READ)
    clean, found = model(stripe), model(struck)
    assert torch.allclose(found.light[..., 400], clean.light[..., 400], atol=0.3 * light[400])
    assert (found.ivar[..., 400] < clean.ivar[..., 400]).all()


def test_a_pixel_that_is_not_finite_has_no_weight_and_an_arm_may_be_missing():
    stripe, light = stripes(4, 1000.0)
    stripe[:, 0, 4, 100:120] = torch.nan
    stripe[:, 1] = torch.nan
    found = Collapse(read_noise=READ)(stripe)
    holes = found.light[:, 0, 100:120] - light[100:120]
    assert (holes.abs() * found.ivar[:, 0, 100:120].sqrt()).max() < 6
    assert (found.ivar[:, 1] == 0).all()
    assert (found.light[:, 1] == 0).all()


def test_scattered_light_is_measured_where_the_fibre_has_none():
    parts = [stripes(20, level, seed=k, haze=2.0)[0] for k, level in enumerate((50.0, 400.0))]
    model = Collapse(read_noise=READ)
    model.begin(torch.cat(parts))
    assert torch.allclose(model.haze.detach(), torch.full((2,), 2.0), atol=0.3)


def test_what_it_has_learnt_begins_at_next_to_nothing():
    stripe, _ = stripes(3, 1000.0)
    torch.manual_seed(3)
    learning, plain = Collapse(), Collapse(learned=False)
    apart = (learning(stripe).light - plain(stripe).light).abs().max()
    assert 0 < apart < 1.0


def test_a_block_must_have_pixels():
    with pytest.raises(ValueError, match="'block' must be an int >= 1, got 0"):
        Collapse(block=0)
