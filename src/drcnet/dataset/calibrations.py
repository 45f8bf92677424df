"""Flats, arcs and biases into calibrations: each distinct one once, shared by its exposures."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from drcnet import __version__
from drcnet.config import StripeSettings
from drcnet.dataset.parallel import run_tasks
from drcnet.dataset.store import ARMS
from drcnet.dataset.writing import cannot_write
from drcnet.errors import DrcnetError, FrameError, StoreError
from drcnet.frames.calibrate import master_bias
from drcnet.frames.detector import ccd_path, combine_flats, correct_frame, detector_files
from drcnet.frames.night import ArmFiles, Exposure, Night, Problem
from drcnet.frames.overscan import OverscanWay
from drcnet.frames.read import parse_name, read_frame
from drcnet.instruments import InstrumentProfile, load_instrument
from drcnet.provenance import atomic_write, digest, file_digest
from drcnet.stripes.calibration import calibrate_arm
from drcnet.stripes.calibration_file import ArmCalibration, write_calibration
from drcnet.stripes.reference import read_reference

__all__ = [
    "CalibrationTask",
    "arm_reason",
    "input_digests",
    "make_calibration",
    "make_calibrations",
    "read_bias",
    "refusal",
]

_Inputs: TypeAlias = tuple[Path, Path | None, tuple[Path, ...]]
"""Flat, arc and biases: what makes one calibration another."""


@dataclass(frozen=True)
class CalibrationTask:
    """One calibration to make: a flat, an arc and the bias frames of one arm.

    Parameters
    ----------
    path : Path
        Where the calibration rests, `SPID-ARM-LMJM.fits`.
    files : ArmFiles
        Whose flat, arc and bias frames to use.
    instrument : str
        The instrument's profile, for `load_instrument`.
    settings : StripeSettings
        Degrees and thresholds.
    scratch : Path
        Folder for master biases.
    """

    path: Path
    files: ArmFiles
    instrument: str
    settings: StripeSettings
    scratch: Path

    @property
    def stamp(self) -> Path:
        """Where the digest of the inputs of a finished calibration rests."""
        return self.path.with_name(f".{self.path.stem}.digest")


def make_calibrations(
    night: Night,
    *,
    instrument: str,
    settings: StripeSettings,
    folder: Path,
    scratch: Path,
    **shell: Any,
) -> tuple[dict[tuple[str, str], tuple[Path, str] | str], tuple[str, ...]]:
    """Make every calibration that a night's exposures need, each distinct one once.

    Parameters
    ----------
    night : Night
        From `scan_night`.
    instrument : str
        The instrument's profile, for `load_instrument`.
    settings : StripeSettings
        Degrees and thresholds.
    folder : Path
        Where the calibrations shall rest, `SPID-ARM-LMJM.fits` of the flat.
    scratch : Path
        Folder for master biases.
    **shell : dict
        Workers, progress and client of `run_tasks`.

    Returns
    -------
    (dict of (str, str) to ((Path, str) or str), tuple of str)
        By exposure key and arm: the calibration's file and digest, or why there is none. Then
        the bias frames that were left out, and why.
    """
    profile = load_instrument(instrument)
    wanted, files_of = _wanted(night.exposures)
    names = _names(files_of, profile)
    tasks = [
        CalibrationTask(folder / f"{names[inputs]}.fits", files, instrument, settings, scratch)
        for inputs, files in sorted(files_of.items(), key=lambda item: names[item[0]])
    ]
    made: dict[Path, tuple[str | None, str]] = {}
    for number, result in run_tasks(make_calibration, tasks, stage="calibrate", **shell):
        made[tasks[number].path] = result
    found: dict[tuple[str, str], tuple[Path, str] | str] = {}
    for exposure in night.exposures:
        for arm in ARMS:
            key = (exposure.key, arm)
            if key not in wanted:
                found[key] = arm_reason(night.problems, *key)
                continue
            path = folder / f"{names[wanted[key]]}.fits"
            stamp, refused = made[path]
            found[key] = refused if stamp is None else (path, stamp)
    left_out = {note for stamp, note in made.values() if stamp is not None and note}
    return found, tuple(sorted(left_out))


def _wanted(
    exposures: Sequence[Exposure],
) -> tuple[dict[tuple[str, str], _Inputs], dict[_Inputs, ArmFiles]]:
    """What each arm is calibrated with, and one arm's files for each distinct calibration."""
    wanted: dict[tuple[str, str], _Inputs] = {}
    files_of: dict[_Inputs, ArmFiles] = {}
    for exposure in exposures:
        for arm in ARMS:
            files: ArmFiles | None = getattr(exposure, arm)
            if files is not None:
                inputs = (files.lamp, files.arc, files.biases)
                wanted[exposure.key, arm] = inputs
                files_of.setdefault(inputs, files)
    return wanted, files_of


def _names(files_of: Mapping[_Inputs, ArmFiles], profile: InstrumentProfile) -> dict[_Inputs, str]:
    """Name each calibration after its flat, and number those of one flat and other arcs."""
    names: dict[_Inputs, str] = {}
    taken: Counter[str] = Counter()
    for inputs in sorted(files_of, key=str):
        flat = parse_name(inputs[0], profile)
        name = f"{flat.spid:02d}-{flat.arm}-{flat.lmjm}"
        taken[name] += 1
        names[inputs] = name if taken[name] == 1 else f"{name}-{taken[name]}"
    return names


