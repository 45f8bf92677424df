"""What a recipe consists of: loss, optimizer, learning rate, and when to stop."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from drcnet.config import TrainSettings

__all__ = [
    "EarlyStopping",
    "class_weights",
    "learning_rate",
    "make_loss",
    "make_optimizer",
    "shuffled_labels",
]

_WARM_UP = 0.3  # share of a one-cycle spent rising
_START, _END = 1 / 25, 1e-4  # of the peak, where a one-cycle starts and ends

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass
class EarlyStopping:
    """Counts the epochs since the validation loss last fell.

    Parameters
    ----------
    patience : int
        Epochs in a row without a lower loss after which to stop.
    best : float
        The lowest loss so far.
    waited : int
        Epochs since then.
    """

    patience: int
    best: float = math.inf
    waited: int = 0

    def update(self, loss: float) -> bool:
        """Take one epoch's loss.

        Parameters
        ----------
        loss : float
            Validation loss; equal is not lower.

        Returns
        -------
        bool
            Whether to stop now.

        Examples
        --------
        >>> stopping = EarlyStopping(patience=2)
        >>> [stopping.update(loss) for loss in (1.0, 1.1, 0.9, 0.9, 1.0)]
        [False, False, False, False, True]
        """
        if loss < self.best:
            self.best, self.waited = loss, 0
        else:
            self.waited += 1
        return self.waited >= self.patience


def learning_rate(settings: TrainSettings, progress: float) -> float:
    """Learning rate at a point of the training.

    One-cycle (Smith & Topin 2019): half a cosine up from 1/25 of the peak over the first 30%,
    half a cosine down to 1e-4 of it. A function of progress alone, so it has no state to save
    and can follow steps or, under `max_seconds`, the clock.

    Parameters
    ----------
    settings : TrainSettings
        Gives schedule and peak.
    progress : float
        From 0 (first step) to 1 (end).

    Returns
    -------
    float
        The rate.

    Examples
    --------
    >>> settings = TrainSettings(schedule="one-cycle", learning_rate=1.0)
    >>> [round(learning_rate(settings, p), 3) for p in (0.0, 0.3, 0.65, 1.0)]
    [0.04, 1.0, 0.5, 0.0]
    """
    peak = settings.learning_rate
    if settings.schedule == "constant":
        return peak
    progress = min(max(progress, 0.0), 1.0)
    if progress < _WARM_UP:
        first, last, part = _START * peak, peak, progress / _WARM_UP
    else:
        first, last, part = peak, _END * peak, (progress - _WARM_UP) / (1 - _WARM_UP)
    return last + (first - last) * (1 + math.cos(math.pi * part)) / 2


def make_optimizer(settings: TrainSettings, model: nn.Module) -> torch.optim.Optimizer:
    """Make the optimizer, fused where torch has it: same sums, fewer calls.

    Parameters
    ----------
    settings : TrainSettings
        Gives kind, rate and weight decay.
    model : torch.nn.Module
        Whose parameters it moves; on its device already.

    Returns
    -------
    torch.optim.Optimizer
        AdaGrad (the paper's) or AdamW.
    """
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay, fused=True)
    on_cpu = all(p.device.type == "cpu" for p in model.parameters())
    return torch.optim.Adagrad(
        model.parameters(), lr=rate, weight_decay=decay, fused=True if on_cpu else None
    )


def make_loss(settings: TrainSettings, weights: Tensor | None) -> Loss:
    """Make the loss of logits and labels.

    Parameters
    ----------
    settings : TrainSettings
        `double_softmax` puts a softmax before the cross entropy's own.
    weights : Tensor, shape (n_class,), or None
        Class weights.

    Returns
    -------
    callable
        loss(logits, label) gives a scalar; computed in float32 or better.
    """
    entropy = nn.CrossEntropyLoss(weight=weights)

    def of_logits(logits: Tensor, label: Tensor) -> Tensor:
        return entropy(logits.float(), label)

    def of_softmax(logits: Tensor, label: Tensor) -> Tensor:
        return entropy(torch.softmax(logits.float(), dim=1), label)

    return of_softmax if settings.double_softmax else of_logits


def class_weights(label: Tensor, n_class: int) -> Tensor:
    """Weigh classes by their inverse frequency.

    Parameters
    ----------
    label : Tensor of int64, shape (n,)
        The training labels, each class at least once.
    n_class : int
        Classes.

    Returns
    -------
    Tensor, shape (n_class,), float32
        Their average over the stars is 1.
    """
    count = torch.bincount(label, minlength=n_class)
    return (len(label) / (n_class * count)).float()


def shuffled_labels(label: Tensor, seed: int) -> Tensor:
    """Deal the labels out to other stars, keeping how many there are of each.

    Parameters
    ----------
    label : Tensor of int64, shape (n,)
        Labels.
    seed : int
        Which order.

    Returns
    -------
    Tensor of int64, shape (n,)
        The same labels in random order.
    """
    generator = torch.Generator().manual_seed(seed)
    return label[torch.randperm(len(label), generator=generator)]
