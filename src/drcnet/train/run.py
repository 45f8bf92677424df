"""From a work folder and a recipe to a run folder."""

import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import nn

from drcnet.checkpoint import (
    Card,
    pick_device,
    predict,
    read_card,
    save_classifier,
    softmax,
)
from drcnet.config import TrainSettings, settings_toml
from drcnet.dataset.store import Progress
from drcnet.dataset.writing import locked
from drcnet.errors import StoreError, TrainingError
from drcnet.models import Fitted
from drcnet.models.cost import operations
from drcnet.provenance import atomic_write, make_provenance
from drcnet.train.loop import fit_network, write_log
from drcnet.train.machine import describe_machine, pick_precision
from drcnet.train.others import find_others, write_seen
from drcnet.train.parts import Parts
from drcnet.train.predictions import predictions_table
from drcnet.train.processes import Processes
from drcnet.train.recipe import make_loss
from drcnet.train.state import Outcome
from drcnet.train.summary import TrainSummary, summarize
from drcnet.train.task import Data, Task, load_data, read_task

__all__ = ["train"]

_FILES = (
    "settings.toml",
    "state.pt",
    "log.csv",
    "weights.safetensors",
    "predictions.parquet",
    "seen.parquet",
    "metrics.ecsv",
    "confusion.ecsv",
    "doubt.ecsv",
    "coverage.ecsv",
    "risk.ecsv",
    "evaluate.toml",
    "calibration.json",
    "outsiders.ecsv",
    "card.json",
)
_FOLDERS = ("tensorboard", "figures")
_CPU = torch.device("cpu")
_ROWS = 4096  # rows of the test part in memory at once
_TIMED = 512  # stars classified to see how fast that is


def train(
    work: Path | str,
    run: Path,
    settings: TrainSettings,
    *,
    progress: Progress | None = None,
    overwrite: bool = False,
    parts: Parts | None = None,
) -> TrainSummary:
    """Train one model on the split of a work folder, and predict every star of it.

    A run that was interrupted goes on after its last whole epoch and ends with the same bits (on
    one CPU, with as many threads, and unless `max_seconds` is set). A finished run with the same
    settings and inputs is returned as it is.

    Parameters
    ----------
    work : Path or str
        A work folder that `prepare` has finished, or its URL for fsspec.
    run : Path
        The run folder; made if absent.
    settings : TrainSettings
        Model and recipe.
    progress : callable, optional
        Called as progress(stage, done, total).
    overwrite : bool, default False
        Throw away what an earlier training left in `run`.
    parts : Parts, optional
        What this process has read for other runs; the result is the same bits.

    Returns
    -------
    TrainSummary
        What came out; the files are those of docs/conventions.md.

    Raises
    ------
    TrainingError
        The split cannot be learnt from, an option is unknown, the loss is no number any more,
        `run` holds a training with other settings or inputs, or another process trains it; or a
        run that the settings name is missing, does not fit, or has seen one of the test stars.
    StoreError
        Store or split cannot be read.
    """
    run = Path(run)
    task, processes = find_others(read_task(work, settings, parts), run), Processes.here()
    _check_together(task, processes, overwrite=overwrite)
    origin = _origin(task)
    card = None if overwrite else _finished(run, origin)
    if card is not None:
        return summarize(run, card)
    with _held(run, processes):
        if overwrite:
            _clear(run)
        card = _finished(run, origin)  # another process may have ended it just now
        return summarize(run, card or _train(task, run, origin, processes, progress))


def _train(
    task: Task,
    run: Path,
    origin: dict[str, Any],
    processes: Processes,
    progress: Progress | None,
) -> Card:
    """Train in a folder that nobody else writes."""
    if processes.first:
        _claim(run, task.settings)
    data = load_data(task, progress)
    if task.entry.kind == "classical":
        outcome = _fit_classical(task, data, run)
    else:
        outcome = fit_network(task, data, run, origin=origin, progress=progress)
    if outcome.weights:
        outcome.model.load_state_dict(outcome.weights)
    if outcome.failure:
        _rescue(task, data, outcome, run)
    if processes.first:
        _write_predictions(task, data, outcome.model, run, progress)
        write_seen(task, run, _provenance(task))
        card = _card(task, data, outcome)
        card.training["classified_per_second"] = _classify_rate(task, data, outcome.model)
        save_classifier(run, outcome.weights, card)
        (run / "state.pt").unlink(missing_ok=True)
    processes.wait()
    return read_card(run)


