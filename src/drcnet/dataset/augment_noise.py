"""The noise that a fainter star would have shown: how much is there, how much is missing.

A stripe of electrons D has the expectation M = star + rest (sky, neighbours) and the variance
M + r^2 (r: read noise). With the star f times as bright the expectation is
E = f M + (1 - f) rest and the variance E + r^2. The scaled stripe f D already has f^2 (M + r^2),
so that

    f D + (1 - f) rest + noise of variance f (1 - f) M + (1 - f) rest + (1 - f^2) r^2

is what the fainter star would have given; no term is ever negative. D itself stands for M in the
variance: right on average. The added noise is Gaussian, which electrons by the dozen are.

The box sum follows the same rule with the read noise of all its pixels. An optimal extraction's
variance is Horne's (1986) at the old and at the new brightness, from the same profile.

Shapes: B stars, S pixels across, L along wavelength.
"""

import torch
from torch import Tensor

from drcnet.dataset.augment_rays import RAY_SIGMA, differences
from drcnet.dataset.augment_scene import NODES, Scene
from drcnet.dataset.store import ROUNDED_TO
from drcnet.stripes.cut import TILE

__all__ = ["add_noise", "expected_variance", "fade", "seen_variance", "sky_error", "weigh"]

_SLOPE = 1.1
"""Variance of an optimal extraction a photon, where there is too little star to tell: 1 where the
light's noise is all, 2 / sqrt(3) where it is none, for a Gaussian profile."""
_LEAST_STAR = 2.0  # electrons: with less, two of the nodes are one


def fade(x: Tensor, scene: Scene, factor: Tensor) -> tuple[Tensor, Tensor]:
    """Take stars to a fraction of their light.

    Parameters
    ----------
    x : Tensor, shape (B, 2, S, L) or (B, 2, L)
        Electrons, as a view shows them.
    scene : Scene
        Of the same stars.
    factor : Tensor, broadcastable to `x`
        In (0, 1].

    Returns
    -------
    faded : Tensor, shape of `x`
        Expected electrons, with what noise the scaled stripe brings along.
    missing : Tensor, shape of `x`
        Variance still to be added; not negative.

    Examples
    --------
    >>> nothing = torch.zeros(0)
    >>> rest, read = torch.full((1, 1, 1), 40.0), torch.full((1, 1), 9.0)
    >>> scene = Scene(rest, read, *[nothing] * 5)
    >>> faded, missing = fade(torch.full((1, 1, 1), 1040.0), scene, torch.tensor(0.1))
    >>> faded.item(), round(missing.item(), 2)  # 140 + 9 wanted; 0.01 * (1040 + 9) is there
    (140.0, 138.51)
    """
    faded = factor * x + (1 - factor) * scene.keep
    wanted, there = expected_variance(x, faded, scene, factor)
    missing = wanted - factor**2 * there
    if len(scene.excess):
        missing = missing * scene.excess[..., None]
    if len(scene.sky_error):
        # (1 - f) of the measured sky, with its own noise, was put back; a view without sky
        # lacks that noise instead, f of which is left in f D
        lacks = 1 - factor**2 if len(scene.sky) else -((1 - factor) ** 2)
        missing = missing + lacks * scene.sky_error
    return faded, missing.clamp(min=0)


def sky_error(x: Tensor, scene: Scene, factor: Tensor, pick: Tensor) -> Tensor:
    """Give each star the errors of some sky fibre, as far as fading took its own away.

    These are that of the sky, and cosmic rays: in spectra what the mask missed of them, in
    stripes those that the bright star's noise hides, but not the faded star's. What stands out
    of the bright star's own stripe stays in it anyway.

    Parameters
    ----------
    x : Tensor, shape (B, 2, S, L) or (B, 2, L)
        Electrons before fading.
    scene : Scene
        Of B stars.
    factor : Tensor, broadcastable to the view
        From `fade`.
    pick : Tensor, shape (B,)
        In [0, 1): which sky fibre's.

    Returns
    -------
    Tensor, broadcastable to the view
        Electrons to add.
    """
    if not len(scene.fiber_sky):
        return torch.zeros_like(factor)
    glow = scene.keep + scene.sky if len(scene.sky) else scene.keep
    choice = (pick * scene.fiber_sky.shape[1]).long()
    share = scene.fiber_sky[torch.arange(len(pick), device=pick.device), choice]  # (B, 2, 3)
    share = share.reshape(*share.shape[:2], *[1] * (glow.ndim - 2), 3)
    first, second = differences(glow)
    error = share[..., 0] * glow + share[..., 1] * first + share[..., 2] * second
    error = error * (1 - factor**2).clamp(min=0).sqrt()
    if not len(scene.fiber_rays):
        return error
    rays = scene.fiber_rays[torch.arange(len(pick), device=pick.device), choice]  # (B, 2, n, 2)
    at, electrons = rays[..., 0].long(), rays[..., 1]
    if x.ndim == 4:
        bright = torch.nan_to_num(x).flatten(2).gather(2, at).clamp(min=0) + scene.floor[..., None]
        electrons = torch.where(electrons < RAY_SIGMA * bright.sqrt(), electrons, 0.0)
    struck = torch.zeros_like(x).flatten(2).scatter_add(2, at, electrons).view_as(x)
    return error + (1 - factor) * struck


