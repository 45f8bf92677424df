"""How the light in a stripe is shared out: the fibre's own profile, and its neighbours' light."""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from drcnet.config import StripeSettings
from drcnet.stripes.calibration_file import ArmCalibration
from drcnet.stripes.cut import TILE, make_windows
from drcnet.stripes.extract import Shapes, make_shapes
from drcnet.stripes.spatial import STEP

__all__ = ["Geometry", "fiber_light", "make_geometry"]


class Geometry(NamedTuple):
    """Profiles and distances of all fibres of one calibration.

    Parameters
    ----------
    shapes : Shapes
        Profiles along the rows; a profile's sum over its window is 1.
    center : ndarray, shape (n_fiber, L), float64
        Trace centres on the flat, spatial pixels.
    width : int
        Pixels across a stripe, S.
    n_wave : int
        Pixels along wavelength of the whole frame.
    """

    shapes: Shapes
    center: NDArray[np.float64]
    width: int
    n_wave: int


def make_geometry(calibration: ArmCalibration, settings: StripeSettings) -> Geometry:
    """Lay the profiles of a calibration along the rows of its stripes.

    Parameters
    ----------
    calibration : ArmCalibration
        Of the exposures' flat.
    settings : StripeSettings
        What the stripes were cut with.

    Returns
    -------
    Geometry
        For `fiber_light`.
    """
    windows = make_windows(calibration.traces, settings)
    shapes = make_shapes(calibration.profile, calibration.traces, windows)
    return Geometry(shapes, windows.center, settings.width, calibration.traces.n_wave)


def fiber_light(
    geometry: Geometry,
    offset: NDArray[np.float32],
    fibers: NDArray[np.int64],
    light: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Share the light of fibres out over the stripes of some of them.

    Distances between fibres are taken from the flat: between flat and exposure traces shift
    together, by what `offset` already holds.

    Parameters
    ----------
    geometry : Geometry
        Profiles and distances.
    offset : ndarray, shape (n, L)
        True centre minus the stripe's middle pixel, of the stripes wanted.
    fibers : ndarray, shape (n,), int64
        Their fibres, from 0.
    light : ndarray, shape (n_fiber, L)
        Light of every fibre of the exposure, in the units of `optimal`; what is not finite or
        negative gives none.

    Returns
    -------
    profile : ndarray, shape (n, S, L), float32
        Share of a fibre's own light in each pixel.
    spilt : ndarray, shape (n, S, L), float32
        Electrons that the two neighbours bring.
    """
    bright = np.where(np.isfinite(light), np.maximum(light, 0.0), 0.0).astype(np.float32)
    shape = (len(fibers), geometry.width, offset.shape[1])
    profile, spilt = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    _share_out(
        geometry.shapes,
        geometry.center,
        np.ascontiguousarray(offset, dtype=np.float32),
        np.ascontiguousarray(fibers, dtype=np.int64),
        bright,
        profile,
        spilt,
    )
    return profile, spilt


@njit(cache=True, nogil=True)
def _share_out(  # noqa: PLR0917 (a kernel's arrays)
    shapes: Shapes,
    center: NDArray[np.float64],
    offset: NDArray[np.float32],
    fibers: NDArray[np.int64],
    light: NDArray[np.float32],
    profile: NDArray[np.float32],
    spilt: NDArray[np.float32],
) -> None:  # pragma: no cover (compiled)
    line = np.empty(shapes.table.shape[2])
    rows = offset.shape[1]
    for i in range(len(fibers)):
        for near in range(max(fibers[i] - 1, 0), min(fibers[i] + 2, len(light))):
            own = near == fibers[i]
            for tile in range(len(shapes.place)):
                _blend(shapes.table[near], shapes.place[tile], line)
                scale = shapes.inverse[near, tile] / STEP
                norm = shapes.norm[near, tile]
                for r in range(tile * TILE, min((tile + 1) * TILE, rows)):
                    away = offset[i, r] + center[near, r] - center[fibers[i], r]
                    if own:
                        _add(line, away, scale, norm, profile[i, :, r])
                    elif light[near, r] > 0.0:
                        _add(line, away, scale, norm * light[near, r], spilt[i, :, r])


@njit(cache=True, nogil=True)
def _blend(
    table: NDArray[np.float32], place: float, line: NDArray[np.float64]
) -> None:  # pragma: no cover (compiled)
    low = min(int(place), max(table.shape[0] - 2, 0))
    high = min(low + 1, table.shape[0] - 1)
    part = place - low
    for j in range(line.size):
        line[j] = (1.0 - part) * table[low, j] + part * table[high, j]


@njit(cache=True, nogil=True)
def _add(
    line: NDArray[np.float64],
    away: float,
    scale: float,
    norm: float,
    pixels: NDArray[np.float32],
) -> None:  # pragma: no cover (compiled)
    """Add a profile whose centre lies `away` from the window's middle pixel."""
    middle = (line.size - 1) // 2
    half = pixels.size // 2
    for k in range(pixels.size):
        position = (k - half - away) * scale + middle
        if 0.0 <= position < line.size - 2:
            j = int(position)
            part = position - j
            pixels[k] += norm * ((1.0 - part) * line[j] + part * line[j + 1])
