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


def average_bands(frame: Frame, step: int, *, trim: bool = False) -> Bands:
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

    Returns
    -------
    Bands
        Of shape (n_wave // step, n_spatial).
    """
    n_spatial, n_wave = frame.counts.shape
    n_band = n_wave // step
    kept = n_band * step
    rows = step * np.arange(n_band) + (step - 1) / 2.0
    pedestal = frame.pedestal[:, :kept].reshape(-1, n_band, step).mean(axis=2)
    amplifier = frame.amplifier[:, (rows + 0.5).astype(np.int64)].T  # (n_band, n_spatial)
    level = np.take_along_axis(pedestal.T, amplifier.astype(np.int64), axis=1)
    light = _means(frame.counts, n_band, step)
    if trim:
        light = _trimmed(frame.counts, light, level, step)
    light -= level
    if frame.bias is not None:
        light -= _means(frame.bias, n_band, step)
    light *= frame.gain[amplifier]
    good = ~_spikes(light)
    if frame.mask is not None:
        masked = frame.mask[:, :kept].T.reshape(n_band, step, n_spatial).any(axis=1)
        good &= ~masked
    return Bands(light, good, rows, step)


def _means(image: NDArray[np.generic], n_band: int, step: int) -> NDArray[np.float32]:
    turned = image.T[: n_band * step]
    kind = np.uint32 if image.dtype == np.uint16 else np.float32
    total = np.empty((n_band, image.shape[0]), dtype=np.float32)
    for band in range(n_band):  # a band at a time stays in the cache
        total[band] = turned[band * step : (band + 1) * step].sum(axis=0, dtype=kind)
    return total / np.float32(step)


def _trimmed(
    image: NDArray[np.generic],
    mean: NDArray[np.float32],
    level: NDArray[np.floating],
    step: int,
) -> NDArray[np.float32]:
    """Means without the brightest row where it stands out."""
    turned = image.T
    out = mean.copy()
    for band in range(len(mean)):
        top = turned[band * step : (band + 1) * step].max(axis=0).astype(np.float32)
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
