"""Frames in, a folder of products out: one task an arm of an exposure."""

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from drcnet.config import StripeSettings
from drcnet.dataset.calibrations import (
    arm_reason,
    input_digests,
    make_calibrations,
    read_bias,
    refusal,
)
from drcnet.dataset.exposure import open_frame
from drcnet.dataset.parallel import run_tasks
from drcnet.dataset.store import Progress
from drcnet.dataset.writing import cannot_write
from drcnet.errors import ConfigError, FrameError
from drcnet.extract.files import write_spectra, write_stripes, write_traces
from drcnet.extract.page import write_page
from drcnet.extract.product import ArmProduct
from drcnet.frames.detector import correct_frame, detector_files
from drcnet.frames.frame import Frame
from drcnet.frames.night import ArmFiles, Night, Problem, scan_night, with_calibrations
from drcnet.frames.read import read_frame
from drcnet.frames.recognise import recognise
from drcnet.instruments import InstrumentProfile, instrument_names, load_instrument
from drcnet.provenance import atomic_write, make_provenance
from drcnet.stripes.calibration_file import read_calibration
from drcnet.stripes.fiberflat import divide_fibers
from drcnet.stripes.longslit import measure_slit
from drcnet.stripes.measure import measure_arm
from drcnet.stripes.shift import shift_traces

__all__ = ["ArmTask", "Extraction", "extract", "extract_arm"]

_SCHEMA = {
    "exposure": pl.String,
    "arm": pl.String,
    "object": pl.String,
    "fibers": pl.Int64,
    "snr": pl.Float64,
    "spectra": pl.String,
    "page": pl.String,
    "reason": pl.String,
}


@dataclass(frozen=True, eq=False)
class Extraction:
    """What `extract` made.

    Parameters
    ----------
    table : DataFrame
        A row an arm of an exposure: exposure, arm, object (the raw file), fibers (with light),
        snr (median of those, `snr_frame`), spectra and page (files in the output folder), reason
        (why it was refused; empty where it was not).
    problems : tuple of str
        Frames and files that could not be used, one line each.
    """

    table: pl.DataFrame
    problems: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ArmTask:
    """Everything that `extract_arm` needs, sent to another process.

    Parameters
    ----------
    key : str
        The exposure.
    arm : str
        'blue' or 'red'.
    files : ArmFiles
        Its files.
    calibration : (Path, str) or str or None
        The calibration's file and digest, or why there is none; None on a long slit.
    instrument : str
        For `load_instrument`.
    settings : StripeSettings
        Widths, rows and thresholds.
    out : Path
        Where the products go.
    scratch : Path
        Folder for master biases.
    stripes : bool
        Write the stripes too.
    """

    key: str
    arm: str
    files: ArmFiles
    calibration: tuple[Path, str] | str | None
    instrument: str
    settings: StripeSettings
    out: Path
    scratch: Path
    stripes: bool


