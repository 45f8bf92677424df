"""Calibration of one arm, and the FITS tables it rests in."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from drcnet.errors import FrameError
from drcnet.frames.frame import FrameName
from drcnet.provenance import atomic_write
from drcnet.stripes.spatial import SpatialProfile
from drcnet.stripes.trace import TraceSet
from drcnet.stripes.wavelength import WavelengthSet

__all__ = ["ArmCalibration", "read_calibration", "write_calibration"]

_SCHEMA = 1


@dataclass(frozen=True, eq=False)
class ArmCalibration:
    """Calibration of one arm of one spectrograph; row i of every array is fibre i + 1.

    Parameters
    ----------
    flat : FrameName
        The flat it was measured on.
    arc : FrameName or None
        The arc, if there was one.
    traces : TraceSet
        All fibres of the instrument; dead ones interpolated. `traces.level` is the throughput
        pattern.
    wavelengths : WavelengthSet
        Wavelength solutions of all fibres.
    profile : SpatialProfile
        How a fibre's light spreads across its trace.
    throughput : ndarray, shape (n, n_wave), float32
        Light of each fibre on the flat relative to the typical fibre at the same wavelength;
        NaN for dead fibres.
    confidence : float
        Confidence of the fibres' identity, 0 to 1.
    flags : ndarray, shape (n,), uint32
        `FiberFlag` bits known from the calibration alone.
    notes : Mapping
        What was done and measured, plain values.
    """

    flat: FrameName
    arc: FrameName | None
    traces: TraceSet
    wavelengths: WavelengthSet
    profile: SpatialProfile
    throughput: NDArray[np.float32]
    confidence: float
    flags: NDArray[np.uint32]
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Hold the invariants of shape."""
        n, n_wave = len(self.traces), self.traces.n_wave
        wanted = {"throughput": (n, n_wave), "flags": (n,)}
        for name, shape in wanted.items():
            came = getattr(self, name).shape
            if came != shape:
                raise FrameError("ArmCalibration", f"{name} of shape {shape}", str(came))


def write_calibration(path: Path, calibration: ArmCalibration) -> None:
    """Write a calibration as FITS tables.

    Parameters
    ----------
    path : Path
        The file; it appears whole or not at all. Its tables are FIBERS (a row a fibre: trace,
        width, wavelength), PROFILE (a row a place on the chip) and THROUGHPUT.
    calibration : ArmCalibration
        What to write.
    """
    traces, wavelengths = calibration.traces, calibration.wavelengths
    head = fits.Header()
    head["SCHEMA"] = (_SCHEMA, "layout of this file")
    head["N_WAVE"] = (traces.n_wave, "domain of the polynomials: rows [0, N_WAVE - 1]")
    head["CONFID"] = (calibration.confidence, "confidence of the fibres' identity")
    head["WSOURCE"] = (wavelengths.source, "what the wavelengths rest on")
    head["WLINES"] = (wavelengths.n_lines, "lines used")
    head["FLAT"] = json.dumps(asdict(calibration.flat))
    head["ARC"] = json.dumps(None if calibration.arc is None else asdict(calibration.arc))
    head["NOTES"] = json.dumps(dict(calibration.notes))
    columns: dict[str, NDArray[Any]] = {
        "fiber": traces.fiber_id,
        "alive": traces.alive,
        "level": traces.level,
        "flags": calibration.flags.astype(np.int64),
        "center": traces.center,
        "center_rms": traces.rms,
        "fwhm": traces.fwhm,
        "wavelength": wavelengths.coef,
        "wavelength_rms": wavelengths.rms,
    }
    blocks, bands = np.meshgrid(
        calibration.profile.fibers, calibration.profile.rows, indexing="ij"
    )
    table = calibration.profile.table
    places: dict[str, NDArray[Any]] = {
        "fiber_index": blocks.ravel(),
        "row": bands.ravel(),
        "light": table.reshape(-1, table.shape[2]),
    }
    with atomic_write(path) as partial:
        fits.HDUList(
            [
                fits.PrimaryHDU(header=head),
                _table("FIBERS", columns),
                _table("PROFILE", places),
                _table("THROUGHPUT", {"throughput": calibration.throughput}),
            ]
        ).writeto(partial)


def _table(name: str, columns: Mapping[str, NDArray[Any]]) -> fits.BinTableHDU:
    formats = {"f4": "E", "f8": "D", "i8": "K", "b1": "L"}
    made = []
    for label, values in columns.items():
        size = values.shape[1] if values.ndim > 1 else 1
        code = formats[values.dtype.str[1:]]
        made.append(fits.Column(name=label, format=f"{size}{code}", array=values))
    return fits.BinTableHDU.from_columns(made, name=name)


def read_calibration(path: Path) -> ArmCalibration:
    """Read what `write_calibration` wrote.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    ArmCalibration
        Equal to what was written.

    Raises
    ------
    FrameError
        The file is not a calibration of this program.
    """
    try:
        with fits.open(path, memmap=False) as hdus:
            head = hdus[0].header
            if head.get("SCHEMA") != _SCHEMA:
                came = f"SCHEMA {head.get('SCHEMA')}"
                raise FrameError(path, f"a calibration of schema {_SCHEMA}", came)
            tables = [
                {column: _native(hdus[name].data[column]) for column in hdus[name].columns.names}
                for name in ("FIBERS", "PROFILE", "THROUGHPUT")
            ]
    except (OSError, KeyError, TypeError, ValueError) as err:
        raise FrameError(path, "a calibration written by this program", str(err)) from err
    return _assemble(head, *tables)


def _native(values: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))


def _assemble(
    head: fits.Header,
    fibers: Mapping[str, NDArray[Any]],
    places: Mapping[str, NDArray[Any]],
    through: Mapping[str, NDArray[Any]],
) -> ArmCalibration:
    n_wave = int(head["N_WAVE"])
    traces = TraceSet(
        fiber_id=fibers["fiber"],
        center=fibers["center"],
        fwhm=fibers["fwhm"],
        alive=fibers["alive"].astype(bool),
        rms=fibers["center_rms"],
        n_wave=n_wave,
        level=fibers["level"],
    )
    block, band = np.unique(places["fiber_index"]), np.unique(places["row"])
    table = places["light"].reshape(len(block), len(band), -1)
    arc = json.loads(head["ARC"])
    return ArmCalibration(
        flat=FrameName(**json.loads(head["FLAT"])),
        arc=None if arc is None else FrameName(**arc),
        traces=traces,
        wavelengths=WavelengthSet(
            fibers["wavelength"],
            fibers["wavelength_rms"],
            head["WSOURCE"],
            int(head["WLINES"]),
            n_wave,
        ),
        profile=SpatialProfile(table, block, band),
        throughput=through["throughput"],
        confidence=float(head["CONFID"]),
        flags=fibers["flags"].astype(np.uint32),
        notes=json.loads(head["NOTES"]),
    )
