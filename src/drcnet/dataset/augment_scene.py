"""What does not fade with a star: its sky, its neighbours, cosmic rays and the read noise.

Light of one pixel of a stripe: star x P + sky x P + neighbours, P being the share of a fibre's
light that falls on the pixel (measured on the flat). A star f times as bright has f x star; all
else stays. What of the frame is known only through noise is never subtracted here: the stripe as
a whole is scaled by f, and (1 - f) of the *expected* rest is put back.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drcnet.dataset.augment_haze import SKY_CHOICES, Haze, held_noise, measure_haze
from drcnet.dataset.augment_light import fiber_light
from drcnet.dataset.augment_rays import PIXEL_RAYS, RAYS
from drcnet.dataset.loader import BESIDE, VIEWS, see
from drcnet.dataset.profiles import (
    by_exposure,
    calibration_file,
    exposure_rows,
    read_geometry,
    row_reader,
    stripe_settings,
    wavelengths,
)
from drcnet.dataset.store import ARMS, Store
from drcnet.errors import StoreError
from drcnet.stripes.cut import BAD, COSMIC
from drcnet.stripes.flags import FiberFlag
from drcnet.stripes.weights import MIN_SHARE

__all__ = ["NODES", "Scene", "read_scene", "read_skies"]

NODES = (0.0, 0.03, 0.1, 0.3, 1.0)
"""Factors at which the variance of an optimal extraction is held."""

_NOTHING = torch.zeros(0)
_MASKED = ("stripes", "optimal")  # what the mask changes; a box sum is filled by the fit

_NO_SKY = (
    FiberFlag.SKY_FIBER
    | FiberFlag.DEAD
    | FiberFlag.TRACE_LOST
    | FiberFlag.OFF_CHIP
    | FiberFlag.ARM_MISSING
)


@dataclass(frozen=True, eq=False)
class Scene:
    """Stars' surroundings, in the order of some `Samples`.

    Parameters
    ----------
    keep : Tensor, shape (n, 2, 11, L) or (n, 2, L), float32
        Expected electrons that stay when the star fades, as the view shows them (without the
        sky in a view that has none).
    floor : Tensor, shape (n, 2), float32
        Read noise of one value, squared; 0 where `nodes` holds it.
    sky : Tensor, shape (n, 2, L) or (0,), float32
        Sky that the view took off; empty where it took none.
    nodes : Tensor, shape (n, 2, 5, L) or (0,), float32
        Variance of an optimal extraction with the star at `NODES` of its brightness; empty for
        other views, where variance is light plus `floor`.
    sky_error : Tensor, shape (n, 2, L) or (0,), float32
        Variance of the measured sky; empty for stripes, where it is nothing beside the pixel's
        own noise.
    wavelength : Tensor, shape (n, 2, L), float32
        Vacuum angstrom.
    fiber_sky : Tensor, shape (n, 16, 2, 3) or (0,), float32
        How the sky of single fibres differed from the frame's: shares of the sky and of its
        first and second differences, from `Haze.sky_errors`; empty for no such errors.
    fiber_rays : Tensor, shape (n, 16, 2, 12, 2), (n, 16, 2, 64, 2) or (0,), float32
        Cosmic rays in single sky fibres: of spectra rows and electrons of their remains, from
        `Haze.rays`; of stripes pixels and electrons, from `Haze.pixel_rays`. Empty for none.
    excess : Tensor, shape (n, 2) or (0,), float32
        True variance over that of `nodes`, from `Haze.excess`; empty for 1.
    """

    keep: Tensor
    floor: Tensor
    sky: Tensor
    nodes: Tensor
    sky_error: Tensor
    wavelength: Tensor
    fiber_sky: Tensor
    fiber_rays: Tensor = _NOTHING
    excess: Tensor = _NOTHING

    def __len__(self) -> int:
        """Count the stars."""
        return len(self.keep)

    def take(self, rows: Tensor) -> "Scene":
        """Pick stars.

        Parameters
        ----------
        rows : Tensor of int64, shape (m,)
            Positions.

        Returns
        -------
        Scene
            Of those stars.
        """
        return self._each(lambda part: part[rows] if len(part) else part)

    def to(self, device: torch.device) -> "Scene":
        """Move all arrays.

        Parameters
        ----------
        device : torch.device
            Where to.

        Returns
        -------
        Scene
            The same there.
        """
        return self._each(lambda part: part.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Scene":
        return replace(self, **{f.name: change(getattr(self, f.name)) for f in fields(self)})


@dataclass(frozen=True, eq=False)
class _Arm:
    """One arm of one exposure: what the stars wanted from it are made of. n stars."""

    light: NDArray[np.float32]  # (n, L) optimal
    sky: NDArray[np.float32]  # (n, L)
    profile: NDArray[np.float32]  # (n, S, L)
    spilt: NDArray[np.float32]  # (n, S, L)
    noise: NDArray[np.float64]  # (n,) squared read noise
    haze: NDArray[np.float32]  # (S, L) what sky fibres show besides; (1, L) its sum
    marks: NDArray[np.integer]  # (n, S, L) the mask
    n_sky: int


def read_scene(store: Store, row: NDArray[np.int64], x: NDArray[np.float32], view: str) -> Scene:
    """Work out what surrounds stars, from the store and its calibrations.

    Parameters
    ----------
    store : Store
        A finished store with its `traces/`.
    row : ndarray, shape (n,), int64
        Rows.
    x : ndarray, shape (n, 2, 11, L) or (n, 2, L)
        The view of those rows, electrons.
    view : str
        Which view `x` is.

    Returns
    -------
    Scene
        Row by row; on the CPU.

    Raises
    ------
    StoreError
        A calibration is absent, a row has no sky, or light was divided by the fibres'
        throughput, so that its noise is not that of electrons any more.
    """
    settings = stripe_settings(store)
    out = _empty(x, view)
    geometry = functools.cache(lambda path: read_geometry(path, settings))
    weighed = VIEWS[view][0] == "optimal"  # whose weights hold what noise was counted with
    for here, rows in by_exposure(store, row):
        facts = store.index[rows.tolist()]
        offset = store.read("offset", rows)
        light, sky = (store.read(name, exposure_rows(store, rows)) for name in ("optimal", "sky"))
        marked = store.read("mask", rows) if VIEWS[view][0] in _MASKED else None
        sums = [store.read(name, rows) for name in ("box", "box_ivar")] if weighed else None
        wave = store.read("wavelength", rows)
        blank = _sky_rows(store, rows)
        haze = measure_haze(store, blank, settings.width, stripes=view == "stripes")
        out["fiber_sky"][here] = haze.sky_errors()
        for a, arm in enumerate(ARMS):
            flat = geometry(calibration_file(store, facts, arm))
            fibers = rows % store.n_fiber
            profile, spilt = fiber_light(flat, offset[:, a], fibers, light[:, a])
            floor = _floor(a, haze, sums)
            noise = np.maximum(facts[f"read_noise_{arm}"].to_numpy() ** 2, floor)
            around = fiber_light(flat, haze.offset[:, a], blank % store.n_fiber, light[:, a])
            left = haze.left_over(a, *around)  # where sky fibres show the sky and nothing else
            marks = np.zeros(profile.shape, np.uint8) if marked is None else marked[:, a]
            one = _Arm(
                light[fibers, a], sky[fibers, a], profile, spilt, noise, left, marks, len(blank)
            )
            _fill(out, here, a, one, view)
            if view == "stripes":
                out["keep"][here, a] += _cosmics(x[here, a], one)
                out["fiber_rays"][here, :, a] = haze.pixel_rays(a, *around, left, float(floor))
            else:
                out["fiber_rays"][here, :, a] = haze.rays(a, summed=not weighed)
            if weighed:
                out["excess"][here, a] = haze.excess(a)
            out["wavelength"][here, a] = wavelengths(wave[:, a], settings, flat.n_wave)
    _require_sky(store, row, out["keep"])
    return Scene(**{name: torch.from_numpy(values) for name, values in out.items()})


def read_skies(store: Store, view: str) -> NDArray[np.float32]:
    """Read every sky fibre of the store that both arms show.

    Parameters
    ----------
    store : Store
        A finished store.
    view : str
        One of `VIEWS`.

    Returns
    -------
    ndarray, shape (m, 2, 11, L), (m, 2, 12 or 34, L) or (m, 2, L)
        Electrons, with the noise of one sky fibre; below them what a view of `BESIDE` has there.

    Raises
    ------
    StoreError
        There is none.
    """
    flags = store.index["flags"].to_numpy()
    row = store.index["row"].to_numpy()[(flags & int(_NO_SKY)) == int(FiberFlag.SKY_FIBER)]
    x = see(view, row_reader(store, row))
    if view in BESIDE:  # cosmic rays stay in: they come with a sky
        stripe = store.read("stripes", row)
        x[:, :, : stripe.shape[2]] = stripe
    x = x[np.isfinite(x).reshape(len(x), -1).all(axis=1)]
    if not len(x):
        raise StoreError(store.work, "sky fibres, to replace the sky", "none")
    return x


def _empty(x: NDArray[np.float32], view: str) -> dict[str, NDArray[np.float32]]:
    n, n_arm, rows = len(x), x.shape[1], x.shape[-1]
    nothing = np.zeros(0, np.float32)
    spectrum = (n, n_arm, rows)
    flat = view != "stripes"
    return {
        "keep": np.empty(x.shape, np.float32),
        "floor": np.zeros((n, n_arm), np.float32),
        "sky": np.empty(spectrum, np.float32) if len(VIEWS[view]) > 1 else nothing,
        "nodes": np.empty((n, n_arm, len(NODES), rows), np.float32)
        if VIEWS[view][0] == "optimal"
        else nothing,
        "sky_error": np.empty(spectrum, np.float32) if flat else nothing,
        "wavelength": np.empty(spectrum, np.float32),
        "fiber_sky": np.empty((n, SKY_CHOICES, n_arm, 3), np.float32),
        "fiber_rays": np.empty(
            (n, SKY_CHOICES, n_arm, RAYS if flat else PIXEL_RAYS, 2), np.float32
        ),
        "excess": np.empty((n, n_arm), np.float32) if VIEWS[view][0] == "optimal" else nothing,
    }


def _sky_rows(store: Store, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of the exposure's sky fibres."""
    every = exposure_rows(store, rows)
    flags = store.index[every.tolist()]["flags"].to_numpy()
    return every[(flags & int(_NO_SKY)) == int(FiberFlag.SKY_FIBER)]


