"""One spatial profile fitted to crowded pixels, with all fibres' light, places and widths."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear
from scipy.sparse import csr_array, diags_array, hstack
from scipy.sparse.linalg import splu

__all__ = ["PixelSums", "Shapes", "fit_profile"]

_TURNS = 2  # linearisations: a third moves the wings by less than a thousandth
_CLIP = 6.0
_PLACE_ERROR = 0.002  # FWHM: what a trace may be off by in one band
_WIDTH_ERROR = 0.01  # of the FWHM


class PixelSums(NamedTuple):
    """Pixels, each a sum of some fibres' light.

    Parameters
    ----------
    data, weight : ndarray, shape (n_pixel,)
        Electrons and inverse variance.
    distances : sequence of ndarray, each of shape (n_pixel,)
        From the fibres that shine there, in their FWHM; the first is the pixel's own.
    values : sequence of ndarray, each of shape (n_pixel, n_shape)
        The shapes at these distances.
    owners : sequence of ndarray, each of shape (n_pixel,), int
        Index of their light.
    glow : ndarray, shape (n_pixel, n_glow)
        Smooth terms of which scattered light is made, with no negative part.
    """

    data: NDArray[np.float64]
    weight: NDArray[np.float64]
    distances: list[NDArray[np.float64]]
    values: list[NDArray[np.float64]]
    owners: list[NDArray[np.int64]]
    glow: NDArray[np.float64]


class Shapes(NamedTuple):
    """The shapes of which a profile is made.

    Parameters
    ----------
    grid : ndarray, shape (n_u,)
        Equidistant distances in FWHM.
    table : ndarray, shape (n_u, n_shape)
        The shapes there.
    lower : ndarray, shape (n_shape,)
        Least coefficient of each.
    """

    grid: NDArray[np.float64]
    table: NDArray[np.float64]
    lower: NDArray[np.float64]


def fit_profile(
    pixels: PixelSums,
    light: NDArray[np.float64],
    shapes: Shapes,
    known: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit a profile, and with it the light of every fibre and band.

    In turns of Gauss and Newton. Errors of the traces' places and widths would pass for wings,
    for a profile too wide lifts both of its flanks: every fibre and band has its own small ones,
    which are eliminated from the normal equations together with its light (Schur complement).
    Fitted in turn instead, light and wings would creep towards each other for very long.

    Parameters
    ----------
    pixels : PixelSums
        The pixels.
    light : ndarray, shape (n_light,)
        First estimates; those that no pixel belongs to are kept.
    shapes : Shapes
        What the profile is made of.
    known : ndarray, shape (n_shape,)
        Coefficients known already; NaN for those to be fitted.

    Returns
    -------
    coef : ndarray, shape (n_shape,)
        Of a profile of integral 1.
    light : ndarray, shape (n_light,)
        Nowhere negative.
    """
    fitted = np.isnan(known)
    area = shapes.table.sum(axis=0) * (shapes.grid[1] - shapes.grid[0])
    own = np.unique(pixels.owners[0])
    design = _design(pixels, light)
    plain = np.column_stack([design, pixels.data])
    full = _bounded(plain.T @ (pixels.weight[:, None] * plain), shapes.lower, known)
    if fitted.all():
        total = float(area @ full[: len(area)])
        full[: len(area)] /= total
        light = light * total
    for turn in range(_TURNS):
        design = _design(pixels, light)
        nuisance = _nuisance(pixels, light, (shapes, full[: len(area)]), own)
        normal, solved = _reduced(np.column_stack([design, pixels.data]), pixels.weight, nuisance)
        # The scale of the profile is that of the light: its integral is held to 1.
        unit = np.concatenate([area, np.zeros(design.shape[1] - len(area)), [1.0]])
        normal += np.outer(unit, unit) * (1e-3 * np.trace(normal[:-1, :-1]) / (area @ area))
        full = _bounded(normal, shapes.lower, known)
        moved = solved[:, -1] - solved[:, :-1] @ full
        light = light.copy()
        light[own] = np.maximum(light[own] + moved[: len(own)], 0.0)
        if turn == 0:
            residual = pixels.data - design @ full - nuisance @ moved
            pixels = pixels._replace(weight=_clipped(pixels.weight, residual))
    return full[: len(area)], light


