"""What a finished training says of itself."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from drcnet.checkpoint import Card

__all__ = ["TrainSummary", "summarize"]


@dataclass(frozen=True)
class TrainSummary:
    """One finished run in a few numbers.

    Parameters
    ----------
    run : Path
        The run folder.
    model : str
        Name in the registry.
    parameters : int
        Numbers in the model.
    epochs, best_epoch : int
        Epochs trained, and the one whose weights are kept.
    stopped : str
        Why it ended: 'epochs', 'patience', 'time' or 'fitted'.
    validation_loss, validation_accuracy : float
        Of the weights kept.
    seconds : float
        Training time, validation included.
    stars_per_second : float
        Stars trained on in a second of it.
    """

    run: Path
    model: str
    parameters: int
    epochs: int
    best_epoch: int
    stopped: str
    validation_loss: float
    validation_accuracy: float
    seconds: float
    stars_per_second: float

    def describe(self) -> str:
        """Say it in one line.

        Returns
        -------
        str
            For people.
        """
        kept = f"epoch {self.best_epoch} of {self.epochs} kept (stopped by {self.stopped})"
        how = "fitted" if self.stopped == "fitted" else kept
        return (
            f"{how}, validation loss {self.validation_loss:.3f}, "
            f"accuracy {self.validation_accuracy:.3f}, {self.parameters} parameters, "
            f"{self.seconds:.0f} s, {self.stars_per_second:.0f} stars/s"
        )

    def as_dict(self) -> dict[str, Any]:
        """Give it as plain values.

        Returns
        -------
        dict
            JSON-able.
        """
        return asdict(self) | {"run": str(self.run)}


def summarize(run: Path, card: Card) -> TrainSummary:
    """Read a summary off a card.

    Parameters
    ----------
    run : Path
        The run folder.
    card : Card
        Its card.

    Returns
    -------
    TrainSummary
        The summary.
    """
    seen = card.training
    return TrainSummary(
        run=run,
        model=card.model,
        parameters=seen["parameters"],
        epochs=card.epochs,
        best_epoch=card.best_epoch,
        stopped=card.stopped,
        validation_loss=seen["validation_loss"],
        validation_accuracy=seen["validation_accuracy"],
        seconds=seen["seconds"],
        stars_per_second=seen["stars_per_second"],
    )
