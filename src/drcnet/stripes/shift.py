"""Traces of a flat moved onto a science frame by that frame's own light."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from drcnet.config import StripeSettings
from drcnet.frames.frame import Frame
from drcnet.stripes.bands import Bands, average_bands, band_step
from drcnet.stripes.solve import solve_small
from drcnet.stripes.trace import TraceSet

__all__ = ["shift_traces"]

_FWHM_SIGMA = 2.3548200450309493  # FWHM of a Gaussian in standard deviations

_WORST_ERROR = 0.1  # pixels: a shift known less well than this is not applied


def shift_traces(
    traces: TraceSet, frame: Frame, settings: StripeSettings
) -> tuple[TraceSet, dict[str, float]]:
    """Move a flat's traces onto a science frame, by the light of that frame itself.

    Parameters
    ----------
    traces : TraceSet
        Traces of the flat.
    frame : Frame
        Science frame of the same spectrograph and arm.
    settings : StripeSettings
        `shift_to_exposure`; where False the traces are returned as they are.

    Returns
    -------
    TraceSet
        Centres moved by shift + stretch * (centre - middle of the chip) + tilt along rows; those
        of the flat where the shift cannot be measured to 0.1 px.
    dict
        'shift' (pixels at the chip's middle), 'stretch' (relative), 'shift_error' (pixels; inf
        where not measured),
        'tilt' (pixels from the middle to the last row).
    """
    nothing = {"shift": 0.0, "stretch": 0.0, "tilt": 0.0, "shift_error": float("inf")}
    if not settings.shift_to_exposure or not traces.alive.any():
        return traces, nothing
    bands = average_bands(frame, band_step(frame.counts.shape[1]))
    move = np.zeros(3)
    middle = (bands.light.shape[1] - 1) / 2.0
    span = (bands.light.shape[1] - 1) / 2.0
    base = traces.centers(bands.rows)
    width = traces.widths(bands.rows) / _FWHM_SIGMA
    across = (base - middle) / span
    along = np.broadcast_to(2.0 * bands.rows / (traces.n_wave - 1) - 1.0, base.shape)
    terms = np.stack([np.ones_like(base), across, along])
    move[0] = _coarse_shift(bands, base, width, traces.alive)
    for _ in range(5):
        step, weight = _shift_residual(bands, base + np.tensordot(move, terms, 1), width)
        weight = weight * traces.alive[:, None]
        if not (weight > 0).any():
            return traces, nothing
        change, error = _robust_plane(terms, step, weight)
        move = move + change
    if error > _WORST_ERROR:
        return traces, nothing
    moved = traces.center.copy()
    moved[:, 0] += move[0]
    moved += move[1] * _relative(traces.center, middle, span)
    moved[:, 1] += move[2]
    found = {
        "shift": float(move[0]),
        "stretch": float(move[1] / span),
        "tilt": float(move[2]),
        "shift_error": float(error),
    }
    return replace(traces, center=moved), found


def _relative(center: NDArray[np.float64], middle: float, span: float) -> NDArray[np.float64]:
    relative = center / span
    relative[:, 0] -= middle / span
    return relative


def _coarse_shift(
    bands: Bands,
    base: NDArray[np.float64],
    sigma: NDArray[np.float64],
    alive: NDArray[np.bool_],
) -> float:
    """Shift, among half pixels within a third of a fibre, that puts most light on the traces."""
    steps = np.arange(-4.0, 4.01, 0.5)
    some = slice(None, None, max(1, len(bands.rows) // 16))
    base, sigma = base[alive][:, some], sigma[alive][:, some]
    fewer = replace(bands, light=bands.light[some], good=bands.good[some], rows=bands.rows[some])
    score = []
    for step in steps:
        data, shape, good = _windows(fewer, base + step, sigma)[:3]
        gain = (data * shape * good).sum(axis=-1) / np.maximum((shape**2 * good).sum(-1), 1e-9)
        score.append(np.mean(np.clip(gain, None, np.percentile(gain, 90))))
    return float(steps[int(np.argmax(score))])


def _windows(
    bands: Bands, center: NDArray[np.float64], sigma: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    half = max(2, round(1.6 * float(np.median(sigma))))
    pixel = np.rint(center).astype(np.int64)[..., None] + np.arange(-half, half + 1)
    inside = np.clip(pixel, 0, bands.light.shape[1] - 1)
    band = np.arange(center.shape[1])[:, None]
    good = bands.good[band, inside] & (pixel == inside)
    scaled = (pixel - center[..., None]) / sigma[..., None]
    return bands.light[band, inside].astype(np.float64), np.exp(-0.5 * scaled**2), good, scaled


def _shift_residual(
    bands: Bands, center: NDArray[np.float64], sigma: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shift still needed of each fibre and band, pixels, and its inverse variance."""
    data, shape, good, scaled = _windows(bands, center, sigma)
    slope = shape * scaled
    terms = np.stack([shape, slope, np.ones_like(shape)])
    solved = solve_small(terms, data, good)
    height = solved[0]
    noise = np.maximum(np.median(np.abs(data), axis=-1), 1.0) / bands.step
    weight = np.where(height > 0, height, 0.0) ** 2 / noise
    step = np.where(height > 0, solved[1] / np.where(height > 0, height, 1.0), 0.0) * sigma
    weight[np.abs(step) > 1.5 * sigma] = 0.0
    return step, weight


def _robust_plane(
    terms: NDArray[np.float64], value: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Clipped weighted least squares of value on terms; coefficients and the first's error."""
    flat = terms.reshape(len(terms), -1)
    value, weight = value.ravel(), np.minimum(weight, np.percentile(weight, 90)).ravel()
    kept = weight > 0
    coef: NDArray[np.float64] = np.zeros(len(terms))
    for _ in range(6):
        weighted = flat * np.where(kept, weight, 0.0)
        normal = weighted @ flat.T
        normal += 1e-9 * np.trace(normal) * np.eye(len(terms))
        coef = np.asarray(np.linalg.solve(normal, weighted @ value), dtype=np.float64)
        residual = np.abs(value - coef @ flat)
        scaled = residual * np.sqrt(weight)
        kept = (weight > 0) & (scaled <= 4.0 * 1.4826 * np.median(scaled[weight > 0]) + 1e-12)
    spread = (np.where(kept, weight, 0.0) * residual**2).sum() / max(int(kept.sum()) - 3, 1)
    return coef, float(np.sqrt(spread * np.linalg.inv(normal)[0, 0]))
