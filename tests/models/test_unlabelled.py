"""Components from faint stars: the truth is known, and they come nearer to it."""

import numpy as np
import pytest
import torch

from drcnet.models.hornenet import HorneNet
from drcnet.models.ppca import bright_stars, learn_components
from drcnet.models.unlabelled import Components, refine_components

LENGTH = 60


def made(rng, stars, snr):
    """Spectra of two components through noise; those of every third star are bright."""
    along = np.linspace(-1, 1, 2 * LENGTH)
    mean = 1 + 0.2 * along
    arms = mean[:, None] * np.eye(2).repeat(LENGTH, axis=0)  # free levels: no component's share
    shapes = np.stack([np.sin(9 * along), np.cos(23 * along)], axis=1)
    basis = np.linalg.qr(np.concatenate([arms, shapes], axis=1))[0][:, 2:]
    c = rng.normal(size=(stars, 2)) * (1.2, 0.6)
    light = mean + c @ basis.T
    noise = np.where(np.arange(stars) % 10 == 0, 0.02, 1 / snr)[:, None]
    level = rng.uniform(50, 500, (stars, 2)).repeat(LENGTH, axis=1)
    seen = level * (light + noise * rng.normal(size=light.shape))
    ivar = 1 / (level * noise) ** 2
    ivar[rng.random(ivar.shape) < 0.05] = 0
    shape = (stars, 2, LENGTH)
    return torch.from_numpy(seen.reshape(shape)), torch.from_numpy(ivar.reshape(shape)), basis


def begun(light, ivar, components=2):
    found = learn_components(
        *bright_stars(light, ivar, 20.0), components=components, degree=0, seed=1
    )
    return Components(*map(torch.from_numpy, found))


def apart(found, basis):
    """Sine of the largest angle between two planes."""
    inside = torch.linalg.svdvals(found.basis.T @ torch.from_numpy(basis))
    return float(1 - inside.min() ** 2) ** 0.5


def test_many_faint_stars_bring_the_components_nearer_to_the_truth(rng):
    light, ivar, basis = made(rng, 900, 3.0)
    few = begun(light[::10][:12], ivar[::10][:12])
    found = refine_components(light, ivar, few, 6)
    assert apart(found, basis) < 0.6 * apart(few, basis)
    eye = torch.eye(2, dtype=torch.float64)
    torch.testing.assert_close(found.basis.T @ found.basis, eye)
    assert found.variance[0] > found.variance[1] > 0
    # in units of the level: an arm's level is fitted, so a component keeps its shape in either
    np.testing.assert_allclose(found.variance.sqrt().numpy(), (1.2, 0.6), rtol=0.3)


def test_no_turn_changes_nothing_and_signs_stay(rng):
    light, ivar, _ = made(rng, 300, 10.0)
    start = begun(light, ivar)
    same = refine_components(light, ivar, start, 0)
    assert same is start
    once = refine_components(light, ivar, start, 1)
    assert ((once.basis * start.basis).sum(dim=0) > 0.9).all()


def test_a_pixel_that_nobody_knows_keeps_what_it_was(rng):
    light, ivar, _ = made(rng, 200, 10.0)
    start = begun(light, ivar)
    ivar[:, 1, 7] = 0
    found = refine_components(light, ivar, start, 1)
    torch.testing.assert_close(found.mean[1, 7], start.mean[1, 7], atol=1e-9, rtol=0)
    assert torch.isfinite(found.basis).all()


def test_stars_of_no_light_at_all_are_no_harm(rng):
    light, ivar, basis = made(rng, 300, 5.0)
    light[::7], ivar[::7] = 0, 0
    found = refine_components(light, ivar, begun(light, ivar), 3)
    assert apart(found, basis) < 0.3


def test_hornenet_takes_them_where_it_is_told_to(rng):
    light, ivar, _ = made(rng, 240, 4.0)
    x = torch.stack([light, ivar], dim=2).float()
    label = torch.arange(120) % 3
    nets = {}
    for turns, more in ((0, ()), (2, ()), (2, (x[120:180], x[180:]))):
        torch.manual_seed(1)
        net = HorneNet(n_spatial=2, n_wave=LENGTH, components=2, unlabelled_turns=turns)
        none = torch.empty(60, 0)
        net.begin([(x[:60], label[:60], none), (x[60:120], label[60:], none)], 1, more)
        assert torch.isfinite(net(x)).all()
        nets[turns, len(more)] = net.get_buffer("basis").clone()
    assert not torch.equal(nets[0, 0], nets[2, 0])
    assert not torch.equal(nets[2, 0], nets[2, 2])


def test_less_than_no_turn_is_refused():
    with pytest.raises(ValueError, match="'unlabelled_turns', .* >= 0, got .*, -1"):
        HorneNet(n_spatial=2, unlabelled_turns=-1)