@contextlib.contextmanager
def _held(run: Path, processes: Processes) -> Iterator[None]:
    """Hold the run folder, in the process that writes it, until the training is over."""
    with contextlib.ExitStack() as stack:
        if processes.first:
            try:
                stack.enter_context(locked(run))
            except StoreError as err:
                raise TrainingError(err.where, err.wanted, err.came) from err
        yield


def _check_together(task: Task, processes: Processes, *, overwrite: bool) -> None:
    """Refuse what several processes cannot do together."""
    if processes.count == 1:
        return
    if task.entry.kind == "classical":
        raise TrainingError("torchrun", "a network to train", task.entry.name)
    if overwrite:
        raise TrainingError("torchrun", "a run folder of one's own", "--overwrite")


def _origin(task: Task) -> dict[str, Any]:
    """What two trainings must share to be one."""
    return {"settings": settings_toml(task.settings), **task.inputs}


def _clear(run: Path) -> None:
    """Remove what a training writes, and nothing else."""
    for name in _FILES:
        (run / name).unlink(missing_ok=True)
    for name in _FOLDERS:
        shutil.rmtree(run / name, ignore_errors=True)


def _finished(run: Path, origin: dict[str, Any]) -> Card | None:
    """The card of a finished run of the same origin; none where training is still to do."""
    path = run / "settings.toml"
    if path.is_file() and path.read_text(encoding="utf-8") != origin["settings"]:
        raise TrainingError(
            run, "a run folder with these settings, or overwrite", "one with other settings"
        )
    if not (run / "card.json").is_file():
        return None
    card = read_card(run)
    wanted = {k: v for k, v in origin.items() if k != "settings"}
    if card.provenance["inputs"] != wanted:
        came = card.provenance["inputs"]
        names = [name for name in wanted if wanted[name] != came.get(name)]
        this, another = " and ".join(names), " and another ".join(names)
        raise TrainingError(
            run, f"a run on this {this}, or overwrite", f"one on another {another}"
        )
    return None if card.stopped == "error" else card


def _claim(run: Path, settings: TrainSettings) -> None:
    with atomic_write(run / "settings.toml") as path:
        path.write_text(settings_toml(settings), encoding="utf-8")


def _rescue(task: Task, data: Data, outcome: Outcome, run: Path) -> NoReturn:
    """Leave the best weights so far as a checkpoint that says how it ended, and raise."""
    kept = "nothing was kept"
    if outcome.weights and Processes.here().first:
        save_classifier(run, outcome.weights, _card(task, data, outcome))
        kept = f"the weights of epoch {outcome.best_epoch} are kept"
    raise TrainingError(
        run, "a finite loss (try a lower learning rate)", f"{outcome.failure}; {kept}"
    )


def _fit_classical(task: Task, data: Data, run: Path) -> Outcome:
    """Fit a classical learner; its log has one row."""
    t_start, cpu_start = time.perf_counter(), time.process_time()
    settings = task.settings
    model = data.build(task)
    if not isinstance(model, Fitted):
        raise TypeError(f"{task.entry.name} is registered as classical, but is no Fitted")
    x, label = _with_copies(data, settings)
    try:
        model.fit(
            x.numpy(),
            label.numpy(),
            seed=settings.seed,
            balanced=settings.class_weights == "inverse",
        )
    except ValueError as err:
        raise TrainingError(task.entry.name, "stars that it can be fitted to", str(err)) from err
    model.eval()
    loss = make_loss(settings, None)
    row = {"epoch": 1.0, "learning_rate": 0.0}
    measured = (("train", data.train, data.normalize), ("validation", data.judged, "none"))
    for part, samples, how in measured:
        logits = predict(model, samples.x, _CPU, how=how)
        row[f"{part}_loss"] = float(loss(logits, samples.label))
        row[f"{part}_accuracy"] = float((logits.argmax(1) == samples.label).double().mean())
    row["seconds"] = round(time.perf_counter() - t_start, 3)
    write_log(run, [row])
    return Outcome(
        model,
        dict(model.state_dict()),
        [row],
        best_epoch=1,
        stopped="fitted",
        stars=len(label),
        cpu_seconds=time.process_time() - cpu_start,
    )


def _with_copies(data: Data, settings: TrainSettings) -> tuple[torch.Tensor, torch.Tensor]:
    """The training stars, normalised, and the changed copies of them that are asked for."""
    train, augmenter = data.train.normalized(data.normalize), data.augmenter
    if augmenter is None:
        return train.x, train.label
    copies = range(1, settings.augment.copies + 1)
    changed = [replace(train, x=augmenter.copy(k)).normalized(settings.normalize) for k in copies]
    sets = [train, *changed]
    return torch.cat([one.x for one in sets]), torch.cat([one.label for one in sets])


