"""Where each fibre runs: centres and widths as polynomials along wavelength."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from drcnet.config import StripeSettings
from drcnet.errors import FrameError
from drcnet.frames.frame import Frame
from drcnet.stripes.bands import Bands, average_bands, band_step
from drcnet.stripes.polynomial import chebyshev_basis, robust_chebyshev
from drcnet.stripes.solve import solve_small
from drcnet.stripes.spatial import REACH, STEP, fit_table, gaussian_table, table_grid

__all__ = [
    "TraceSet",
    "trace_flat",
]

_WIDTH_DEGREE = 2
_MIN_ROWS = 3  # bands a trace must be seen in
_ENOUGH_BANDS = 32  # bands that hold a trace to well under a hundredth of a pixel
_TABLE_STEP = 3  # the typical profile is measured on one fibre of so many


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


class _Found(NamedTuple):
    """Centre, FWHM (pixels) and light times width of every fibre and band; (n, n_band)."""

    center: NDArray[np.float64]
    width: NDArray[np.float64]
    height: NDArray[np.float64]


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
    step = band_step(frame.counts.shape[1])
    every = max(1, frame.counts.shape[1] // step // _ENOUGH_BANDS)
    bands = average_bands(frame, step, trim=True, every=every)
    pitch = frame.profile.fibers.pitch
    first = _find_peaks(bands, pitch, float(np.max(frame.read_noise)))
    if len(first) < 2:
        raise FrameError(
            frame.path,
            f"a lamp flat of {frame.profile.fibers.count} fibres",
            f"{len(first)} peaks",
        )
    center = _follow(bands, first, pitch)
    usual = np.full(center.shape, 0.44 * pitch)
    found = _Found(center, usual, _height(bands, center))
    found = _refine(bands, found, gaussian_table(), pitch, 2)
    table, scale = _typical_table(bands, found)
    found = _Found(found.center, found.width * scale, found.height)
    center, width, height = _refine(bands, found, table, pitch, 2)
    light = height * width
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


def _find_peaks(bands: Bands, pitch: float, read_noise: float) -> NDArray[np.float64]:
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
    # Noise of a pixel in the valleys, averaged over three bands and the smoothing.
    variance = read_noise**2 + np.percentile(np.maximum(line, 0.0), 20)
    noise = np.sqrt(variance / (3.0 * bands.step * 3.5 * sigma))
    peaks = np.flatnonzero(top & (rise > max(0.03 * usual, 5.0 * noise)))
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
    bands: Bands, found: _Found, table: NDArray[np.float64], pitch: float, rounds: int
) -> _Found:
    """Centres, FWHM and light of all fibres and bands by linearised least squares.

    What the profile misses of the true one is symmetric, so that the centre is not moved by it.
    """
    half = max(2, round(0.40 * pitch))
    window = np.arange(-half, half + 1)
    n_spatial = bands.light.shape[1]
    band = np.arange(found.center.shape[1])[:, None]
    center, width, height = found
    slope = np.gradient(table, STEP)
    for _ in range(rounds):
        pixel = np.rint(center).astype(np.int64)[..., None] + window
        inside = np.clip(pixel, 0, n_spatial - 1)
        weight = bands.good[band, inside] & (pixel == inside)
        data = bands.light[band, inside] - _neighbors(_Found(center, width, height), table, pixel)
        u = (pixel - center[..., None]) / width[..., None]
        shape, bend = _look_up(table, u), _look_up(slope, u)
        # d model / d center and d model / d width, each times width / height.
        # A sloping floor stands for what the neighbours' wings still leave.
        floor = np.ones_like(shape)
        terms = np.stack([shape, -bend, -(shape + u * bend), floor, u])
        solved = solve_small(terms, data, weight)
        height = np.maximum(solved[0], 0.0)
        safe = np.where(height > 0, height, np.inf)
        center = center + np.clip(solved[1] / safe, -0.15, 0.15) * width
        width = width * (1.0 + np.clip(solved[2] / safe, -0.15, 0.15))
        width = np.clip(width, 1.2, 1.2 * pitch)
    return _Found(center, width, height)


def _height(bands: Bands, center: NDArray[np.float64]) -> NDArray[np.float64]:
    pixel = np.clip(np.rint(center).astype(np.int64), 0, bands.light.shape[1] - 1)
    return np.maximum(bands.light[np.arange(center.shape[1]), pixel], 0.0).astype(np.float64)


def _look_up(table: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear interpolation in a table over u; 0 beyond its reach."""
    place = np.clip((u + REACH) / STEP, 0.0, len(table) - 1.001)
    low = place.astype(np.int32)
    part = place - low
    value = table[low] * (1.0 - part) + table[low + 1] * part
    return np.where(np.abs(u) < REACH, value, 0.0)


def _neighbors(
    found: _Found, table: NDArray[np.float64], pixel: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Light of the fibres on either side; shape (n, n_band, window)."""
    total = np.zeros(pixel.shape)
    for here, there in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
        u = (pixel[here] - found.center[there, :, None]) / found.width[there, :, None]
        total[here] += found.height[there, :, None] * _look_up(table, u)
    return total


def _typical_table(bands: Bands, found: _Found) -> tuple[NDArray[np.float64], float]:
    """Symmetric profile of the whole chip, and its FWHM in units of the widths given."""
    n, n_band = found.center.shape
    some = (
        np.arange(0, n, _TABLE_STEP if n > 60 else 1),
        np.unique(np.linspace(0, n_band - 1, min(n_band, 6)).astype(np.int64)),
    )
    light = found.height * found.width
    table, _ = fit_table(bands, (found.center, found.width, light), some, turns=2)
    table = 0.5 * (table + table[::-1])
    middle = len(table) // 2
    fall = table[middle:] / table[middle]
    last = int(np.flatnonzero(fall < 0.5)[0])
    half = (last - (0.5 - fall[last]) / (fall[last - 1] - fall[last])) * STEP
    scale = 2.0 * float(half)
    return scale * _look_up(table, table_grid() * scale), scale
