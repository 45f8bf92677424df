"""The disturbances of the sheet, and what each does to the stripes of some stars.

All act on electrons of stripes, through `dataset.augment`; sky and moonlight are added here, with
their own Poisson noise. Sides and signs are drawn by row, so that half of the stars move each way.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from drcnet.config import AugmentSettings, RobustnessSettings
from drcnet.dataset.augment_draw import Draw, draw_rows
from drcnet.dataset.augment_noise import add_noise
from drcnet.dataset.store import ARMS
from drcnet.robustness.light import Light, Sun

__all__ = ["UNITS", "Disturbance", "disturb", "disturbances"]

UNITS = {
    "none": "",
    "trace": "px",
    "wavelength": "px",
    "sky": "skies added",
    "moon": "median skies of moonlight added",
    "neighbor": "times as bright, 1% spilt",
    "cosmic rays": "left in each arm",
    "throughput": "rise or fall to the ends",
    "reddening": "mag E(B-V)",
    "missing arm": "which",
}
"""Disturbance to the unit of its level."""

_SPILT = 0.01  # of a neighbour's light
_RAY_MEDIAN, _RAY_SPREAD = 6.0, 1.0  # as in training: logarithm of a ray's electrons


@dataclass(frozen=True)
class Disturbance:
    """One line of the sheet.

    Parameters
    ----------
    name : str
        A key of `UNITS`.
    level : float
        How far it goes; for a missing arm which one, 0 (blue) or 1 (red).
    """

    name: str
    level: float = 0.0

    @property
    def text(self) -> str:
        """The level, as a person writes it."""
        return ARMS[int(self.level)] if self.name == "missing arm" else f"{self.level:g}"


def disturbances(settings: RobustnessSettings, *, moon: bool) -> list[Disturbance]:
    """List what is asked for, the undisturbed stars first.

    Parameters
    ----------
    settings : RobustnessSettings
        The levels.
    moon : bool
        Whether there is sunlight to make moonlight of.

    Returns
    -------
    list of Disturbance
        In the order of the sheet.
    """
    levels: dict[str, tuple[float, ...]] = {
        "trace": settings.trace,
        "wavelength": settings.wavelength,
        "sky": settings.sky,
        "moon": settings.moon if moon else (),
        "neighbor": settings.neighbor,
        "cosmic rays": settings.cosmic_rays,
        "throughput": settings.throughput,
        "reddening": settings.reddening,
        "missing arm": tuple(float(ARMS.index(arm)) for arm in settings.lose_arm),
    }
    found = [Disturbance(name, float(v)) for name, values in levels.items() for v in values]
    return [Disturbance("none"), *found]


def disturb(light: Light, what: Disturbance, sun: Sun | None) -> tuple[Tensor, Tensor]:
    """Disturb stars; the same numbers for a row whatever else is in the batch.

    Only a neighbour's identity depends on the others: it is one of the batch.

    Parameters
    ----------
    light : Light
        B stars.
    what : Disturbance
        What is done.
    sun : Sun or None
        Needed for moonlight.

    Returns
    -------
    stripes : Tensor, shape (B, 2, S, L)
        Electrons.
    sky : Tensor, shape (B, 2, L)
        What the frame's sky would be measured to be.
    """
    if what.name == "none":
        return light.stripes, light.sky
    kind = 1 + list(UNITS).index(what.name)
    draw = draw_rows(AugmentSettings(), light.row, light.augmenter.seed, kind)
    if what.name in ("sky", "moon"):
        added = what.level * (light.sky if what.name == "sky" else _moonlight(light, sun))
        return _glow(light, draw, added.clamp(min=0))
    if what.name == "missing arm":
        stripes = light.stripes.clone()
        stripes[:, int(what.level)] = torch.nan
        return stripes, light.sky
    side = torch.where(draw.sky_row < 0.5, -1.0, 1.0)
    changed = _CHANGES[what.name](light, draw, what.level, side)
    stripes = light.augmenter.apply(torch.arange(len(light)), changed)
    sky = light.sky
    if what.name == "wavelength":
        sky = _shifted(sky, changed.wavelength_shift)
    return stripes, sky


def _trace(light: Light, draw: Draw, level: float, side: Tensor) -> Draw:  # noqa: ARG001
    return replace(draw, trace_shift=(level * side)[:, None].expand(-1, len(ARMS)))


def _wavelength(light: Light, draw: Draw, level: float, side: Tensor) -> Draw:  # noqa: ARG001
    return replace(draw, wavelength_shift=level * side)


def _neighbor(light: Light, draw: Draw, level: float, side: Tensor) -> Draw:
    """Spill so much that the neighbour is `level` times as bright as the star."""
    star = (light.stripes - light.augmenter.scene.keep).nansum(dim=(1, 2, 3)).clamp(min=0)
    other = light.stripes.clamp(min=0).nansum(dim=(1, 2, 3)).clamp(min=1)
    partner = other[(draw.partner * len(other)).long()]
    return replace(draw, spill=_SPILT * level * side * star / partner)


def _cosmic_rays(light: Light, draw: Draw, level: float, side: Tensor) -> Draw:  # noqa: ARG001
    rays = []
    for seed in draw.seed:
        rng = np.random.default_rng(seed)
        shape = (int(level), len(ARMS))
        one = np.concatenate(
            [rng.random((*shape, 2)), rng.lognormal(_RAY_MEDIAN, _RAY_SPREAD, (*shape, 1))], axis=2
        )
        rays.append(one.swapaxes(0, 1))
    return replace(draw, rays=torch.from_numpy(np.stack(rays)).float())


def _throughput(light: Light, draw: Draw, level: float, side: Tensor) -> Draw:  # noqa: ARG001
    return replace(draw, tilt=level * torch.stack([side, -side], dim=1))


def _reddening(light: Light, draw: Draw, level: float, side: Tensor) -> Draw:  # noqa: ARG001
    return replace(draw, reddening=torch.full_like(side, level))


_CHANGES: dict[str, Callable[[Light, Draw, float, Tensor], Draw]] = {
    "trace": _trace,
    "wavelength": _wavelength,
    "neighbor": _neighbor,
    "cosmic rays": _cosmic_rays,
    "throughput": _throughput,
    "reddening": _reddening,
}


def _glow(light: Light, draw: Draw, added: Tensor) -> tuple[Tensor, Tensor]:
    """Light of the whole field, on the fibre's profile, that sky fibres see as well."""
    glow = added[:, :, None] * light.profile
    return add_noise(light.stripes + glow, glow, draw.seed), light.sky + added


def _moonlight(light: Light, sun: Sun | None) -> Tensor:
    if sun is None:
        raise ValueError("'sun' of disturb must be given for moonlight, got None")
    wave = light.augmenter.scene.wavelength.numpy()
    shape = [
        [np.interp(w[a], sun.wavelength[a], sun.light[a]) for a in range(len(ARMS))] for w in wave
    ]
    level = light.sky.reshape(len(light), -1).nanmedian(dim=1).values.clamp(min=0)
    return torch.from_numpy(np.asarray(shape, dtype=np.float32)) * level[:, None, None]


def _shifted(sky: Tensor, shift: Tensor) -> Tensor:
    """Move spectra towards higher indices; the ends are held."""
    pixel = np.arange(sky.shape[-1], dtype=np.float64)
    moved = [
        [np.interp(pixel - s, pixel, arm) for arm in one]
        for one, s in zip(sky.numpy(), shift.tolist(), strict=True)
    ]
    return torch.from_numpy(np.asarray(moved, dtype=np.float32))
