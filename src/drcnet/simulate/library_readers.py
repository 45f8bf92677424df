"""Libraries of real spectra: one small reader a format, and the registry that picks one.

Resolutions are not all what the sources' papers say of single spectra: those marked (measured)
were found by broadening sums of MILES stars until they follow the source best, in windows
between 4000 and 6860 angstrom.
"""

import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from astropy.io import fits
from numpy.typing import NDArray

from drcnet.errors import SpectrumError
from drcnet.simulate.library_spectra import (
    SOURCE_COLUMNS,
    SourceSpectra,
    air_to_vacuum,
    close_gaps,
    on_rest_grid,
)
from drcnet.simulate.spectra import rest_grid
from drcnet.simulate.star_names import star_name

__all__ = [
    "FILE_ERRORS",
    "LibraryReader",
    "indo_us_fwhm",
    "miles_fwhm",
    "pyhammer_fwhm",
    "read_indo_us",
    "read_miles",
    "read_pyhammer",
    "source_table",
]

_NAMED = re.compile(r"^(?P<type>.*\S)\s*\((?P<name>[^()]+)\)\s*$")
FILE_ERRORS = (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile)
"""What reading a damaged file may raise."""


@dataclass(frozen=True)
class LibraryReader:
    """One format of a library.

    Parameters
    ----------
    wanted : str
        What such a library holds, for the message when nothing fits.
    fits : callable
        Path to bool: whether the path holds this format, without reading spectra.
    read : callable
        Path to `SourceSpectra`.
    """

    wanted: str
    fits: Callable[[Path], bool]
    read: Callable[[Path], SourceSpectra]


def source_table(columns: dict[str, Any]) -> pl.DataFrame:
    """Build a source's table; columns not given are unknown, `star` follows from `name`.

    Parameters
    ----------
    columns : dict
        Some of `SOURCE_COLUMNS`, at least 'name' and 'type'.

    Returns
    -------
    DataFrame
        All of `SOURCE_COLUMNS`, NaN for unknown numbers and "" for unknown words.
    """
    known = {"star": [star_name(name) for name in columns["name"]], **columns}
    empty = {name: "" if kind == pl.String else np.nan for name, kind in SOURCE_COLUMNS.items()}
    table = pl.DataFrame(known, strict=False)
    return table.select(
        (pl.col(name) if name in known else pl.lit(empty[name]))
        .cast(kind)
        .fill_null(empty[name])
        .alias(name)
        for name, kind in SOURCE_COLUMNS.items()
    )


def miles_fwhm(wavelength: NDArray[np.float64]) -> NDArray[np.float64]:
    """Resolution of MILES: 2.5 angstrom everywhere (Falcon-Barroso et al. 2011).

    Parameters
    ----------
    wavelength : ndarray
        Angstrom.

    Returns
    -------
    ndarray
        FWHM, angstrom.
    """
    return np.full_like(wavelength, 2.5)


def indo_us_fwhm(wavelength: NDArray[np.float64]) -> NDArray[np.float64]:
    """Resolution of SDSS's spEigenStar templates: 3.1 to 3.5 angstrom below 6900 (measured).

    The templates were broadened from Indo-US's 1 angstrom to that of SDSS; beyond 6900
    angstrom R = 2100 is an inference.

    Parameters
    ----------
    wavelength : ndarray
        Angstrom.

    Returns
    -------
    ndarray
        FWHM, angstrom.
    """
    measured = np.interp(wavelength, [4200, 4600, 5200, 5900, 6700], [3.1, 3.2, 3.4, 3.5, 3.3])
    return np.maximum(measured, wavelength / 2100)


def pyhammer_fwhm(wavelength: NDArray[np.float64]) -> NDArray[np.float64]:
    """Resolution of PyHammer's templates (measured).

    One SDSS spectrum has R ~ 2000; the co-added templates have R ~ 1370 below 5500 angstrom
    and 4.0 angstrom up to 6900 (stars of unlike velocity and rotation were added); beyond 8000
    angstrom R = 2000 is the survey's.

    Parameters
    ----------
    wavelength : ndarray
        Angstrom.

    Returns
    -------
    ndarray
        FWHM, angstrom.
    """
    return np.maximum(np.minimum(wavelength / 1370, 4.0), wavelength / 2000)


def read_miles(folder: Path) -> SourceSpectra:
    """Read MILES stars packed as miles_fgk.npz and miles_fgk.csv.

    Parameters
    ----------
    folder : Path
        With `flux` (n, 4300) on air wavelengths wave0 + dwave*i, and the columns name, spt,
        teff, logg, feh ('--' where unknown). Pixels at or below zero are missing.

    Returns
    -------
    SourceSpectra
        Source "miles"; the spectra end at 7410 angstrom.
    """
    table = _read_csv(folder / "miles_fgk.csv", ["name", "spt", "teff", "logg", "feh"])
    packed = _read_npz(folder / "miles_fgk.npz", ["flux", "wave0", "dwave"], len(table))
    flux = packed["flux"]
    air = float(packed["wave0"]) + float(packed["dwave"]) * np.arange(flux.shape[1])
    return SourceSpectra(
        "miles",
        source_table({**_columns(table, "name", "teff", "logg", "feh"), "type": table["spt"]}),
        on_rest_grid(air_to_vacuum(air), _whole(flux)),
        miles_fwhm(rest_grid()),
    )


