"""Stars, each faded into every S/N interval: what a model may be calibrated on.

Only the parts 'train' and 'validation' can be read; the test part stays unseen.
What a fainter star would have shown is the business of `drcnet.dataset.augment`; here its factor
is chosen so that the star's S/N falls where it is wanted.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from drcnet.config import CalibrateSettings
from drcnet.dataset.augment_noise import add_noise, fade, seen_variance, sky_error, weigh
from drcnet.dataset.augment_scene import NODES, Scene, read_scene
from drcnet.dataset.loader import BESIDE, FULL, electrons, load_part, rows_beside, see
from drcnet.dataset.store import Store
from drcnet.errors import StoreError
from drcnet.stripes.snr import BAND

__all__ = ["Faded", "Fading", "fade_part", "interval_bounds", "relative_snr"]

_CHUNK = 64  # stars faded at once: bounds the memory
_FACTORS = np.geomspace(2e-3, 1.0, 80)


@dataclass(frozen=True)
class Fading:
    """What stars are faded to.

    Parameters
    ----------
    view : str
        One of `drcnet.dataset.loader.VIEWS`.
    classes : tuple of str
        In the order of the labels.
    intervals : tuple of str
        Names of the S/N intervals, brightest first.
    settings : CalibrateSettings
        Copies, faintest S/N, seed.
    """

    view: str
    classes: tuple[str, ...]
    intervals: tuple[str, ...]
    settings: CalibrateSettings


@dataclass(frozen=True, eq=False)
class Faded:
    """Stars as seen in one S/N interval.

    Parameters
    ----------
    interval : str
        Its name.
    x : Tensor, shape (n, 2, 11, 3000) or (n, 2, 3000)
        Electrons, not normalised.
    label : ndarray, shape (n,), int64
        Position of the class.
    row : ndarray, shape (n,), int64
        Row of the store that was faded.
    star : ndarray, shape (n,), str
        Its star.
    snrr : ndarray, shape (n,)
        S/N after fading, in the catalogue's meaning.
    """

    interval: str
    x: Tensor
    label: NDArray[np.int64]
    row: NDArray[np.int64]
    star: NDArray[np.str_]
    snrr: NDArray[np.float64]


def interval_bounds(name: str) -> tuple[float, float]:
    """Read an interval's edges from its name.

    Parameters
    ----------
    name : str
        Such as '0-10' or '>30'.

    Returns
    -------
    low, high : float
        Half-open; `high` is infinite for '>30'.

    Examples
    --------
    >>> interval_bounds("0-10"), interval_bounds(">30")
    ((0.0, 10.0), (30.0, inf))
    """
    found = [float(v) for v in re.findall(r"\d+(?:\.\d+)?", name)]
    return (found[0], np.inf) if name.startswith(">") else (found[0], found[1])


def fade_part(
    store: Store, split: pl.DataFrame, part: Literal["train", "validation"], fading: Fading
) -> Iterator[Faded]:
    """Fade the training or validation stars of a split into each of its intervals.

    Parameters
    ----------
    store : Store
        A finished store with its `traces/`.
    split : DataFrame
        Its split; only rows of `part` are read.
    part : {'train', 'validation'}
        Which; the test part is refused.
    fading : Fading
        Into which intervals, and in which view.

    Yields
    ------
    Faded
        One an interval and copy, brightest interval first. In the interval that a star is in
        already it stays as it is (one copy); in a fainter one its S/N is drawn evenly in its
        logarithm. Stars fainter than an interval are not in it.

    Raises
    ------
    StoreError
        The part is another, empty or without S/N, or the scene cannot be read.
    """
    if part not in ("train", "validation"):
        raise StoreError(store.work, "the part 'train' or 'validation'", repr(part))
    rows = split.filter(pl.col("part") == part).sort("row")
    settings = fading.settings
    if rows.is_empty() or rows["snrr"].is_null().any():
        raise StoreError(store.work, f"{part} stars with an S/N", "none, or one without")
    samples = load_part(store, rows, part, view=fading.view, classes=fading.classes)
    light, shown = electrons(samples.x, fading.view)
    scene = read_scene(store, samples.row, light.numpy(), shown)
    curve = _snr_curve(store, samples.row)
    snrr = rows["snrr"].to_numpy().astype(np.float64)
    star, label = rows["star"].to_numpy().astype(str), samples.label.numpy()
    for number, name in enumerate(fading.intervals):
        low, high = interval_bounds(name)
        own = (snrr >= low) & (snrr < high)
        if own.any():
            at = np.flatnonzero(own)
            x = samples.x[torch.from_numpy(at)]
            yield Faded(name, x, label[at], samples.row[at], star[at], snrr[at])
        brighter = np.flatnonzero(snrr >= high)
        for copy in range(settings.copies if len(brighter) else 0):
            rng = np.random.default_rng(np.random.SeedSequence([settings.seed, number, copy]))
            first = np.log(max(low, settings.faintest))
            wanted = np.exp(first + (np.log(high) - first) * rng.random(len(brighter)))
            relative = wanted / snrr[brighter]
            factor = np.array(
                [np.interp(r, curve[k], _FACTORS) for r, k in zip(relative, brighter, strict=True)]
            )
            x = _fade(light, scene, brighter, factor, rng, weighed=samples.x.ndim > light.ndim)
            if fading.view in BESIDE or fading.view in FULL:
                below = rows_beside(samples.x, fading.view)[torch.from_numpy(brighter)]
                x = torch.cat([x, below], dim=2)
            reached = np.array(
                [np.interp(f, _FACTORS, curve[k]) for f, k in zip(factor, brighter, strict=True)]
            )
            at, seen = brighter, reached * snrr[brighter]
            yield Faded(name, x, label[at], samples.row[at], star[at], seen)


def relative_snr(
    light: NDArray[np.floating],
    nodes: NDArray[np.floating],
    sky_error: NDArray[np.floating],
    wavelength: NDArray[np.floating],
) -> NDArray[np.float64]:
    """S/N of faded stars as a share of their own.

    Parameters
    ----------
    light : ndarray, shape (n, 2, L)
        Optimally extracted, sky-subtracted light of both arms, electrons.
    nodes : ndarray, shape (n, 2, 5, L)
        Variance of the extraction with the star at `NODES` of its light.
    sky_error : ndarray, shape (n, 2, L)
        Variance of the sky that was taken off.
    wavelength : ndarray, shape (n, 2, L)
        Vacuum angstrom.

    Returns
    -------
    ndarray, shape (n, 80)
        At factors from 0.002 to 1, rising to 1: the median over 5500-7000 angstrom (`snrr`'s
        band; all there is where the arms do not see it) of the light over its error.
    """
    inside = (wavelength > BAND[0]) & (wavelength < BAND[1])
    inside[~inside.any(axis=(1, 2))] = True
    steps = np.clip(np.searchsorted(NODES, _FACTORS) - 1, 0, len(NODES) - 2)
    found = np.empty((len(light), len(_FACTORS)))
    for k, (one, variance, error, seen) in enumerate(
        zip(light, nodes, sky_error, inside, strict=True)
    ):
        for g, (factor, step) in enumerate(zip(_FACTORS, steps, strict=True)):
            part = (factor - NODES[step]) / (NODES[step + 1] - NODES[step])
            here = (1 - part) * variance[:, step] + part * variance[:, step + 1] + error
            found[k, g] = np.median(factor * (one / np.sqrt(here))[seen])
    return np.maximum.accumulate(found / found[:, -1:], axis=1)


def _snr_curve(store: Store, row: NDArray[np.int64]) -> NDArray[np.float64]:
    """S/N against factor of each row, whatever view the model has."""
    light = see("optimal-sky", lambda name: store.read(name, row))
    scene = read_scene(store, row, light, "optimal-sky")
    parts = (scene.nodes.numpy(), scene.sky_error.numpy(), scene.wavelength.numpy())
    return relative_snr(light, *parts)


def _fade(
    light: Tensor,
    scene: Scene,
    at: NDArray[np.int64],
    factor: NDArray[np.float64],
    rng: np.random.Generator,
    *,
    weighed: bool,
) -> Tensor:
    """Take some stars to a fraction of their light, each with noise of its own.

    `weighed`: give the inverse variance along.
    """
    seeds = tuple(int(v) for v in rng.integers(2**63, size=len(at)))
    choice = torch.from_numpy(rng.random(len(at))).float()
    share = torch.from_numpy(factor).float()
    out = []
    for start in range(0, len(at), _CHUNK):
        part = slice(start, start + _CHUNK)
        which = torch.from_numpy(at[part])
        around, x = scene.take(which), light[which]
        along = share[part].reshape(-1, *[1] * (x.ndim - 1))
        faded, missing = fade(x, around, along)
        faded = faded + sky_error(x, around, along, choice[part])
        seen = add_noise(faded, missing.expand_as(faded), seeds[part])
        if weighed:
            seen = weigh(seen, seen_variance(x, seen, around, along))
        out.append(seen)
    return torch.cat(out)
