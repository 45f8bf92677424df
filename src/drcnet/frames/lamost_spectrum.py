"""One-dimensional LAMOST low-resolution spectra, in the four layouts of the data releases."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from drcnet.errors import SpectrumError

__all__ = ["LamostSpectrum", "read_lamost_spectrum"]

_MISSING = -9000.0
_READ_ERRORS = (OSError, EOFError, ValueError, TypeError, IndexError, KeyError)


@dataclass(frozen=True, eq=False)
class LamostSpectrum:
    """One LAMOST LRS spectrum with what its header says of the star.

    Parameters
    ----------
    wavelength : ndarray, shape (n_pix,), float64
        Vacuum angstrom, heliocentric, increasing; the star's velocity is not taken out.
    flux : ndarray, shape (n_pix,), float32
        Relative flux per angstrom.
    ivar : ndarray, shape (n_pix,), float32
        Inverse variance of the flux; 0 where the pixel must not be used.
    ormask : ndarray, shape (n_pix,), int32
        The pipeline's mask: bits that were set in any exposure.
    name : str
        Designation, "LAMOST Jhhmmss.ss+ddmmss.s".
    obsid : int
        Number of the observation; -1 in DR1, which has none.
    klass, subclass : str
        CLASS ("STAR") and SUBCLASS ("F5").
    snrr : float
        S/N in r; NaN where the header has none.
    z : float
        Redshift; NaN where the header has none.
    ra, dec : float
        Degrees.
    lmjd, spid, fiberid : int
        Night, spectrograph and fibre.
    planid : str
        Plate.
    lmjms : tuple of int
        Local modified Julian minutes of the exposures that were added.
    """

    wavelength: NDArray[np.float64]
    flux: NDArray[np.float32]
    ivar: NDArray[np.float32]
    ormask: NDArray[np.int32]
    name: str
    obsid: int
    klass: str
    subclass: str
    snrr: float
    z: float
    ra: float
    dec: float
    lmjd: int
    spid: int
    fiberid: int
    planid: str
    lmjms: tuple[int, ...]


def read_lamost_spectrum(path: Path) -> LamostSpectrum:
    """Read a LAMOST LRS 1-D file of DR1, of DR2 to DR9, or of DR10 and later.

    DR1 has the rows Flux, Inverse, SUBCONTINUUM, Andmask, Ormask, and its wavelengths are
    10**(COEFF0 + COEFF1 i); later releases have Flux, Invvar, Wavelength, Andmask, Ormask; from
    DR10 on the same stands in a table COADD of one row. The keyword SN_R became SNRR.

    Parameters
    ----------
    path : Path
        A .fits or .fits.gz file.

    Returns
    -------
    LamostSpectrum
        Wavelengths, flux, inverse variance, mask and labels.

    Raises
    ------
    SpectrumError
        The file cannot be read or has none of these layouts.
    """
    try:
        with fits.open(path, memmap=False) as hdus:
            header = hdus[0].header.copy()
            rows = _table_rows(hdus) if "COADD" in hdus else _image_rows(hdus[0])
    except SpectrumError:
        raise
    except _READ_ERRORS as err:
        raise SpectrumError(path, "a LAMOST 1-D FITS file", str(err)) from err
    if rows is None:
        raise SpectrumError(
            path,
            "a LAMOST 1-D layout: five rows in the first HDU, or a table COADD",
            "neither",
        )
    wavelength, flux, ivar, ormask = rows
    if not np.all(np.diff(wavelength) > 0):
        raise SpectrumError(path, "increasing wavelengths", "wavelengths out of order")
    usable = np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0)
    return LamostSpectrum(
        wavelength=wavelength.astype(np.float64),
        flux=np.where(np.isfinite(flux), flux, 0).astype(np.float32),
        ivar=np.where(usable, ivar, 0).astype(np.float32),
        ormask=ormask.astype(np.int32),
        **_labels(header, path),
    )


def _table_rows(hdus: fits.HDUList) -> tuple[NDArray, ...]:
    row = hdus["COADD"].data[0]
    return tuple(np.array(row[name]) for name in ("WAVELENGTH", "FLUX", "IVAR", "ORMASK"))


def _image_rows(hdu: fits.PrimaryHDU) -> tuple[NDArray, ...] | None:
    if hdu.data is None or hdu.data.ndim != 2 or hdu.data.shape[0] != 5:
        return None
    if "COEFF0" not in hdu.header:
        return None
    flux, ivar, third, _, ormask = np.array(hdu.data)
    nominal = 10.0 ** (
        hdu.header["COEFF0"] + hdu.header.get("COEFF1", 1e-4) * np.arange(flux.size)
    )
    # Only a row that stays within 2 angstrom of the nominal grid is a wavelength: DR1's third
    # row is a continuum-divided spectrum.
    is_wavelength = np.all(np.abs(third - nominal) < 2)
    return (third if is_wavelength else nominal), flux, ivar, ormask


def _labels(header: fits.Header, path: Path) -> dict[str, Any]:
    try:
        lmjms = tuple(int(part) for part in str(header["LMJMLIST"]).split("-"))
        ids = {key.lower(): int(header[key]) for key in ("LMJD", "SPID", "FIBERID")}
        labels = {
            "klass": str(header["CLASS"]).strip(),
            "subclass": str(header["SUBCLASS"]).strip(),
            "name": str(header["DESIG"]).strip(),
            "planid": str(header["PLANID"]).strip(),
        }
    except (KeyError, ValueError) as err:
        raise SpectrumError(path, "the header keys of LAMOST", f"{err}") from err
    snrr = header.get("SNRR", header.get("SN_R"))
    return {
        **labels,
        **ids,
        "lmjms": lmjms,
        "obsid": int(header.get("OBSID", -1)),
        "snrr": _number(snrr),
        "z": _number(header.get("Z")),
        "ra": _number(header.get("RA")),
        "dec": _number(header.get("DEC")),
    }


def _number(value: object) -> float:
    """Turn LAMOST's -9999 and empty strings into NaN."""
    try:
        number = float(str(value))
    except ValueError:
        return float("nan")
    return number if number > _MISSING else float("nan")