def read_pyhammer(folder: Path) -> SourceSpectra:
    """Read PyHammer templates packed as pyhammer_fgk.npz and pyhammer_fgk.csv.

    Parameters
    ----------
    folder : Path
        With `flux` (n, 4460) on vacuum wavelengths 10**(loglam0 + dloglam*i), 0 for no data,
        and the columns file, spt, feh, lum, teff, logg.

    Returns
    -------
    SourceSpectra
        Source "pyhammer"; a template (a mean of stars) counts as one star.
    """
    table = _read_csv(folder / "pyhammer_fgk.csv", ["file", "spt", "feh", "lum", "teff", "logg"])
    packed = _read_npz(folder / "pyhammer_fgk.npz", ["flux", "loglam0", "dloglam"], len(table))
    flux = packed["flux"]
    names = ["PyHammer " + re.sub(r"\.fits(\.gz)?$", "", name) for name in table["file"]]
    luminosity = ["V" if word == "Dwarf" else "III" for word in table["lum"]]
    return SourceSpectra(
        "pyhammer",
        source_table(
            {
                **_columns(table, "teff", "logg", "feh"),
                "name": names,
                "type": table["spt"],
                "luminosity": luminosity,
            }
        ),
        on_rest_grid(_log_wavelength(packed, flux.shape[1]), _whole(flux)),
        pyhammer_fwhm(rest_grid()),
    )


def read_indo_us(path: Path) -> SourceSpectra:
    """Read the stellar templates of SDSS's idlspec2d, most of them Indo-US stars.

    Parameters
    ----------
    path : Path
        A spEigenStar-*.fits, or a folder with one: flux (n, n_in) on vacuum wavelengths
        10**(COEFF0 + COEFF1*i); keywords NAME0, NAME1, ... such as 'F0II (25291)', a type and
        an HD number or another name.

    Returns
    -------
    SourceSpectra
        Source "indo-us".
    """
    file = path if path.is_file() else max(path.glob("spEigenStar-*.fits*"))
    try:
        with fits.open(file, memmap=False) as hdus:
            header, flux = hdus[0].header, np.array(hdus[0].data, dtype=np.float64)
            wavelength = 10.0 ** (header["COEFF0"] + header["COEFF1"] * np.arange(flux.shape[1]))
            labels = [str(header[f"NAME{i}"]) for i in range(len(flux))]
    except (*FILE_ERRORS, IndexError) as err:
        raise SpectrumError(file, "templates with COEFF0, COEFF1 and NAMEi", str(err)) from err
    parts = [_NAMED.match(label) for label in labels]
    types = [part["type"] if part else label for part, label in zip(parts, labels, strict=True)]
    names = [part["name"] if part else label for part, label in zip(parts, labels, strict=True)]
    return SourceSpectra(
        "indo-us",
        source_table({"name": [f"HD {n}" if n.isdigit() else n for n in names], "type": types}),
        on_rest_grid(wavelength, _whole(flux)),
        indo_us_fwhm(rest_grid()),
    )


def _read_csv(path: Path, columns: list[str]) -> pl.DataFrame:
    try:
        table = pl.read_csv(path, infer_schema_length=0)
    except (OSError, pl.exceptions.PolarsError) as err:
        raise SpectrumError(path, "a CSV table", str(err).splitlines()[0]) from err
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise SpectrumError(path, f"the columns {columns}", f"none of {missing}")
    return table


def _columns(table: pl.DataFrame, *names: str) -> dict[str, pl.Series]:
    """Pick columns; numbers that do not read as numbers ('--') become null."""
    return {
        name: table[name] if name == "name" else table[name].cast(pl.Float64, strict=False)
        for name in names
    }


def _read_npz(path: Path, names: list[str], rows: int) -> dict[str, NDArray]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as packed:
            arrays = {name: packed[name] for name in names}
    except FILE_ERRORS as err:
        raise SpectrumError(path, f"the arrays {names}", str(err)) from err
    if len(arrays["flux"]) != rows:
        raise SpectrumError(path, f"{rows} spectra, as in the CSV", str(len(arrays["flux"])))
    return arrays


def _log_wavelength(packed: dict[str, NDArray], n_in: int) -> NDArray[np.float64]:
    exponent = float(packed["loglam0"]) + float(packed["dloglam"]) * np.arange(n_in)
    return np.asarray(10.0**exponent, dtype=np.float64)


def _whole(flux: NDArray[np.floating]) -> NDArray[np.float64]:
    whole = np.empty(flux.shape, dtype=np.float64)
    for row, spectrum in enumerate(flux):
        whole[row] = close_gaps(spectrum, np.isfinite(spectrum) & (spectrum > 0))
    return whole
