"""Products as FITS files that specutils, TOPCAT and any viewer open.

Light is in electrons; its unit is written as 'count', the one that other readers know.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from drcnet.dataset.exposure import BLOCKING, blocking_reason
from drcnet.extract.product import ArmProduct
from drcnet.provenance import atomic_write
from drcnet.stripes.cut import BAD, COSMIC, OFF_CHIP
from drcnet.stripes.flags import MEANINGS, FiberFlag, flag_names

__all__ = ["write_spectra", "write_stripes", "write_traces"]

_FORMATS = {"f4": "E", "f8": "D", "i8": "K", "i4": "J", "i2": "I", "u1": "B", "b1": "L"}


def write_spectra(path: Path, product: ArmProduct) -> None:
    """Write 1-D spectra: extension k is fibre k, the last one, FIBERS, a row a fibre.

    ``specutils.Spectrum.read(path, hdu=k)`` reads fibre k.

    Parameters
    ----------
    path : Path
        The file; it appears whole or not at all.
    product : ArmProduct
        What to write. Columns of a spectrum: wavelength (vacuum angstrom), flux (optimal, the
        sky taken off where there is one), uncertainty (standard deviation; NaN where masked),
        mask (True: do not use), ivar, sky, box (aperture sum, sky not taken off), box_ivar.
    """
    stripes = product.stripes
    known = stripes.optimal_ivar > 0
    sigma = np.where(known, 1 / np.sqrt(np.where(known, stripes.optimal_ivar, 1)), np.nan)
    hdus: list[Any] = [fits.PrimaryHDU(header=_header(product))]
    for k in range(len(product.traces)):
        columns = {
            "wavelength": (product.wavelength[k], "Angstrom"),
            "flux": (product.flux[k], "count"),
            "uncertainty": (sigma[k].astype(np.float32), "count"),
            "mask": (~known[k] | ~np.isfinite(product.flux[k]), None),
            "ivar": (stripes.optimal_ivar[k], "count-2"),
            "sky": (stripes.sky[k], "count"),
            "box": (stripes.box[k], "count"),
            "box_ivar": (stripes.box_ivar[k], "count-2"),
        }
        table = _table(f"FIBER{k + 1:03d}", columns)
        table.header["FIBERID"] = k + 1
        table.header["FLAGS"] = (int(stripes.flags[k]), flag_names(int(stripes.flags[k]))[:40])
        table.header["SNR"] = (float(stripes.snr[k]), "median S/N a native pixel (snr_frame)")
        hdus.append(table)
    _write(path, [*hdus, _fibers(product)])


def write_traces(path: Path, product: ArmProduct) -> None:
    """Write traces and wavelengths as one FITS table, a row a fibre.

    Parameters
    ----------
    path : Path
        The file.
    product : ArmProduct
        What to write. Columns: fiberid, alive, center_rms, level, arc_rms; center, fwhm,
        wavelength (Chebyshev coefficients over rows [0, N_WAVE - 1]); center_at and fwhm_at,
        the same evaluated at the rows of the header's ROWS_AT, for readers without Chebyshev.
    """
    traces = product.traces
    rows = np.linspace(0, traces.n_wave - 1, 33).round()
    columns = {
        "fiberid": (traces.fiber_id, None),
        "alive": (traces.alive, None),
        "center_rms": (traces.rms, "pixel"),
        "level": (traces.level, "count"),
        "arc_rms": (product.arc_rms, "pixel"),
        "center": (traces.center, "pixel"),
        "fwhm": (traces.fwhm, "pixel"),
        "wavelength": (product.stripes.wavelength, "Angstrom"),
        "center_at": (traces.centers(rows), "pixel"),
        "fwhm_at": (traces.widths(rows), "pixel"),
    }
    table = _table("TRACES", columns)
    table.header["N_WAVE"] = (traces.n_wave, "polynomials run over rows [0, N_WAVE - 1]")
    table.header["ROWS_AT"] = ",".join(str(int(row)) for row in rows)
    _write(path, [fits.PrimaryHDU(header=_header(product)), table])


def write_stripes(path: Path, product: ArmProduct) -> None:
    """Write the stripes as two cubes (n, width, rows), compressed: STRIPES and MASK.

    Parameters
    ----------
    path : Path
        The file.
    product : ArmProduct
        What to write: electrons, bias taken off, sky not; the mask's bits are in its header.
    """
    stripes = product.stripes
    light = fits.CompImageHDU(
        stripes.stripes,
        name="STRIPES",
        compression_type="GZIP_2",
        tile_shape=_tile(stripes.stripes),
    )
    light.header["BUNIT"] = ("count", "electrons")
    mask = fits.CompImageHDU(
        stripes.mask, name="MASK", compression_type="GZIP_1", tile_shape=_tile(stripes.mask)
    )
    for bit, what in ((BAD, "bad or saturated"), (COSMIC, "cosmic ray"), (OFF_CHIP, "off chip")):
        mask.header[f"BIT{bit}"] = what
    for hdu in (light, mask):
        hdu.header["CTYPE1"], hdu.header["CTYPE2"] = "ROW", "ACROSS"
        hdu.header["CRPIX1"], hdu.header["CRVAL1"] = 1.0, float(product.settings.row_start)
        hdu.header["CTYPE3"], hdu.header["CRPIX3"], hdu.header["CRVAL3"] = "FIBER", 1.0, 1.0
    offset = fits.ImageHDU(stripes.offset, name="OFFSET")
    offset.header["BUNIT"] = ("pixel", "true centre less the stripe's middle pixel")
    head = fits.PrimaryHDU(header=_header(product))
    _write(path, [head, light, mask, offset, _fibers(product)])


def _tile(cube: NDArray[Any]) -> tuple[int, ...]:
    return (1, *cube.shape[1:])


def _fibers(product: ArmProduct) -> fits.BinTableHDU:
    """A row a fibre: flags spelled out, S/N, width, what read it."""
    stripes = product.stripes
    flags = [int(bits) for bits in stripes.flags]
    columns = {
        "fiberid": (product.traces.fiber_id, None),
        "snr": (stripes.snr, None),
        "flags": (stripes.flags.astype(np.int64), None),
        "flag_names": ([flag_names(bits) for bits in flags], None),
        "reason": ([blocking_reason(bits, BLOCKING) for bits in flags], None),
        "sky_fiber": (stripes.sky_fibers, None),
        "throughput": (product.throughput, None),
        "fwhm": (stripes.fwhm, "pixel"),
        "gain": (stripes.gain, "count/adu"),
        "read_noise": (stripes.read_noise, "count"),
        "arc_rms": (product.arc_rms, "pixel"),
    }
    table = _table("FIBERS", columns)
    for flag in FiberFlag:
        table.header.add_comment(
            f"flags & {int(flag)}: {str(flag.name).lower()}: {MEANINGS[flag]}"
        )
    return table


def _table(name: str, columns: Mapping[str, tuple[Any, str | None]]) -> fits.BinTableHDU:
    made = []
    for label, (values, unit) in columns.items():
        array = np.asarray(values)
        if array.dtype.kind == "U":
            code = f"{max(array.dtype.itemsize // 4, 1)}A"
        else:
            size = array.shape[1] if array.ndim > 1 else 1
            code = f"{size}{_FORMATS[array.dtype.str[1:]]}"
        made.append(fits.Column(name=label, format=code, array=array, unit=unit))
    return fits.BinTableHDU.from_columns(made, name=name)


def _header(product: ArmProduct) -> fits.Header:
    name = product.frame.name
    head = fits.Header()
    head["ORIGIN"] = "drcnet"
    head["INSTRUME"] = product.frame.profile.name
    head["FRAME"] = (product.frame.path.name, "the raw frame")
    head["ARM"], head["SPID"], head["LMJM"] = name.arm, name.spid, name.lmjm
    head["NFIBER"] = len(product.traces)
    head["ROW0"] = (product.settings.row_start, "frame row of the first pixel")
    head["SPECSYS"] = ("TOPOCENT", "no velocity was taken off")
    head["AIRORVAC"] = "vac"
    head["SKYSUB"] = (product.has_sky, "the sky is taken off the column flux")
    head["IDCONF"] = (float(product.confidence), "confidence of the fibres' identity")
    head["SETTINGS"] = str(product.provenance.get("settings_digest", ""))
    head.add_comment("Light is in electrons, written as count.")
    text = {"provenance": dict(product.provenance), "notes": dict(product.notes)}
    head.add_history(json.dumps(text, sort_keys=True, default=str))
    return head


def _write(path: Path, hdus: list[Any]) -> None:
    with atomic_write(path) as partial:
        fits.HDUList(hdus).writeto(partial)
