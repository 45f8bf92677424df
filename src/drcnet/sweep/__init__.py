"""Many models, seeds and splits on one store, and one table at the end."""

from drcnet.sweep.plan import Planned, plan
from drcnet.sweep.run import SweepResult, sweep

__all__ = ["Planned", "SweepResult", "plan", "sweep"]
