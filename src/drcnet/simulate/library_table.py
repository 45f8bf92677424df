"""A plain table of spectra that a user brings: FITS, VOTable, ECSV or Parquet."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from astropy import units
from astropy.table import Table
from numpy.typing import NDArray

from drcnet.errors import SpectrumError
from drcnet.simulate.library_readers import source_table
from drcnet.simulate.library_spectra import (
    SourceSpectra,
    air_to_vacuum,
    close_gaps,
    on_rest_grid,
)
from drcnet.simulate.spectra import rest_grid

__all__ = ["TABLE_ENDINGS", "read_table"]

_ASTROPY_FORMATS = {
    ".fits": "fits",
    ".fit": "fits",
    ".ecsv": "ascii.ecsv",
    ".vot": "votable",
    ".xml": "votable",
}
TABLE_ENDINGS = (*_ASTROPY_FORMATS, ".parquet")
_TYPE_COLUMNS = ("type", "spt", "subclass", "class")
_OPTIONAL = ("teff", "logg", "feh", "ra", "dec", "snr")

Rows = dict[str, list[Any]]


def read_table(path: Path) -> SourceSpectra:
    """Read a table with one spectrum a row.

    Columns (case does not matter):

    - `star`: the star's name (HD, BD and G names are recognised as those of other libraries);
    - `type`, `spt`, `subclass` or `class`: spectral type with a subclass digit, such as "G2V";
    - `wavelength`: an array a row, increasing, in the column's unit (angstrom where it has
      none); or none at all, and COEFF0 and COEFF1 (a column or a keyword of the table) give
      10**(COEFF0 + COEFF1*i) angstrom for all rows;
    - `flux`: an array a row, per unit wavelength, in any scale; NaN or <= 0 for a bad pixel;
    - `vacuum`: true or false (a column or a keyword);
    - `fwhm` in angstrom, or `resolution` (wavelength over FWHM): one number for the whole table
      (a column or a keyword; of several values the worst counts);
    - optional: `z` (redshift to take out; without it the spectra are in the rest frame), `teff`,
      `logg`, `feh`, `ra`, `dec` (degrees), `snr`.

    Parameters
    ----------
    path : Path
        A .fits, .fit, .ecsv, .vot, .xml or .parquet file.

    Returns
    -------
    SourceSpectra
        Source "table".

    Raises
    ------
    SpectrumError
        The file cannot be read, or a needed column is missing; air or vacuum and the resolution
        must be stated, because nothing in a spectrum says them reliably.
    """
    rows = _read_parquet(path) if path.suffix == ".parquet" else _read_astropy(path)
    type_column = next((name for name in _TYPE_COLUMNS if name in rows), None)
    if type_column is None:
        raise SpectrumError(path, f"a column of {_TYPE_COLUMNS}", f"the columns {sorted(rows)}")
    for name in ("star", "flux", "vacuum"):
        if name not in rows:
            raise SpectrumError(
                path, f"a column or keyword '{name}'", f"the columns {sorted(rows)}"
            )
    count = len(rows["star"])
    flux = np.stack([_one_spectrum(path, rows, row) for row in range(count)])
    optional = {name: [_float(v) for v in rows[name]] for name in _OPTIONAL if name in rows}
    names = {"name": [str(n).strip() for n in rows["star"]]}
    types = {"type": [str(t).strip() for t in rows[type_column]]}
    table = source_table({**names, **types, **optional})
    return SourceSpectra("table", table, flux, _resolution(path, rows))


def _one_spectrum(path: Path, rows: Rows, row: int) -> NDArray[np.float32]:
    flux = np.ma.filled(np.ma.asarray(rows["flux"][row], dtype=np.float64), np.nan)
    wavelength: NDArray[np.float64]
    if "wavelength" in rows:
        wavelength = np.asarray(rows["wavelength"][row], dtype=np.float64)
    elif "coeff0" in rows and "coeff1" in rows:
        step = float(rows["coeff1"][row])
        exponent = float(rows["coeff0"][row]) + step * np.arange(flux.size)
        wavelength = np.asarray(10.0**exponent, dtype=np.float64)
    else:
        raise SpectrumError(path, "a column 'wavelength', or COEFF0 and COEFF1", "neither")
    if wavelength.shape != flux.shape or not np.all(np.diff(wavelength) > 0):
        raise SpectrumError(
            f"{path}, row {row}",
            "increasing wavelengths, as many as fluxes",
            f"{wavelength.size} wavelengths and {flux.size} fluxes",
        )
    if not _truth(rows["vacuum"][row]):
        wavelength = air_to_vacuum(wavelength)
    z = _float(rows["z"][row]) if "z" in rows else 0.0
    whole = close_gaps(flux, np.isfinite(flux) & (flux > 0))
    return on_rest_grid(wavelength, whole[None], z)[0]


def _resolution(path: Path, rows: Rows) -> NDArray[np.float64]:
    grid = rest_grid()
    if "fwhm" in rows:
        return np.full_like(grid, max(float(value) for value in rows["fwhm"]))
    if "resolution" in rows:
        return grid / min(float(value) for value in rows["resolution"])
    raise SpectrumError(
        path, "a column or keyword 'fwhm' (angstrom) or 'resolution'", f"only {sorted(rows)}"
    )


def _read_parquet(path: Path) -> Rows:
    try:
        table = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as err:
        raise SpectrumError(path, "a Parquet table", str(err).splitlines()[0]) from err
    return {name.lower(): table[name].to_list() for name in table.columns}


def _read_astropy(path: Path) -> Rows:
    kind = _ASTROPY_FORMATS[path.suffix]
    try:
        table = Table.read(path, format=kind)
    except (OSError, ValueError, IndexError, TypeError) as err:
        raise SpectrumError(path, f"a {kind} table", str(err).splitlines()[0]) from err
    rows: Rows = {name.lower(): list(table[name]) for name in table.colnames}
    for key, value in table.meta.items():
        if isinstance(value, str | bool | int | float):
            rows.setdefault(key.lower(), [value] * len(table))
    by_name = {name.lower(): table[name] for name in table.colnames}
    unit = by_name["wavelength"].unit if "wavelength" in by_name else None
    if unit is not None:
        convert = _to_angstrom(path, unit)
        rows["wavelength"] = [convert(np.asarray(value)) for value in rows["wavelength"]]
    return rows


def _to_angstrom(path: Path, unit: units.UnitBase) -> Callable[[NDArray], NDArray]:
    try:
        factor = units.Unit(unit).to(units.AA)
    except (units.UnitConversionError, ValueError, TypeError) as err:
        raise SpectrumError(path, "wavelengths in a unit of length", str(unit)) from err
    return lambda value: value * factor


def _truth(value: object) -> bool:
    if isinstance(value, bool | np.bool_ | int | np.integer):
        return bool(value)
    return str(value).strip().lower() in ("t", "true", "yes", "1")


def _float(value: object) -> float:
    """Read a number; None, a masked value and words are NaN."""
    if value is None or value is np.ma.masked:
        return float("nan")
    try:
        return float(str(value))
    except ValueError:
        return float("nan")
