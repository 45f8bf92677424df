"""What an epoch works with: model, stars in batches, and which of them this process computes."""

import logging
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from drcnet.config import TrainSettings
from drcnet.dataset.augment import Augmenter
from drcnet.dataset.loader import Samples, batch_rows, epoch_order
from drcnet.dataset.store import Progress
from drcnet.dataset.stream import ShardStream
from drcnet.stripes.normalize import normalize
from drcnet.train.machine import pick_precision
from drcnet.train.others import Teachers
from drcnet.train.processes import Processes
from drcnet.train.recipe import Loss, class_weights, make_loss
from drcnet.train.state import State
from drcnet.train.task import Data, Task

__all__ = ["Batch", "Bench", "set_up"]

_FIRST = 32  # stars at once where a model begins: more lie in no cache

Batch = tuple[Tensor, Tensor, Tensor]
"""Normalised input, labels, and what a model with a loss of its own learns from besides: stars
without a label, or more about these stars (else nothing)."""


@dataclass(frozen=True, eq=False)
class Bench:
    """What an epoch works with; nothing here changes.

    Parameters
    ----------
    settings : TrainSettings
        The recipe.
    fabric : Fabric
        Devices, precision, processes.
    model, optimizer : Any
        As Fabric wraps them.
    loss : callable
        loss(logits, label).
    weights : Tensor
        Of the classes in the loss, shape (n_class,).
    train, validation : Samples
        On the device; the training stars electrons where they are augmented.
    pool : Tensor
        Stars without a label, normalised; none but for a model that wants them.
    targets : Tensor
        What is known of the training stars beside the class; none but for a model that wants it.
    steps : int
        Batches an epoch.
    processes : Processes
        This one among those that train together.
    progress : callable or None
        Called as progress(stage, done, total).
    augmenter : Augmenter or None
        Changes the training stars.
    stream : ShardStream or None
        Reads them where they are not in memory.
    teachers : Teachers or None
        Whose probabilities are learnt besides.
    """

    settings: TrainSettings
    fabric: Fabric
    model: Any
    optimizer: Any
    loss: Loss
    weights: Tensor
    train: Samples
    validation: Samples
    pool: Tensor
    targets: Tensor
    steps: int
    processes: Processes
    progress: Progress | None
    augmenter: Augmenter | None
    stream: ShardStream | None
    teachers: Teachers | None

    def batches(self, epoch: int) -> Generator[Batch]:
        """Give the batches of an epoch, each training star once.

        Parameters
        ----------
        epoch : int
            Counted from 1.

        Yields
        ------
        Batch
            The same in every process.
        """
        if len(self.targets):
            for x, label, rows in self._labelled(epoch):
                yield x, label, self.targets[rows]
            return
        pool = self._pool(epoch)
        for x, label, _ in self._labelled(epoch):
            yield x, label, next(pool)[: len(label)]

    def first_batches(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Give the training stars as they are, and where they are changed, changed once as well.

        Yields
        ------
        tuple of Tensor
            Input, labels and what else is learnt from, (n, m) with m = 0 where nothing is: for a
            model that begins with what statistics say of them.
        """
        nothing = self.train.x.new_empty(len(self.train), 0)
        targets = self.targets if len(self.targets) else nothing
        for rows in torch.arange(len(self.train), device=self.train.x.device).split(_FIRST):
            for epoch in (None,) if self.augmenter is None else (None, 0):
                yield self._first(rows, epoch), self.train.label[rows], targets[rows]

    def first_pool(self) -> Iterator[Tensor]:
        """Give the stars without a label once.

        Yields
        ------
        Tensor
            Input, for a model that begins with them.
        """
        yield from self.pool.split(_FIRST)

    def parts(self, label: Tensor) -> list[tuple[slice, float]]:
        """Cut a batch into what this process computes, one piece after the other.

        Parameters
        ----------
        label : Tensor of int64, shape (n,)
            Of the whole batch.

        Returns
        -------
        list of tuple
            Rows, and the factor of their loss: the gradients of all pieces, averaged over the
            processes, are those of the whole batch.
        """
        count, own = self.processes.count, self.settings.accumulate
        if count * own == 1:
            return [(slice(None), 1.0)]
        cuts = [len(label) * k // (count * own) for k in range(count * own + 1)]
        weight = self.weights[label]
        found = []
        for k in range(self.processes.rank * own, (self.processes.rank + 1) * own):
            rows = slice(cuts[k], cuts[k + 1])
            share = float(weight[rows].sum() / weight.sum()) * count
            # every process must go backward equally often: an empty piece is a star that counts 0
            found.append((rows, share) if cuts[k] < cuts[k + 1] else (slice(0, 1), 0.0))
        return found

    def _labelled(self, epoch: int) -> Generator[tuple[Tensor, Tensor, Tensor]]:
        """Input, labels and positions of an epoch's stars."""
        if self.stream is not None:
            at = torch.empty(0, dtype=torch.int64)
            yield from ((batch.x, batch.label, at) for batch in self.stream.batches(epoch))
            return
        order = epoch_order(len(self.train), self.settings.seed, epoch).to(self.train.x.device)
        for rows in batch_rows(order, self.settings.batch_size):
            yield self._input(rows, epoch), self.train.label[rows], rows

    def _input(self, rows: Tensor, epoch: int) -> Tensor:
        """Normalised input of some training stars, changed where the settings ask for it."""
        if self.augmenter is None:
            return self.train.x[rows]
        return normalize(self.augmenter.batch(rows, epoch), self.settings.normalize)

    def _first(self, rows: Tensor, epoch: int | None) -> Tensor:
        if self.augmenter is None:
            return self.train.x[rows]
        if epoch is not None:
            return self._input(rows, epoch)
        return normalize(self.augmenter.original(rows), self.settings.normalize)

    def _pool(self, epoch: int) -> Iterator[Tensor]:
        """Batches of stars without a label, without end, another order each time."""
        if not len(self.pool):
            while True:
                yield self.pool
        size, turn = self.settings.batch_size + 1, 0  # a batch may hold one star more
        while True:
            order = epoch_order(len(self.pool), self.settings.seed + turn, epoch)
            order = order.repeat(-(-size // len(order))).to(self.pool.device)
            turn += 1
            for rows in order[: len(order) // size * size].split(size):
                yield self.pool[rows]


def set_up(
    task: Task, data: Data, state: State, device: torch.device, progress: Progress | None
) -> Bench:
    """Move everything to the device.

    Parameters
    ----------
    task : Task
        Recipe and model.
    data : Data
        Stars to learn from.
    state : State
        Model and optimizer.
    device : torch.device
        Where.
    progress : callable or None
        Called as progress(stage, done, total).

    Returns
    -------
    Bench
        Ready.
    """
    settings, processes = task.settings, Processes.here()
    # it would say the precision on standard error; the settings say it already
    logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)
    fabric = _fabric(settings, device, processes)
    weights = torch.ones(len(task.classes), device=device)
    if settings.class_weights == "inverse":
        weights = class_weights(data.train.label, len(task.classes)).to(device)
    model, optimizer = fabric.setup(state.model, state.optimizer)
    if task.entry.own_loss:
        model.mark_forward_method("training_loss")
    augmenter = None if data.augmenter is None else data.augmenter.to(device)
    x = data.train.x.to(device) if augmenter is None else augmenter.x
    train = replace(data.train, x=x, label=data.train.label.to(device))
    steps = len(list(batch_rows(torch.arange(len(data.train)), settings.batch_size)))
    return Bench(
        settings,
        fabric,
        model,
        optimizer,
        make_loss(settings, weights if settings.class_weights == "inverse" else None),
        weights,
        train,
        data.judged.to(device),
        data.pool.to(device),
        data.targets.to(device),
        steps,
        processes,
        progress if processes.first else None,
        augmenter,
        data.stream,
        Teachers.load(task, tuple(data.validation.x.shape[1:]), device),
    )


def _fabric(settings: TrainSettings, device: torch.device, processes: Processes) -> Fabric:
    """One device, or one a process that torchrun has started."""
    precision = pick_precision(settings.precision, device)
    if processes.count == 1:
        return Fabric(accelerator=device.type, devices=1, precision=precision)
    fabric = Fabric(
        accelerator=device.type,
        devices=processes.local,
        num_nodes=processes.count // processes.local,
        strategy="ddp",
        precision=precision,
    )
    fabric.launch()
    return fabric
