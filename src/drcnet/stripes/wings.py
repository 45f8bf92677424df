"""A fibre's spatial profile as a free core on wings of few shapes, fitted to crowded pixels.

Where fibres stand two FWHM apart, the wings of each lie under the cores of its neighbours, and a
free curve cannot tell them apart. Beyond the core the profile is therefore a sum, with no
negative part, of shapes that telescopes and cameras are known to give: a Gaussian, Moffat
profiles (Moffat 1969, A&A 3, 455) and a Lorentzian, all symmetric and of the core's FWHM.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline

from drcnet.stripes.bands import Bands
from drcnet.stripes.profilefit import PixelSums, Shapes, fit_profile
from drcnet.stripes.spatial import (
    NEIGHBORS,
    OWN,
    REACH,
    STEP,
    SpatialProfile,
    first_light,
    fit_table,
    place_pixels,
    table_grid,
)
from drcnet.stripes.spline import cubic_design

__all__ = [
    "CORE",
    "N_WINGS",
    "measure_profile",
    "shape_values",
]

CORE = 1.25
"""FWHM from the centre up to which a spline corrects the sum of known shapes."""

_CORE_KNOTS = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0, 1.1, CORE)
_MOFFAT = (10.0, 7.0, 5.0, 3.5, 2.5, 1.7, 1.0)  # exponents beta; 1 is a Lorentzian
_BLOCKS, _ROW_BANDS = 5, 4  # places on the chip at which a table is measured
_WING_BANDS = 16  # bands on which the chip's common wings are measured
_GLOW_PIECES = (3, 4)  # of splines for scattered light on the flat, over fibres and bands
_PROFILE_ERROR = 0.001  # of a pixel's light, beside its noise
N_WINGS = 1 + len(_MOFFAT)
"""Shapes of which the wings are made."""


def measure_profile(
    bands: Bands,
    center: NDArray[np.float64],
    width: NDArray[np.float64],
    fibers: NDArray[np.int64],
) -> SpatialProfile:
    """Measure the spatial profile on a flat's bands, in several places of the chip.

    Parameters
    ----------
    bands : Bands
        The flat.
    center, width : ndarray, shape (n, n_band)
        Centre and FWHM of the fibres that give light, spatial pixels.
    fibers : ndarray, shape (n,)
        Their indices among all fibres, from 0.

    Returns
    -------
    SpatialProfile
        Tables of integral 1.
    """
    n, n_band = center.shape
    fiber_parts = np.array_split(np.arange(n), max(1, min(_BLOCKS, n // 8)))
    row_parts = np.array_split(np.arange(n_band), max(1, min(_ROW_BANDS, n_band // 8)))
    light = first_light(bands, center, width)
    for some in row_parts:
        # All fibres first: a place's outer fibres need the light of neighbours beyond it.
        found = fit_table(bands, (center, width, light), (np.arange(n), some), turns=2)[1]
        light[:, some] = found[:, some]
    every = np.arange(0, n_band, max(1, n_band // _WING_BANDS))  # enough of so smooth a thing
    fibers_seen = (center, width, light)
    wings, light = _fit_wings(bands, fibers_seen, (np.arange(n), every))
    tables = np.empty((len(fiber_parts), len(row_parts), len(table_grid())), dtype=np.float32)
    for j, some in enumerate(row_parts):
        for i, part in enumerate(fiber_parts):
            tables[i, j] = _fit_core(bands, (center, width, light), (part, some[::2]), wings)
    return SpatialProfile(
        tables,
        np.array([float(fibers[f].mean()) for f in fiber_parts]),
        np.array([bands.rows[b].mean() for b in row_parts]),
    )


def _fit_wings(
    bands: Bands,
    fibers: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    place: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wings common to the whole chip, and the light by which they are normalised.

    Edges, gaps and dead fibres, where wings lie open, are few: all of them are used together,
    on scattered light that is smooth over fibres and bands and nowhere negative:
    free to be negative, it would take back what the wings are given too much.
    """
    center, width, light = fibers
    pixels = _pixel_sums(bands, center, width, place, _GLOW_PIECES)
    shapes = _shapes()
    coef, light = fit_profile(pixels, light.ravel(), shapes, np.full(len(shapes.lower), np.nan))
    return coef[-N_WINGS:], light.reshape(center.shape)


