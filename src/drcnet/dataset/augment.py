"""The same star at a lower S/N, truly; shifts, sky, neighbours: on the device, before normalising.

How much noise a fainter star shows is worked out in `augment_noise`.

Shapes: B stars, S pixels across, L along wavelength.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drcnet.config import AugmentSettings
from drcnet.dataset.augment_draw import Draw, draw_rows
from drcnet.dataset.augment_dust import dust
from drcnet.dataset.augment_noise import (
    add_noise,
    expected_variance,
    fade,
    seen_variance,
    sky_error,
    weigh,
)
from drcnet.dataset.augment_scene import Scene, read_scene, read_skies
from drcnet.dataset.loader import BESIDE, FULL, WEIGHED, Samples, electrons, rows_beside
from drcnet.dataset.store import Store

__all__ = ["Augmenter", "make_augmenter"]

_CHUNK = 64  # stars changed at once: bounds the memory
_NOTHING = torch.zeros(0)
_SPILL_DECAY = 0.6  # a neighbour's wing, from one pixel to the next


@dataclass(frozen=True, eq=False)
class Augmenter:
    """Training stars and how they are changed.

    Parameters
    ----------
    settings : AugmentSettings
        What is done.
    seed : int
        The run's.
    row : ndarray, shape (n,), int64
        Rows of the store.
    x : Tensor, shape (n, 2, S, L) or (n, 2, L)
        Their electrons, as the view shows them.
    scene : Scene
        What surrounds them; on the device of `x`.
    skies : Tensor, shape (m, 2, S, L) or (m, 2, L)
        The same view of sky fibres; needed where `settings.replace_sky`.
    weighed : bool, default False
        The view has inverse variances: they are given along, as they are after the change.
    beside : Tensor, shape (n, 2, R, L) or (0,)
        R rows below the light where the view has them: the frame's sky, what the flat knows, the
        wavelengths, which are believed whatever is done to the light; below stripes `skies` then
        have them too.
    """

    settings: AugmentSettings
    seed: int
    row: NDArray[np.int64]
    x: Tensor
    scene: Scene
    skies: Tensor
    weighed: bool = False
    beside: Tensor = _NOTHING

    def to(self, device: torch.device) -> "Augmenter":
        """Move the stars.

        Parameters
        ----------
        device : torch.device
            Where to.

        Returns
        -------
        Augmenter
            The same there.
        """
        parts = (self.x.to(device), self.scene.to(device), self.skies.to(device))
        beside = self.beside.to(device)
        return Augmenter(self.settings, self.seed, self.row, *parts, self.weighed, beside)

    def batch(self, at: Tensor, epoch: int) -> Tensor:
        """Change some stars.

        Parameters
        ----------
        at : Tensor of int64, shape (B,)
            Positions among the stars.
        epoch : int
            Epoch, or number of the copy: each gives other numbers.

        Returns
        -------
        Tensor, shape (B, 2, S, L), (B, 2, S + 1, L), (B, 2, L) or (B, 2, 2, L)
            Electrons, not normalised; they depend on seed, epoch and each star's row alone. The
            second shape has the sky as its last row, the last one inverse variances.
        """
        row = self.row[at.cpu().numpy()]
        return self.apply(at, draw_rows(self.settings, row, self.seed, epoch))

    def apply(self, at: Tensor, draw: Draw) -> Tensor:
        """Change some stars as told, rather than by lot.

        Parameters
        ----------
        at : Tensor of int64, shape (B,)
            Positions among the stars.
        draw : Draw
            What is done to each of the B.

        Returns
        -------
        Tensor, shape (B, 2, S, L), (B, 2, L) or (B, 2, 2, L)
            As `batch` gives them.
        """
        draw = draw.to(self.x.device)
        scene, x = self.scene.take(at), self.x[at]
        factor = _factor(draw, scene)
        factor = factor[:, :, None] if x.ndim == 4 else factor
        faded, missing = fade(x, scene, factor)
        if self.settings.replace_sky:
            faded, missing = self._other_sky(x, scene, factor, draw)
        else:
            faded = faded + sky_error(x, scene, factor, draw.sky_row)
        faded, left = _bend(faded, draw)
        own = expected_variance(x, faded, scene, factor)[1]
        missing = missing + (1 - left) * factor**2 * own
        before = missing
        faded, missing = self._spill(faded, missing, draw)
        out = add_noise(_strike(faded, draw), missing, draw.seed)
        if self.weighed:
            out = weigh(out, seen_variance(x, out, scene, factor) + (missing - before))
        if len(self.beside):
            out = torch.cat([out, self._below(at, draw)], dim=2)
        lost = draw.lost.reshape(*draw.lost.shape, *[1] * (out.ndim - 2))
        return out.masked_fill(lost, torch.nan)

    def original(self, at: Tensor) -> Tensor:
        """Give some stars as they are.

        Parameters
        ----------
        at : Tensor of int64, shape (B,)
            Positions among the stars.

        Returns
        -------
        Tensor, shape (B, 2, S, L), (B, 2, S + 1, L), (B, 2, L) or (B, 2, 2, L)
            As `batch` gives them.
        """
        x = self.x[at]
        if self.weighed:
            scene = self.scene.take(at)
            x = weigh(x, seen_variance(x, x, scene, torch.ones_like(x)))
        return torch.cat([x, self.beside[at]], dim=2) if len(self.beside) else x

    def copy(self, epoch: int) -> Tensor:
        """Change all stars once.

        Parameters
        ----------
        epoch : int
            Number of the copy.

        Returns
        -------
        Tensor, shape (n, 2, S, L), (n, 2, L) or (n, 2, 2, L)
            As `batch` gives them.
        """
        shape = (*self.x.shape[:2], 2, *self.x.shape[2:]) if self.weighed else self.x.shape
        if len(self.beside):
            shape = (*shape[:2], shape[2] + self.beside.shape[2], *shape[3:])
        out = self.x.new_empty(shape)
        for at in torch.arange(len(self.x)).split(_CHUNK):
            out[at] = self.batch(at.to(self.x.device), epoch)
        return out

    def _other_sky(
        self, x: Tensor, scene: Scene, factor: Tensor, draw: Draw
    ) -> tuple[Tensor, Tensor]:
        """The star alone before another sky, which brings its own noise and neighbours.

        Where the star's own sky was noisier than the faded star may be, nothing is added, and
        a little noise is too much; the other fibre's throughput and trace stay its own.
        """
        star = factor * (x - scene.keep)
        wanted, there = expected_variance(x, star + scene.keep, scene, factor)
        dark = expected_variance(x, scene.keep, scene, torch.zeros_like(factor))[0]
        other = self._picked(draw)
        other = other[:, :, : x.shape[2]] if other.ndim == 4 else other
        return star + other, (wanted - dark - factor**2 * there).clamp(min=0)

    def _picked(self, draw: Draw) -> Tensor:
        """The sky fibres that the stars are put before."""
        return self.skies[(draw.sky_row * len(self.skies)).long()]

    def _below(self, at: Tensor, draw: Draw) -> Tensor:
        """Rows below each stripe now: another sky comes with its own neighbours, (B, 2, ., L)."""
        own = self.beside[at]
        if not self.settings.replace_sky or self.weighed:
            return own
        across = self.x.shape[2]
        other = self._picked(draw)[:, :, across:]
        last = 1 + across  # of the star's own profile, or its wavelengths
        return torch.cat([other[:, :, :1], own[:, :, 1:last], other[:, :, last:]], dim=2)

    def _spill(self, x: Tensor, variance: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Light of another star, coming in from one side."""
        if not draw.spill.any():
            return x, variance
        light = self.x[(draw.partner * len(self.x)).long()].clamp(min=0)
        share = draw.spill.abs()[:, None, None]
        if x.ndim == 3:
            added = share * light
        else:
            wing = _SPILL_DECAY ** torch.arange(x.shape[2], device=x.device)
            wing = wing / wing.sum()
            side = torch.where(draw.spill[:, None] > 0, wing, wing.flip(0))  # (B, S)
            added = (share * light.sum(dim=2))[:, :, None] * side[:, None, :, None]
        return x + added, variance + added


