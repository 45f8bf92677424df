"""Who is trained on, and who is tested."""

from typing import Literal

from pydantic import Field

from drcnet.config.base import Frozen

__all__ = ["SplitSettings"]


class SplitSettings(Frozen):
    """Intervals of S/N, and train, validation and test by star."""

    edges: tuple[float, ...] = (0.0, 10.0, 20.0, 30.0)
    """Lower edges of the half-open S/N intervals; the last has no upper edge."""
    train_above: float = 30.0
    """Only stars of at least this `snrr` are trained on; all else is tested."""
    faint: Literal["unused", "learn"] = "unused"
    """Rows below `train_above` of stars to train or validate on that also have one above it:
    'unused', as in the paper, or learnt from with the label of the star's best visit: the second
    protocol, never to be compared with the first."""
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Train, validation and test shares of the stars above `train_above`. With folds the test
    share is that of one fold, and the first two are in proportion."""
    seed: int = 1
    """Which stars go where."""
    kind: Literal["single", "large", "paper", "test"] = "single"
    """'single': one deal by `fractions`. 'large': the stars of one fold are tested, on all their
    rows. 'paper': the same, with as many rows drawn as the paper's Table 1 has. 'test': every
    row is tested, nothing is trained on."""
    fold: int = Field(default=0, ge=0)
    """Which fold is tested."""
    folds: int = Field(default=5, ge=2)
    """How many folds; where a night says which star is in which, it must have as many."""
    counts: dict[str, int] = Field(
        default={
            "train": 4840,
            "validation": 605,
            ">30": 605,
            "20-30": 461,
            "10-20": 436,
            "0-10": 1042,
        }
    )
    """Rows that 'paper' draws: for training, for validation, and to test by S/N interval."""
