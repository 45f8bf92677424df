"""Lines in many spectra at once: centres by least squares, and matching to a list."""

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, median_filter

from drcnet.stripes.solve import solve_small

__all__ = ["LineFit", "LineList", "fit_lines", "isolated", "line_list", "match_lines"]

_HALF = 6  # pixels on each side of a line that its fit uses
_SIGMA = 2.1  # pixels: first guess of a line's standard deviation (FWHM 5)


@dataclass(frozen=True, eq=False)
class LineList:
    """Lines of known wavelength.

    Parameters
    ----------
    wavelength : ndarray, shape (n_line,)
        Vacuum angstrom, increasing.
    strength : ndarray, shape (n_line,)
        Relative strength.
    """

    wavelength: NDArray[np.float64]
    strength: NDArray[np.float64]


@cache
def line_list(kind: Literal["arc", "sky"]) -> LineList:
    """Read a shipped line list.

    Parameters
    ----------
    kind : {'arc', 'sky'}
        Which one.

    Returns
    -------
    LineList
        All its lines.
    """
    with resources.as_file(resources.files("drcnet.instruments") / f"{kind}_lines.csv") as path:
        table = pl.read_csv(path, comment_prefix="#").sort("wavelength_vacuum")
    return LineList(
        table["wavelength_vacuum"].cast(pl.Float64).to_numpy(),
        table["strength"].cast(pl.Float64).to_numpy(),
    )


def isolated(lines: LineList, angstrom: float, *, share: float = 0.05) -> NDArray[np.bool_]:
    """Lines without a neighbour that could move their centre.

    Parameters
    ----------
    lines : LineList
        The lines.
    angstrom : float
        How near is near.
    share : float
        Strength, relative to the line's own, from which a neighbour counts.

    Returns
    -------
    ndarray, shape (n_line,), bool
        True for lines that stand alone.
    """
    apart = np.abs(lines.wavelength[:, None] - lines.wavelength)
    near = (apart < angstrom) & (apart > 0)
    strong = lines.strength > share * lines.strength[:, None]
    return np.asarray(~(near & strong).any(axis=1))


@dataclass(frozen=True, eq=False)
class LineFit:
    """Lines fitted in many spectra.

    Parameters
    ----------
    row : ndarray, shape (n, n_line)
        Centres, wavelength pixels; NaN where no line was found.
    height : ndarray, shape (n, n_line)
        Peaks above the continuum.
    sigma : ndarray, shape (n, n_line)
        Standard deviations, pixels.
    error : ndarray, shape (n, n_line)
        Standard error of the centres, pixels; inf where no line was found.
    """

    row: NDArray[np.float64]
    height: NDArray[np.float64]
    sigma: NDArray[np.float64]
    error: NDArray[np.float64]


