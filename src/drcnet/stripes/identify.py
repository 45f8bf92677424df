"""Which trace is which fibre: by the gaps between blocks and, if given, a throughput pattern."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drcnet.instruments import FiberLayout

__all__ = ["UNREFERENCED_CONFIDENCE", "Identity", "identify_fibers"]

UNREFERENCED_CONFIDENCE = 0.9
"""Highest confidence without a reference pattern: gaps alone can be mimicked by dead fibres."""

_POSITION_SIGMA = 0.6  # pixels that a fibre stands off its nominal place after shift and scale
_PATTERN_SIGMA = 0.15  # natural logarithm: drift of a fibre's throughput against the reference
_CAP = 4.0  # highest penalty of one fibre, as half a chi-square: outliers count once
_DEAD_COST = 3.5  # minus the logarithm of a dead fibre's prior probability
_SPURIOUS_COST = 6.0  # minus the logarithm of the prior of a peak that is no fibre


@dataclass(frozen=True, eq=False)
class Identity:
    """Result of `identify_fibers`.

    Parameters
    ----------
    fiber_id : ndarray, shape (n_peak,), int64
        Fibre of each peak, from 1; 0 for a peak that is no fibre.
    confidence : float
        Probability, 0 to 1, against the next best labelling; capped without a reference.
    shift : float
        Measured minus nominal position at the middle fibre, pixels.
    scale : float
        Measured over nominal spacing.
    rival : float
        Score of the best labelling less that of the next best one, natural logarithm.
    referenced : bool
        Whether a throughput pattern was used.
    """

    fiber_id: NDArray[np.int64]
    confidence: float
    shift: float
    scale: float
    rival: float
    referenced: bool


def identify_fibers(
    centers: NDArray[np.float64],
    layout: FiberLayout,
    *,
    level: NDArray[np.float64] | None = None,
    reference: NDArray[np.float64] | None = None,
    max_shift: float | None = None,
) -> Identity:
    """Label peaks with fibres.

    Every shift within `max_shift` is tried: peaks are matched to the nearest nominal centres,
    shift and scale are fitted, and the labelling is scored by how well places (with the gaps
    between blocks) and, with a reference, light agree. The best wins; its lead over the best
    labelling that differs is the confidence.

    Parameters
    ----------
    centers : ndarray, shape (n_peak,)
        Measured centres at the middle row, pixels, increasing.
    layout : FiberLayout
        Nominal centres.
    level : ndarray, shape (n_peak,), optional
        Light of each peak.
    reference : ndarray, shape (count,), optional
        Throughput pattern of the fibres, any scale, NaN for unknown; needs `level`.
    max_shift : float, optional
        Pixels; 1.5 pitches if not given.

    Returns
    -------
    Identity
        Labels and confidence.
    """
    reach = 1.5 * layout.pitch if max_shift is None else max_shift
    nominal = layout.centers()
    pattern = _log_pattern(level, reference)
    tried: dict[bytes, tuple[float, NDArray[np.int64], float, float]] = {}
    for start in np.arange(-reach, reach + 0.25, 0.5):
        labels, shift, scale = _match(centers, nominal, start, layout.pitch)
        score = _score(centers, nominal, labels, (shift, scale), pattern)
        key = labels.tobytes()
        if key not in tried or score > tried[key][0]:
            tried[key] = (score, labels, shift, scale)
    ranked = sorted(tried.values(), key=lambda entry: -entry[0])
    score, labels, shift, scale = ranked[0]
    rivals = [other[0] for other in ranked[1:] if _conflict(labels, other[1])]
    lead = score - max(rivals, default=-np.inf)
    confidence = float(1.0 / (1.0 + np.exp(-min(lead, 50.0))))
    if pattern is None:
        confidence = min(confidence, UNREFERENCED_CONFIDENCE)
    return Identity(labels + 1, confidence, shift, scale, float(lead), pattern is not None)


def _log_pattern(
    level: NDArray[np.float64] | None, reference: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    if level is None or reference is None:
        return None
    safe = np.where(level > 0, level, np.nan)
    known = np.where(reference > 0, reference, np.nan)
    return np.log(safe), np.log(known)


def _match(
    centers: NDArray[np.float64], nominal: NDArray[np.float64], start: float, pitch: float
) -> tuple[NDArray[np.int64], float, float]:
    """Nearest nominal fibre of each peak, -1 for none, with shift and scale refitted."""
    middle = nominal.mean()
    shift, scale = start, 1.0
    labels = np.full(len(centers), -1)
    for _ in range(4):
        place = middle + (centers - shift - middle) / scale
        right = np.clip(np.searchsorted(nominal, place), 1, len(nominal) - 1)
        labels = np.where(place - nominal[right - 1] < nominal[right] - place, right - 1, right)
        away = np.abs(place - nominal[labels])
        labels = np.where(away <= 0.5 * pitch, labels, -1)
        labels = _keep_nearest(labels, away)
        near = (labels >= 0) & (away <= max(1.0, 2.0 * np.median(away)))
        if near.sum() < 3:
            break
        scale, zero = _line(nominal[labels[near]] - middle, centers[near])
        shift = zero - middle
    return labels, float(shift), float(scale)


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and intercept by least squares; the slope is held within 1% of one."""
    spread = ((x - x.mean()) ** 2).sum()
    slope = ((x - x.mean()) * (y - y.mean())).sum() / spread if spread > 0 else 1.0
    slope = min(max(slope, 0.99), 1.01)
    return float(slope), float(y.mean() - slope * x.mean())


def _keep_nearest(labels: NDArray[np.int64], away: NDArray[np.float64]) -> NDArray[np.int64]:
    """Let each fibre keep only the nearest of several peaks."""
    order = np.lexsort((away, labels))
    twice = np.zeros(len(labels), dtype=bool)
    same = labels[order][1:] == labels[order][:-1]
    twice[order[1:]] = same & (labels[order][1:] >= 0)
    return np.where(twice, -1, labels)


def _score(
    centers: NDArray[np.float64],
    nominal: NDArray[np.float64],
    labels: NDArray[np.int64],
    place: tuple[float, float],
    pattern: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
) -> float:
    """Logarithm of the labelling's probability, up to a constant."""
    shift, scale = place
    used = labels >= 0
    middle = nominal.mean()
    expected = middle + shift + scale * (nominal - middle)
    away = (centers[used] - expected[labels[used]]) / _POSITION_SIGMA
    score = -np.minimum(0.5 * away**2, _CAP).sum()
    score -= _SPURIOUS_COST * (~used).sum()
    score -= _DEAD_COST * (len(nominal) - used.sum())
    if pattern is not None:
        level, reference = pattern
        ratio = level[used] - reference[labels[used]]
        ratio = (ratio - np.nanmedian(ratio)) / _PATTERN_SIGMA
        score -= np.nansum(np.minimum(0.5 * ratio**2, _CAP))
    return float(score)


def _conflict(best: NDArray[np.int64], other: NDArray[np.int64]) -> bool:
    """Whether two labellings give some peak different fibres."""
    both = (best >= 0) & (other >= 0)
    return bool((best[both] != other[both]).any()) or not both.any()
