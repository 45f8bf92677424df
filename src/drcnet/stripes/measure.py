"""One frame and its calibration into stripes and 1-D spectra: what prepare and classify share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drcnet.config import StripeSettings
from drcnet.frames.frame import Frame
from drcnet.stripes.calibration import ArmCalibration

__all__ = ["ArmStripes", "measure_arm"]


@dataclass(frozen=True, eq=False)
class ArmStripes:
    """All fibres of one arm of one exposure; row i of every array is fibre i + 1.

    Parameters
    ----------
    stripes : ndarray, shape (n, width, rows), float32
        Electrons, bias subtracted, sky not subtracted, rounded to 0.25.
    mask : ndarray, shape (n, width, rows), uint8
        0 good; bit 1 bad or saturated pixel, bit 2 cosmic ray, bit 4 off the chip.
    box, box_ivar : ndarray, shape (n, rows), float32
        Aperture sum over the stripe (electrons) and its inverse variance.
    optimal, optimal_ivar : ndarray, shape (n, rows), float32
        Optimal extraction, sky not subtracted, and its inverse variance.
    sky : ndarray, shape (n, rows), float32
        The frame's sky at this fibre, in the units of `optimal`; NaN without sky fibres.
    wavelength : ndarray, shape (n, 5), float64
        Chebyshev coefficients of vacuum wavelength over the stripe's row domain [0, rows - 1].
    offset : ndarray, shape (n, rows), float32
        True trace centre minus the stripe's middle pixel.
    snr : ndarray, shape (n,), float32
        `snr_frame`: median sky-subtracted optimal S/N a native pixel.
    fwhm : ndarray, shape (n,), float32
        Spatial FWHM at the stripe's middle, pixels.
    gain, read_noise : ndarray, shape (n,), float32
        Of the amplifier that read the fibre; electrons per ADU, electrons.
    flags : ndarray, shape (n,), uint32
        `FiberFlag` bits.
    sky_fibers : ndarray, shape (n,), bool
        The fibres that the sky was measured on.
    notes : Mapping
        Shift, stretch, how the sky fibres were found; plain values.
    """

    stripes: NDArray[np.float32]
    mask: NDArray[np.uint8]
    box: NDArray[np.float32]
    box_ivar: NDArray[np.float32]
    optimal: NDArray[np.float32]
    optimal_ivar: NDArray[np.float32]
    sky: NDArray[np.float32]
    wavelength: NDArray[np.float64]
    offset: NDArray[np.float32]
    snr: NDArray[np.float32]
    fwhm: NDArray[np.float32]
    gain: NDArray[np.float32]
    read_noise: NDArray[np.float32]
    flags: NDArray[np.uint32]
    sky_fibers: NDArray[np.bool_]
    notes: Mapping[str, Any] = field(default_factory=dict)


def measure_arm(
    frame: Frame,
    calibration: ArmCalibration,
    settings: StripeSettings,
    *,
    sky_fibers: NDArray[np.bool_] | None = None,
) -> ArmStripes:
    """Cut, mask, extract and measure the sky and S/N of one frame.

    Parameters
    ----------
    frame : Frame
        Science frame of the calibration's spectrograph and arm.
    calibration : ArmCalibration
        Of the same spectrograph and arm.
    settings : StripeSettings
        Widths, rows and thresholds.
    sky_fibers : ndarray, shape (n,), bool, optional
        Which fibres looked at blank sky; none: the faintest fibres that agree with each other,
        and `notes` says so.

    Returns
    -------
    ArmStripes
        Row i is fibre i + 1.

    Raises
    ------
    FrameError
        The frame is of another spectrograph or arm, or shows no light where the fibres are.
    """
    raise NotImplementedError
