"""Every command of the command line, as a function of the same name.

>>> from drcnet.api import simulate, prepare, train, evaluate, report, classify  # doctest: +SKIP

Nothing here computes: each function lives in its own room, and this page lists them.
"""

from drcnet.calibrate.run import calibrate
from drcnet.classify import classify
from drcnet.cli.demo import demo
from drcnet.dataset.build import prepare
from drcnet.dataset.plan import check
from drcnet.evaluate.compare import compare
from drcnet.evaluate.ensemble import ensemble
from drcnet.evaluate.evaluate import evaluate
from drcnet.extract import extract
from drcnet.report.page import report
from drcnet.report.paper import write_paper as paper
from drcnet.robustness.sheet import robustness
from drcnet.saliency.run import explain as saliency
from drcnet.simulate.survey import simulate
from drcnet.sweep import sweep
from drcnet.train import train

__all__ = [
    "calibrate",
    "check",
    "classify",
    "compare",
    "demo",
    "ensemble",
    "evaluate",
    "extract",
    "paper",
    "prepare",
    "report",
    "robustness",
    "saliency",
    "simulate",
    "sweep",
    "train",
]
