"""One exposure's files into stripes: the one path that prepare and classify share.

What is trained on and what is classified later come through these functions, so they cannot
drift apart. Whatever is wrong with one arm becomes a reason beside the other arm's stripes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.config import StripeSettings
from drcnet.dataset.calibrations import read_bias, refusal
from drcnet.dataset.store import ARMS
from drcnet.frames.detector import correct_frame
from drcnet.frames.frame import Frame
from drcnet.frames.night import ArmFiles, Exposure
from drcnet.frames.read import read_frame
from drcnet.instruments import InstrumentProfile
from drcnet.stripes.calibration_file import read_calibration
from drcnet.stripes.fiberflat import divide_fibers
from drcnet.stripes.flags import MEANINGS, FiberFlag
from drcnet.stripes.measure import ArmStripes, measure_arm

__all__ = [
    "BLOCKING",
    "ExposureStripes",
    "blocking_reason",
    "fiber_table",
    "measure_exposure",
    "open_frame",
]

BLOCKING = (
    FiberFlag.DEAD
    | FiberFlag.TRACE_LOST
    | FiberFlag.OFF_CHIP
    | FiberFlag.ARM_MISSING
    | FiberFlag.FRAME_REFUSED
    | FiberFlag.SKY_FIBER
)
"""With one of these a fibre shows no star that could be learnt from or classified."""


@dataclass(frozen=True, eq=False)
class ExposureStripes:
    """Both arms of one exposure, as far as they could be measured.

    Parameters
    ----------
    exposure : Exposure
        Its files.
    n_fiber : int
        Fibres of the instrument.
    arms : Mapping of str to ArmStripes
        'blue' and 'red', only those that were measured.
    reasons : Mapping of str to str
        Why an arm was not; 'blue', 'red'.
    calibrations : Mapping of str to Path
        What each arm of `arms` was calibrated with.
    """

    exposure: Exposure
    n_fiber: int
    arms: Mapping[str, ArmStripes]
    reasons: Mapping[str, str] = field(default_factory=dict)
    calibrations: Mapping[str, Path] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """One line that says which arms were not measured, and why."""
        return "; ".join(f"{arm}: {self.reasons[arm]}" for arm in ARMS if arm in self.reasons)


def measure_exposure(
    exposure: Exposure,
    calibrations: Mapping[str, tuple[Path, str] | str],
    profile: InstrumentProfile,
    settings: StripeSettings,
    *,
    scratch: Path,
    sky_fibers: NDArray[np.bool_] | None = None,
) -> ExposureStripes:
    """Read and measure both arms of one exposure.

    Parameters
    ----------
    exposure : Exposure
        Its files.
    calibrations : Mapping of str to (Path, str) or str
        Arm to its calibration's file and digest, or to the reason why there is none.
    profile : InstrumentProfile
        The instrument.
    settings : StripeSettings
        Widths, rows and thresholds.
    scratch : Path
        Folder for master biases.
    sky_fibers : ndarray, shape (n_fiber,), bool, optional
        Which fibres looked at blank sky, where that is known.

    Returns
    -------
    ExposureStripes
        The arms that could be measured, and why the others could not.

    Raises
    ------
    StoreError
        A master bias cannot be written.
    """
    arms: dict[str, ArmStripes] = {}
    reasons: dict[str, str] = {}
    for arm in ARMS:
        calibration = calibrations[arm]
        files: ArmFiles | None = getattr(exposure, arm)
        if files is None or isinstance(calibration, str):
            reasons[arm] = str(calibration)
            continue
        try:
            frame = open_frame(files, profile, settings, scratch=scratch)
            traced = read_calibration(calibration[0])
            arms[arm] = measure_arm(frame, traced, settings, sky_fibers=sky_fibers)
            if settings.fiber_flat:
                rows = slice(settings.row_start, settings.row_stop)
                arms[arm] = divide_fibers(arms[arm], traced.throughput[:, rows])
        except Exception as err:  # noqa: BLE001 - one frame, whatever is in it, stops no batch
            reasons[arm] = refusal(err)
    used = {arm: Path(calibrations[arm][0]) for arm in arms}
    return ExposureStripes(exposure, profile.fibers.count, arms, reasons, used)


def open_frame(
    files: ArmFiles, profile: InstrumentProfile, settings: StripeSettings, *, scratch: Path
) -> Frame:
    """Read the science frame of an arm, its detector corrected as the settings say.

    Parameters
    ----------
    files : ArmFiles
        The arm's files.
    profile : InstrumentProfile
        The instrument.
    settings : StripeSettings
        `overscan`, `subtract_bias`, `bad_pixels`, `pixel_flat`.
    scratch : Path
        Folder for master biases.

    Returns
    -------
    Frame
        Ready to be measured.
    """
    bias, _ = read_bias(files, profile, settings, scratch)
    frame = read_frame(files.object, profile, master_bias=bias, overscan=settings.overscan)
    return correct_frame(frame, settings)


def fiber_table(measured: ExposureStripes) -> pl.DataFrame:
    """Say what is known of each fibre from the frames alone.

    Parameters
    ----------
    measured : ExposureStripes
        One exposure.

    Returns
    -------
    DataFrame, n_fiber rows
        Columns exposure, lmjm, spid, fiberid, snr_blue, snr_red, fwhm_*, gain_*, read_noise_*
        (NaN for an arm that is not there), flags (both arms' bits; NO_SIGNAL only where no arm
        has any) and reason (why an arm is not there; else empty).
    """
    n = measured.n_fiber
    exposure = measured.exposure
    columns: dict[str, Any] = {
        "exposure": [exposure.key] * n,
        "lmjm": np.full(n, exposure.lmjm, np.int64),
        "spid": np.full(n, exposure.spid, np.int64),
        "fiberid": np.arange(1, n + 1),
    }
    for name in ("snr", "gain", "read_noise", "fwhm"):
        for arm in ARMS:
            stripes = measured.arms.get(arm)
            values = np.full(n, np.nan) if stripes is None else getattr(stripes, name)
            columns[f"{name}_{arm}"] = np.asarray(values, np.float64)
    columns["flags"] = _flags(measured)
    columns["reason"] = [measured.reason] * n
    return pl.DataFrame(columns)


def _flags(measured: ExposureStripes) -> NDArray[np.uint32]:
    """Bits of both arms together; a star that is bright in one arm alone is not without signal."""
    flags = np.zeros(measured.n_fiber, np.uint32)
    dark = np.full(measured.n_fiber, bool(measured.arms))
    for stripes in measured.arms.values():
        flags |= stripes.flags.astype(np.uint32)
        dark &= (stripes.flags & np.uint32(FiberFlag.NO_SIGNAL)) != 0
    flags[~dark] &= ~np.uint32(FiberFlag.NO_SIGNAL)
    if len(measured.arms) < len(ARMS):
        flags |= np.uint32(FiberFlag.ARM_MISSING)
    if not measured.arms:
        flags |= np.uint32(FiberFlag.FRAME_REFUSED)
    return flags


def blocking_reason(flags: int, blocking: FiberFlag) -> str:
    """Spell out why a fibre shows no star.

    Parameters
    ----------
    flags : int
        The fibre's flags.
    blocking : FiberFlag
        The bits that matter.

    Returns
    -------
    str
        Meanings of the bits set in both, joined by '; '; empty for none.
    """
    return "; ".join(MEANINGS[flag] for flag in FiberFlag if flag & flags & blocking)