def make_calibration(task: CalibrationTask) -> tuple[str | None, str]:
    """Make a calibration and write it, unless the same one is there already.

    Parameters
    ----------
    task : CalibrationTask
        What to make and where it rests.

    Returns
    -------
    (str or None, str)
        Digest of its inputs (file contents, settings, instrument and version), and the bias
        frames that were left out; or None and why it is refused.

    Raises
    ------
    StoreError
        It cannot be written.
    """
    try:
        return _make(task)
    except Exception as err:  # noqa: BLE001 - a refused flat costs its exposures, not the batch
        return None, refusal(err)


def _make(task: CalibrationTask) -> tuple[str, str]:
    profile, settings = load_instrument(task.instrument), task.settings
    files = task.files
    inputs = input_digests([files.lamp, files.arc, *files.biases])
    given = input_digests(_given(files, profile, settings))
    stamp = digest([inputs, given, settings.model_dump(), profile.model_dump(), __version__])
    if task.path.is_file() and task.stamp.is_file():
        found, _, note = task.stamp.read_text().partition("\n")
        if found == stamp:
            return stamp, note
    bias, note = read_bias(files, profile, settings, task.scratch)
    calibration = _measure(files, profile, settings, bias)
    if given:
        done = {**calibration.notes, "given": dict(given)}
        calibration = replace(calibration, notes=done)
    try:
        task.stamp.unlink(missing_ok=True)
        write_calibration(task.path, calibration)
        with atomic_write(task.stamp) as partial:
            partial.write_text(f"{stamp}\n{note}")
    except OSError as err:
        raise cannot_write(task.path, err) from err
    return stamp, note


def _given(files: ArmFiles, profile: InstrumentProfile, settings: StripeSettings) -> list[Path]:
    """Give the further files that a calibration rests on: masks, pixel flats, pattern, flats."""
    flat = parse_name(files.lamp, profile)
    paths = detector_files(settings, flat.spid, flat.arm)
    if settings.reference is not None:
        paths.append(ccd_path(settings.reference, flat.spid, flat.arm))
    return paths + (list(files.flats[1:]) if settings.combine_flats else [])


def _measure(
    files: ArmFiles,
    profile: InstrumentProfile,
    settings: StripeSettings,
    bias: NDArray[np.float32] | None,
) -> ArmCalibration:
    if settings.combine_flats and len(files.flats) > 1:
        flat = combine_flats(files.flats, profile, bias=bias, overscan=settings.overscan)
    else:
        flat = read_frame(files.lamp, profile, master_bias=bias, overscan=settings.overscan)
    flat = correct_frame(flat, settings)
    arc = None
    if files.arc is not None:
        arc = read_frame(files.arc, profile, master_bias=bias, overscan=settings.overscan)
        arc = correct_frame(arc, settings)
    if settings.reference is None:
        return calibrate_arm(flat, arc, profile, settings)
    path = ccd_path(settings.reference, flat.name.spid, flat.name.arm)
    pattern = read_reference(path, flat.name.spid, flat.name.arm, profile.fibers.count)
    return calibrate_arm(flat, arc, profile, settings, reference=pattern)


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


def arm_reason(problems: Sequence[Problem], key: str, arm: str) -> str:
    """Say why an arm of an exposure has no files that can be used.

    Parameters
    ----------
    problems : sequence of Problem
        From `scan_night`.
    key : str
        The exposure.
    arm : str
        'blue' or 'red'.

    Returns
    -------
    str
        One line, with files but without their folders: the same night elsewhere gives the same
        store. Empty where nothing speaks against the arm.
    """
    lines = []
    for problem in problems:
        if problem.exposure == key and problem.arm in (arm, None):
            names = ", ".join(Path(where).name for where in problem.where.split(", "))
            lines.append(f"{names}: {problem.reason}")
    return "; ".join(lines)


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


def read_bias(
    files: ArmFiles, profile: InstrumentProfile, settings: StripeSettings, scratch: Path
) -> tuple[NDArray[np.float32] | None, str]:
    """Read the master bias of an arm, made once and then kept.

    A bias frame that is refused is left out where others remain, and named.

    Parameters
    ----------
    files : ArmFiles
        Whose bias frames.
    profile : InstrumentProfile
        The instrument.
    settings : StripeSettings
        Whether a bias is wanted.
    scratch : Path
        Folder where it is kept.

    Returns
    -------
    (ndarray, shape (n_spatial, n_wave), float32, or None, str)
        ADU, or None where no bias is wanted or there are no bias frames; and which frames were
        left out and why, as one line, when it is made.

    Raises
    ------
    FrameError
        No bias frame can be used.
    StoreError
        It cannot be kept.
    """
    if not settings.subtract_bias or not files.biases:
        return None, ""
    names = "\n".join(f"{path.absolute()} {_modified(path)}" for path in files.biases)
    names += f"\n{settings.overscan}"
    path = scratch / f"bias-{hashlib.sha256(names.encode()).hexdigest()[:16]}.npy"
    if path.is_file():
        return np.load(path), ""
    bias, left_out = _combine(files.biases, profile, settings.overscan)
    try:
        with atomic_write(path) as partial, partial.open("wb") as stream:
            np.save(stream, bias)
    except OSError as err:
        raise cannot_write(path, err) from err
    return bias, left_out


def _combine(
    paths: Sequence[Path], profile: InstrumentProfile, overscan: OverscanWay
) -> tuple[NDArray[np.float32], str]:
    left = list(paths)
    reasons: list[str] = []
    while True:
        try:
            return master_bias(left, profile, overscan=overscan), "; ".join(reasons)
        except FrameError as err:
            bad = [path for path in left if str(path) == err.where]
            if not bad or len(left) == 1:
                raise
            left.remove(bad[0])
            reasons.append(f"bias left out: {refusal(err)}")


def _modified(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError:
        return "unreadable"
    return f"{stat.st_size} {stat.st_mtime_ns}"