def make_augmenter(
    store: Store,
    samples: Samples,
    view: str,
    *,
    settings: AugmentSettings,
    seed: int,
    scene: Scene | None = None,
) -> Augmenter:
    """Read what surrounds some stars, and the sky fibres where they are asked for.

    Parameters
    ----------
    store : Store
        A finished store with its `traces/`.
    samples : Samples
        Stars as electrons, not normalised.
    view : str
        The view that they are in.
    settings : AugmentSettings
        What is to be done.
    seed : int
        The run's.
    scene : Scene, optional
        What surrounds these stars, where it has been read already.

    Returns
    -------
    Augmenter
        On the CPU.

    Raises
    ------
    StoreError
        The store does not hold what is needed (see `read_scene`), or no sky fibre where the sky
        is to be replaced.
    """
    x, shown = electrons(samples.x, view)
    if scene is None:
        scene = read_scene(store, samples.row, x.numpy(), shown)
    skies, beside = _NOTHING, _NOTHING
    if settings.replace_sky:
        skies = torch.from_numpy(read_skies(store, view))
    if view in BESIDE or view in FULL:
        beside = rows_beside(samples.x, view)
    if view not in BESIDE and len(skies):
        skies = electrons(skies, view)[0]
    return Augmenter(settings, seed, samples.row, x, scene, skies, view in WEIGHED, beside)


