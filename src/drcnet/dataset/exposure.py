"""One exposure's files into stripes: the one path that prepare and classify share.

What is trained on and what is classified later come through these functions, so they cannot
drift apart. Whatever is wrong with one arm becomes a reason beside the other arm's stripes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet import __version__
from drcnet.config import StripeSettings
from drcnet.dataset.store import ARMS
from drcnet.dataset.writing import cannot_write
from drcnet.errors import DrcnetError, StoreError
from drcnet.frames.calibrate import master_bias
from drcnet.frames.night import ArmFiles, Exposure
from drcnet.frames.read import parse_name, read_frame
from drcnet.instruments import InstrumentProfile
from drcnet.provenance import atomic_write, digest, file_digest
from drcnet.stripes.calibration import calibrate_arm
from drcnet.stripes.calibration_file import read_calibration, write_calibration
from drcnet.stripes.flags import MEANINGS, FiberFlag
from drcnet.stripes.measure import ArmStripes, measure_arm

__all__ = [
    "BLOCKING",
    "CalibrationTask",
    "ExposureStripes",
    "blocking_reason",
    "fiber_table",
    "input_digests",
    "make_calibration",
    "measure_exposure",
    "plan_calibrations",
    "refusal",
]

BLOCKING = (
    FiberFlag.DEAD
    | FiberFlag.OFF_CHIP
    | FiberFlag.ARM_MISSING
    | FiberFlag.FRAME_REFUSED
    | FiberFlag.SKY_FIBER
)
"""With one of these a fibre shows no star that could be learnt from or classified."""


@dataclass(frozen=True)
class CalibrationTask:
    """One calibration to make: a flat, an arc and the bias frames of one arm.

    Parameters
    ----------
    path : Path
        Where the calibration rests, `SPID-ARM-LMJM.fits`.
    files : ArmFiles
        Whose flat, arc and bias frames to use.
    """

    path: Path
    files: ArmFiles

    @property
    def stamp(self) -> Path:
        """Where the digest of the inputs of a finished calibration rests."""
        return self.path.with_name(f".{self.path.stem}.digest")


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
    """

    exposure: Exposure
    n_fiber: int
    arms: Mapping[str, ArmStripes]
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """One line that says which arms were not measured, and why."""
        return "; ".join(f"{arm}: {self.reasons[arm]}" for arm in ARMS if arm in self.reasons)


def plan_calibrations(
    exposures: Sequence[Exposure], profile: InstrumentProfile, folder: Path
) -> dict[tuple[str, str], CalibrationTask]:
    """Say which calibration each arm of each exposure needs, each distinct one once.

    Parameters
    ----------
    exposures : sequence of Exposure
        From `scan_night`.
    profile : InstrumentProfile
        Whose file names they have.
    folder : Path
        Where the calibrations shall rest.

    Returns
    -------
    dict of (str, str) to CalibrationTask
        Keyed by the exposure's key and the arm; arms without files are left out.
    """
    wanted: dict[tuple[str, str], tuple[Any, ...]] = {}
    files_of: dict[tuple[Any, ...], ArmFiles] = {}
    for exposure in exposures:
        for arm in ARMS:
            files: ArmFiles | None = getattr(exposure, arm)
            if files is not None:
                inputs = (files.flat, files.arc, files.biases)
                wanted[exposure.key, arm] = inputs
                files_of.setdefault(inputs, files)
    names: dict[tuple[Any, ...], str] = {}
    taken: dict[str, int] = {}
    for inputs, files in sorted(files_of.items(), key=lambda item: str(item[0])):
        flat = parse_name(files.flat, profile)
        name = f"{flat.spid:02d}-{flat.arm}-{flat.lmjm}"
        taken[name] = taken.get(name, 0) + 1
        # One flat serves several calibrations only where its exposures have different arcs.
        names[inputs] = name if taken[name] == 1 else f"{name}-{taken[name]}"
    return {
        key: CalibrationTask(folder / f"{names[inputs]}.fits", files_of[inputs])
        for key, inputs in wanted.items()
    }


