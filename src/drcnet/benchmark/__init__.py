"""Benchmark sets: simulated surveys with their splits, each made by one command from one TOML."""

from drcnet.benchmark.apply import apply_run
from drcnet.benchmark.make import BenchmarkSummary, make_benchmark

__all__ = ["BenchmarkSummary", "apply_run", "make_benchmark"]
