"""New frames into one row a fibre: its class, how sure, how bright, or why not.

The frames go through the functions that `prepare` uses, cut and normalised as the checkpoint's
card says, so training and use cannot drift apart. No catalogue is needed.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from drcnet.calibrate.conformal import set_names
from drcnet.calibrate.product import FILE as CALIBRATION
from drcnet.calibrate.product import Calibration, read_calibration
from drcnet.checkpoint import Card, Classifier, load_classifier
from drcnet.classify_tables import check_output, write_table
from drcnet.config import StripeSettings
from drcnet.dataset.calibrations import input_digests, make_calibrations
from drcnet.dataset.exposure import (
    BLOCKING,
    ExposureStripes,
    blocking_reason,
    fiber_table,
    measure_exposure,
)
from drcnet.dataset.loader import see
from drcnet.dataset.parallel import run_tasks
from drcnet.dataset.profiles import arm_reader
from drcnet.dataset.store import ARMS, Progress
from drcnet.frames.night import Exposure, Night, scan_night, with_calibrations
from drcnet.instruments import load_instrument
from drcnet.provenance import file_digest, make_provenance
from drcnet.stripes.flags import FiberFlag, flag_names
from drcnet.stripes.snr import measured_snrr

__all__ = ["Classified", "FrameTask", "classify", "classify_frame", "classify_stripes"]

_Doubts = dict[str, list[str | None]]

_REJECTED = (BLOCKING & ~FiberFlag.SKY_FIBER) | FiberFlag.NO_SIGNAL
"""No class is given where there is no light, or none above the sky. Which fibres look at sky is a
guess here, without a catalogue: the guess becomes a flag, and only the light itself decides."""


@dataclass(frozen=True, eq=False)
class Classified:
    """What `classify` found.

    Parameters
    ----------
    table : DataFrame
        One row a fibre of each exposure: exposure, lmjm, spid, fiberid, class (null where there
        is none), p_CLASS of each class, teff, logg and feh where the model measures them,
        prediction_set, reject, snr_blue, snr_red
        (`snr_frame`), snrr_measured
        (this exposure in the meaning of the catalogue's snrr), flags, flag_names, reason. Where
        the run was calibrated, p_CLASS are calibrated, `prediction_set` names the classes that
        may not be excluded, and `reject` says why a class should not be believed (empty for
        none); else these two are null.
    problems : tuple of str
        Frames and files that could not be used, one line each.
    """

    table: pl.DataFrame
    problems: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class FrameTask:
    """Everything that `classify_frame` needs, sent to another process.

    Parameters
    ----------
    exposure : Exposure
        Its files.
    calibrations : dict of str to (Path, str) or str
        Arm to its calibration's file and digest, or why there is none.
    checkpoint : Path
        The run folder.
    device : str
        'auto', 'cpu' or 'cuda'.
    scratch : Path
        Folder for master biases.
    threads : int or None
        Threads of the network; None leaves them as they are.
    """

    exposure: Exposure
    calibrations: dict[str, tuple[Path, str] | str]
    checkpoint: Path
    device: str
    scratch: Path
    threads: int | None = None


def classify(
    frames: Path | Sequence[Path],
    checkpoint: Path,
    output: Path | None = None,
    *,
    flats: Path | None = None,
    device: str = "auto",
    workers: int | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
    client: Any = None,
) -> Classified:
    """Classify every fibre of new frames.

    Parameters
    ----------
    frames : Path or sequence of Path
        Folders of frames, or object frames (their flats, arcs and biases are looked for beside
        them).
    checkpoint : Path
        Run folder of a model.
    output : Path, optional
        Table to write; its ending names the format: .fits, .parquet, .vot, .xml, .ecsv, .csv.
    flats : Path, optional
        Folder of flats, arcs and biases, if they are not beside the frames.
    device : str
        'auto', 'cpu' or 'cuda'.
    workers : int, optional
        Processes; none: one a core. The table does not depend on it.
    progress : callable, optional
        Called as progress(stage, done, total).
    overwrite : bool
        Replace an older table.
    client : dask.distributed.Client, optional
        Measures and classifies there; frames and checkpoint must be seen from its workers.

    Returns
    -------
    Classified
        The table and what could not be used.

    Raises
    ------
    ConfigError
        The output's ending is unknown, or the file is there already.
    CheckpointError
        The checkpoint cannot be used.
    NightError
        There are no object frames.
    """
    if output is not None:
        check_output(Path(output), overwrite=overwrite)
    card = load_classifier(Path(checkpoint), device).card
    read_calibration(Path(checkpoint), weights=card.weights)  # damage shows before any work
    profile = load_instrument(card.instrument)
    given = [Path(frames)] if isinstance(frames, str | Path) else [Path(f) for f in frames]
    night = scan_night(with_calibrations(given, profile), profile, flats=flats)
    shell = {"workers": workers, "progress": progress, "client": client}
    with tempfile.TemporaryDirectory(prefix="drcnet-") as name:
        tasks, left_out = _tasks(night, card, (Path(checkpoint), device), Path(name), shell)
        found: dict[int, pl.DataFrame] = dict(
            run_tasks(classify_frame, tasks, stage="classify", **shell)
        )
    table = pl.concat([found[number] for number in range(len(tasks))])
    if output is not None:
        write_table(Path(output), table, _provenance(card, Path(checkpoint), night))
    return Classified(table, (*_problems(night, table), *left_out))


def classify_frame(task: FrameTask) -> pl.DataFrame:
    """Read, measure and classify one exposure.

    Parameters
    ----------
    task : FrameTask
        Which, and with what.

    Returns
    -------
    DataFrame, n_fiber rows
        As in `Classified`; an exposure that cannot be used is rows with the reason.
    """
    if task.threads is not None:
        torch.set_num_threads(task.threads)
    classifier = load_classifier(task.checkpoint, task.device)
    calibration = read_calibration(task.checkpoint, weights=classifier.card.weights)
    measured = measure_exposure(
        task.exposure,
        task.calibrations,
        load_instrument(classifier.card.instrument),
        StripeSettings(**classifier.card.stripes),
        scratch=task.scratch,
    )
    return classify_stripes(measured, classifier, calibration)


def classify_stripes(
    measured: ExposureStripes, classifier: Classifier, calibration: Calibration | None = None
) -> pl.DataFrame:
    """Classify the fibres of one measured exposure.

    Parameters
    ----------
    measured : ExposureStripes
        One exposure.
    classifier : Classifier
        A trained model.
    calibration : Calibration, optional
        How sure it may be.

    Returns
    -------
    DataFrame, n_fiber rows
        As in `Classified`.
    """
    fibers = fiber_table(measured)
    flags = fibers["flags"].to_list()
    rejected = [blocking_reason(int(bits), _REJECTED) for bits in flags]
    chosen = np.array([not why for why in rejected], dtype=bool)
    classes = classifier.card.classes
    probability = np.full((len(fibers), len(classes)), np.nan)
    estimates = {name: np.full(len(fibers), np.nan) for name in classifier.measures}
    if chosen.any():
        view = classifier.card.view
        settings = StripeSettings(**classifier.card.stripes)
        seen = [see(view, arm_reader(measured, arm, settings))[chosen] for arm in ARMS]
        x = np.stack(seen, axis=1)
        probability[chosen] = classifier.probabilities(x)
        for name, values in classifier.estimates(x).items():
            estimates[name][chosen] = values
    known = np.asarray(np.isfinite(probability).all(axis=1))
    doubts: _Doubts = {name: [None] * len(fibers) for name in ("prediction_set", "reject")}
    if calibration is not None:
        probability, doubts = _doubt(measured, calibration, probability, known)
    best = np.where(known, np.nan_to_num(probability).argmax(axis=1), -1)
    reasons = [
        fibers["reason"][i] or rejected[i] or ("" if known[i] else "no light in one of its arms")
        for i in range(len(fibers))
    ]
    return fibers.select("exposure", "lmjm", "spid", "fiberid").with_columns(
        pl.Series("class", [classes[k] if k >= 0 else None for k in best], dtype=pl.String),
        *(
            pl.Series(f"p_{name}", probability[:, k]).fill_nan(None)
            for k, name in enumerate(classes)
        ),
        *(pl.Series(name, values).fill_nan(None) for name, values in estimates.items()),
        *(pl.Series(name, values, dtype=pl.String) for name, values in doubts.items()),
        fibers["snr_blue"].fill_nan(None),
        fibers["snr_red"].fill_nan(None),
        pl.Series("snrr_measured", _snrr(measured, classifier.card)).fill_nan(None),
        fibers["flags"].cast(pl.Int64),
        pl.Series("flag_names", [flag_names(int(bits)) for bits in flags]),
        pl.Series("reason", reasons),
    )


def _doubt(
    measured: ExposureStripes,
    calibration: Calibration,
    probability: NDArray[np.float64],
    known: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], _Doubts]:
    """Calibrate probabilities; prediction set and refusal of every fibre that has a class."""
    sets: list[str | None] = [None] * len(known)
    refusals: list[str | None] = [None] * len(known)
    at = np.flatnonzero(known)
    if not len(at):
        return probability, {"prediction_set": sets, "reject": refusals}
    snrr = calibration.snrr(measured.arms["red"].snr)[at]
    probability = probability.copy()
    probability[at] = calibration.probabilities(probability[at], snrr)
    light = see("optimal-sky", partial(_both_arms, measured))[at]
    names = set_names(calibration.sets(probability[at], snrr), calibration.classes)
    for k, name, why in zip(at, names, calibration.reject(light, snrr), strict=True):
        sets[k], refusals[k] = name, why
    return probability, {"prediction_set": sets, "reject": refusals}


def _both_arms(measured: ExposureStripes, name: str) -> NDArray[Any]:
    return np.stack([getattr(measured.arms[arm], name) for arm in ARMS], axis=1)


def _snrr(measured: ExposureStripes, card: Card) -> NDArray[np.float64]:
    """S/N of this exposure in the catalogue's meaning; NaN without an arm."""
    arms = list(measured.arms.values())
    if not arms:
        return np.full(measured.n_fiber, np.nan)
    n_wave = load_instrument(card.instrument).n_wave
    return measured_snrr(arms, row_start=StripeSettings(**card.stripes).row_start, n_wave=n_wave)


def _tasks(
    night: Night, card: Card, where: tuple[Path, str], folder: Path, shell: dict[str, Any]
) -> tuple[list[FrameTask], tuple[str, ...]]:
    """Calibrate, then lay out one task an exposure; `where` is the run folder and the device."""
    calibrations, left_out = make_calibrations(
        night,
        instrument=card.instrument,
        settings=StripeSettings(**card.stripes),
        folder=folder,
        scratch=folder,
        **shell,
    )
    # Many processes share the cores already; one process may use them all.
    alone = shell["workers"] == 1 or len(night.exposures) == 1
    tasks = [
        FrameTask(
            exposure,
            {arm: calibrations[exposure.key, arm] for arm in ARMS},
            *where,
            folder,
            None if alone else 1,
        )
        for exposure in night.exposures
    ]
    return tasks, left_out


def _problems(night: Night, table: pl.DataFrame) -> tuple[str, ...]:
    missing = table.filter((pl.col("flags") & int(FiberFlag.ARM_MISSING)) != 0)
    refused = missing.select("exposure", "reason").unique(maintain_order=True)
    lines = [f"{key}: {reason}" for key, reason in refused.iter_rows()]
    return (*lines, *(str(problem) for problem in night.problems if problem.exposure is None))


def _provenance(card: Card, checkpoint: Path, night: Night) -> dict[str, Any]:
    """What made the table: the model by the digest of its weights, the frames by theirs."""
    doubts = checkpoint / CALIBRATION
    files = [arm.object for e in night.exposures for arm in (e.blue, e.red) if arm is not None]
    what = {
        "run": checkpoint.name,
        "model": card.model,
        "weights": card.weights,
        "split": card.split,
        "view": card.view,
        "normalize": card.normalize,
        "stripes": card.stripes,
        "snr": "snr_frame: one exposure, per native pixel, measured here",
        "calibration": file_digest(doubts) if doubts.is_file() else "none",
    }
    return make_provenance(what, inputs=input_digests(files), seed=card.seed)