def fit_lines(
    spectra: NDArray[Any], guess: NDArray[np.float64], *, rounds: int = 5, reach: float = 2.5
) -> LineFit:
    """Fit Gaussians on a constant, all at once, by linearised least squares.

    Parameters
    ----------
    spectra : ndarray, shape (n, n_row)
        Light.
    guess : ndarray, shape (n, n_line)
        Expected centres, rows.
    rounds : int
        Linearisations.
    reach : float
        Pixels from the guess beyond which a line counts as not found.

    Returns
    -------
    LineFit
        One centre a spectrum and line.
    """
    n, n_row = spectra.shape
    window = np.arange(-_HALF, _HALF + 1)
    base = np.rint(np.where(np.isfinite(guess), guess, -1e6)).astype(np.int64)
    pixel = base[..., None] + window
    valid = (pixel >= 0) & (pixel < n_row)
    data = spectra[np.arange(n)[:, None, None], np.clip(pixel, 0, n_row - 1)].astype(np.float64)
    center = np.where(np.isfinite(guess), guess, 0.0)
    sigma = np.full(center.shape, _SIGMA)
    height = np.zeros(center.shape)
    for _ in range(rounds):
        scaled = (pixel - center[..., None]) / sigma[..., None]
        shape = np.exp(-0.5 * scaled**2)
        terms = np.stack([shape, shape * scaled, shape * scaled**2, np.ones_like(shape)])
        solved = solve_small(terms, data, valid)
        height = solved[0]
        safe = np.where(height > 0, height, np.inf)
        center = center + np.clip(solved[1] / safe, -0.7, 0.7) * sigma
        sigma = np.clip(sigma * (1.0 + np.clip(solved[2] / safe, -0.2, 0.2)), 0.8, 6.0)
        center = np.clip(center, guess - reach - 1.0, guess + reach + 1.0)
    rest = np.where(valid, data - np.tensordot(np.ones(4), terms * solved[..., None], 1), 0.0)
    count = np.maximum(valid.sum(axis=-1) - 4, 1)
    noise = np.sqrt((rest**2).sum(axis=-1) / count)
    least = np.maximum(3.0 * noise, 1e-4 * np.abs(data).max(axis=-1))
    found = (
        valid.all(axis=-1) & (height > least) & (sigma < 5.5) & (np.abs(center - guess) < reach)
    )
    # Standard error of a Gaussian's centre for pixels of equal noise (Landman et al. 1982).
    error = noise * np.sqrt(sigma * 2.0 / np.sqrt(np.pi)) / np.where(found, height, 1.0)
    return LineFit(np.where(found, center, np.nan), height, sigma, np.where(found, error, np.inf))


def match_lines(
    spectrum: NDArray[np.float64], lines: LineList, nominal: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Find how far a spectrum's lines lie from where they are expected.

    Offset, slope, bend and cubic bend over the rows are searched on a grid, coarse to fine, for
    the most light at the expected rows of all lines; light is compressed so that no single
    line decides.

    Parameters
    ----------
    spectrum : ndarray, shape (n_row,)
        Light of one fibre, continuum included.
    lines : LineList
        Lines that may be there.
    nominal : ndarray, shape (n_line,)
        Expected rows; NaN outside the spectrum.

    Returns
    -------
    ndarray, shape (4,)
        Legendre coefficients of the displacement (rows) over -1..1.
    """
    light = _compressed(spectrum)
    known = np.isfinite(nominal)
    place = nominal[known]
    weight = np.sqrt(lines.strength[known])
    t = 2.0 * place / (len(spectrum) - 1) - 1.0
    terms = np.stack([np.ones_like(t), t, 0.5 * (3 * t**2 - 1), 0.5 * (5 * t**3 - 3 * t)])
    best = np.zeros(4)
    # Blur (pixels), half range of each coefficient and number of steps, coarse to fine.
    for blur, reach, steps in (
        (8.0, (40.0, 24.0, 24.0, 0.0), (21, 9, 9, 1)),
        (4.0, (6.0, 6.0, 6.0, 6.0), (7, 7, 7, 5)),
        (2.5, (2.0, 2.0, 2.0, 3.0), (5, 5, 5, 7)),
    ):
        axes = [
            b + np.linspace(-r, r, s) if s > 1 else np.array([b])
            for b, r, s in zip(best, reach, steps, strict=True)
        ]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 4)
        smooth = _blurred(light, blur)
        row = place + grid @ terms
        index = np.clip(np.rint(row).astype(np.int64), 0, len(smooth) - 1)
        score = (smooth[index] * weight * (index == np.rint(row))).sum(axis=1)
        best = grid[int(np.argmax(score))]
    return best


def _compressed(spectrum: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lines above a running median, compressed to 0..1."""
    size = max(5, min(101, len(spectrum) // 4) | 1)
    above = spectrum - median_filter(spectrum, size, mode="nearest")
    noise = 1.4826 * np.median(np.abs(above - np.median(above)))
    above = np.maximum(above - 3.0 * noise, 0.0)
    top = np.percentile(above, 98)
    return np.sqrt(np.minimum(above / (top if top > 0 else 1.0), 1.0))


def _blurred(light: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    return np.asarray(gaussian_filter1d(light, sigma))
