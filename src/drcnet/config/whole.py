"""Settings of more than one stage in one file: a run, and a benchmark set."""

from typing import Literal, Self

from pydantic import Field, model_validator

from drcnet.config.base import Frozen
from drcnet.config.calibrate import CalibrateSettings
from drcnet.config.evaluate import EvaluateSettings
from drcnet.config.prepare import PrepareSettings
from drcnet.config.simulate import SimulateSettings
from drcnet.config.split import SplitSettings
from drcnet.config.train import TrainSettings

__all__ = ["BenchmarkSettings", "Settings"]


class BenchmarkSettings(Frozen):
    """A benchmark set: one simulated survey, its store and its splits."""

    title: str
    """One line that says what it is."""
    simulate: SimulateSettings
    """The survey."""
    prepare: PrepareSettings = PrepareSettings()
    """How it is reduced; its instrument must be the survey's."""
    split: SplitSettings = SplitSettings()
    """Of split.parquet; its seed, edges, counts and folds also serve the splits below."""
    splits: tuple[Literal["large", "paper"], ...] = ()
    """Further split files, one a fold: splits/KIND-FOLD.parquet."""

    @model_validator(mode="after")
    def _one_instrument(self) -> Self:
        if self.prepare.instrument != self.simulate.instrument:
            raise ValueError(
                f"simulate.instrument ({self.simulate.instrument}) and prepare.instrument "
                f"({self.prepare.instrument}) must be the same"
            )
        return self


class Settings(Frozen):
    """All stages of a run, as one TOML file."""

    title: str = ""
    """One line, printed on the report."""
    note: str = ""
    """What a reader of the results must know, printed under the title of results.md."""
    simulate: SimulateSettings = SimulateSettings()
    prepare: PrepareSettings = PrepareSettings()
    split: SplitSettings = SplitSettings()
    train: dict[str, TrainSettings] = Field(default={})
    """Run name to training settings: `[train.drcnet]`, `[train.rcnet]`, ..."""
    calibrate: CalibrateSettings = CalibrateSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