def make_calibration(
    task: CalibrationTask, profile: InstrumentProfile, settings: StripeSettings, scratch: Path
) -> str:
    """Make a calibration and write it, unless the same one is there already.

    Parameters
    ----------
    task : CalibrationTask
        What to make and where it rests.
    profile : InstrumentProfile
        The instrument.
    settings : StripeSettings
        Degrees and thresholds.
    scratch : Path
        Folder for master biases.

    Returns
    -------
    str
        Digest of its inputs: file contents, settings, instrument and version.

    Raises
    ------
    FrameError
        The flat, the arc or a bias frame is refused.
    StoreError
        The calibration cannot be written.
    """
    files = task.files
    inputs = input_digests([files.flat, files.arc, *files.biases])
    stamp = digest([inputs, settings.model_dump(), profile.model_dump(), __version__])
    if task.path.is_file() and task.stamp.is_file() and task.stamp.read_text() == stamp:
        return stamp
    bias = _read_bias(files, profile, settings, scratch)
    flat = read_frame(files.flat, profile, master_bias=bias)
    arc = None if files.arc is None else read_frame(files.arc, profile, master_bias=bias)
    calibration = calibrate_arm(flat, arc, profile, settings)
    try:
        task.stamp.unlink(missing_ok=True)
        write_calibration(task.path, calibration)
        with atomic_write(task.stamp) as partial:
            partial.write_text(stamp)
    except OSError as err:
        raise cannot_write(task.path, err) from err
    return stamp


def measure_exposure(
    exposure: Exposure,
    calibrations: Mapping[str, Path | str],
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
    calibrations : Mapping of str to Path or str
        Arm to its calibration's file, or to the reason why there is none.
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
        calibration = calibrations.get(arm, f"no {arm} frame")
        files: ArmFiles | None = getattr(exposure, arm)
        if files is None or isinstance(calibration, str):
            reasons[arm] = str(calibration)
            continue
        try:
            bias = _read_bias(files, profile, settings, scratch)
            frame = read_frame(files.object, profile, master_bias=bias)
            arms[arm] = measure_arm(
                frame, read_calibration(calibration), settings, sky_fibers=sky_fibers
            )
        except Exception as err:  # noqa: BLE001 - one frame, whatever is in it, stops no batch
            reasons[arm] = refusal(err)
    return ExposureStripes(exposure, profile.fibers.count, arms, reasons)


def refusal(err: Exception) -> str:
    """Turn what went wrong with one frame into a reason, or raise it again.

    Parameters
    ----------
    err : Exception
        What was raised.

    Returns
    -------
    str
        One line. An error that is not ours is named as unexpected, with its type.

    Raises
    ------
    Exception
        A `StoreError` or `MemoryError`, which other frames would meet too.
    """
    if isinstance(err, StoreError | MemoryError):
        raise err
    if isinstance(err, DrcnetError):
        # The file's name without its folder: the same night elsewhere gives the same store.
        return f"{Path(err.where).name}: wanted {err.wanted}, got {err.came}"
    return f"unexpected {type(err).__name__}: {err}"


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
        (NaN for an arm that is not there), flags (both arms' bits) and reason (why the fibre
        shows no star, empty where it may).
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
    flags = np.zeros(n, np.uint32)
    for stripes in measured.arms.values():
        flags |= stripes.flags.astype(np.uint32)
    if len(measured.arms) < len(ARMS):
        flags |= np.uint32(FiberFlag.ARM_MISSING)
    if not measured.arms:
        flags |= np.uint32(FiberFlag.FRAME_REFUSED)
    columns["flags"] = flags
    columns["reason"] = [measured.reason or blocking_reason(int(f), BLOCKING) for f in flags]
    return pl.DataFrame(columns)


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


def input_digests(paths: Sequence[Path | None]) -> dict[str, str]:
    """Name files by their content.

    Parameters
    ----------
    paths : sequence of Path or None
        Files; None is left out.

    Returns
    -------
    dict of str to str
        File name to digest; 'unreadable' for a file that cannot be read.
    """
    digests = {}
    for path in paths:
        if path is not None:
            try:
                digests[path.name] = file_digest(path)
            except OSError:
                digests[path.name] = "unreadable"
    return digests


def _read_bias(
    files: ArmFiles, profile: InstrumentProfile, settings: StripeSettings, scratch: Path
) -> NDArray[np.float32] | None:
    """Master bias of an arm, made once and kept in `scratch`; None where it is not wanted."""
    if not settings.subtract_bias or not files.biases:
        return None
    names = "\n".join(f"{path.absolute()} {_modified(path)}" for path in files.biases)
    path = scratch / f"bias-{hashlib.sha256(names.encode()).hexdigest()[:16]}.npy"
    if path.is_file():
        return np.load(path)  # type: ignore[no-any-return]
    bias = master_bias(files.biases, profile)
    try:
        with atomic_write(path) as partial, partial.open("wb") as stream:
            np.save(stream, bias)
    except OSError as err:
        raise cannot_write(path, err) from err
    return bias


def _modified(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError:
        return "unreadable"
    return f"{stat.st_size} {stat.st_mtime_ns}"