def _design(pixels: PixelSums, light: NDArray[np.float64]) -> NDArray[np.float64]:
    """All fibres' shapes, each with its light, and glow; shape (n_pixel, n_shape + n_glow)."""
    total = np.zeros(pixels.values[0].shape)
    for values, owner in zip(pixels.values, pixels.owners, strict=True):
        total += light[owner, None] * values
    return np.hstack([total, pixels.glow])


def _nuisance(
    pixels: PixelSums,
    light: NDArray[np.float64],
    profile: tuple[Shapes, NDArray[np.float64]],
    own: NDArray[np.int64],
) -> csr_array:
    """What light, place and width of each fibre and band change; shape (n_pixel, 3 n_own)."""
    shapes, coef = profile
    line = shapes.table @ coef
    slope = np.gradient(line, shapes.grid)
    column = np.full(len(light), -1)
    column[own] = np.arange(len(own))
    parts: list[list[NDArray[np.float64]]] = [[], [], []]
    pixel, owner = [], []
    for u, which in zip(pixels.distances, pixels.owners, strict=True):
        near = np.flatnonzero((np.abs(u) < shapes.grid[-1]) & (column[which] >= 0))
        here, give = u[near], light[which[near]]
        value, tilt = np.interp(here, shapes.grid, line), np.interp(here, shapes.grid, slope)
        parts[0].append(value)
        parts[1].append(-give * tilt)
        parts[2].append(-give * (value + here * tilt))
        pixel.append(near)
        owner.append(column[which[near]])
    place = (np.concatenate(pixel), np.concatenate(owner))
    size = (len(pixels.data), len(own))
    return hstack([csr_array((np.concatenate(a), place), shape=size) for a in parts]).tocsr()


def _reduced(
    both: NDArray[np.float64], weight: NDArray[np.float64], nuisance: csr_array
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Normal equations of design and data without the nuisance, and how to find that again."""
    count = nuisance.shape[1] // 3
    weighted = (nuisance.multiply(weight[:, None])).tocsr()
    inner = (weighted.T @ nuisance).tocsc()
    diagonal = inner.diagonal()
    prior = np.repeat([0.0, _PLACE_ERROR**-2.0, _WIDTH_ERROR**-2.0], count)
    prior += np.where(diagonal > 0, 1e-9 * diagonal + 1e-12 * diagonal.max(), 1.0)
    mixed = np.asarray(weighted.T @ both)
    solved = splu((inner + diags_array(prior)).tocsc()).solve(mixed)
    return both.T @ (weight[:, None] * both) - mixed.T @ solved, solved


def _bounded(
    normal: NDArray[np.float64], lower: NDArray[np.float64], known: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Least squares with lower bounds from normal equations, whose last column is the data's."""
    size = len(normal) - 1
    full = np.zeros(size)
    full[: len(known)] = np.where(np.isnan(known), 0.0, known)
    free = np.ones(size, dtype=bool)
    free[: len(known)] = np.isnan(known)
    least = np.zeros(size)
    least[: len(lower)] = lower
    right = (normal[:-1, -1] - normal[:-1, :-1] @ full)[free]
    inner = normal[:-1, :-1][np.ix_(free, free)]
    scale = np.sqrt(np.maximum(np.diag(inner), 1e-300))
    root = np.linalg.cholesky(inner / np.outer(scale, scale) + 1e-12 * np.eye(len(scale))).T
    target = np.linalg.solve(root.T, right / scale)
    found = lsq_linear(root, target, bounds=(least[free] * scale, np.inf), method="bvls")
    full[free] = found.x / scale
    return full


def _clipped(weight: NDArray[np.float64], residual: NDArray[np.float64]) -> NDArray[np.float64]:
    away = np.abs(residual) * np.sqrt(weight)
    return np.where(away > _CLIP * 1.4826 * np.median(away), 0.0, weight)
