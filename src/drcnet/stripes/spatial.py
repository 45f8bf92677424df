"""How a fibre's light spreads across its trace, measured on the flat, wings and neighbours too."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from scipy.optimize import nnls

from drcnet.errors import FrameError
from drcnet.stripes.bands import Bands
from drcnet.stripes.spline import add_splines, cubic_basis

__all__ = [
    "NEIGHBORS",
    "OWN",
    "REACH",
    "STEP",
    "SpatialProfile",
    "first_light",
    "fit_table",
    "gaussian_table",
    "place_pixels",
    "table_grid",
]

REACH = 5.6
"""Largest distance of the table from the centre, in FWHM: two fibres away on LAMOST."""
STEP = 0.02
"""Distance between samples of the table, in FWHM."""
NEIGHBORS = (-2, -1, 0, 1, 2)
"""Fibres that shine on a pixel, counted from the one it belongs to."""
OWN = NEIGHBORS.index(0)
"""Which of them it belongs to."""

_CORE, _CORE_KNOT = 1.0, 0.125  # FWHM
_WING_KNOTS = (1.0, 1.2, 1.45, 1.75, 2.1, 2.6, 3.3, 4.3, REACH)
_DARK_REACH = 2.0  # pitches from a fibre up to which pixels without a nearer one are its


@dataclass(frozen=True, eq=False)
class SpatialProfile:
    """Light against distance from the centre, in units of the trace's FWHM.

    Parameters
    ----------
    table : ndarray, shape (n_block, n_band, n_u), float32
        Light a unit of u = distance / FWHM, integral 1; u runs from -5.6 to 5.6.
    fibers : ndarray, shape (n_block,)
        Fibre index (from 0) that each table stands for.
    rows : ndarray, shape (n_band,)
        Wavelength pixel that each table stands for.
    """

    table: NDArray[np.float32]
    fibers: NDArray[np.float64]
    rows: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Hold the invariants of shape."""
        wanted = (len(self.fibers), len(self.rows), len(table_grid()))
        if self.table.shape != wanted:
            raise FrameError("SpatialProfile", f"a table of shape {wanted}", str(self.table.shape))

    def fiber_tables(self, count: int) -> NDArray[np.float32]:
        """Interpolate the tables to every fibre.

        Parameters
        ----------
        count : int
            Number of fibres.

        Returns
        -------
        ndarray, shape (count, n_band, n_u), float32
            One set of tables a fibre.
        """
        place = np.interp(np.arange(count), self.fibers, np.arange(len(self.fibers)))
        low = np.minimum(place.astype(np.int64), max(len(self.fibers) - 2, 0))
        high = np.minimum(low + 1, len(self.fibers) - 1)
        part = (place - low).astype(np.float32)[:, None, None]
        return np.ascontiguousarray((1 - part) * self.table[low] + part * self.table[high])


def table_grid() -> NDArray[np.float64]:
    """Distances of the table's samples.

    Returns
    -------
    ndarray, shape (n_u,)
        From -5.6 to 5.6 FWHM.
    """
    half = round(REACH / STEP)
    return STEP * np.arange(-half, half + 1, dtype=np.float64)


def gaussian_table() -> NDArray[np.float64]:
    """Profile of a Gaussian, where nothing better is known yet.

    Returns
    -------
    ndarray, shape (n_u,)
        Integral 1.
    """
    table = np.exp(-4.0 * np.log(2.0) * table_grid() ** 2)
    return np.asarray(table / (table.sum() * STEP))


