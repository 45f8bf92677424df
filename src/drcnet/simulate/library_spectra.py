"""Spectra of one source on the common grid: vacuum, rest frame, one resolution."""

from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline
from scipy.sparse import csr_matrix
from scipy.special import erf

from drcnet.errors import SpectrumError
from drcnet.simulate.spectra import rest_grid

__all__ = [
    "SKIPPED_COLUMNS",
    "SOURCE_COLUMNS",
    "SourceSpectra",
    "air_to_vacuum",
    "close_gaps",
    "extend_flat",
    "on_rest_grid",
    "smooth",
    "unit_median",
]

SOURCE_COLUMNS = {
    "name": pl.String,  # as the source writes it
    "star": pl.String,  # in the one spelling of star_names.star_name
    "type": pl.String,  # spectral type as the source writes it
    "luminosity": pl.String,  # empty: to be read from the type
    "teff": pl.Float64,
    "logg": pl.Float64,
    "feh": pl.Float64,
    "ra": pl.Float64,  # degrees; NaN where the source does not say
    "dec": pl.Float64,
    "snr": pl.Float64,  # NaN where the source does not say; the better of two visits is kept
}

SKIPPED_COLUMNS = {"name": pl.String, "type": pl.String, "reason": pl.String}

NORMALIZED_OVER = (5500.0, 7000.0)
_SIGMA_PER_FWHM = 1 / np.sqrt(8 * np.log(2))


@dataclass(frozen=True, eq=False)
class SourceSpectra:
    """What one source holds, on `rest_grid`, not yet brought to a common resolution.

    Parameters
    ----------
    source : str
        One of the names in `STAR_COLUMNS`' source.
    table : DataFrame
        One row a spectrum, with the columns of `SOURCE_COLUMNS`.
    flux : ndarray, shape (n_spectrum, n_pix), float32
        Flux per angstrom; NaN where the source does not reach. No gaps inside.
    fwhm : ndarray, shape (n_pix,)
        Resolution of the source along the grid, FWHM in angstrom.
    skipped : DataFrame
        Spectra that could not be used, with the columns of `SKIPPED_COLUMNS`.
    """

    source: str
    table: pl.DataFrame
    flux: NDArray[np.float32]
    fwhm: NDArray[np.float64]
    skipped: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SKIPPED_COLUMNS))

    def __post_init__(self) -> None:
        """Hold the invariants."""
        n_pix = len(rest_grid())
        wanted = (len(self.table), n_pix)
        if self.flux.shape != wanted or self.fwhm.shape != (n_pix,):
            came = f"{self.flux.shape} and {self.fwhm.shape}"
            raise SpectrumError(self.source, f"flux {wanted} and fwhm {(n_pix,)}", came)
        if self.table.schema != pl.Schema(SOURCE_COLUMNS):
            raise SpectrumError(self.source, f"{SOURCE_COLUMNS}", f"{self.table.schema}")


def air_to_vacuum(wavelength: NDArray[np.floating]) -> NDArray[np.float64]:
    """Turn wavelengths in standard air into vacuum.

    Parameters
    ----------
    wavelength : ndarray
        Air angstrom, above 2000.

    Returns
    -------
    ndarray
        Vacuum angstrom, by the refraction of Ciddor 1996 (Applied Optics 35, 1566) in the form
        of VALD3's and SDSS's converters (N. Piskunov's inverse fit); it follows Morton 1991 to
        0.005 angstrom over the optical.

    Examples
    --------
    >>> float(air_to_vacuum(np.array([6562.79]))[0].round(2))
    6564.6
    """
    s2 = (1e4 / np.asarray(wavelength, dtype=np.float64)) ** 2
    n = (
        1
        + 0.00008336624212083
        + 0.02408926869968 / (130.1065924522 - s2)
        + 0.0001599740894897 / (38.92568793293 - s2)
    )
    return np.asarray(wavelength * n, dtype=np.float64)


