"""A model of `drcnet.models` on one split of one store, into a run folder."""

from drcnet.train.parts import Parts
from drcnet.train.recipe import EarlyStopping, learning_rate
from drcnet.train.run import train
from drcnet.train.summary import TrainSummary
from drcnet.train.task import effective_settings

__all__ = [
    "EarlyStopping",
    "Parts",
    "TrainSummary",
    "effective_settings",
    "learning_rate",
    "train",
]
