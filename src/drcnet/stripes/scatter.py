"""Scattered light: what lies between and under the fibres, smooth over the chip."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve
from scipy.sparse import csr_array

from drcnet.frames.frame import Frame
from drcnet.stripes.bands import Bands, average_bands, band_step
from drcnet.stripes.cut import TILE, Windows
from drcnet.stripes.spatial import REACH, STEP, SpatialProfile
from drcnet.stripes.spline import cubic_design
from drcnet.stripes.trace import TraceSet

__all__ = ["Glow", "measure_glow", "tile_glow"]

_BANDS = 20  # bands of rows looked at: the light is smooth, and each of them costs a solution
_PIECES = 8  # of the splines along each axis; fewer on small chips
_CLIP = 6.0
_SMOOTH = 1e-3  # weight of second differences beside that of the data
_PROFILE_ERROR = 0.02  # of a fibre's light: what the profile may be wrong by under its core


class Glow(NamedTuple):
    """Scattered light as a product of cubic splines.

    Parameters
    ----------
    coef : ndarray, shape (n_across, n_along)
        Coefficients, electrons a pixel.
    knots : tuple of ndarray
        Knots along spatial pixels and along rows.
    """

    coef: NDArray[np.float64]
    knots: tuple[NDArray[np.float64], NDArray[np.float64]]

    def at(self, x: NDArray[np.float64], row: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate the light.

        Parameters
        ----------
        x : ndarray, shape (..., n_row)
            Spatial pixels.
        row : ndarray, shape (n_row,)
            Wavelength pixels.

        Returns
        -------
        ndarray, shape (..., n_row)
            Electrons a pixel.
        """
        along = _basis(row, self.knots[1])  # (n_row, n_along)
        across = _basis(x.ravel(), self.knots[0]).reshape(*x.shape, -1)
        return np.asarray(np.einsum("...ri,ij,rj->...r", across, self.coef, along))


