"""The random numbers of one augmented batch: they follow from seed, epoch and row alone."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drcnet.config import AugmentSettings

__all__ = ["Draw", "draw_rows"]

_BLUE, _RED = 0, 1
_RAY_MEDIAN, _RAY_SPREAD = 6.0, 1.0  # logarithm of a cosmic ray's electrons


@dataclass(frozen=True, eq=False)
class Draw:
    """What is done to each of B stars.

    Parameters
    ----------
    scale : Tensor, shape (B,)
        Factor on the star's light.
    tilt : Tensor, shape (B, 2)
        Rise of the throughput from an arm's middle to its end.
    reddening : Tensor, shape (B,)
        E(B-V), magnitudes.
    trace_shift : Tensor, shape (B, 2)
        Pixels across the stripe.
    wavelength_shift : Tensor, shape (B,)
        Pixels along it.
    broaden : Tensor, shape (B, 2)
        Share of a pixel's light that goes to each pixel beside it.
    spill : Tensor, shape (B,)
        Share of the partner's light that is spilt; negative: from the other side.
    partner, sky_row : Tensor, shape (B,)
        In [0, 1): which other star, and which sky fibre.
    lost : Tensor of bool, shape (B, 2)
        Arms that are missing.
    rays : Tensor, shape (B, 2, n, 3)
        Cosmic rays: place across and along in [0, 1), and electrons (0 for none).
    seed : tuple of int
        Seeds of each star's noise.
    """

    scale: Tensor
    tilt: Tensor
    reddening: Tensor
    trace_shift: Tensor
    wavelength_shift: Tensor
    broaden: Tensor
    spill: Tensor
    partner: Tensor
    sky_row: Tensor
    lost: Tensor
    rays: Tensor
    seed: tuple[int, ...]

    def to(self, device: torch.device) -> "Draw":
        """Move all numbers.

        Parameters
        ----------
        device : torch.device
            Where to.

        Returns
        -------
        Draw
            The same there.
        """
        parts: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        seed = parts.pop("seed")
        return Draw(**{name: part.to(device) for name, part in parts.items()}, seed=seed)


def draw_rows(settings: AugmentSettings, row: NDArray[np.int64], seed: int, epoch: int) -> Draw:
    """Draw for each row on its own, so that batch size and order do not matter.

    Parameters
    ----------
    settings : AugmentSettings
        Ranges and spreads.
    row : ndarray, shape (B,), int64
        Rows of the store.
    seed, epoch : int
        The run's seed; the epoch, or the number of the copy.

    Returns
    -------
    Draw
        On the CPU, float32.
    """
    drawn = [_draw_row(settings, int(r), seed, epoch) for r in row]
    parts: dict[str, Any] = {
        name: torch.from_numpy(np.stack([one[name] for one in drawn]))
        for name in drawn[0]
        if name != "seed"
    }
    parts = {k: v if v.dtype == torch.bool else v.float() for k, v in parts.items()}
    return Draw(**parts, seed=tuple(int(one["seed"]) for one in drawn))


def _draw_row(settings: AugmentSettings, row: int, seed: int, epoch: int) -> dict[str, Any]:
    """All numbers, in an order that no setting changes."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, epoch, row]))
    on = rng.random() < settings.share
    low, high = np.log(settings.scale)
    faded = np.exp(low + (high - low) * rng.random())
    values: dict[str, Any] = {
        "scale": np.asarray(faded if on and settings.noise else 1.0),
        "tilt": on * settings.tilt * rng.normal(size=2),
        "reddening": on * settings.reddening * rng.random(()),
        "trace_shift": on * settings.trace_shift * rng.normal(size=2),
        "wavelength_shift": on * settings.wavelength_shift * np.asarray(rng.normal()),
        "broaden": on * settings.broaden * rng.random(2),
        "spill": on * settings.neighbor * np.asarray(rng.uniform(-1, 1)),
        "partner": np.asarray(rng.random()),
        "sky_row": np.asarray(rng.random()),
    }
    lose, which = rng.random(2)
    arm = np.array([_BLUE, _RED]) == int(2 * which)
    values["lost"] = arm & bool(on and lose < settings.lose_arm)
    values["seed"] = rng.integers(2**63)
    values["rays"] = _rays(settings.cosmic_rays if on else 0.0, settings.cosmic_rays, rng)
    return values


def _rays(rate: float, most: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Cosmic rays of one star, shape (2, n, 3); n is the same for all stars."""
    room = int(np.ceil(most + 4 * np.sqrt(most)))
    rays = np.concatenate(
        [rng.random((2, room, 2)), rng.lognormal(_RAY_MEDIAN, _RAY_SPREAD, (2, room, 1))], axis=2
    )
    count = np.minimum(rng.poisson(rate, 2), room)
    rays[..., 2] *= np.arange(room) < count[:, None]
    return rays