def _factor(draw: Draw, scene: Scene) -> Tensor:
    """Factor on the star along wavelength, nowhere above 1; shape (B, 2, L)."""
    along = torch.linspace(-1, 1, scene.wavelength.shape[-1], device=draw.scale.device)
    relative = (1 + draw.tilt[..., None] * along).clamp(min=0.05)
    if draw.reddening.any():
        relative = relative * 10 ** (-0.4 * draw.reddening[:, None, None] * dust(scene.wavelength))
    relative = relative / relative.amax(dim=(1, 2), keepdim=True)
    return draw.scale[:, None, None] * relative


def _bend(x: Tensor, draw: Draw) -> tuple[Tensor, Tensor | float]:
    """Shift and broaden; also the share of the pixels' own noise variance that is left."""
    left: Tensor | float = 1.0
    if draw.wavelength_shift.any():
        shift = draw.wavelength_shift[:, None].expand(-1, 2)
        x, left = _shift(x, shift)
    if x.ndim == 4 and (draw.trace_shift.any() or draw.broaden.any()):
        x, kept = _shift(x.transpose(2, 3), draw.trace_shift)
        w = draw.broaden[..., None, None]
        beside = torch.cat([x[..., 1:], x[..., -1:]], -1) + torch.cat(
            [x[..., :1], x[..., :-1]], -1
        )
        x = ((1 - 2 * w) * x + w * beside).transpose(2, 3)
        left = left * kept * ((1 - 2 * w) ** 2 + 2 * w**2)
    return x, left


def _shift(x: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Shift along the last axis by linear interpolation; the ends are held.

    Parameters
    ----------
    x : Tensor, shape (B, 2, ..., L)
        What to shift.
    shift : Tensor, shape (B, 2)
        Pixels.

    Returns
    -------
    shifted : Tensor, shape of `x`
        Moved towards higher indices by `shift`.
    left : Tensor, shape (B, 2, 1, ...)
        Share of independent noise's variance that is left.
    """
    size = x.shape[-1]
    shift = shift.reshape(*shift.shape, *[1] * (x.ndim - 2))
    place = torch.arange(size, device=x.device) - shift
    low = place.floor()
    part = place - low
    first = low.long().clamp(0, size - 1).expand_as(x)
    second = (low.long() + 1).clamp(0, size - 1).expand_as(x)
    shifted = (1 - part) * x.gather(-1, first) + part * x.gather(-1, second)
    part = part[..., :1]
    return shifted, (1 - part) ** 2 + part**2


def _strike(x: Tensor, draw: Draw) -> Tensor:
    """Leave cosmic rays: a pixel, and half as much in the next."""
    if not draw.rays[..., 2].any():
        return x
    flat = x.reshape(*x.shape[:2], -1).clone()
    size = x.shape[-1]
    along = (draw.rays[..., 1] * (size - 1)).long()
    across = (draw.rays[..., 0] * x.shape[2]).long() * size if x.ndim == 4 else 0
    electrons = draw.rays[..., 2]
    flat.scatter_add_(2, across + along, electrons)
    flat.scatter_add_(2, across + along + 1, electrons / 2)
    return flat.reshape(x.shape)
