"""A model of `drcnet.models` on one split of one store, into a run folder."""

from drcnet.train.parts import Parts
from drcnet.train.recipe import EarlyStopping, learning_rate
from drcnet.train.run import train
from drcnet.train.summary import TrainSummary

__all__ = ["EarlyStopping", "Parts", "TrainSummary", "learning_rate", "train"]
