"""Everything that changes while a network learns, in one object that is the checkpoint."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from drcnet.errors import CheckpointError
from drcnet.provenance import atomic_write
from drcnet.train.recipe import EarlyStopping

__all__ = ["Outcome", "State"]

_PLAIN = (
    *("epoch", "step", "stars", "seconds", "cpu_seconds"),
    *("best_epoch", "best_weights", "log", "stopped"),
)


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
        names = dict.fromkeys((*origin, *came))
        differing = [name for name in names if came.get(name) != origin.get(name)]
        if differing:
            this, another = " and ".join(differing), " and another ".join(differing)
            raise CheckpointError(
                path, f"a state of this {this} (or overwrite the run)", f"one of another {another}"
            )
        for name, value in plain.items():
            setattr(self, name, value)
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.stopping = EarlyStopping(**content["stopping"])


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a training came to, by gradient or in one go.

    Parameters
    ----------
    model : torch.nn.Module
        The model.
    weights : dict
        The state to keep; empty where not one epoch was good.
    log : list of dict
        One row an epoch.
    best_epoch : int
        Epoch of those weights.
    stopped : str
        Why it ended: 'epochs', 'patience', 'time', 'fitted' or 'error'.
    stars : int
        Stars learnt from, each as often as it came up.
    cpu_seconds : float
        Processor time of the training.
    failure : str
        What went wrong; empty where nothing did.
    """

    model: nn.Module
    weights: dict[str, torch.Tensor]
    log: list[dict[str, float]]
    best_epoch: int
    stopped: str
    stars: int
    cpu_seconds: float
    failure: str = ""
