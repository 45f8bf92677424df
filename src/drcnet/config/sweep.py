"""Many models, seeds and splits beside each other: the settings of `drcnet sweep`."""

from typing import Any

from pydantic import Field

from drcnet.config.base import Frozen
from drcnet.config.evaluate import EvaluateSettings
from drcnet.config.train import TrainSettings

__all__ = ["SweepLine", "SweepSettings"]


class SweepLine(Frozen):
    """One line of the table, and what it changes of the recipe."""

    model: str | None = None
    """Name in the registry of models; none: the line's own name."""
    noise: tuple[bool, ...] | None = None
    """Without (false) and with (true) training stars shown fainter; none: the sweep's."""
    seeds: tuple[int, ...] | None = Field(default=None, min_length=1)
    """As the sweep's; none: the sweep's."""
    recipe: dict[str, Any] = Field(default={})
    """Keys of the training settings that differ from the sweep's recipe. In names of runs
    (`begin_from`, `teachers.runs`) {split} and {seed} stand for those of the run; lines are
    trained in their order, so that a line may rest on runs of one above it."""
    note: str = ""
    """What is known of the line, in words; the page says it where the line is listed as failed."""


class SweepSettings(Frozen):
    """A sweep: every line by every seed and split, with and without noise, on one store."""

    title: str = "Models side by side"
    """One line, printed above the table."""
    splits: tuple[str, ...] = Field(default=("split.parquet",), min_length=1)
    """Split files as named inside the work folder; several are folds of one experiment."""
    seeds: tuple[int, ...] = Field(default=(1,), min_length=1)
    """Initial weights and order of the data; a line's accuracy is the mean over seeds."""
    noise: tuple[bool, ...] = Field(default=(False,), min_length=1)
    """As in a line, for the lines that do not say."""
    options: dict[str, Any] = Field(default={})
    """Options given to every model that has them (`norm`), under those of a line's recipe."""
    margin: float = Field(default=0.15, ge=0, lt=1)
    """A line that does not beat the majority class by so much in the highest S/N interval is
    listed as failed."""
    recipe: TrainSettings = TrainSettings()
    """What the lines share; `max_seconds` is the time budget of each run of a network."""
    lines: dict[str, SweepLine] = Field(min_length=1)
    """Name of the line to what is its own: `[lines.drcnet]`, ..."""
    evaluate: EvaluateSettings = EvaluateSettings()
    """Bootstrap draws and coverage of the intervals."""
