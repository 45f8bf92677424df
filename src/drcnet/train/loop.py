"""The training loop of the networks: one straight line, and one object that is the checkpoint."""

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from drcnet.checkpoint import pick_device
from drcnet.config import TrainSettings
from drcnet.dataset.store import Progress
from drcnet.provenance import atomic_write
from drcnet.train.bench import Batch, Bench, set_up
from drcnet.train.recipe import EarlyStopping, learning_rate, make_optimizer
from drcnet.train.state import Outcome, State
from drcnet.train.task import Data, Task

__all__ = ["LOG_COLUMNS", "fit_network", "write_log"]

LOG_COLUMNS = (
    "epoch",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "learning_rate",
    "seconds",
)

_EXPLODED = 1e3  # no honest cross entropy of a few classes is this large
_EVALUATE = 256  # stars a batch where nothing is learnt


def fit_network(
    task: Task, data: Data, run: Path, *, origin: dict[str, Any], progress: Progress | None
) -> Outcome:
    """Train a network, or go on where `state.pt` stopped.

    Parameters
    ----------
    task : Task
        Recipe and model.
    data : Data
        Stars to learn from.
    run : Path
        Run folder: `state.pt`, `log.csv` and `tensorboard/` are written here.
    origin : dict
        What the state belongs to.
    progress : callable or None
        Called as progress(stage, done, total).

    Returns
    -------
    Outcome
        The weights to keep. Where the loss was no honest number any more, `failure` says so, and
        weights and `state.pt` are those of the last good epoch.
    """
    failure = ""
    settings = task.settings
    device = pick_device(settings.device)
    with _quiet_random_state(device), _deterministic(device, asked=settings.deterministic):
        model = data.build(task)
        if task.others.begin is not None:
            task.others.begin.start(model, task.classes, data.options)
        model = model.to(device)
        state = State(model, make_optimizer(settings, model), EarlyStopping(settings.patience))
        if (run / "state.pt").is_file():
            state.restore(run / "state.pt", origin)
        bench = set_up(task, data, state, device, progress)
        bench.processes.wait()  # until all have read state.pt
        if task.entry.begins and task.others.begin is None and not state.epoch:
            _begin(bench, state)
        with _board(run, state, bench) as board:
            while not state.stopped:
                row = _epoch(bench, state)
                failure = _failure(row)
                if failure:
                    break
                _record(settings, state, row)
                if board is None:
                    continue
                write_log(run, state.log)
                for name in LOG_COLUMNS[1:]:
                    board.add_scalar(name, row[name], state.epoch)
                state.save(run / "state.pt", origin)
    return Outcome(
        model=state.model,
        weights=state.best_weights,
        log=state.log,
        best_epoch=state.best_epoch,
        stopped="error" if failure else state.stopped,
        stars=state.stars,
        cpu_seconds=state.cpu_seconds,
        failure=failure,
    )


def write_log(run: Path, log: list[dict[str, float]]) -> None:
    """Write `log.csv`.

    Parameters
    ----------
    run : Path
        Run folder.
    log : list of dict
        One row an epoch, `LOG_COLUMNS`.
    """
    with atomic_write(run / "log.csv") as path:
        pl.DataFrame(log).select(LOG_COLUMNS).write_csv(path)


@contextlib.contextmanager
def _board(run: Path, state: State, bench: Bench) -> Iterator[SummaryWriter | None]:
    """Open TensorBoard's files in the process that writes; the others have none."""
    if not bench.processes.first:
        yield None
        return
    with SummaryWriter(str(run / "tensorboard"), purge_step=state.epoch + 1) as board:
        yield board


@dataclass(frozen=True)
class _Watch:
    """Training time up to now: what the state has, and what this epoch adds."""

    wall: float
    processor: float

    @classmethod
    def of(cls, state: State) -> "_Watch":
        """Start an epoch."""
        return cls(state.seconds - time.perf_counter(), state.cpu_seconds - time.process_time())

    def read(self) -> tuple[float, float]:
        """Seconds on the wall and of the processor."""
        return self.wall + time.perf_counter(), self.processor + time.process_time()

    def agreed(self, bench: Bench) -> tuple[float, float]:
        """Tell what all processes read on average, so that they stop at one step."""
        wall, processor = self.read()
        if bench.processes.count == 1:
            return wall, processor
        both = bench.fabric.all_reduce(torch.tensor([wall, processor]), reduce_op="mean")
        return float(both[0]), float(both[1])

    def budget(self, bench: Bench) -> float:
        """Seconds of the clock that `max_seconds` means."""
        if bench.settings.max_seconds is None:
            return 0.0
        return self.agreed(bench)[bench.settings.clock == "processor"]


def _begin(bench: Bench, state: State) -> None:
    """Let a model start from statistics of the training stars; counted as training time."""
    watch = _Watch.of(state)
    more = (bench.first_pool(),) if len(bench.pool) else ()
    state.model.begin(bench.first_batches(), bench.settings.seed, *more)  # type: ignore[operator]
    state.seconds, state.cpu_seconds = watch.agreed(bench)