def _floor(a: int, haze: Haze, sums: list[NDArray[np.float32]] | None) -> NDArray[np.float64]:
    """Variance of a pixel without light: as the extraction counted with, or as sky fibres show.

    `sums` are the aperture sums and their inverse variances, where the former is wanted.
    """
    if sums is None:
        return np.asarray(haze.floor(a))
    return held_noise(sums[0][:, a], sums[1][:, a], haze.width)


def _fill(
    out: dict[str, NDArray[np.float32]], here: NDArray[np.int64], a: int, arm: _Arm, view: str
) -> None:
    """Write one arm's part of the scene."""
    kind = VIEWS[view][0]
    seen = 0.0 if len(VIEWS[view]) > 1 else arm.sky  # of the sky, in the view
    if kind == "stripes":
        out["keep"][here, a] = arm.sky[:, None] * arm.profile + arm.spilt + arm.haze
        out["floor"][here, a] = arm.noise
        return
    out["keep"][here, a] = seen + (arm.spilt.sum(axis=1) + arm.haze[0] if kind == "box" else 0.0)
    dark = _optimal_variance(arm, np.maximum(arm.sky, 0.0))
    out["sky_error"][here, a] = dark / arm.n_sky
    if out["sky"].size:
        out["sky"][here, a] = arm.sky
    if kind == "box":
        out["floor"][here, a] = arm.noise * arm.profile.shape[1]
        return
    star = arm.light - arm.sky
    for g, factor in enumerate(NODES):
        total = np.maximum(arm.sky + factor * star, 0.0)
        out["nodes"][here, a, g] = _optimal_variance(arm, total)


