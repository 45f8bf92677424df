"""Frozen settings, one file a stage; TOML in and out; an unknown key is an error.

Every decision that the paper leaves open is a field here, with our default and the reason in
the line below it. A product records the settings that made it.
"""

from drcnet.config.base import load_settings, settings_toml
from drcnet.config.calibrate import CalibrateSettings
from drcnet.config.evaluate import EvaluateSettings
from drcnet.config.prepare import PrepareSettings, StripeSettings
from drcnet.config.robustness import RobustnessSettings, SaliencySettings
from drcnet.config.simulate import SimulateSettings
from drcnet.config.split import SplitSettings
from drcnet.config.sweep import SweepLine, SweepSettings
from drcnet.config.train import AugmentSettings, TeacherSettings, TrainSettings
from drcnet.config.whole import BenchmarkSettings, Settings

__all__ = [
    "AugmentSettings",
    "BenchmarkSettings",
    "CalibrateSettings",
    "EvaluateSettings",
    "PrepareSettings",
    "RobustnessSettings",
    "SaliencySettings",
    "Settings",
    "SimulateSettings",
    "SplitSettings",
    "StripeSettings",
    "SweepLine",
    "SweepSettings",
    "TeacherSettings",
    "TrainSettings",
    "load_settings",
    "settings_toml",
]