def add_noise(x: Tensor, variance: Tensor, seed: tuple[int, ...]) -> Tensor:
    """Add Gaussian noise, star by star from a seed of its own.

    Parameters
    ----------
    x, variance : Tensor, shape (B, ...)
        What to add it to, and its variance.
    seed : tuple of int
        One a star; the same on every device gives other, equally good numbers.

    Returns
    -------
    Tensor, shape of `x`
        With noise; stripes rounded as the store rounds them.
    """
    noise = torch.empty_like(x)
    generator = torch.Generator(x.device)
    for number, one in zip(seed, noise, strict=True):
        one.normal_(generator=generator.manual_seed(number))
    out = x + noise * variance.sqrt()
    return out if x.ndim < 4 else (out / ROUNDED_TO).round() * ROUNDED_TO


def weigh(x: Tensor, variance: Tensor) -> Tensor:
    """Put the inverse variance beside a spectrum, as a view of `WEIGHED` has it.

    Parameters
    ----------
    x, variance : Tensor, shape (B, 2, L)
        Electrons and their variance.

    Returns
    -------
    Tensor, shape (B, 2, 2, L)
        Spectrum and inverse variance; both NaN where the spectrum is unknown.
    """
    ivar = torch.where(torch.isfinite(x), 1 / variance.clamp(min=1e-6), torch.nan)
    return torch.stack([x, ivar.expand_as(x)], dim=2)


def expected_variance(
    x: Tensor, faded: Tensor, scene: Scene, factor: Tensor
) -> tuple[Tensor, Tensor]:
    """Say how noisy stars are, faded and as they were.

    Parameters
    ----------
    x, faded : Tensor, shape (B, 2, S, L) or (B, 2, L)
        Electrons before and after fading.
    scene : Scene
        Of the same stars.
    factor : Tensor, broadcastable to `x`
        The fraction that is left of their light.

    Returns
    -------
    faded, own : Tensor, broadcastable to `x`
        Variance with the star at `factor` of its light, and at all of it.
    """
    if len(scene.nodes):
        wanted = scene.nodes[:, :, 0]
        for g in range(len(NODES) - 1):
            width = NODES[g + 1] - NODES[g]
            part = ((factor - NODES[g]) / width).clamp(0, 1)
            wanted = wanted + part * (scene.nodes[:, :, g + 1] - scene.nodes[:, :, g])
        return wanted, scene.nodes[:, :, -1]
    floor = scene.floor.reshape(*scene.floor.shape, *[1] * (x.ndim - 2))
    if len(scene.sky):
        floor = floor + scene.sky
    return faded + floor, x + floor


def seen_variance(x: Tensor, seen: Tensor, scene: Scene, factor: Tensor) -> Tensor:
    """Say how noisy an extraction would have called a faded star.

    It cannot know the star's light but from the noisy spectrum itself, which it smooths over
    three rows, tile by tile (see `drcnet.stripes.weights.weigh`).

    Parameters
    ----------
    x, seen : Tensor, shape (B, 2, L)
        Electrons before fading, and after with the noise added; without the sky.
    scene : Scene
        Of the same stars.
    factor : Tensor, broadcastable to `x`
        The fraction that is left of their light.

    Returns
    -------
    Tensor, shape (B, 2, L)
        Variance.
    """
    expected = expected_variance(x, seen, scene, factor)[0]
    there = factor * x + scene.sky
    # the measured sky's noise is in `seen` and in the sky, but in no extraction's light
    quiet = (expected / (expected + 2 * (1 - factor) * scene.sky_error)).sqrt()
    light = there + quiet * (seen + scene.sky - there)
    away = _smooth(torch.nan_to_num(light)).clamp(min=0) - there.clamp(min=0)
    return expected + _slope(x, scene, factor) * torch.nan_to_num(away)


def _slope(x: Tensor, scene: Scene, factor: Tensor) -> Tensor:
    """Variance that one more electron brings, at `factor` of the star's light, from the nodes."""
    slope = torch.full_like(x, _SLOPE)
    for g in range(len(NODES) - 1):
        rise = scene.nodes[:, :, g + 1] - scene.nodes[:, :, g]
        slope = torch.where(factor >= NODES[g], rise / ((NODES[g + 1] - NODES[g]) * x), slope)
    told = (x.abs() > _LEAST_STAR) & (slope > 0.5) & (slope < 2.0)
    return torch.where(told, slope, _SLOPE)


def _smooth(light: Tensor) -> Tensor:
    """Smooth over three rows (1-2-1) within the tiles that the extraction works in."""
    row = torch.arange(light.shape[-1], device=light.device)
    before = torch.where(row % TILE == 0, light, light.roll(1, -1))
    last = (row % TILE == TILE - 1) | (row == len(row) - 1)
    return 0.25 * (before + torch.where(last, light, light.roll(-1, -1))) + 0.5 * light
