"""Rows of a store as tensors: the 2-D or the 1-D view of the same stars, and their batches.

A set of the paper's size is 2 GB as stripes, so it lies in memory whole; nothing is read twice.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from drcnet.dataset.profiles import ANGSTROM, FLAT_ARRAYS, row_reader
from drcnet.dataset.store import Progress, Store
from drcnet.errors import StoreError
from drcnet.stripes.normalize import normalize

__all__ = [
    "BESIDE",
    "FLAT_BESIDE",
    "FULL",
    "PHYSICAL",
    "SKY_BESIDE",
    "VIEWS",
    "WEIGHED",
    "Samples",
    "batch_rows",
    "electrons",
    "epoch_order",
    "lit_arms",
    "load_part",
    "normalize_rows",
    "rows_beside",
    "see",
]

VIEWS = {
    "stripes": ("stripes",),
    "box": ("box",),
    "optimal": ("optimal",),
    "box-sky": ("box", "sky"),
    "optimal-sky": ("optimal", "sky"),
    "optimal-ivar": ("optimal", "sky"),
    "stripes-sky": ("stripes",),
    "stripes-flat": ("stripes",),
    "optimal-full": ("optimal", "sky"),
    "stripes-full": ("stripes",),
}
"""View to the array of the store that shows it, and to what is taken off that."""

WEIGHED = {"optimal-ivar": "optimal_ivar", "optimal-full": "optimal_ivar"}
"""View that knows its noise to the array of inverse variances that goes along: it has an axis
more before the wavelengths, with spectrum and inverse variance."""

FULL = {"optimal-full": ("sky", ANGSTROM), "stripes-full": (ANGSTROM,)}
"""View that is told all that is known of a star's light, to the arrays that it has below those of
`optimal-ivar` or `stripes-sky`: the sky that was taken off, and every pixel's vacuum wavelength in
angstrom. (n, 2, 4, 3000) and (n, 2, 13, 3000)."""

SKY_BESIDE = "stripes-sky"
"""The stripe, NaN where a pixel is bad or a cosmic ray was found, and the frame's sky at the fibre
as one more row across: (n, 2, 12, 3000)."""

FLAT_BESIDE = "stripes-flat"
"""As `SKY_BESIDE`, and below that what the flat knows: the fibre's profile on each pixel, and the
light that the neighbours are believed to bring: (n, 2, 34, 3000)."""

BESIDE = frozenset({SKY_BESIDE, FLAT_BESIDE, "stripes-full"})
"""Views of stripes with rows below them that are no pixels."""

PHYSICAL = frozenset({*WEIGHED, *BESIDE})
"""Views for models that know their noise: in electrons, never normalised outside the model."""

_PIXELS = 2**18
"""Pixels normalised at once: what fits into a core's cache is done 4 times faster than 256 stripes
at once, to the same bits."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Stars in memory.

    Parameters
    ----------
    x : Tensor, shape (n, 2, 11, 3000), (n, 2, 3000) or (n, 2, 2, 3000), float32
        Electrons, or what `normalized` made of them; a view of `WEIGHED` has electrons and their
        inverse variance along the third axis, a view of `BESIDE` 11 pixels and what stands below;
        `FULL` ones have more below.
    label : Tensor, shape (n,), int64
        Position of each star's class in `classes`.
    row : ndarray, shape (n,), int64
        Rows of the store, increasing.
    classes : tuple of str
        Class names, in the order of the labels.
    """

    x: Tensor
    label: Tensor
    row: NDArray[np.int64]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check that the parts are equally long."""
        if not len(self.x) == len(self.label) == len(self.row):
            raise ValueError(
                "'x', 'label' and 'row' of Samples must be equally long, "
                f"got {len(self.x)}, {len(self.label)}, {len(self.row)}"
            )

    def __len__(self) -> int:
        """Count the stars."""
        return len(self.row)

    def normalized(self, how: str) -> "Samples":
        """Normalise each stripe and arm.

        Parameters
        ----------
        how : {'zscore', 'robust', 'none'}
            See `drcnet.stripes.normalize.normalize`.

        Returns
        -------
        Samples
            The same stars; row by row, so that a batch would come out the same.
        """
        return replace(self, x=normalize_rows(self.x, how, torch.empty_like(self.x)))

    def to(self, device: torch.device) -> "Samples":
        """Move data and labels.

        Parameters
        ----------
        device : torch.device
            Where to.

        Returns
        -------
        Samples
            The same stars there.
        """
        return replace(self, x=self.x.to(device), label=self.label.to(device))