def _optimal_variance(arm: _Arm, total: NDArray[np.float32]) -> NDArray[np.float32]:
    """Horne 1986, table 1: 1 / sum(P^2 / (noise + haze + spilt + light P)); shape (n, L).

    The sum is over good pixels, or over all where these see too little of the light.
    """
    under = np.maximum(arm.haze[0] / arm.profile.shape[1], 0.0)
    pixel = arm.noise.astype(np.float32)[:, None, None] + under + arm.spilt
    pixel += total[:, None] * arm.profile
    good = np.where(arm.marks == 0, arm.profile, np.float32(0))
    known = (good.sum(axis=1) >= MIN_SHARE)[:, None]
    weight = np.where(known, good, arm.profile) ** 2 / pixel
    return np.asarray(1.0 / np.maximum(weight.sum(axis=1), 1e-12))


def _cosmics(x: NDArray[np.float32], arm: _Arm) -> NDArray[np.float32]:
    """Cosmic rays and bad pixels do not fade: what stands out in them stays."""
    excess = x - arm.light[:, None] * arm.profile - arm.spilt
    marked = (arm.marks & (BAD | COSMIC)) > 0
    return np.where(marked & np.isfinite(excess), excess, np.float32(0))


def _require_sky(store: Store, row: NDArray[np.int64], keep: NDArray[np.float32]) -> None:
    lost = np.flatnonzero(~np.isfinite(keep.reshape(len(keep), -1)).all(axis=1))
    if len(lost):
        raise StoreError(
            store.work, "a sky for every star to be faded", f"none for row {row[lost[0]]}"
        )
