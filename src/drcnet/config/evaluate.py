"""Predictions into numbers."""

from pydantic import Field

from drcnet.config.base import Frozen

__all__ = ["EvaluateSettings"]


class EvaluateSettings(Frozen):
    """Predictions into numbers."""

    bootstrap: int = Field(default=1000, ge=100)
    """Bootstrap draws, over stars."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Coverage of every interval in the tables."""
    seed: int = 1
    """Seed of the bootstrap draws."""
    reliability_bins: int = Field(default=10, ge=2, le=100)
    """Equal-width bins of the highest probability, for calibration."""
    figures: bool = True
    """Draw figures/*.png into each run folder."""
