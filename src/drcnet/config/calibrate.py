"""How sure a trained model may be, and what it must refuse."""

from pydantic import Field

from drcnet.config.base import Frozen

__all__ = ["CalibrateSettings"]


class CalibrateSettings(Frozen):
    """How sure a trained model may be, and what it must refuse."""

    copies: int = Field(default=3, ge=1, le=50)
    """Faded copies of each validation star in each interval."""
    faintest: float = Field(default=2.0, gt=0)
    """Lowest S/N to fade to; below it nothing is known of the model and classify refuses."""
    coverage: float = Field(default=0.9, gt=0.5, lt=1)
    """Share of stars whose prediction set shall hold their true class."""
    false_rejection: float = Field(default=0.05, gt=0, lt=0.5)
    """Share of stars of the known classes that may be refused as unlike all of them."""
    seed: int = 1
    """Seed of the brightnesses and of the noise of the faded copies."""