def measure_glow(frame: Frame, traces: TraceSet, profile: SpatialProfile) -> Glow:
    """Fit scattered light jointly with the light of all fibres.

    The valleys between fibres are never dark, for the wings of both neighbours meet there. In
    each of some bands of rows all pixels are therefore a sum of every fibre's profile and the
    smooth light; the fibres are eliminated from the normal equations (Schur complement), and
    what remains is one small system for the splines of the whole chip.

    Parameters
    ----------
    frame : Frame
        Any frame with light.
    traces : TraceSet
        All fibres, on this frame.
    profile : SpatialProfile
        Wings included.

    Returns
    -------
    Glow
        Over the whole chip.
    """
    n_spatial, n_wave = frame.counts.shape
    bands = average_bands(frame, band_step(n_wave))
    some = np.unique(np.linspace(0, len(bands.rows) - 1, _BANDS).astype(np.int64))
    pieces = max(1, min(_PIECES, int(traces.alive.sum()) // 8))
    knots = (_knots(n_spatial, pieces), _knots(n_wave, _PIECES))
    across = _basis(np.arange(n_spatial, dtype=np.float64), knots[0])
    along = _basis(bands.rows[some], knots[1])
    noise = float(np.mean(np.square(frame.read_noise)))
    shapes = _shapes(bands, some, traces, profile)
    weights = [_weights(bands, band, noise) for band in some]
    coef = np.zeros((across.shape[1], along.shape[1]))
    for turn in range(2):
        coef = _joint_fit(bands.light[some], shapes, weights, (across, along))
        if turn == 0:
            glow = (across @ coef @ along.T).T  # (n_some, n_spatial)
            weights = [
                _clipped(data - under, shape, weight)
                for data, under, shape, weight in zip(
                    bands.light[some], glow, shapes, weights, strict=True
                )
            ]
    return Glow(coef, knots)


def tile_glow(glow: Glow, windows: Windows) -> NDArray[np.float32]:
    """Evaluate scattered light where the extraction wants it.

    Parameters
    ----------
    glow : Glow
        The light.
    windows : Windows
        Where the stripes lie.

    Returns
    -------
    ndarray, shape (n, n_tile + 1), float32
        Electrons a pixel at the ends of the tiles of rows, on the traces.
    """
    rows = windows.first.shape[1]
    ends = np.arange(0, rows + TILE, TILE)
    center = windows.center[:, np.minimum(ends, rows - 1)]
    return glow.at(center, (windows.row_start + ends).astype(np.float64)).astype(np.float32)


def _knots(size: int, pieces: int) -> NDArray[np.float64]:
    inner = np.linspace(0.0, size - 1.0, pieces + 1)
    return np.concatenate([[inner[0]] * 3, inner, [inner[-1]] * 3])


def _basis(place: NDArray[np.float64], knots: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = np.clip(place, knots[0], knots[-1])
    return cubic_design(inside, knots)


def _shapes(
    bands: Bands, some: NDArray[np.int64], traces: TraceSet, profile: SpatialProfile
) -> list[csr_array]:
    """Profile of every living fibre in each band; each of shape (n_alive, n_spatial)."""
    alive = np.flatnonzero(traces.alive)
    rows = bands.rows[some]
    center = traces.centers(rows)[alive]
    width = np.maximum(traces.widths(rows)[alive], 0.5)
    nearest = np.abs(profile.rows[:, None] - rows).argmin(axis=0)
    tables = profile.fiber_tables(len(traces))[alive]
    half = int(np.ceil(REACH * float(width.max())))
    n_spatial, middle = bands.light.shape[1], (tables.shape[2] - 1) // 2
    found = []
    for k, place in enumerate(nearest):
        x = np.rint(center[:, k]).astype(np.int64)[:, None] + np.arange(-half, half + 1)
        u = (x - center[:, k, None]) / width[:, k, None]
        index = np.rint(u / STEP).astype(np.int64) + middle
        inside = (x >= 0) & (x < n_spatial) & (index >= 0) & (index < tables.shape[2])
        fiber = np.broadcast_to(np.arange(len(alive))[:, None], x.shape)[inside]
        value = tables[fiber, place, index[inside]] / width[fiber, k]
        found.append(csr_array((value, (fiber, x[inside])), shape=(len(alive), n_spatial)))
    return found


def _weights(bands: Bands, band: int, noise: float) -> NDArray[np.float64]:
    """Inverse variance of a band's pixels: its noise, and the profile's error under cores."""
    light = np.maximum(bands.light[band].astype(np.float64), 0.0)
    spread = (noise + light) / bands.step + (_PROFILE_ERROR * light) ** 2
    return np.asarray(np.where(bands.good[band], 1.0 / spread, 0.0))


def _joint_fit(
    data: NDArray[np.float32],
    shapes: list[csr_array],
    weights: list[NDArray[np.float64]],
    bases: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Coefficients of the smooth light, the fibres' light eliminated band by band."""
    across, along = bases
    size = across.shape[1] * along.shape[1]
    normal, right = np.zeros((size, size)), np.zeros(size)
    for light, shape, weight, line in zip(data, shapes, weights, along, strict=True):
        weighted = shape * weight[None, :]
        inner = (weighted @ shape.T).toarray()
        inner += np.eye(len(inner)) * (1e-9 * inner.trace() / len(inner) + 1e-12)
        both = np.column_stack([across, light])
        mixed = weighted @ both
        free = both.T @ (weight[:, None] * both) - mixed.T @ solve(inner, mixed, assume_a="pos")
        normal += np.kron(free[:-1, :-1], np.outer(line, line))
        right += np.kron(free[:-1, -1], line)
    normal += _smoothness(across.shape[1], along.shape[1]) * (_SMOOTH * normal.trace() / size)
    return np.asarray(solve(normal, right, assume_a="pos")).reshape(across.shape[1], -1)


def _smoothness(n_across: int, n_along: int) -> NDArray[np.float64]:
    """Penalty on second differences along both axes, and a whisper on everything."""
    parts = []
    for n in (n_across, n_along):
        difference = np.diff(np.eye(n), 2, axis=0)
        parts.append(difference.T @ difference)
    both = np.kron(parts[0], np.eye(n_along)) + np.kron(np.eye(n_across), parts[1])
    return np.asarray(both + 1e-6 * np.eye(n_across * n_along))


def _clipped(
    data: NDArray[np.float64], shape: csr_array, weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weights without pixels that fibres and smooth light cannot explain: cosmic rays."""
    weighted = shape * weight[None, :]
    inner = (weighted @ shape.T).toarray()
    inner += np.eye(len(inner)) * (1e-9 * inner.trace() / len(inner) + 1e-12)
    light = solve(inner, weighted @ data, assume_a="pos")
    away = np.abs(data - shape.T @ light) * np.sqrt(weight)
    limit = _CLIP * max(1.0, 1.4826 * float(np.median(away[weight > 0])))
    return np.asarray(np.where(away > limit, 0.0, weight))