def extract(
    frames: Path | Sequence[Path],
    out: Path,
    *,
    instrument: str | None = None,
    flats: Path | None = None,
    settings: StripeSettings | None = None,
    stripes: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> Extraction:
    """Extract the spectra of raw frames; no catalogue is needed.

    Parameters
    ----------
    frames : Path or sequence of Path
        Folders of frames, or object frames (their flats, arcs and biases are looked for beside
        them).
    out : Path
        Folder to write: of each frame EXPOSURE-ARM-spectra.fits, -traces.fits, with `stripes`
        -stripes.fits, and EXPOSURE-ARM.html; of all frames.csv.
    instrument : str, optional
        A shipped profile or the path of one; none: recognised from the files.
    flats : Path, optional
        Folder of flats, arcs and biases, if they are not beside the frames.
    settings : StripeSettings, optional
        How; none: the defaults over the whole length of the chip.
    stripes : bool
        Write the stripes too.
    workers : int, optional
        Processes; none: one a core. The files do not depend on it.
    progress : callable, optional
        Called as progress(stage, done, total).
    overwrite : bool
        Replace older products.

    Returns
    -------
    Extraction
        What was made, and what could not be.

    Raises
    ------
    ConfigError
        The instrument is not known, or the folder holds products already.
    NightError
        There are no object frames.
    StoreError
        A product cannot be written.
    """
    out = Path(out)
    if (out / "frames.csv").exists() and not overwrite:
        came = "one with products (overwrite replaces them)"
        raise ConfigError(out, "a folder without products", came)
    given = [Path(frames)] if isinstance(frames, str | Path) else [Path(f) for f in frames]
    instrument = instrument or _recognise(given)
    profile = load_instrument(instrument)
    settings = settings or StripeSettings(row_start=0, row_stop=profile.n_wave)
    night = scan_night(with_calibrations(given, profile), profile, flats=flats)
    shell: dict[str, Any] = {"workers": workers, "progress": progress}
    with tempfile.TemporaryDirectory(prefix="drcnet-") as name:
        tasks, left_out = _tasks(night, instrument, settings, (out, Path(name), stripes), shell)
        rows = dict(run_tasks(extract_arm, tasks, stage="extract", **shell))
    table = pl.DataFrame(
        [*(rows[k] for k in range(len(tasks))), *_missing(night)], schema=_SCHEMA, orient="row"
    ).sort("exposure", "arm", "object", maintain_order=True)
    try:
        with atomic_write(out / "frames.csv") as partial:
            table.write_csv(partial, float_precision=2)
    except OSError as err:
        raise cannot_write(out / "frames.csv", err) from err
    refused = table.filter(pl.col("reason") != "").select("exposure", "arm", "reason")
    lines = [f"{key} {arm}: {reason}" for key, arm, reason in refused.iter_rows()]
    unused = [str(problem) for problem in night.problems if problem.exposure is None]
    return Extraction(table, (*lines, *unused, *left_out))


def extract_arm(task: ArmTask) -> dict[str, Any]:
    """Extract one arm of one exposure and write its products.

    Parameters
    ----------
    task : ArmTask
        Which, and where to.

    Returns
    -------
    dict
        Its row of the table; a frame that cannot be used has the reason and no products.

    Raises
    ------
    StoreError
        A product cannot be written.
    """
    row = {"exposure": task.key, "arm": task.arm, "object": task.files.object.name}
    if isinstance(task.calibration, str):
        return row | {"reason": task.calibration}
    try:
        product = _measure(task)
    except Exception as err:  # noqa: BLE001 - one frame, whatever is in it, stops no batch
        return row | {"reason": refusal(err)}
    stem = f"{task.key}-{task.arm}"
    try:
        write_spectra(task.out / f"{stem}-spectra.fits", product)
        write_traces(task.out / f"{stem}-traces.fits", product)
        if task.stripes:
            write_stripes(task.out / f"{stem}-stripes.fits", product)
        write_page(task.out / f"{stem}.html", product)
    except OSError as err:
        raise cannot_write(task.out / stem, err) from err
    alive = product.traces.alive
    return row | {
        "fibers": int(alive.sum()),
        "snr": float(np.median(product.stripes.snr[alive])),
        "spectra": f"{stem}-spectra.fits",
        "page": f"{stem}.html",
        "reason": "",
    }


def _recognise(given: Sequence[Path]) -> str:
    """Find the instrument that wrote most of the files; others' files are refused by name."""
    seen: Counter[str] = Counter()
    for path in given:
        folder = path / "raw" if (path / "raw").is_dir() else path
        files = sorted(folder.iterdir()) if folder.is_dir() else [path]
        seen.update(filter(None, (recognise(file) for file in files if file.is_file())))
    most = [name for name, count in seen.most_common() if count == max(seen.values())]
    if len(most) == 1:
        return most[0]
    where = ", ".join(str(path) for path in given)
    if not most:
        known = ", ".join(instrument_names())
        wanted = f"frames of a known instrument ({known}); name it with --instrument"
        came = "none that is recognised" if any(p.exists() for p in given) else "nothing there"
        raise ConfigError(where, wanted, came)
    raise ConfigError(where, "frames of one instrument", f"those of {', '.join(sorted(most))}")


def _tasks(
    night: Night,
    instrument: str,
    settings: StripeSettings,
    where: tuple[Path, Path, bool],
    shell: dict[str, Any],
) -> tuple[list[ArmTask], tuple[str, ...]]:
    """Calibrate, then one task an arm; `where` is the output, the scratch folder, and stripes."""
    scratch = where[1]
    profile = load_instrument(instrument)
    left_out: tuple[str, ...] = ()
    calibrations: dict[tuple[str, str], Any] = {}
    if not profile.long_slit:
        calibrations, left_out = make_calibrations(
            night,
            instrument=instrument,
            settings=settings,
            folder=scratch,
            scratch=scratch,
            **shell,
        )
    tasks = []
    for exposure in night.exposures:
        for arm in profile.arms:
            files: ArmFiles | None = getattr(exposure, arm)
            if files is not None:
                calibration = calibrations.get((exposure.key, arm))
                task = ArmTask(exposure.key, arm, files, calibration, instrument, settings, *where)
                tasks.append(task)
    return tasks, left_out


def _missing(night: Night) -> list[dict[str, Any]]:
    """Rows of arms whose frame is there but lacks something; an arm not given is no loss."""
    rows = []
    for problem in night.problems:
        if problem.exposure is None or problem.arm is None or _not_given(problem):
            continue
        reason = arm_reason(night.problems, problem.exposure, problem.arm)
        name = Path(problem.where.split(", ")[0]).name
        rows.append(
            {"exposure": problem.exposure, "arm": problem.arm, "object": name, "reason": reason}
        )
    return rows


def _not_given(problem: Problem) -> bool:
    return problem.where == f"exposure {problem.exposure}"


def _measure(task: ArmTask) -> ArmProduct:
    profile = load_instrument(task.instrument)
    frame = open_frame(task.files, profile, task.settings, scratch=task.scratch)
    if profile.long_slit:
        return _measure_slit(task, frame, profile)
    path = task.calibration[0] if isinstance(task.calibration, tuple) else None
    if path is None:
        raise FrameError(task.files.object, "a calibration", "none")
    traced = read_calibration(path)
    settings = task.settings
    measured = measure_arm(frame, traced, settings)
    traces, _ = shift_traces(traced.traces, frame, settings)
    through = traced.throughput[:, settings.row_start : settings.row_stop]
    if settings.fiber_flat:
        measured = divide_fibers(measured, through)
    typical = np.full(len(traces), np.nan)
    typical[traces.alive] = np.median(through[traces.alive], axis=1)
    return ArmProduct(
        frame=frame,
        stripes=measured,
        traces=traces,
        settings=settings,
        throughput=typical,
        confidence=traced.confidence,
        arc_rms=traced.wavelengths.rms,
        notes={**traced.notes, **measured.notes, "wavelengths": traced.wavelengths.source},
        provenance=_provenance(task, frame),
    )


def _measure_slit(task: ArmTask, frame: Frame, profile: InstrumentProfile) -> ArmProduct:
    files, settings = task.files, task.settings
    bias, _ = read_bias(files, profile, settings, task.scratch)
    flat, arc = (
        correct_frame(
            read_frame(path, profile, master_bias=bias, overscan=settings.overscan), settings
        )
        if path is not None
        else None
        for path in (files.flat, files.arc)
    )
    found = measure_slit(frame, flat, arc, settings)
    notes = {**found.stripes.notes, "wavelengths": found.wavelengths.source}
    notes |= {"wavelengths_why": found.reason} if found.reason else {}
    return ArmProduct(
        frame=frame,
        stripes=found.stripes,
        traces=found.traces,
        settings=settings,
        throughput=np.full(1, np.nan),
        confidence=1.0,
        arc_rms=found.wavelengths.rms,
        notes=notes,
        provenance=_provenance(task, frame),
    )


def _provenance(task: ArmTask, frame: Frame) -> dict[str, Any]:
    files = task.files
    named = detector_files(task.settings, frame.name.spid, frame.name.arm)
    flats = files.flats if task.settings.combine_flats else (files.flat,)
    inputs = input_digests([files.object, *flats, files.arc, *files.biases, *named])
    what = {
        "instrument": frame.profile.name,
        "stripes": task.settings.model_dump(mode="json"),
        "snr": "snr_frame: one exposure, per native pixel, measured here",
    }
    return make_provenance(what, inputs=inputs)
