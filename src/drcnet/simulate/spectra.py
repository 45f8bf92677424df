"""Stars: one interface for the built-in physics and for libraries of real spectra."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.config import SimulateSettings
from drcnet.errors import SpectrumError

__all__ = ["STAR_COLUMNS", "Progress", "StarSet", "load_stars", "rest_grid"]

Progress = Callable[[str, int, int], None]
"""``progress(stage, done, total)``."""

STAR_COLUMNS = {
    "star": pl.String,  # one name a star, unique in the set
    "class": pl.String,
    "subclass": pl.String,
    "luminosity": pl.String,  # "V", "III", ...; empty where unknown
    "teff": pl.Float64,
    "logg": pl.Float64,
    "feh": pl.Float64,
    "source": pl.String,  # "builtin", "miles", "indo-us", "pyhammer", "lamost", "table"
    "fold": pl.Int64,  # 0..4, by star; what is fitted for a star is fitted on the other folds
    "filled_from": pl.Float64,  # angstrom from which the spectrum is a fill; inf for nowhere
}


def rest_grid() -> NDArray[np.float64]:
    """Make the one grid on which all stars meet.

    Returns
    -------
    ndarray, shape (n_pix,)
        Vacuum angstrom in the star's rest frame, 1e-4 dex a pixel, 3550 to 9300 angstrom.
    """
    return 10.0 ** (np.log10(3550.0) + 1e-4 * np.arange(4183))


@dataclass(frozen=True, eq=False)
class StarSet:
    """Spectra of distinct stars on `rest_grid`, at one resolution.

    Parameters
    ----------
    table : DataFrame
        One row a star, with the columns of `STAR_COLUMNS`.
    flux : ndarray, shape (n_star, n_pix), float32
        Flux per angstrom; the median over 5500-7000 angstrom is 1.
    fwhm : float
        Resolution of every spectrum, FWHM in angstrom.
    """

    table: pl.DataFrame
    flux: NDArray[np.float32]
    fwhm: float

    def __post_init__(self) -> None:
        """Hold the invariants."""
        wanted = (len(self.table), len(rest_grid()))
        if self.flux.shape != wanted:
            raise SpectrumError("StarSet", f"flux of shape {wanted}", str(self.flux.shape))
        missing = sorted(set(STAR_COLUMNS) - set(self.table.columns))
        if missing:
            raise SpectrumError("StarSet", f"columns {sorted(STAR_COLUMNS)}", f"none of {missing}")
        if self.table["star"].is_duplicated().any():
            raise SpectrumError("StarSet", "every star once", "a star twice")


def load_stars(
    settings: SimulateSettings, count: int, *, progress: Progress | None = None
) -> StarSet:
    """Take stars from the source that the settings name.

    Parameters
    ----------
    settings : SimulateSettings
        Source, classes and their shares, seed.
    count : int
        Distinct stars wanted from the built-in physics; a library gives all it has.
    progress : callable, optional
        ``progress(stage, done, total)`` while spectra are synthesised.

    Returns
    -------
    StarSet
        The stars.
    """
    if settings.source == "builtin":
        from drcnet.simulate.builtin import builtin_stars  # noqa: PLC0415

        report = None if progress is None else partial(progress, "synthesis")
        return builtin_stars(settings, count, progress=report)
    from drcnet.simulate.library import library_stars  # noqa: PLC0415

    return library_stars(settings)