def close_gaps(flux: NDArray[np.floating], good: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Bridge bad pixels inside a spectrum by a straight line.

    Parameters
    ----------
    flux : ndarray, shape (n_pix,)
        One spectrum.
    good : ndarray of bool, shape (n_pix,)
        The pixels to trust.

    Returns
    -------
    ndarray, shape (n_pix,)
        The spectrum, whole between its first and last good pixel, NaN outside; all NaN where
        no pixel is good.
    """
    index = np.arange(flux.size)
    closed = np.full(flux.size, np.nan)
    if good.any():
        first, last = index[good][[0, -1]]
        inside = slice(first, last + 1)
        closed[inside] = np.interp(index[inside], index[good], flux[good])
    return closed


def on_rest_grid(
    wavelength: NDArray[np.float64], flux: NDArray[np.floating], z: float = 0.0
) -> NDArray[np.float32]:
    """Bring spectra of one wavelength axis onto `rest_grid` by a cubic spline.

    Parameters
    ----------
    wavelength : ndarray, shape (n_in,)
        Vacuum angstrom, increasing.
    flux : ndarray, shape (n_spectrum, n_in)
        Flux per angstrom; NaN outside the spectrum's own reach, no gaps inside.
    z : float
        Redshift to take out.

    Returns
    -------
    ndarray, shape (n_spectrum, n_pix), float32
        NaN where the spectrum does not reach.
    """
    grid = rest_grid()
    at = wavelength / (1 + z)
    result = np.full((len(flux), grid.size), np.nan, dtype=np.float32)
    for row, spectrum in enumerate(flux):
        known = np.flatnonzero(np.isfinite(spectrum))
        if known.size < 4:
            continue
        inside = (grid >= at[known[0]]) & (grid <= at[known[-1]])
        spline = make_interp_spline(at[known], spectrum[known].astype(np.float64), k=3)
        result[row, inside] = spline(grid[inside])
    return result


def smooth(
    flux: NDArray[np.floating], have: NDArray[np.float64], want: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Broaden spectra on `rest_grid` with a Gaussian to a lower resolution.

    Parameters
    ----------
    flux : ndarray, shape (n_spectrum, n_pix)
        NaN where unknown; there it stays NaN, and edges are weighted by what is known.
    have, want : ndarray, shape (n_pix,)
        FWHM in angstrom before and after; the Gaussian's is the difference in quadrature.

    Returns
    -------
    ndarray, shape (n_spectrum, n_pix), float32
        The broadened spectra.

    Raises
    ------
    SpectrumError
        A lower FWHM than the present one is asked for.
    """
    if np.any(want < have - 1e-9):
        raise SpectrumError(
            "resolution", f"at least {have.max():.2f} angstrom FWHM", f"{want.min():.2f}"
        )
    grid = rest_grid()
    step = np.gradient(grid)
    sigma = np.sqrt(np.maximum(want**2 - have**2, 0)) * _SIGMA_PER_FWHM / step
    kernel = _gaussian_rows(sigma)
    known = np.isfinite(flux)
    total = (kernel @ np.where(known, flux, 0).T).T
    weight = (kernel @ known.T.astype(np.float64)).T
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(known, total / weight, np.nan).astype(np.float32)


def _gaussian_rows(sigma: NDArray[np.float64]) -> csr_matrix:
    """Pixel-integrated Gaussians of changing width (in pixels), one a row of the matrix."""
    n_pix = sigma.size
    reach = int(np.ceil(5 * sigma.max())) + 1
    offset = np.arange(-reach, reach + 1)
    width = np.maximum(sigma, 1e-3)[:, None] * np.sqrt(2)
    weight = 0.5 * (erf((offset + 0.5) / width) - erf((offset - 0.5) / width))
    column = np.arange(n_pix)[:, None] + offset
    row = np.broadcast_to(np.arange(n_pix)[:, None], column.shape)
    inside = (column >= 0) & (column < n_pix)
    return csr_matrix((weight[inside], (row[inside], column[inside])), shape=(n_pix, n_pix))


def unit_median(flux: NDArray[np.floating]) -> NDArray[np.float32]:
    """Scale spectra so that their median over 5500-7000 angstrom is 1.

    Parameters
    ----------
    flux : ndarray, shape (n_spectrum, n_pix)
        On `rest_grid`.

    Returns
    -------
    ndarray, shape (n_spectrum, n_pix), float32
        The scaled spectra.
    """
    grid = rest_grid()
    inside = (grid >= NORMALIZED_OVER[0]) & (grid <= NORMALIZED_OVER[1])
    return (flux / np.median(flux[:, inside], axis=1, keepdims=True)).astype(np.float32)


def extend_flat(flux: NDArray[np.floating], edge: int = 50) -> NDArray[np.float32]:
    """Go on with a constant where a spectrum does not reach the ends of `rest_grid`.

    Parameters
    ----------
    flux : ndarray, shape (n_spectrum, n_pix)
        NaN at the ends that a spectrum does not reach.
    edge : int
        Pixels next to the end whose median is the constant.

    Returns
    -------
    ndarray, shape (n_spectrum, n_pix), float32
        Without NaN.
    """
    whole = np.array(flux, dtype=np.float32)
    for spectrum in whole:
        known = np.flatnonzero(np.isfinite(spectrum))
        first, last = known[0], known[-1]
        spectrum[:first] = np.median(spectrum[first : first + edge])
        spectrum[last + 1 :] = np.median(spectrum[last - edge + 1 : last + 1])
    return whole
