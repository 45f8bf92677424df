"""1-D spectra of stores and of libraries, made alike: rest frame, one grid, continuum divided out.

What is left are the lines, so that flux calibration, which a store does not have, does not count.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from drcnet.dataset.profiles import stored_instrument
from drcnet.dataset.store import Store
from drcnet.frames.velocity import LIGHT_SPEED, topocentric_velocity
from drcnet.simulate.library import Library
from drcnet.simulate.spectra import rest_grid

__all__ = ["JOINT", "RestSpectra", "common_grid", "divide_continuum", "from_library", "from_store"]

JOINT = (5530.0, 6140.0)
"""Angstrom between the arms' stripes (rows 500 to 3500 do not meet); nothing there is compared."""

_TELLURIC = ((6855.0, 7000.0), (7155.0, 7410.0), (7585.0, 7725.0), (8120.0, 8390.0))
"""Angstrom at rest, with room for 300 km/s, that LAMOST's pipeline corrects and a store does
not; nothing there is compared either."""
_CONTINUUM = 0.01  # dex, one sigma: some 150 angstrom, wider than any line


@dataclass(frozen=True, eq=False)
class RestSpectra:
    """Line spectra with what is known of their stars.

    Parameters
    ----------
    flux : ndarray, shape (n, n_pix), float32
        On `common_grid`, continuum 1, within [0, 2]; 1 where nothing is known.
    table : DataFrame
        n rows: star, class, subclass, source, fold, snrr.
    """

    flux: NDArray[np.float32]
    table: pl.DataFrame

    def take(self, keep: pl.Expr) -> "RestSpectra":
        """Keep some spectra.

        Parameters
        ----------
        keep : Expr
            Condition on the table.

        Returns
        -------
        RestSpectra
            Those that meet it.
        """
        chosen = self.table.select(keep.alias("keep"))["keep"].to_numpy()
        return RestSpectra(self.flux[chosen], self.table.filter(pl.Series(chosen)))


def common_grid() -> NDArray[np.float64]:
    """Make the grid on which simulated and real spectra meet.

    Returns
    -------
    ndarray, shape (n_pix,)
        Vacuum angstrom, 2e-4 dex a pixel, 4000 to 8450: what every fibre's stripes show.
    """
    return 10.0 ** np.arange(np.log10(4000.0), np.log10(8450.0), 2e-4)


def divide_continuum(flux: NDArray[np.floating]) -> NDArray[np.float32]:
    """Divide spectra by themselves, smoothed.

    Parameters
    ----------
    flux : ndarray, shape (n, n_pix)
        On a part of `common_grid`; NaN where nothing is known.

    Returns
    -------
    ndarray, shape (n, n_pix), float32
        Within [0, 2]; NaN stays.
    """
    known = np.isfinite(flux)
    sigma = _CONTINUUM / 2e-4
    level = np.nanmedian(np.where(known, flux, np.nan), axis=1, keepdims=True)
    filled = np.where(known, flux, 0.0) / level
    weight = gaussian_filter1d(known.astype(np.float64), sigma, axis=1, mode="nearest")
    smooth = gaussian_filter1d(filled, sigma, axis=1, mode="nearest") / np.maximum(weight, 1e-3)
    ratio = np.where(known, filled / np.maximum(smooth, 1e-2), np.nan)
    return np.clip(ratio, 0.0, 2.0).astype(np.float32)


def _by_arms(flux: NDArray[np.floating]) -> NDArray[np.float32]:
    """Divide the continuum out on each side of the joint; 1 in between and where unknown.

    `flux` loses its telluric bands.
    """
    grid = common_grid()
    for start, stop in _TELLURIC:
        flux[:, (grid > start) & (grid < stop)] = np.nan
    out = np.ones(flux.shape, np.float32)
    for side in (grid < JOINT[0], grid > JOINT[1]):
        out[:, side] = np.nan_to_num(divide_continuum(flux[:, side]), nan=1.0)
    return out


def from_store(store: Store, rows: NDArray[np.int64]) -> RestSpectra:
    """Take rows of a store: optimal extraction less the frame's sky, to the star's rest frame.

    Parameters
    ----------
    store : Store
        A prepared night.
    rows : ndarray, shape (n,), int64
        Which rows, increasing.

    Returns
    -------
    RestSpectra
        n spectra.
    """
    profile = stored_instrument(store)
    first = store.provenance["settings"]["prepare"]["stripes"]["row_start"]
    index = store.index[rows.tolist()]
    velocity = topocentric_velocity(index.with_columns(pl.col("rv").fill_nan(0.0)), profile)
    shift = 1.0 + np.nan_to_num(velocity) / LIGHT_SPEED
    light = store.read("optimal", rows).astype(np.float64) - store.read("sky", rows)
    polynomial = store.read("wavelength", rows)
    pixel = first + np.arange(light.shape[-1])
    place = 2.0 * pixel / (profile.n_wave - 1) - 1.0
    grid = common_grid()
    flux = np.full((len(rows), len(grid)), np.nan)
    for n in range(len(rows)):
        for arm, side in enumerate((grid < JOINT[0], grid > JOINT[1])):
            wave = np.polynomial.chebyshev.chebval(place, polynomial[n, arm]) / shift[n]
            good = np.isfinite(light[n, arm])
            if good.any() and np.isfinite(wave).all():
                flux[n, side] = np.interp(
                    grid[side], wave[good], light[n, arm, good], left=np.nan, right=np.nan
                )
    table = index.select("star", "class", "subclass", "source", "fold", "snrr")
    return RestSpectra(_by_arms(flux), table)


def from_library(library: Library) -> RestSpectra:
    """Take the spectra of a library, which are at rest already, as far as they were observed.

    Parameters
    ----------
    library : Library
        Real spectra.

    Returns
    -------
    RestSpectra
        One a star.
    """
    grid, rest = common_grid(), rest_grid()
    flux = np.stack(
        [np.interp(grid, rest, one.astype(np.float64), left=np.nan) for one in library.known]
    )
    table = library.stars.table.select("star", "class", "subclass", "source", "fold").with_columns(
        snrr=pl.lit(float("nan"))
    )
    return RestSpectra(_by_arms(flux), table)
