"""A frame averaged over bands of rows: small, nearly noiseless, enough to trace and to shift."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drcnet.frames.frame import Frame

__all__ = ["Bands", "average_bands", "band_step"]

_STEP = 64  # rows a band: the tilt within is under 0.3 px, the noise falls eightfold


@dataclass(frozen=True, eq=False)
class Bands:
    """Means over bands of wavelength rows.

    Parameters
    ----------
    light : ndarray, shape (n_band, n_spatial), float32
        Mean electrons a pixel.
    good : ndarray, shape (n_band, n_spatial), bool
        False where a pixel is masked or sticks out of both neighbours as no fibre can.
    rows : ndarray, shape (n_band,)
        Mean wavelength pixel of each band.
    step : int
        Rows a band.
    """

    light: NDArray[np.float32]
    good: NDArray[np.bool_]
    rows: NDArray[np.float64]
    step: int


def band_step(n_wave: int) -> int:
    """Rows to average over: 64, fewer on short frames so that a polynomial has enough points.

    Parameters
    ----------
    n_wave : int
        Pixels along wavelength.

    Returns
    -------
    int
        Rows a band.
    """
    return max(1, min(_STEP, n_wave // 16))


def average_bands(frame: Frame, step: int, *, trim: bool = False, every: int = 1) -> Bands:
    """Average a frame over bands of rows.

    Parameters
    ----------
    frame : Frame
        The frame, shape (n_spatial, n_wave).
    step : int
        Rows a band; rows beyond the last whole band are left out.
    trim : bool
        Leave the brightest row of a band out wherever it is twice the others' mean: a cosmic
        ray. Only for light as smooth along wavelength as a lamp's.
    every : int
        Read one band of so many and pass over the others.

    Returns
    -------
    Bands
        Of shape (n_wave // step, n_spatial), less the bands passed over.
    """
    n_spatial, n_wave = frame.counts.shape
    first = step * np.arange(0, n_wave // step, every)
    rows = first + (step - 1) / 2.0
    kept = (n_wave // step) * step
    pedestal = frame.pedestal[:, :kept].reshape(-1, kept // step, step)[:, ::every].mean(axis=2)
    amplifier = frame.amplifier[:, (rows + 0.5).astype(np.int64)].T  # (n_band, n_spatial)
    level = np.take_along_axis(pedestal.T, amplifier.astype(np.int64), axis=1)
    light = _means(frame.counts, first, step)
    if trim:
        light = _trimmed(frame.counts, light, level, first, step)
    light -= level
    if frame.bias is not None:
        light -= _means(frame.bias, first, step)
    light *= frame.gain[amplifier]
    good = ~_spikes(light)
    if frame.mask is not None:
        masked = frame.mask[:, :kept].T.reshape(-1, step, n_spatial)[::every]
        good &= ~masked.any(axis=1)
    return Bands(light, good, rows, step)


def _means(image: NDArray[np.generic], first: NDArray[np.int64], step: int) -> NDArray[np.float32]:
    kind = np.uint32 if image.dtype == np.uint16 else np.float32
    total = np.empty((len(first), image.shape[0]), dtype=np.float32)
    for band, row in enumerate(first):  # a band at a time stays in the cache
        total[band] = image.T[row : row + step].sum(axis=0, dtype=kind)
    return total / np.float32(step)


def _trimmed(
    image: NDArray[np.generic],
    mean: NDArray[np.float32],
    level: NDArray[np.floating],
    first: NDArray[np.int64],
    step: int,
) -> NDArray[np.float32]:
    """Means without the brightest row where it stands out."""
    out = mean.copy()
    for band, row in enumerate(first):
        top = image.T[row : row + step].max(axis=0).astype(np.float32)
        rest = (mean[band] * step - top) / np.float32(max(step - 1, 1))
        light = np.maximum(rest - level[band], 0.0)
        out[band] = np.where(top - level[band] > 2.0 * light + 50.0, rest, mean[band])
    return out


def _spikes(light: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Single pixels three times above or below both neighbours: hot or dark columns."""
    floor = np.float32(0.05) * np.percentile(light[:, ::7], 90)
    left, here, right = light[:, :-2] + floor, light[:, 1:-1] + floor, light[:, 2:] + floor
    spikes = np.zeros(light.shape, dtype=bool)
    spikes[:, 1:-1] = here > 3.0 * np.maximum(left, right)
    spikes[:, 1:-1] |= 3.0 * here < np.minimum(left, right)
    return spikes
