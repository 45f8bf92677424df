"""Extraction with a flat, held against the one that knows everything, where the flat is wrong."""

import pytest
import torch

from drcnet.models.changes import COEFFICIENTS
from drcnet.models.collapse import weigh
from drcnet.models.mended import MendedCollapse

SPATIAL, WAVE, READ, SIGMA = 11, 1200, 5.0, 2.2
NAMES = [one[:2] for one in COEFFICIENTS]


def profile(shift=0.0, sigma=SIGMA):
    """A trace that crosses pixels, as the window follows it: (S, L)."""
    center = (torch.arange(WAVE) / 190.0) % 1 - 0.5 + shift
    across = torch.arange(SPATIAL)[:, None] - SPATIAL // 2
    return torch.exp(-0.5 * ((across - center) / sigma) ** 2) / (sigma * 2.50663)


def light(level):
    """A star's continuum before a sky of lines."""
    wave = torch.arange(WAVE)
    night = 300 * (0.3 + 5 * torch.exp(-0.5 * ((wave % 150 - 75) / 2.0) ** 2))
    return level * (1 + 0.2 * torch.sin(wave / 90)) + night


def neighbors(level):
    """Light of two neighbours at the edges, the left one's twice the right one's."""
    wing = torch.exp(-torch.arange(SPATIAL) / 1.5)
    return 0.1 * light(level) * (wing + 0.5 * wing.flip(0))[:, None]


def observed(level, *, n=6, shift=0.0, sigma=SIGMA, brighter=1.0, haze=0.0, seed=0):
    """Stripes; what is believed of them; and what the extraction that knows it all finds."""
    true, spilt = profile(shift, sigma), neighbors(level)
    expected = (light(level) * true + brighter * spilt + haze).expand(n, 2, SPATIAL, WAVE)
    noise = torch.randn(expected.shape, generator=torch.Generator().manual_seed(seed))
    stripe = expected + noise * (expected + READ**2).sqrt()
    known = weigh(stripe - brighter * spilt - haze, true, 1 / (expected + READ**2))
    believed = [one.expand(n, 2, -1, -1) for one in (profile(), spilt)]
    return stripe, believed, known


def offset(found, truth, ivar):
    """How far the mean of 100 pixels is off on average, in standard deviations of one star's."""
    apart = (found - truth).unflatten(-1, (-1, 100)).mean(-1).mean((0, 1))
    return (apart * ivar[0, 0].unflatten(-1, (-1, 100)).sum(-1).sqrt()).abs().mean()


@torch.no_grad()
def extracted(stripe, believed, **options):
    return MendedCollapse(read_noise=READ, **options)(stripe, *believed)


@pytest.mark.parametrize("level", [10.0, 1000.0, 20000.0])
def test_where_the_flat_is_right_it_is_as_good_as_one_that_knows_everything(level):
    stripe, believed, known = observed(level)
    found = extracted(stripe, believed)
    ours, theirs = ((one.light - light(level)) for one in (found, known))
    assert ours.std() < 1.01 * theirs.std()
    assert torch.allclose(found.ivar.mean(), known.ivar.mean(), rtol=0.02)
    scatter = float((ours * found.ivar.sqrt()).std())
    assert 0.95 < scatter < 1.05


@pytest.mark.parametrize("level", [10.0, 1000.0, 20000.0])
def test_where_the_flat_is_right_it_changes_next_to_nothing(level):
    stripe, believed, _ = observed(level, n=3)
    plain = extracted(stripe, believed, learned=False)
    known = weigh(stripe - believed[1], believed[0], 1 / (plain.light[:, :, None] * believed[0]
                                                         + believed[1] + READ**2))  # fmt: skip
    mean = float(light(level).mean())
    assert (plain.light - known.light).mean((-1,)).abs().max() < 1e-3 * mean
    found = extracted(stripe, believed)
    assert (found.light - plain.light).mean((-1,)).abs().max() < 5e-3 * mean
    assert (found.light - plain.light).mean().abs() < 2e-3 * mean


@pytest.mark.parametrize("level", [10.0, 1000.0, 20000.0])
@pytest.mark.parametrize("shift", [0.3, -0.7, 1.5])
def test_a_trace_that_lies_elsewhere_is_found(level, shift):
    stripe, believed, known = observed(level, shift=shift)
    found = extracted(stripe, believed)
    assert (found.light - light(level)).std() < 1.02 * (known.light - light(level)).std()
    assert offset(found.light, light(level), known.ivar) < 0.8
    if abs(shift) > 0.5:
        plain = extracted(stripe, believed, learned=False)
        assert offset(plain.light, light(level), known.ivar) > 1.2
    with torch.no_grad():
        changed = MendedCollapse(read_noise=READ).mend(stripe, *believed).coefficients
    assert torch.allclose(
        changed[:, :, NAMES.index(("shift", 0))].mean(), torch.tensor(shift), atol=0.03
    )