def _epoch(bench: Bench, state: State) -> dict[str, float]:
    """Train one epoch and validate; gives the epoch's row of the log."""
    watch = _Watch.of(state)
    settings, epoch = bench.settings, state.epoch + 1
    torch.manual_seed(_epoch_seed(settings.seed, epoch))  # dropout: nothing to save for a resume
    total = torch.zeros(2, dtype=torch.float64, device=bench.train.x.device)  # loss, hits
    seen, rate = 0, 0.0
    bench.model.train()
    with contextlib.closing(bench.batches(epoch)) as batches:
        for done, batch in enumerate(batches, start=1):
            clock = watch.budget(bench)
            if done > 1 and settings.max_seconds is not None and clock >= settings.max_seconds:
                break
            rate = learning_rate(settings, _progress(bench, state.step, clock))
            total += _step(bench, batch, rate)
            state.step += 1
            seen += len(batch[1])
            if bench.progress is not None:
                bench.progress("training", state.step, settings.epochs * bench.steps)
    if bench.processes.count > 1:
        torch.distributed.all_reduce(total)
    train_loss, hits = (total / seen).tolist()
    loss, accuracy = _validate(bench)
    state.epoch = epoch
    state.stars += seen
    state.seconds, state.cpu_seconds = watch.agreed(bench)
    values = (epoch, train_loss, hits, loss, accuracy, rate, round(state.seconds, 3))
    return dict(zip(LOG_COLUMNS, values, strict=True))


def _step(bench: Bench, batch: Batch, rate: float) -> Tensor:
    """One optimizer step; the summed loss and the hits of this process, still on the device."""
    for group in bench.optimizer.param_groups:
        group["lr"] = rate
    bench.optimizer.zero_grad(set_to_none=True)
    label, seen = batch[1], []
    parts = bench.parts(label)
    for k, (rows, share) in enumerate(parts, start=1):
        with bench.fabric.no_backward_sync(bench.model, enabled=k < len(parts)):
            loss, logits = _forward(bench, batch, rows)
            bench.fabric.backward(loss * share)
        hits = (logits.detach().argmax(dim=1) == label[rows]).sum() * (share > 0)
        summed = loss.detach().double() * (share / bench.processes.count * len(label))
        seen.append(torch.stack([summed, hits.double()]))
    bench.optimizer.step()
    return torch.stack(seen).sum(dim=0)


def _forward(bench: Bench, batch: Batch, rows: slice) -> tuple[Tensor, Tensor]:
    """Loss and logits of some stars of a batch; a model may bring a loss of its own."""
    x, label, beside = (part[rows] for part in batch)
    if len(bench.pool) or len(bench.targets):
        loss, logits = bench.model.training_loss(x, label, beside, bench.loss)
    else:
        logits = bench.model(x)
        loss = bench.loss(logits, label)
    if bench.teachers is not None:
        loss = bench.teachers.blend(loss, logits, x, bench.weights[label])
    return loss, logits


@torch.no_grad()
def _validate(bench: Bench) -> tuple[float, float]:
    """Loss and accuracy of the validation part."""
    bench.model.eval()
    x, label = bench.validation.x, bench.validation.label
    logits = torch.cat([bench.model(part).float() for part in x.split(_EVALUATE)])
    accuracy = (logits.argmax(dim=1) == label).double().mean()
    return float(bench.loss(logits, label)), float(accuracy)


def _progress(bench: Bench, step: int, clock: float) -> float:
    """Share of the training that is behind: by steps, or by the clock if that is further."""
    by_step = step / max(bench.settings.epochs * bench.steps - 1, 1)
    limit = bench.settings.max_seconds
    return by_step if limit is None else max(by_step, clock / limit)


def _failure(row: dict[str, float]) -> str:
    """Say what is wrong with a loss that is no number or absurd."""
    for name in ("train_loss", "validation_loss"):
        if not math.isfinite(row[name]) or row[name] > _EXPLODED:
            return f"a {name} of {row[name]:g} in epoch {row['epoch']:.0f}"
    return ""


def _record(settings: TrainSettings, state: State, row: dict[str, float]) -> None:
    """Take an epoch into the state: log, best weights, and whether training is over."""
    state.log.append(row)
    stop = state.stopping.update(row["validation_loss"])
    if state.stopping.waited == 0 or settings.keep == "last":
        state.best_epoch = state.epoch
        weights = state.model.state_dict()
        state.best_weights = {name: value.detach().clone() for name, value in weights.items()}
    spent = state.cpu_seconds if settings.clock == "processor" else state.seconds
    if settings.max_seconds is not None and spent >= settings.max_seconds:
        state.stopped = "time"
    elif state.epoch >= settings.epochs:
        state.stopped = "epochs"
    elif stop:
        state.stopped = "patience"


def _epoch_seed(seed: int, epoch: int) -> int:
    return (seed * 1_000_003 + epoch) % 2**63


@contextlib.contextmanager
def _quiet_random_state(device: torch.device) -> Iterator[None]:
    """Leave torch's global random state as it was found."""
    devices = [torch.cuda.current_device()] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield


@contextlib.contextmanager
def _deterministic(device: torch.device, *, asked: bool) -> Iterator[None]:
    """Ask a GPU for the same bits each time, where it can; a CPU gives them anyway."""
    if not asked or device.type == "cpu":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
