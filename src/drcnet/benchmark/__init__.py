"""Benchmark sets: simulated surveys with their splits, each made by one command from one TOML."""

from drcnet.benchmark.make import BenchmarkSummary, make_benchmark

__all__ = ["BenchmarkSummary", "make_benchmark"]
