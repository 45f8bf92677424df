"""Arc lines of a long slit, along one trace."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from drcnet.frames.frame import Frame
from drcnet.stripes.linefit import line_list
from drcnet.stripes.polynomial import chebyshev_basis
from drcnet.stripes.trace import TraceSet
from drcnet.stripes.wavelength import WavelengthSet

__all__ = ["sharpen_arc"]

_MIN_LINES = 6


def sharpen_arc(arc: Frame, traces: TraceSet, first: WavelengthSet) -> WavelengthSet:
    """Fit wavelengths again, through the centroids of a slit's lines.

    A slit can be narrower than a fibre, and its lines too; the first solution says which line
    is which, the centroids where they are.

    Parameters
    ----------
    arc : Frame
        The arc.
    traces : TraceSet
        One trace.
    first : WavelengthSet
        From `fit_arc`; given back where fewer than six lines are found.

    Returns
    -------
    WavelengthSet
        Vacuum wavelengths along the trace, of source 'arc'.
    """
    rows = np.arange(traces.n_wave)
    middle = np.rint(traces.centers(rows)[0]).astype(np.int64) + np.arange(-2, 3)[:, None]
    spectrum = np.median(arc.electrons[np.clip(middle, 0, len(arc.counts) - 1), rows], axis=0)
    spectrum = spectrum - median_filter(spectrum, 101, mode="nearest")
    noise = 1.4826 * float(np.median(np.abs(spectrum)))
    known = line_list("arc").wavelength
    guess = np.interp(known, first.wavelengths(rows)[0], rows, left=np.nan, right=np.nan)
    alone = np.isfinite(guess)
    place = np.full(len(known), np.nan)
    for k in np.flatnonzero(alone):
        place[k] = _centroid(spectrum, guess[k], 20 * noise)
    good = np.isfinite(place)
    good &= ~_claimed_twice(place)
    if good.sum() < _MIN_LINES:
        return first
    degree = min(first.coef.shape[1] - 1, int(good.sum()) // 3)
    used = good.copy()
    for _ in range(10):
        basis = chebyshev_basis(place[used], traces.n_wave, degree)
        solved = np.linalg.lstsq(basis.T, known[used], rcond=None)[0]
        model = solved @ chebyshev_basis(np.where(good, place, 0.0), traces.n_wave, degree)
        away = np.where(good, np.abs(known - model), np.inf) * (traces.n_wave - 1) / 2 / solved[1]
        # The worst line goes, one a turn: a blend must not take its neighbours along.
        if away[used].max() < 0.3 or used.sum() <= max(_MIN_LINES, degree + 2):
            break
        used[np.flatnonzero(used)[np.argmax(away[used])]] = False
    coef = np.zeros_like(first.coef)
    coef[0, : degree + 1] = solved
    rms = np.sqrt(np.mean(away[used] ** 2, keepdims=True))
    return WavelengthSet(coef, rms, "arc", int(used.sum()), traces.n_wave)


def _centroid(spectrum: NDArray[np.float64], guess: float, least: float) -> float:
    """Centre of light of the highest peak within four pixels; NaN where none is high enough."""
    low = round(guess) - 4
    if low < 4 or low + 13 > len(spectrum):
        return float("nan")
    peak = low + int(np.argmax(spectrum[low : low + 9]))
    part = np.maximum(spectrum[peak - 3 : peak + 4], 0.0)
    if spectrum[peak] < least:
        return float("nan")
    return float(peak + (part * np.arange(-3, 4)).sum() / part.sum())


def _claimed_twice(place: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Lines whose peak another line of the list claims too."""
    near = np.abs(place[:, None] - place) < 1.5
    return np.asarray(near.sum(axis=1) > 1)
