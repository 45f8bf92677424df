"""What a lamp flat and an arc tell of one arm: traces, wavelengths, profile, throughput."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drcnet.config import StripeSettings
from drcnet.frames.frame import Frame, FrameName
from drcnet.instruments import InstrumentProfile
from drcnet.stripes.trace import TraceSet
from drcnet.stripes.wavelength import WavelengthSet

__all__ = ["ArmCalibration", "calibrate_arm", "read_calibration", "write_calibration"]


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
        All fibres of the instrument; dead ones interpolated.
    wavelengths : WavelengthSet
        Wavelength solutions of all fibres.
    profile_table : ndarray, shape (n_block, n_band, n_u), float32
        The spatial profile against distance from the centre (`profile_step` pixels a sample,
        symmetric range), by block of fibres and band of rows.
    throughput : ndarray, shape (n, n_wave), float32
        Light of each fibre on the flat relative to the typical fibre at the same wavelength;
        NaN for dead fibres.
    level : ndarray, shape (n,)
        Median light of each fibre on the flat, electrons a row: the throughput pattern.
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
    profile_table: NDArray[np.float32]
    throughput: NDArray[np.float32]
    level: NDArray[np.float64]
    confidence: float
    flags: NDArray[np.uint32]
    notes: Mapping[str, Any] = field(default_factory=dict)


def calibrate_arm(
    flat: Frame, arc: Frame | None, profile: InstrumentProfile, settings: StripeSettings
) -> ArmCalibration:
    """Measure traces, identities, wavelengths and profile on the calibration frames.

    Parameters
    ----------
    flat : Frame
        Lamp flat.
    arc : Frame or None
        Arc of the same spectrograph and arm; None: nominal wavelengths, flagged.
    profile : InstrumentProfile
        The instrument.
    settings : StripeSettings
        Degrees and thresholds.

    Returns
    -------
    ArmCalibration
        For `measure_arm`.

    Raises
    ------
    FrameError
        The flat shows too few fibres, or they cannot be told apart.
    """
    raise NotImplementedError


def write_calibration(path: Path, calibration: ArmCalibration) -> None:
    """Write a calibration as FITS tables.

    Parameters
    ----------
    path : Path
        The file; it appears whole or not at all.
    calibration : ArmCalibration
        What to write.
    """
    raise NotImplementedError


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
    raise NotImplementedError
