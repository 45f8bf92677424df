"""LAMOST low-resolution 1-D spectra as a library: a packed bundle, or a folder of files."""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.errors import SpectrumError
from drcnet.frames.lamost_spectrum import LamostSpectrum, read_lamost_spectrum
from drcnet.simulate.library_readers import FILE_ERRORS, source_table
from drcnet.simulate.library_spectra import (
    SKIPPED_COLUMNS,
    SourceSpectra,
    close_gaps,
    on_rest_grid,
)
from drcnet.simulate.red_fill import FILL_FROM
from drcnet.simulate.spectra import rest_grid
from drcnet.simulate.star_names import position_name

__all__ = ["FILE_GLOBS", "lamost_fwhm", "read_lamost_bundle", "read_lamost_files"]

FILE_GLOBS = ("spec-*_sp??-???.fits*", "*/spec-*_sp??-???.fits*")
_NEEDED = (3900.0, FILL_FROM)  # angstrom; what classification rests on must be real
_PIXELS_NEEDED = np.log10(_NEEDED[1] / _NEEDED[0]) / 1e-4  # LAMOST's own step
_MAX_BAD = 0.1


def lamost_fwhm(wavelength: NDArray[np.float64]) -> NDArray[np.float64]:
    """Resolution of LAMOST LRS: 3.0 angstrom in the blue arm, 4.4 in the red (both measured).

    About 5 pixels of 0.57 and 0.84 angstrom; the arms meet near 5800 angstrom.

    Parameters
    ----------
    wavelength : ndarray
        Angstrom.

    Returns
    -------
    ndarray
        FWHM, angstrom.
    """
    return np.interp(wavelength, [5700.0, 5900.0], [3.0, 4.4])


def read_lamost_bundle(folder: Path) -> SourceSpectra:
    """Read LAMOST spectra packed as lamost_fgk.npz and lamost_fgk.csv.

    Parameters
    ----------
    folder : Path
        With `flux` (n, n_in) on vacuum wavelengths 10**(loglam0 + dloglam*i), `badbits` (packed
        bits, 1 for a bad pixel), and the columns subclass, snrr, z, ra, dec, teff, logg, feh.

    Returns
    -------
    SourceSpectra
        Source "lamost", in the rest frame by the header's z.
    """
    csv, npz = folder / "lamost_fgk.csv", folder / "lamost_fgk.npz"
    numbers = ["snrr", "z", "ra", "dec", "teff", "logg", "feh"]
    try:
        table = pl.read_csv(csv, infer_schema_length=0).select(
            "file", "subclass", pl.col(numbers).cast(pl.Float64, strict=False)
        )
        with npz.open("rb") as stream, np.load(stream, allow_pickle=False) as packed:
            flux = packed["flux"].astype(np.float64)
            bad = np.unpackbits(packed["badbits"], axis=1)[:, : flux.shape[1]].astype(bool)
            first, step = float(packed["loglam0"]), float(packed["dloglam"])
    except (*FILE_ERRORS, pl.exceptions.PolarsError) as err:
        raise SpectrumError(folder, "a packed LAMOST bundle", str(err).splitlines()[0]) from err
    if len(flux) != len(table):
        raise SpectrumError(npz, f"{len(table)} spectra, as in the CSV", str(len(flux)))
    wavelength = 10.0 ** (first + step * np.arange(flux.shape[1]))
    good = ~bad & np.isfinite(flux) & (flux > 0)
    # S/N and z of -9999 mean that the pipeline has none.
    known = pl.when(pl.col("snrr", "z") > -9000).then(pl.col("snrr", "z"))
    table = table.with_columns(known)
    return _assemble(table, [wavelength] * len(flux), list(flux), list(good))


def read_lamost_files(folder: Path) -> SourceSpectra:
    """Read a folder (and the folders right in it) of LAMOST LRS 1-D files of any release.

    Parameters
    ----------
    folder : Path
        With files named spec-LMJD-PLANID_spNN-FFF.fits or .fits.gz. A file that cannot be read
        is listed in `skipped` with its reason and does not stop the rest.

    Returns
    -------
    SourceSpectra
        Source "lamost", in the rest frame by the header's Z; labels from CLASS and SUBCLASS.
    """
    spectra: list[LamostSpectrum] = []
    rows, skipped = [], []
    for path in sorted(path for glob in FILE_GLOBS for path in folder.glob(glob)):
        try:
            spectrum = read_lamost_spectrum(path)
        except SpectrumError as err:
            skipped.append((path.name, "", str(err)))
            continue
        if spectrum.klass != "STAR":
            skipped.append((path.name, spectrum.klass, "not a star"))
            continue
        spectra.append(spectrum)
        rows.append(
            {"file": path.name} | {k: getattr(spectrum, k) for k in ("subclass", *_LABELS)}
        )
    schema = {"file": pl.String, "subclass": pl.String} | dict.fromkeys(_LABELS, pl.Float64)
    good = [(s.ivar > 0) & (s.ormask == 0) & (s.flux > 0) for s in spectra]
    read = _assemble(
        pl.DataFrame(rows, schema=schema),
        [s.wavelength for s in spectra],
        [s.flux.astype(np.float64) for s in spectra],
        good,
    )
    unread = pl.DataFrame(skipped, schema=SKIPPED_COLUMNS, orient="row")
    return SourceSpectra(
        read.source, read.table, read.flux, read.fwhm, pl.concat([unread, read.skipped])
    )


_LABELS = ("snrr", "z", "ra", "dec")


def _assemble(
    table: pl.DataFrame,
    wavelengths: list[NDArray],
    fluxes: list[NDArray],
    goods: list[NDArray],
) -> SourceSpectra:
    """Judge each spectrum, and put the usable ones on the common grid."""
    kept, skipped = [], []
    flux = np.full((len(table), len(rest_grid())), np.nan, dtype=np.float32)
    for row, (wavelength, spectrum, good) in enumerate(
        zip(wavelengths, fluxes, goods, strict=True)
    ):
        z = table["z"][row]
        needed = (wavelength >= _NEEDED[0]) & (wavelength <= _NEEDED[1])
        bad = 1 - np.count_nonzero(good & needed) / _PIXELS_NEEDED
        if z is None or not np.isfinite(z):
            reason = "no redshift"
        elif bad > _MAX_BAD:
            span = f"{_NEEDED[0]:.0f} to {_NEEDED[1]:.0f} angstrom"
            reason = f"over {100 * _MAX_BAD:.0f}% of its pixels from {span} are bad"
        else:
            flux[row] = on_rest_grid(wavelength, close_gaps(spectrum, good)[None], float(z))[0]
            kept.append(row)
            continue
        skipped.append((table["file"][row], table["subclass"][row], reason))
    chosen = table[kept]
    columns = {
        name: chosen[name] for name in ("ra", "dec", "teff", "logg", "feh") if name in chosen
    }
    names = [
        "LAMOST " + position_name(r, d) for r, d in zip(chosen["ra"], chosen["dec"], strict=True)
    ]
    return SourceSpectra(
        "lamost",
        source_table(
            {**columns, "name": names, "type": chosen["subclass"], "snr": chosen["snrr"]}
        ),
        flux[kept],
        lamost_fwhm(rest_grid()),
        pl.DataFrame(skipped, schema=SKIPPED_COLUMNS, orient="row"),
    )