def fit_table(
    bands: Bands,
    fibers: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    place: tuple[NDArray[np.int64], NDArray[np.int64]],
    *,
    turns: int = 4,
    clip: float = 6.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measure the profile of some fibres and bands.

    A cubic B-spline in u = distance / FWHM is fitted to all pixels at once, each pixel being
    the sum of the fibre it belongs to, two neighbours on each side and a constant (scattered
    light); the fibres' light is then measured anew and the fit done again.

    Parameters
    ----------
    bands : Bands
        The flat.
    fibers : tuple of ndarray, each of shape (n, n_band)
        Centre and FWHM (spatial pixels) and light of the fibres that give light.
    place : tuple of ndarray
        Indices of the fibres and of the bands to use.
    turns : int
        Fits, at least 2.
    clip : float
        Residuals beyond so many robust standard deviations are left out after the first fit.

    Returns
    -------
    table : ndarray, shape (n_u,)
        Light a unit of u, integral 1, nowhere negative.
    light : ndarray, shape (n, n_band)
        The fibres' light, measured anew in the place.
    """
    center, width, light = fibers
    light = light.ravel()
    data, good, distances, owners = place_pixels(bands, center, width, place)
    knots = _knots()
    designs = [_design(u, knots) for u in distances]
    weight = np.where(good, 1.0 / np.maximum(data, np.percentile(data, 5) + 1.0), 0.0)
    coef = np.zeros(len(knots) - 4)
    for turn in range(turns):
        system = _system(light, designs, owners, len(coef))
        solved = _falling(system * weight[:, None], system, data)
        coef[2:-2] = solved[:-1]
        norm = BSpline(knots, coef, 3).integrate(-REACH, REACH)
        coef /= norm
        residual = data - system @ solved
        first, basis = designs[OWN]
        own = (basis * coef[first[:, None] + np.arange(4)]).sum(axis=1)
        light = _relight(light * norm, residual, (owners[OWN], own), weight)
        if turn == turns - 2:
            away = np.abs(residual) * np.sqrt(weight)
            weight = np.where(away > clip * 1.4826 * np.median(away), 0.0, weight)
    table = np.maximum(BSpline(knots, coef, 3)(table_grid()), 0.0)
    return np.asarray(table / (table.sum() * STEP)), light.reshape(center.shape)


def _falling(
    weighted: NDArray[np.float64], system: NDArray[np.float64], data: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Least squares whose coefficients fall to both sides and whose constant is not negative.

    Wings of many fibres add up to nearly a constant, so that the two can hardly be told apart
    by the data alone; that a profile only falls outwards tells them apart well enough.
    """
    size = system.shape[1] - 1
    half = size // 2
    fall = np.zeros((size + 1, size + 1))
    fall[:half, :half] = np.tri(half)
    fall[half:size, half:size] = np.tri(size - half).T
    fall[size, size] = 1.0
    normal = fall.T @ (weighted.T @ system) @ fall
    normal += 1e-9 * np.diag(np.diag(normal)) + 1e-12 * np.trace(normal) * np.eye(size + 1)
    root = np.linalg.cholesky(normal).T
    right = np.linalg.solve(root.T, fall.T @ (weighted.T @ data))
    return np.asarray(fall @ nnls(root, right)[0])


def _knots() -> NDArray[np.float64]:
    core = np.arange(0.0, _CORE, _CORE_KNOT)
    right = np.concatenate([core, _WING_KNOTS])
    inner = np.concatenate([-right[:0:-1], right])
    return np.concatenate([[inner[0]] * 3, inner, [inner[-1]] * 3])


def _design(
    u: NDArray[np.float64], knots: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """First coefficient and the four basis values of each pixel; 0 beyond the reach."""
    inside = np.abs(u) < REACH
    first, basis = cubic_basis(np.where(inside, u, 0.0), knots)
    return first, basis * inside[:, None]


def _system(
    light: NDArray[np.float64],
    designs: list[tuple[NDArray[np.int64], NDArray[np.float64]]],
    owners: list[NDArray[np.int64]],
    size: int,
) -> NDArray[np.float64]:
    """Pixels as sums of five fibres' splines and a constant; shape (n_pixel, size - 3).

    The two outermost coefficients on each side stay 0: the table ends smoothly, and what is
    flat beyond it is the constant's.
    """
    system = np.zeros((len(owners[0]), size + 1))
    for (first, basis), owner in zip(designs, owners, strict=True):
        add_splines(system, light[owner], first, basis)
    system[:, -3] = 1.0
    return system[:, 2:-2]


def place_pixels(
    bands: Bands,
    center: NDArray[np.float64],
    width: NDArray[np.float64],
    place: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> tuple[
    NDArray[np.float64], NDArray[np.bool_], list[NDArray[np.float64]], list[NDArray[np.int64]]
]:
    """Collect the pixels near some fibres.

    Parameters
    ----------
    bands : Bands
        The flat.
    center, width : ndarray, shape (n, n_band)
        Centre and FWHM of the fibres that give light, spatial pixels.
    place : tuple of ndarray
        Indices of the fibres and of the bands to use.

    Returns
    -------
    data, good : ndarray, shape (n_pixel,)
        Light, and whether it is to be used.
    distances, owners : list of ndarray, each of shape (n_pixel,)
        For each of `NEIGHBORS`: distance in its FWHM (beyond reach where there is none) and
        index fibre * n_band + band.
    """
    fibers, rows = place
    n, n_band = center.shape
    spacing = float(np.median(np.diff(center[:, n_band // 2]))) if n > 1 else 2.0 * width.max()
    half = int(np.ceil(_DARK_REACH * spacing))
    line = center[:, rows]
    pixel = np.rint(line[fibers]).astype(np.int64)[..., None] + np.arange(-half, half + 1)
    # A pixel belongs to the nearest fibre; dark gaps and edges show the wings on their own.
    middles = 0.5 * (line[1:] + line[:-1])
    ends = np.full((1, len(rows)), np.inf)
    low = np.concatenate([-ends, middles])[fibers][..., None]
    high = np.concatenate([middles, ends])[fibers][..., None]
    kept = (pixel >= low) & (pixel < high) & (pixel >= 0) & (pixel < bands.light.shape[1])
    which = np.nonzero(kept)
    pixel = pixel[which]
    fiber, band = fibers[which[0]], rows[which[1]]
    distances, owners = [], []
    for step in NEIGHBORS:
        other = np.clip(fiber + step, 0, n - 1)
        u = (pixel - center[other, band]) / width[other, band]
        distances.append(np.where(fiber + step == other, u, 2.0 * REACH))
        owners.append(other * n_band + band)
    data = bands.light[band, pixel].astype(np.float64)
    return data, bands.good[band, pixel], distances, owners


def first_light(
    bands: Bands,
    center: NDArray[np.float64],
    width: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Guess the light of every fibre and band from the pixels at its centre.

    Parameters
    ----------
    bands : Bands
        The flat.
    center, width : ndarray, shape (n, n_band)
        Centre and FWHM, spatial pixels.

    Returns
    -------
    ndarray, shape (n, n_band)
        A pixel's value times FWHM.
    """
    pixel = np.clip(np.rint(center).astype(np.int64), 1, bands.light.shape[1] - 2)
    band = np.arange(center.shape[1])
    near = [bands.light[band, pixel + step] for step in (-1, 0, 1)]
    return np.asarray(np.maximum(np.median(near, axis=0), 0.0) * width)


def _relight(
    light: NDArray[np.float64],
    residual: NDArray[np.float64],
    own: tuple[NDArray[np.int64], NDArray[np.float64]],
    weight: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Correct each fibre's light by what the model leaves of it."""
    owner, shape = own
    top = np.bincount(owner, weight * shape * residual, minlength=len(light))
    bottom = np.bincount(owner, weight * shape**2, minlength=len(light))
    return np.maximum(light + top / np.where(bottom > 0, bottom, 1.0), 0.0)