def normalize_rows(x: Tensor, how: str, out: Tensor) -> Tensor:
    """Normalise rows in pieces that fit into a core's cache.

    Parameters
    ----------
    x : Tensor, shape (n, 2, ...)
        Electrons.
    how : {'zscore', 'robust', 'none'}
        See `drcnet.stripes.normalize.normalize`.
    out : Tensor, shape (n, 2, ...)
        Where to write; may be `x`.

    Returns
    -------
    Tensor
        `out`.
    """
    rows = max(1, _PIXELS // max(1, x[:1].numel()))
    for start in range(0, len(x), rows):
        out[start : start + rows] = normalize(x[start : start + rows], how)
    return out


def load_part(
    store: Store,
    split: pl.DataFrame,
    part: str,
    *,
    view: str,
    classes: Sequence[str],
    progress: Progress | None = None,
) -> Samples:
    """Read one part of a split into memory.

    Parameters
    ----------
    store : Store
        The store that the split is of.
    split : DataFrame
        From `drcnet.dataset.split.read_split`.
    part : {'train', 'validation', 'test', 'unused'}
        Which rows.
    view : str
        One of `VIEWS`.
    classes : sequence of str
        Class names, in the order of the labels.
    progress : callable, optional
        Called as progress(stage, done, total).

    Returns
    -------
    Samples
        Electrons as float32, in the order of the rows.

    Raises
    ------
    StoreError
        No such view, a class that is not in `classes`, or a row without a single finite pixel in
        one of its arms (dead fibres are not trained on).
    """
    where = store.work / "split.parquet"
    if view not in VIEWS:
        raise StoreError(where, f"one of the views {', '.join(VIEWS)}", repr(view))
    rows = split.filter(pl.col("part") == part).sort("row")
    strangers = sorted(set(rows["class"].unique()) - set(classes))
    if strangers:
        raise StoreError(where, f"classes {', '.join(classes)}", ", ".join(strangers))
    number = {name: k for k, name in enumerate(classes)}
    label = np.array([number[name] for name in rows["class"]], dtype=np.int64)
    row = rows["row"].to_numpy().astype(np.int64)
    x = see(view, row_reader(store, row, progress))
    dark = ~lit_arms(x, view).all(axis=1)
    if dark.any():
        raise StoreError(
            where,
            "rows that hold light in both arms",
            f"{dark.sum()} without a finite pixel, the first is row {row[dark][0]}",
        )
    return Samples(torch.from_numpy(x), torch.from_numpy(label), row, tuple(classes))


def see(view: str, get: Callable[[str], NDArray[Any]]) -> NDArray[np.float32]:
    """Put a view together.

    Parameters
    ----------
    view : str
        One of `VIEWS`.
    get : callable
        get(name) gives an array by its name: of the store, of
        `drcnet.dataset.profiles.FLAT_ARRAYS`, or `ANGSTROM`.

    Returns
    -------
    ndarray, float32
        Electrons; the sky taken off where the view has none. A view of `WEIGHED` is stacked with
        its inverse variance before the last axis; both are NaN where nothing is known.
        A view of `BESIDE` has the sky as one more row across, and `FLAT_BESIDE` profile and
        neighbours below that; one of `FULL` ends with what it is told besides.
    """
    shown, *taken = VIEWS[view]
    x = get(shown).astype(np.float32, copy=False)
    if view in BESIDE:
        return _see_beside(x, view, get)
    for name in taken:
        x = x - get(name).astype(np.float32, copy=False)
    if view not in WEIGHED:
        return x
    ivar = get(WEIGHED[view]).astype(np.float32, copy=False)
    known = np.isfinite(x) & np.isfinite(ivar) & (ivar > 0)
    told = [get(name).astype(np.float32, copy=False) for name in FULL.get(view, ())]
    return np.stack(
        [*(np.where(known, part, np.float32(np.nan)) for part in (x, ivar)), *told], axis=-2
    )


def _see_beside(
    x: NDArray[np.float32], view: str, get: Callable[[str], NDArray[Any]]
) -> NDArray[np.float32]:
    """Stripes with rows below them; filled part by part, as they are the memory's largest."""
    names = FLAT_ARRAYS if view == FLAT_BESIDE else ()
    told = FULL.get(view, ())
    across = x.shape[-2]
    shape = (*x.shape[:-2], across * (1 + len(names)) + 1 + len(told), x.shape[-1])
    out = np.empty(shape, np.float32)
    out[..., :across, :] = np.where(get("mask") == 0, x, np.float32(np.nan))
    out[..., across, :] = get("sky")
    for number, name in enumerate(names):
        first = across + 1 + number * across
        out[..., first : first + across, :] = get(name)
    for number, name in enumerate(told):
        out[..., across + 1 + number, :] = get(name)
    return out


def lit_arms(x: NDArray[np.floating], view: str) -> NDArray[np.bool_]:
    """Say which arms of which stars hold any light.

    Parameters
    ----------
    x : ndarray, shape (n, 2, ..., L)
        Stars in that view.
    view : str
        One of `VIEWS`.

    Returns
    -------
    ndarray, shape (n, 2), bool
        Whether a value of the arm's light is finite; what stands below it is no light.
    """
    light = x
    if view in BESIDE:
        light = x[:, :, : _across(x.shape[2], view)]
    elif view in WEIGHED:
        light = x[:, :, 0]
    return np.asarray(np.isfinite(light).reshape(*x.shape[:2], -1).any(axis=2))


def rows_beside(x: Tensor, view: str) -> Tensor:
    """Give what stands below the light: what does not fade with a star.

    Parameters
    ----------
    x : Tensor, shape (n, 2, 12, 13 or 34, 3000), or (n, 2, 4, 3000)
        Stars in that view.
    view : str
        One of `BESIDE` or `FULL`.

    Returns
    -------
    Tensor, shape (n, 2, 1, 2 or 23, 3000), or (n, 2, 2, 3000)
        Below a stripe the sky, and of `FLAT_BESIDE` profile and neighbours; what a view of `FULL`
        is told, below spectrum and inverse variance too; no copy.
    """
    return x[:, :, 2:] if view in WEIGHED else x[:, :, _across(x.shape[2], view) :]


def _across(rows: int, view: str) -> int:
    """Count the pixels across among the rows of a view of `BESIDE`."""
    if view == FLAT_BESIDE:
        return (rows - 1) // (1 + len(FLAT_ARRAYS))
    return rows - 1 - len(FULL.get(view, ()))


def electrons(x: Tensor, view: str) -> tuple[Tensor, str]:
    """Give the light of a view without what stands beside it.

    Parameters
    ----------
    x : Tensor
        Stars in that view.
    view : str
        One of `VIEWS`.

    Returns
    -------
    Tensor, shape (n, 2, 11, 3000) or (n, 2, 3000)
        Without inverse variance, or what stands below a stripe.
    str
        The view that this is; for a view of `WEIGHED` its own name.
    """
    if view in WEIGHED:
        return x[:, :, 0].contiguous(), view
    if view in BESIDE:
        return x[:, :, : _across(x.shape[2], view)].contiguous(), "stripes"
    return x, view


def epoch_order(n: int, seed: int, epoch: int) -> Tensor:
    """Draw the order of one epoch.

    Every epoch's order follows from seed and epoch alone, so a resumed training needs no
    generator's state to see the same stars in the same order.

    Parameters
    ----------
    n : int
        Stars.
    seed : int
        The run's.
    epoch : int
        Counted from 1.

    Returns
    -------
    Tensor of int64, shape (n,)
        A permutation.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, epoch]))
    return torch.from_numpy(rng.permutation(n))


def batch_rows(order: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Cut an order into batches.

    Parameters
    ----------
    order : Tensor of int64, shape (n,)
        From `epoch_order`.
    batch_size : int
        Stars a batch; the last batch holds what is left. A single star left over joins the batch
        before, since batch normalisation cannot use one alone.

    Yields
    ------
    Tensor of int64, shape (<= batch_size + 1,)
        Positions in `Samples`.
    """
    starts = list(range(0, len(order), batch_size))
    if batch_size > 1 and len(starts) > 1 and len(order) % batch_size == 1:
        starts.pop()
    for start, stop in zip(starts, [*starts[1:], len(order)], strict=True):
        yield order[start:stop]
