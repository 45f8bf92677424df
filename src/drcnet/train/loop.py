"""The training loop of the networks: one straight line, and one object that is the checkpoint."""

import contextlib
import logging
import math
import time
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from drcnet.checkpoint import pick_device
from drcnet.config import TrainSettings
from drcnet.dataset.augment import Augmenter
from drcnet.dataset.loader import Samples, batch_rows, epoch_order
from drcnet.dataset.store import Progress
from drcnet.dataset.stream import ShardStream
from drcnet.errors import CheckpointError
from drcnet.provenance import atomic_write
from drcnet.stripes.normalize import normalize
from drcnet.train.machine import pick_precision
from drcnet.train.recipe import (
    EarlyStopping,
    Loss,
    class_weights,
    learning_rate,
    make_loss,
    make_optimizer,
)
from drcnet.train.task import Data, Outcome, Task

__all__ = ["LOG_COLUMNS", "State", "fit_network", "write_log"]

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


@dataclass
class State:
    """Everything that changes while training; saved whole after each epoch.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    optimizer : torch.optim.Optimizer
        With its own state.
    stopping : EarlyStopping
        Epochs waited.
    epoch, step, stars : int
        Epochs and optimizer steps done, and stars learnt from, each as often as it came up.
    seconds, cpu_seconds : float
        Training time, over all sessions, and the processor time in it.
    best_epoch : int
        Epoch of the lowest validation loss.
    best_weights : dict
        The model's state then.
    log : list of dict
        One row an epoch, `LOG_COLUMNS`.
    stopped : str
        Why it is over; empty while it is not.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    stopping: EarlyStopping
    epoch: int = 0
    step: int = 0
    stars: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    log: list[dict[str, float]] = field(default_factory=list)
    stopped: str = ""

    def save(self, path: Path, origin: dict[str, Any]) -> None:
        """Write everything to go on from.

        Parameters
        ----------
        path : Path
            The file; it appears whole or not at all.
        origin : dict
            What this state belongs to.
        """
        plain = {name: getattr(self, name) for name in _PLAIN}
        content = plain | {
            "origin": origin,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "stopping": asdict(self.stopping),
        }
        with atomic_write(path) as partial:
            torch.save(content, partial)

    def restore(self, path: Path, origin: dict[str, Any]) -> None:
        """Go back to a saved state.

        Parameters
        ----------
        path : Path
            From `save`.
        origin : dict
            What it must belong to.

        Raises
        ------
        CheckpointError
            The file is damaged, or belongs to another training.
        """
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            came = content["origin"]
            plain = {name: content[name] for name in _PLAIN}
        except Exception as err:  # torch raises many kinds on a damaged file
            raise CheckpointError(
                path, "a state to go on from (or overwrite the run)", f"a damaged file ({err})"
            ) from err
        if came != origin:
            raise CheckpointError(path, f"the state of {origin}", f"that of {came}")
        for name, value in plain.items():
            setattr(self, name, value)
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.stopping = EarlyStopping(**content["stopping"])


_PLAIN = (
    *("epoch", "step", "stars", "seconds", "cpu_seconds"),
    *("best_epoch", "best_weights", "log", "stopped"),
)


@dataclass(frozen=True, eq=False)
class _Bench:
    """What an epoch works with; nothing here changes."""

    settings: TrainSettings
    fabric: Fabric
    model: Any
    optimizer: Any
    loss: Loss
    train: Samples
    validation: Samples
    steps: int
    progress: Progress | None
    augmenter: Augmenter | None
    stream: ShardStream | None

    def batches(self, epoch: int) -> Generator[tuple[Tensor, Tensor]]:
        """Normalised input and labels, batch by batch, each training star once."""
        if self.stream is not None:
            yield from ((batch.x, batch.label) for batch in self.stream.batches(epoch))
            return
        order = epoch_order(len(self.train), self.settings.seed, epoch).to(self.train.x.device)
        for rows in batch_rows(order, self.settings.batch_size):
            yield self.batch(rows, epoch), self.train.label[rows]

    def batch(self, rows: Tensor, epoch: int) -> Tensor:
        """Normalised input of some training stars, changed where the settings ask for it."""
        if self.augmenter is None:
            return self.train.x[rows]
        return normalize(self.augmenter.batch(rows, epoch), self.settings.normalize)


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
        model = data.build(task).to(device)
        state = State(model, make_optimizer(settings, model), EarlyStopping(settings.patience))
        if (run / "state.pt").is_file():
            state.restore(run / "state.pt", origin)
        bench = _set_up(task, data, state, device, progress)
        with SummaryWriter(str(run / "tensorboard"), purge_step=state.epoch + 1) as board:
            while not state.stopped:
                row = _epoch(bench, state)
                failure = _failure(row)
                if failure:
                    break
                _record(settings, state, row)
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


def _set_up(
    task: Task, data: Data, state: State, device: torch.device, progress: Progress | None
) -> _Bench:
    settings = task.settings
    # it would say the precision on standard error; the settings say it already
    logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)
    fabric = Fabric(
        accelerator=device.type, devices=1, precision=pick_precision(settings.precision, device)
    )
    weights = None
    if settings.class_weights == "inverse":
        weights = class_weights(data.train.label, len(task.classes)).to(device)
    model, optimizer = fabric.setup(state.model, state.optimizer)
    augmenter = None if data.augmenter is None else data.augmenter.to(device)
    x = data.train.x.to(device) if augmenter is None else augmenter.x
    train = replace(data.train, x=x, label=data.train.label.to(device))
    steps = len(list(batch_rows(torch.arange(len(data.train)), settings.batch_size)))
    return _Bench(
        settings,
        fabric,
        model,
        optimizer,
        make_loss(settings, weights),
        train,
        data.judged.to(device),
        steps,
        progress,
        augmenter,
        data.stream,
    )


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

    def budget(self, settings: TrainSettings) -> float:
        """Seconds of the clock that `max_seconds` means."""
        return self.read()[settings.clock == "processor"]


def _epoch(bench: _Bench, state: State) -> dict[str, float]:
    """Train one epoch and validate; gives the epoch's row of the log."""
    watch = _Watch.of(state)
    settings, epoch = bench.settings, state.epoch + 1
    torch.manual_seed(_epoch_seed(settings.seed, epoch))  # dropout: nothing to save for a resume
    total = torch.zeros(2, dtype=torch.float64, device=bench.train.x.device)  # loss, hits
    seen, rate = 0, 0.0
    bench.model.train()
    with contextlib.closing(bench.batches(epoch)) as batches:
        for done, (x, label) in enumerate(batches, start=1):
            clock = watch.budget(settings)
            if done > 1 and settings.max_seconds is not None and clock >= settings.max_seconds:
                break
            rate = learning_rate(settings, _progress(bench, state.step, clock))
            total += _step(bench, x, label, rate)
            state.step += 1
            seen += len(label)
            if bench.progress is not None:
                bench.progress("training", state.step, settings.epochs * bench.steps)
    train_loss, hits = (total / seen).tolist()
    loss, accuracy = _validate(bench)
    state.epoch = epoch
    state.stars += seen
    state.seconds, state.cpu_seconds = watch.read()
    values = (epoch, train_loss, hits, loss, accuracy, rate, round(state.seconds, 3))
    return dict(zip(LOG_COLUMNS, values, strict=True))


def _step(bench: _Bench, x: Tensor, label: Tensor, rate: float) -> Tensor:
    """One optimizer step; the summed loss and the hits of the batch, still on the device."""
    for group in bench.optimizer.param_groups:
        group["lr"] = rate
    bench.optimizer.zero_grad(set_to_none=True)
    logits = bench.model(x)
    loss = bench.loss(logits, label)
    bench.fabric.backward(loss)
    bench.optimizer.step()
    hits = (logits.detach().argmax(dim=1) == label).sum()
    return torch.stack([loss.detach().double() * len(label), hits.double()])


@torch.no_grad()
def _validate(bench: _Bench) -> tuple[float, float]:
    """Loss and accuracy of the validation part."""
    bench.model.eval()
    x, label = bench.validation.x, bench.validation.label
    logits = torch.cat([bench.model(part).float() for part in x.split(_EVALUATE)])
    accuracy = (logits.argmax(dim=1) == label).double().mean()
    return float(bench.loss(logits, label)), float(accuracy)


def _progress(bench: _Bench, step: int, clock: float) -> float:
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