def _fit_core(
    bands: Bands,
    fibers: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    place: tuple[NDArray[np.int64], NDArray[np.int64]],
    wings: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Table of one place: its own core on the chip's wings."""
    center, width, light = fibers
    pixels = _pixel_sums(bands, center, width, place, (1, 1))
    shapes = _shapes()
    known = np.full(len(shapes.lower), np.nan)
    known[-N_WINGS:] = wings
    coef, _ = fit_profile(pixels, light.ravel(), shapes, known)
    table = np.maximum(shapes.table @ coef, 0.0)
    return np.asarray(table / (table.sum() * STEP))


def _shapes() -> Shapes:
    """Free splines in the core, wings nowhere negative."""
    table = shape_values(table_grid(), REACH + STEP)
    lower = np.full(table.shape[1], -np.inf)
    lower[-N_WINGS:] = 0.0
    return Shapes(table_grid(), table, lower)


def _pixel_sums(
    bands: Bands,
    center: NDArray[np.float64],
    width: NDArray[np.float64],
    place: tuple[NDArray[np.int64], NDArray[np.int64]],
    pieces: tuple[int, int],
) -> PixelSums:
    """Pixels of a place for the fit of core and wings, on smooth scattered light."""
    data, good, distances, owners = place_pixels(bands, center, width, place)
    spread = np.maximum(data, np.percentile(data, 5) + 1.0) / bands.step
    weight = np.where(good, 1.0 / (spread + (_PROFILE_ERROR * data) ** 2), 0.0)
    order = [OWN, *(k for k in range(len(NEIGHBORS)) if k != OWN)]
    fiber, band = np.divmod(owners[OWN], center.shape[1])
    glow = _smooth_terms(fiber, band, pieces)
    distances, owners = [distances[k] for k in order], [owners[k] for k in order]
    values = [shape_values(u, REACH) for u in distances]
    return PixelSums(data, weight, distances, values, owners, glow)


def _smooth_terms(
    fiber: NDArray[np.int64], band: NDArray[np.int64], pieces: tuple[int, int]
) -> NDArray[np.float64]:
    """Products of splines over fibres and bands, nowhere negative; shape (n_pixel, n_glow)."""
    terms = []
    for index, wanted in zip((fiber, band), pieces, strict=True):
        count = len(np.unique(index))
        place = (index - index.min()) / max(int(np.ptp(index)), 1)
        used = min(wanted, count // 4)
        if used == 0:
            terms.append(np.ones((len(index), 1)))
            continue
        inner = np.linspace(0.0, 1.0, used + 1)
        knots = np.concatenate([[0.0] * 2, inner, [1.0] * 2])
        terms.append(BSpline.design_matrix(place, knots, 2).toarray())
    return np.asarray((terms[0][:, :, None] * terms[1][:, None, :]).reshape(len(fiber), -1))


def shape_values(u: NDArray[np.float64], reach: float) -> NDArray[np.float64]:
    """Evaluate the core's splines and the wings' shapes.

    Parameters
    ----------
    u : ndarray, shape (n,)
        Distance in FWHM.
    reach : float
        Distance beyond which everything is 0.

    Returns
    -------
    ndarray, shape (n, n_shape)
        Splines first (they end smoothly at 1.25 FWHM), then the wings.
    """
    right = np.array(_CORE_KNOTS)
    inner = np.concatenate([-right[:0:-1], right])
    knots = np.concatenate([[-CORE] * 3, inner, [CORE] * 3])
    within = np.abs(u) < CORE
    design = cubic_design(np.where(within, u, 0.0), knots)[:, 2:-2]
    wings = [np.exp(-4.0 * np.log(2.0) * u**2)]
    wings += [(1.0 + 4.0 * (2.0 ** (1.0 / b) - 1.0) * u**2) ** -b for b in _MOFFAT]
    inside = np.abs(u) < reach
    return np.hstack([design * within[:, None], np.stack(wings, axis=1) * inside[:, None]])
