"""Stripes of some stars, and how each view of them answers to a change of the stripes.

A 1-D view is linear in the stripe's pixels: a box sum adds them up, an optimal extraction weighs
them (Horne 1986) by the profile and the noise where the trace was believed to be. So a disturbed
spectrum is the stored one plus the weighed change of the stripe, with the weights left as they
were: an extraction does not know that its trace is wrong.

Shapes: B stars, S pixels across, L along wavelength.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool1d

from drcnet.config import AugmentSettings
from drcnet.dataset.augment import Augmenter
from drcnet.dataset.augment_noise import weigh
from drcnet.dataset.augment_scene import read_scene
from drcnet.dataset.loader import BESIDE, FLAT_BESIDE, FULL, VIEWS, WEIGHED
from drcnet.dataset.profiles import read_profiles
from drcnet.dataset.store import ARMS, Store

__all__ = ["Light", "Sun", "read_light", "read_sun", "see_view"]

_SMOOTH = 301  # pixels along wavelength over which a star's profile is taken to be the same
_SUNS = 200  # rows that moonlight is averaged from


@dataclass(frozen=True, eq=False)
class Light:
    """Some stars as the frames gave them.

    Parameters
    ----------
    augmenter : Augmenter
        Their stripes (B, 2, S, L), electrons, with their surroundings.
    sky : Tensor, shape (B, 2, L)
        The frame's sky.
    spectra : dict of str to Tensor, shape (B, 2, L)
        Stored extractions by name, sky not taken off.
    profile : Tensor, shape (B, 2, S, L)
        Share of the light on each pixel, from the stripe itself, smoothed along wavelength.
    weights : dict of str to Tensor, shape (B, 2, S, L)
        How each extraction weighs the pixels.
    ivar : dict of str to Tensor, shape (B, 2, L)
        Stored inverse variances, by the view that shows them.
    bad : Tensor, shape (B, 2, S, L)
        Pixels that a view without them leaves out; empty where none is asked for.
    flat : Tensor, shape (B, 2, 2 S, L)
        Profile and neighbours that the flat's view shows; empty where it is not asked for.
    """

    augmenter: Augmenter
    sky: Tensor
    spectra: dict[str, Tensor]
    profile: Tensor
    weights: dict[str, Tensor]
    ivar: dict[str, Tensor]
    bad: Tensor
    flat: Tensor

    @property
    def stripes(self) -> Tensor:
        """The stripes, shape (B, 2, S, L)."""
        return self.augmenter.x

    @property
    def row(self) -> NDArray[np.int64]:
        """Rows of the store."""
        return self.augmenter.row

    def __len__(self) -> int:
        """Count the stars."""
        return len(self.row)


@dataclass(frozen=True, eq=False)
class Sun:
    """Sunlight through this instrument: the average of the store's bright G stars.

    Parameters
    ----------
    wavelength, light : ndarray, shape (2, L)
        Vacuum angstrom; electrons, 1 on average over both arms.
    """

    wavelength: NDArray[np.float64]
    light: NDArray[np.float64]


def read_light(store: Store, row: NDArray[np.int64], views: set[str], seed: int) -> Light:
    """Read what is needed to disturb some stars.

    Parameters
    ----------
    store : Store
        A finished store with its `traces/`.
    row : ndarray, shape (B,), int64
        Rows.
    views : set of str
        Views that will be asked for.
    seed : int
        Of the disturbances.

    Returns
    -------
    Light
        On the CPU.

    Raises
    ------
    StoreError
        The store does not hold what is needed (see `read_scene`).
    """
    stripes = store.read("stripes", row).astype(np.float32, copy=False)
    x = torch.from_numpy(stripes)
    scene = read_scene(store, row, stripes, "stripes")
    kinds = {VIEWS[view][0] for view in views} - {"stripes"}
    smooth = _smoothed(x)
    profile = smooth / smooth.sum(dim=2, keepdim=True).clamp(min=1e-9)
    noise = scene.floor[:, :, None, None]
    horne = profile / (smooth + noise).clamp(min=1e-9)
    weights = {"box": torch.ones_like(profile)}
    weights["optimal"] = horne / (horne * profile).sum(dim=2, keepdim=True).clamp(min=1e-12)
    return Light(
        Augmenter(AugmentSettings(), seed, row, x, scene, torch.zeros(0)),
        torch.from_numpy(store.read("sky", row).astype(np.float32, copy=False)),
        {k: torch.from_numpy(store.read(k, row).astype(np.float32, copy=False)) for k in kinds},
        profile,
        {name: weights[name] for name in kinds},
        {
            view: torch.from_numpy(store.read(name, row).astype(np.float32, copy=False))
            for view, name in WEIGHED.items()
            if view in views
        },
        torch.from_numpy(store.read("mask", row) != 0) if BESIDE & views else torch.zeros(0),
        torch.from_numpy(np.concatenate(read_profiles(store, row), axis=2))
        if FLAT_BESIDE in views
        else torch.zeros(0),
    )


def see_view(light: Light, view: str, stripes: Tensor, sky: Tensor) -> Tensor:
    """Show changed stripes as a view would.

    Parameters
    ----------
    light : Light
        The stars as they were.
    view : str
        One of `VIEWS`.
    stripes : Tensor, shape (B, 2, S, L)
        Their stripes now.
    sky : Tensor, shape (B, 2, L)
        The frame's sky now: what a view without sky takes off.

    Returns
    -------
    Tensor, shape (B, 2, S or more, L), (B, 2, L) or (B, 2, 2 or 4, L)
        Electrons; a view of `WEIGHED` with its inverse variance, which follows the counts, one of
        `BESIDE` with the sky; what the flat and the arc say is believed as before.
    """
    kind, *taken = VIEWS[view]
    wavelength = light.augmenter.scene.wavelength[:, :, None]
    if view in BESIDE:
        below = [light.flat] if view == FLAT_BESIDE else []
        below += [wavelength] if view in FULL else []
        shown = stripes.masked_fill(light.bad, torch.nan)
        return torch.cat([shown, sky[:, :, None], *below], dim=2)
    if kind == "stripes":
        return stripes
    change = torch.nan_to_num(stripes - light.stripes)
    spectrum = light.spectra[kind] + (light.weights[kind] * change).sum(dim=2)
    spectrum = spectrum - sky if taken else spectrum
    if view not in WEIGHED:
        return spectrum
    before, after = (_variance(light, kind, one) for one in (light.stripes, stripes))
    known = light.ivar[view] > 0  # not where it is NaN
    x = weigh(torch.where(known, spectrum, torch.nan), after / (before * light.ivar[view]))
    return torch.cat([x, sky[:, :, None], wavelength], dim=2) if view in FULL else x


def _variance(light: Light, kind: str, stripes: Tensor) -> Tensor:
    """Variance of an extraction from stripes, shape (B, 2, L); their own counts stand for it."""
    noise = light.augmenter.scene.floor[:, :, None, None]
    electrons = torch.nan_to_num(stripes).clamp(min=0) + noise
    return (light.weights[kind] ** 2 * electrons).sum(dim=2).clamp(min=1e-6)


def read_sun(store: Store) -> Sun | None:
    """Average the light of the brightest G stars.

    Parameters
    ----------
    store : Store
        A finished store.

    Returns
    -------
    Sun or None
        None where the store has no G star.
    """
    index = store.index
    found = index.filter((index["class"] == "G") & index["snrr"].is_not_nan())
    row = np.sort(found.sort("snrr", descending=True)["row"].head(_SUNS).to_numpy())
    if not len(row):
        return None
    row = row.astype(np.int64)
    wave = read_scene(store, row, store.read("box", row).astype(np.float32), "box").wavelength
    star = store.read("optimal", row) - store.read("sky", row)
    star = star / np.nanmedian(star.reshape(len(star), -1), axis=1)[:, None, None]
    grid = wave[0].numpy().astype(np.float64)
    light = np.stack(
        [
            np.nanmean(
                [np.interp(grid[a], w[a], s[a]) for w, s in zip(wave.numpy(), star, strict=True)],
                axis=0,
            )
            for a in range(len(ARMS))
        ]
    )
    light = np.clip(np.nan_to_num(light), 0, None)
    return Sun(grid, light / light.mean())


def _smoothed(x: Tensor) -> Tensor:
    """Average along wavelength; light only, so nothing negative."""
    flat = torch.nan_to_num(x).reshape(-1, 1, x.shape[-1])
    width = min(_SMOOTH, (x.shape[-1] - 1) // 2 * 2 + 1)
    mean = avg_pool1d(flat, width, stride=1, padding=width // 2, count_include_pad=False)
    return mean.reshape(x.shape).clamp(min=0)
