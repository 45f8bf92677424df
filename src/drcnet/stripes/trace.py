"""Where each fibre runs: centres and widths as polynomials along wavelength."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from drcnet.config import StripeSettings
from drcnet.errors import FrameError
from drcnet.frames.frame import Frame
from drcnet.stripes.bands import Bands, average_bands
from drcnet.stripes.solve import solve_small

__all__ = [
    "TraceSet",
    "band_step",
    "chebyshev_basis",
    "robust_chebyshev",
    "shift_traces",
    "trace_flat",
]

_STEP = 32  # rows a band: the tilt within is under 0.2 px, the noise falls sixfold
_WIDTH_DEGREE = 2
_FWHM_SIGMA = 2.3548200450309493  # FWHM of a Gaussian in standard deviations
_MIN_ROWS = 3  # bands a trace must be seen in


def chebyshev_basis(rows: NDArray[Any], n_wave: int, degree: int) -> NDArray[np.float64]:
    """Chebyshev polynomials over the row domain [0, n_wave - 1].

    Parameters
    ----------
    rows : ndarray, shape (n_rows,)
        Wavelength pixels.
    n_wave : int
        Pixels along wavelength of the whole frame.
    degree : int
        Highest degree.

    Returns
    -------
    ndarray, shape (degree + 1, n_rows)
        One polynomial a line.
    """
    scaled = 2.0 * np.asarray(rows, dtype=np.float64) / (n_wave - 1) - 1.0
    return np.ascontiguousarray(chebyshev.chebvander(scaled, degree).T)


@dataclass(frozen=True, eq=False)
class TraceSet:
    """Centres and widths of the fibres of one frame.

    Parameters
    ----------
    fiber_id : ndarray, shape (n,), int64
        Fibre of each trace, from 1; 0 where not identified.
    center : ndarray, shape (n, degree + 1)
        Chebyshev coefficients of the centre (spatial pixel) over rows [0, n_wave - 1].
    fwhm : ndarray, shape (n, width_degree + 1)
        Chebyshev coefficients of the spatial FWHM (pixels) over the same rows.
    alive : ndarray, shape (n,), bool
        False where no light was seen and the trace stands in from its neighbours.
    rms : ndarray, shape (n,)
        Rms of the measured centres about the polynomial, pixels; NaN where not alive.
    n_wave : int
        Pixels along wavelength of the frame.
    level : ndarray, shape (n,)
        Median light of the trace on the flat, electrons a row; 0 where not alive.
    """

    fiber_id: NDArray[np.int64]
    center: NDArray[np.float64]
    fwhm: NDArray[np.float64]
    alive: NDArray[np.bool_]
    rms: NDArray[np.float64]
    n_wave: int
    level: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Hold the invariants of shape."""
        n = len(self.fiber_id)
        for name in ("center", "fwhm", "alive", "rms", "level"):
            came = getattr(self, name).shape
            if came[0] != n:
                raise FrameError("TraceSet", f"{name} of {n} fibres", f"shape {came}")

    def __len__(self) -> int:
        """Number of traces."""
        return len(self.fiber_id)

    def centers(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Evaluate the centres.

        Parameters
        ----------
        rows : ndarray, shape (n_rows,)
            Wavelength pixels.

        Returns
        -------
        ndarray, shape (n, n_rows)
            Spatial pixels.
        """
        return self.center @ chebyshev_basis(rows, self.n_wave, self.center.shape[1] - 1)

    def widths(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Evaluate the widths.

        Parameters
        ----------
        rows : ndarray, shape (n_rows,)
            Wavelength pixels.

        Returns
        -------
        ndarray, shape (n, n_rows)
            FWHM, pixels.
        """
        return self.fwhm @ chebyshev_basis(rows, self.n_wave, self.fwhm.shape[1] - 1)


def trace_flat(frame: Frame, settings: StripeSettings) -> TraceSet:
    """Trace all fibres of a lamp flat at once.

    Peaks of the middle rows are followed outwards through bands of rows; centre, width and
    light of all are then refined together by linearised least squares, with the neighbours'
    light taken off, and a clipped polynomial is laid through them.

    Parameters
    ----------
    frame : Frame
        The lamp flat.
    settings : StripeSettings
        `trace_degree`.

    Returns
    -------
    TraceSet
        The fibres that give light, from the lowest spatial pixel up, not yet identified.

    Raises
    ------
    FrameError
        Fewer than two fibres give light.
    """
    bands = average_bands(frame, band_step(frame.counts.shape[1]))
    pitch = frame.profile.fibers.pitch
    first = _find_peaks(bands, pitch)
    if len(first) < 2:
        raise FrameError(
            frame.path,
            f"a lamp flat of {frame.profile.fibers.count} fibres",
            f"{len(first)} peaks",
        )
    center = _follow(bands, first, pitch)
    center, width, light = _refine(bands, center, pitch)
    n_wave = frame.counts.shape[1]
    inside = (center > -0.5) & (center < bands.light.shape[1] - 0.5) & (light > 0)
    coef, rms, _ = robust_chebyshev(bands.rows, center, inside, n_wave, settings.trace_degree)
    fwhm, _, _ = robust_chebyshev(bands.rows, width, inside, n_wave, _WIDTH_DEGREE)
    seen = inside.sum(axis=1) >= _MIN_ROWS
    order = np.argsort(coef[:, 0])
    order = order[seen[order]]
    return TraceSet(
        fiber_id=np.zeros(len(order), dtype=np.int64),
        center=coef[order],
        fwhm=fwhm[order],
        alive=np.ones(len(order), dtype=bool),
        rms=rms[order],
        n_wave=n_wave,
        level=np.median(light[order], axis=1),
    )


def band_step(n_wave: int) -> int:
    """Rows to average over: 32, fewer on short frames so that a polynomial has enough points.

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


def _find_peaks(bands: Bands, pitch: float) -> NDArray[np.float64]:
    """Peaks of the middle bands, pixels, increasing."""
    middle = len(bands.rows) // 2
    some = slice(max(0, middle - 1), middle + 2)
    weight = bands.good[some].astype(np.float64)
    sigma = pitch / 8.0
    line = gaussian_filter1d((bands.light[some] * weight).sum(axis=0), sigma)
    line /= np.maximum(gaussian_filter1d(weight.sum(axis=0), sigma), 1e-3)
    reach = max(2, round(0.6 * pitch))
    padded = np.pad(line, reach, constant_values=line.min())
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
    valley = np.maximum(windows[:, :reach].min(axis=1), windows[:, reach + 1 :].min(axis=1))
    rise = line - valley
    near = windows[:, reach // 2 : -(reach // 2)]
    top = (line >= near.max(axis=1)) & (np.arange(len(line)) > 0)
    top[-1] = False
    usual = np.percentile(rise[top], 75) if top.any() else 0.0
    noise = 1.4826 * np.median(np.abs(np.diff(bands.light[middle]))) / np.sqrt(2.0 * sigma)
    peaks = np.flatnonzero(top & (rise > max(0.03 * usual, min(5.0 * noise, 0.3 * usual))))
    return peaks + _parabola(line[peaks - 1], line[peaks], line[peaks + 1])


def _parabola(
    before: NDArray[Any], here: NDArray[Any], after: NDArray[Any]
) -> NDArray[np.float64]:
    """Vertex of the parabola through three equidistant points, pixels from the middle one."""
    bend = before - 2.0 * here + after
    safe = np.where(bend < 0, bend, -1.0)
    return np.clip(np.where(bend < 0, 0.5 * (before - after) / safe, 0.0), -1.0, 1.0)


def _follow(bands: Bands, first: NDArray[np.float64], pitch: float) -> NDArray[np.float64]:
    """Follow peaks outwards from the middle band; shape (n, n_band)."""
    filled = np.where(bands.good, bands.light, 0.0)
    smooth = gaussian_filter1d(filled, pitch / 8.0, axis=1)
    n_band, n_spatial = smooth.shape
    center = np.empty((len(first), n_band))
    reach = max(1, round(pitch / 6.0))
    window = np.arange(-reach, reach + 1)
    middle = n_band // 2
    for step, bound in ((1, n_band), (-1, -1)):
        last, drift = first, 0.0
        for band in range(middle if step > 0 else middle - 1, bound, step):
            guess = last + drift
            base = np.clip(np.rint(guess).astype(np.int64), reach + 1, n_spatial - reach - 2)
            top = base + window[np.argmax(smooth[band][base[:, None] + window], axis=1)]
            line = smooth[band]
            found = top + _parabola(line[top - 1], line[top], line[top + 1])
            moved = found - last
            usual = np.median(moved)
            # Neighbouring fibres move together: one that jumps has met a cosmic ray or a defect.
            last = np.where(np.abs(moved - usual) < 0.08 * pitch, found, last + usual)
            drift = usual if step != 0 and band != middle else 0.0
            center[:, band] = last
    return center


def _refine(
    bands: Bands, center: NDArray[np.float64], pitch: float, rounds: int = 4
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Centres, FWHM and light of all fibres and bands by linearised least squares.

    The model of a fibre is a Gaussian; what it misses of the true profile is symmetric, so
    that the centre is not moved by it.
    """
    half = max(2, round(0.40 * pitch))
    window = np.arange(-half, half + 1)
    n_spatial = bands.light.shape[1]
    band = np.arange(center.shape[1])[:, None]
    sigma = np.full(center.shape, pitch * 0.44 / _FWHM_SIGMA)
    height = _height(bands, center)
    for _ in range(rounds):
        pixel = np.rint(center).astype(np.int64)[..., None] + window
        inside = np.clip(pixel, 0, n_spatial - 1)
        weight = bands.good[band, inside] & (pixel == inside)
        away = pixel - center[..., None]
        data = bands.light[band, inside] - _neighbors(center, sigma, height, pixel)
        scaled = away / sigma[..., None]
        shape = np.exp(-0.5 * scaled**2)
        slope = shape * scaled  # d model / d center, times sigma / height
        swell = shape * scaled**2
        solved = solve_small(np.stack([shape, slope, swell, np.ones_like(shape)]), data, weight)
        height = np.maximum(solved[0], 0.0)
        safe = np.where(height > 0, height, np.inf)
        center = center + np.clip(solved[1] / safe, -0.3, 0.3) * sigma
        sigma = sigma * (1.0 + np.clip(solved[2] / safe, -0.15, 0.15))
        sigma = np.clip(sigma, 0.5, 0.5 * pitch)
    light = height * sigma * np.sqrt(2.0 * np.pi)
    return center, sigma * _FWHM_SIGMA, light


def _height(bands: Bands, center: NDArray[np.float64]) -> NDArray[np.float64]:
    pixel = np.clip(np.rint(center).astype(np.int64), 0, bands.light.shape[1] - 1)
    return np.maximum(bands.light[np.arange(center.shape[1]), pixel], 0.0).astype(np.float64)


def _neighbors(
    center: NDArray[np.float64],
    sigma: NDArray[np.float64],
    height: NDArray[np.float64],
    pixel: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Light of the fibres on either side; shape (n, n_band, window)."""
    total = np.zeros(pixel.shape)
    for here, there in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
        away = (pixel[here] - center[there, :, None]) / sigma[there, :, None]
        total[here] += height[there, :, None] * np.exp(-0.5 * away**2)
    return total


def robust_chebyshev(
    rows: NDArray[np.float64],
    values: NDArray[np.float64],
    good: NDArray[np.bool_],
    n_wave: int,
    degree: int,
    rounds: int = 5,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Lay clipped Chebyshev polynomials through many series at once.

    Parameters
    ----------
    rows : ndarray, shape (n_point,)
        Wavelength pixels.
    values : ndarray, shape (n, n_point)
        What to fit.
    good : ndarray, shape (n, n_point), bool
        Points that may be used.
    n_wave : int
        The domain is [0, n_wave - 1].
    degree : int
        Highest degree; lowered where there are too few points.
    rounds : int
        Rounds of clipping at four robust standard deviations.

    Returns
    -------
    coef : ndarray, shape (n, degree + 1)
        Coefficients.
    rms : ndarray, shape (n,)
        Rms of the points kept.
    kept : ndarray, shape (n, n_point), bool
        Points kept.
    """
    basis = chebyshev_basis(rows, n_wave, degree)
    kept = good.copy()
    ridge = 1e-8 * np.eye(degree + 1)
    values = np.where(np.isfinite(values), values, 0.0)
    for _ in range(rounds):
        normal = np.einsum("fb,ib,jb->fij", kept, basis, basis, optimize=True)
        right = (kept * values) @ basis.T
        coef = np.linalg.solve(normal + ridge, right[..., None])[..., 0]
        residual = np.abs(values - coef @ basis)
        scatter = 1.4826 * _row_median(residual, kept)
        kept = good & (residual <= np.maximum(4.0 * scatter, 1e-3))
    count = np.maximum(kept.sum(axis=1), 1)
    rms = np.sqrt((kept * (values - coef @ basis) ** 2).sum(axis=1) / count)
    return coef, rms, kept


def _row_median(values: NDArray[np.float64], good: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Median of the good values of each line, 0 where there are none; shape (n, 1)."""
    ordered = np.sort(np.where(good, values, np.inf), axis=1)
    middle = np.maximum(good.sum(axis=1) - 1, 0) // 2
    median = ordered[np.arange(len(values)), middle]
    return np.where(np.isfinite(median), median, 0.0)[:, None]


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
        Centres moved by shift + stretch * (centre - middle of the chip).
    dict
        'shift' (pixels at the chip's middle), 'stretch' (relative), 'shift_error' (pixels),
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
    score = []
    for step in steps:
        data, shape, good = _windows(bands, base[alive] + step, sigma[alive])[:3]
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
    coef = np.zeros(len(terms))
    for _ in range(6):
        weighted = flat * np.where(kept, weight, 0.0)
        normal = weighted @ flat.T
        normal += 1e-9 * np.trace(normal) * np.eye(len(terms))
        coef = np.linalg.solve(normal, weighted @ value)
        residual = np.abs(value - coef @ flat)
        scaled = residual * np.sqrt(weight)
        kept = (weight > 0) & (scaled <= 4.0 * 1.4826 * np.median(scaled[weight > 0]) + 1e-12)
    spread = (np.where(kept, weight, 0.0) * residual**2).sum() / max(int(kept.sum()) - 3, 1)
    return coef, float(np.sqrt(spread * np.linalg.inv(normal)[0, 0]))