@pytest.mark.parametrize("level", [300.0, 20000.0])
@pytest.mark.parametrize(
    ("wrong", "kind", "value"),
    [
        ({"sigma": (SIGMA**2 + 1.0) ** 0.5}, "width", 1.0),
        ({"brighter": 2.0}, "left", 1.0),
        ({"brighter": 6.0}, "right", 5.0),
    ],
)
def test_other_faults_of_the_flat_are_mended(level, wrong, kind, value):
    stripe, believed, known = observed(level, **wrong)
    found, plain = (extracted(stripe, believed, learned=is_on) for is_on in (True, False))
    worse, better = (offset(one.light, light(level), known.ivar) for one in (plain, found))
    assert better < 0.3 * worse
    with torch.no_grad():
        changed = MendedCollapse(read_noise=READ).mend(stripe, *believed).coefficients
    mean = changed[:, :, NAMES.index((kind, 0))].mean()
    assert torch.allclose(mean, torch.tensor(value), rtol=0.15)


def test_scattered_light_is_measured_from_many_stars():
    parts = [observed(level, n=8, seed=k, haze=2.0) for k, level in enumerate((50.0, 400.0))]
    stripe = torch.cat([one[0] for one in parts])
    believed = [torch.cat([one[1][k] for one in parts]) for k in range(2)]
    model = MendedCollapse(read_noise=READ)
    model.begin(stripe, *believed)
    usual = model.usual.detach()
    assert torch.allclose(usual[:, NAMES.index(("haze", 0))], torch.tensor(2.0), atol=0.1)
    assert usual[:, : NAMES.index(("haze", 0))].abs().max() < 0.1
    with torch.no_grad():
        found = model(stripe[:8], *(one[:8] for one in believed))
    assert (found.light - light(50.0)).mean().abs() < 0.01 * light(50.0).mean()


def test_cosmic_rays_are_doubted_and_mislead_no_fit():
    stripe, believed, _ = observed(100.0, n=4)
    struck = stripe.clone()
    place = torch.arange(40) * 29
    struck[:, :, torch.arange(40) % SPATIAL, place] += 3000.0
    clean, found = extracted(stripe, believed), extracted(struck, believed)
    error = clean.ivar.clamp(min=1e-9).rsqrt()
    apart = (found.light - clean.light).abs() / error
    hit = torch.zeros(WAVE, dtype=torch.bool)
    hit[place] = True
    assert apart[..., hit].max() < 4
    assert apart[..., ~hit].max() < 0.3
    assert found.ivar[..., hit].mean() < 0.95 * clean.ivar[..., hit].mean()


def test_bad_pixels_have_no_weight_and_an_arm_may_be_missing():
    stripe, believed, _ = observed(1000.0, n=3, shift=0.5)
    stripe[:, 0, 4, 100:120] = torch.nan
    stripe[:, 0, :, 300:310] = torch.nan
    profile, spilt = (one.clone() for one in believed)
    for one in (stripe, profile, spilt):
        one[:, 1] = torch.nan
    found = extracted(stripe, (profile, spilt))
    assert torch.isfinite(found.light).all()
    assert torch.isfinite(found.ivar).all()
    assert (found.ivar[:, 1] == 0).all()
    assert (found.ivar[:, 0, 300:310] == 0).all()
    holes = found.light[:, 0, 100:120] - light(1000.0)[100:120]
    assert (holes.abs() * found.ivar[:, 0, 100:120].sqrt()).max() < 5


def test_gradients_know_that_light_is_counted_whole_wherever_the_trace_lies():
    stripe, believed, _ = observed(300.0, n=1, shift=0.4)
    model = MendedCollapse(read_noise=READ).double()
    x, flat = stripe.double(), [one.double() for one in believed]
    x.requires_grad_()
    (slope,) = torch.autograd.grad(model(x, *flat).light.sum(), x)
    more = (slope * profile(0.4).double()).sum() / (2 * WAVE)  # of one electron a column
    assert abs(more - 1) < 0.02
    aside = (slope * (profile(0.45) - profile(0.35)).double() * light(300.0)).sum() / (2 * WAVE)
    assert abs(aside) < 0.1  # of a trace that moves on by a tenth


def test_what_is_usual_is_learnt():
    stripe, believed, _ = observed(100.0, n=2)
    model = MendedCollapse(read_noise=READ)
    model(stripe, *believed).light.std().backward()
    for name, value in model.named_parameters():
        assert value.grad is not None, name
        assert value.grad.any(), name


@pytest.mark.parametrize("options", [{"block": 3}, {"turns": 1}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match="'block' must be >= 4, 'turns' >= 2"):
        MendedCollapse(**options)