def _write_predictions(
    task: Task, data: Data, model: nn.Module, run: Path, progress: Progress | None
) -> None:
    """Predict every star of the split, into `predictions.parquet`."""
    device = _device(task)
    model = model.to(device).eval()
    found = {
        "validation": [_probabilities(model, data.validation.x, device, data.normalize)],
        "test": _predict_part(task, model, device, "test", progress),
    }
    if data.stream is None:
        found["train"] = [_probabilities(model, data.train.x, device, data.normalize)]
    else:
        found["train"] = _predict_part(task, model, device, "train", progress)
    tables = [
        predictions_table(
            task.split.filter(pl.col("part") == part).sort("row"),
            task.store,
            np.concatenate(pieces),
            task.classes,
        )
        for part, pieces in found.items()
        if pieces
    ]
    table = pl.concat(tables).sort("row")
    with atomic_write(run / "predictions.parquet") as path:
        table.write_parquet(path, metadata={"drcnet": json.dumps(_provenance(task))})


def _predict_part(
    task: Task, model: nn.Module, device: torch.device, part: str, progress: Progress | None
) -> list[NDArray[np.float64]]:
    """Predict a part that is not in memory, piece by piece."""
    rows = task.split.filter(pl.col("part") == part).sort("row")
    pieces = []
    for start in range(0, len(rows), _ROWS):
        samples = task.load(rows.slice(start, _ROWS), part, progress)
        pieces.append(_probabilities(model, samples.x, device, task.settings.normalize))
    return pieces


def _classify_rate(task: Task, data: Data, model: nn.Module) -> float:
    """Stars classified in a second, normalised and in batches, once everything is warm."""
    device, how = _device(task), task.settings.normalize
    x = data.validation.x[:_TIMED]
    predict(model, x[:8], device, how=how)
    t_start = time.perf_counter()
    predict(model, x, device, how=how)
    return round(len(x) / (time.perf_counter() - t_start), 1)


def _device(task: Task) -> torch.device:
    """Where the model computes; a classical one is small enough for the processor."""
    return pick_device(task.settings.device) if task.entry.kind == "torch" else _CPU


def _probabilities(
    model: nn.Module, x: torch.Tensor, device: torch.device, how: str
) -> NDArray[np.float64]:
    return softmax(predict(model, x, device, how=how))


def _card(task: Task, data: Data, outcome: Outcome) -> Card:
    kept = outcome.log[outcome.best_epoch - 1]
    epochs, seconds = len(outcome.log), outcome.log[-1]["seconds"]
    training = {
        "stars": len(data.train),
        "parameters": sum(value.numel() for value in outcome.model.parameters())
        or sum(value.numel() for value in outcome.weights.values()),
        "seconds": seconds,
        "cpu_seconds": round(outcome.cpu_seconds, 3),
        "epochs": round(outcome.stars / len(data.train), 2),
        "stars_per_second": round(outcome.stars / max(seconds, 1e-3), 1),
        "operations": operations(outcome.model, data.validation.x.shape[1:]),
        "machine": describe_machine(_device(task)),
        "precision": _precision(task),
        "validation_loss": kept["validation_loss"],
        "validation_accuracy": kept["validation_accuracy"],
    }
    if task.others.begin is not None:
        training["begun_from"] = task.others.begin.run.name
        training["afresh"] = ", ".join(task.others.begin.afresh(task.classes, data.options))
    if data.stream is not None:
        training["waiting"] = round(data.stream.waiting, 3)  # of the last epoch
    return Card(
        model=task.entry.name,
        options=data.options,
        classes=task.classes,
        view=task.view,
        normalize=task.settings.normalize,
        instrument=task.prepared["instrument"],
        stripes=task.prepared["stripes"],
        split=task.inputs["split"],
        seed=task.settings.seed,
        epochs=epochs,
        best_epoch=outcome.best_epoch,
        stopped=outcome.stopped,
        training=training,
        provenance=_provenance(task),
    )


def _precision(task: Task) -> str:
    """Of the training; a classical learner is fitted in double precision."""
    if task.entry.kind == "classical":
        return "64-true"
    return pick_precision(task.settings.precision, _device(task))


def _provenance(task: Task) -> dict[str, Any]:
    plain = task.settings.model_dump(mode="json")
    return make_provenance(plain, inputs=task.inputs, seed=task.settings.seed)
