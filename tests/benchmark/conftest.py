"""A benchmark set on a spectrograph of eight fibres."""

import polars as pl
import pytest

from drcnet.benchmark import make_benchmark
from drcnet.config import BenchmarkSettings
from drcnet.simulate.spectra import StarSet


@pytest.fixture(scope="session")
def sourced_stars(toy_stars):
    """The toy stars from two sources, both in every class."""
    source = ["here" if n < 6 else "there" for n in range(len(toy_stars.table))]
    return StarSet(
        toy_stars.table.with_columns(source=pl.Series(source)), toy_stars.flux, toy_stars.fwhm
    )


@pytest.fixture(scope="session")
def long_path(tiny_path, tmp_path_factory):
    """The tiny spectrograph, longer and with wider arms: its arcs have lines enough."""
    profile = tiny_path.read_text()
    for old, new in (
        *(("256", "384"), ("4780.0", "4030.0"), ("4926.0", "4470.0")),
        *(("6400.0", "6300.0"), ("6615.0", "6940.0")),
    ):
        profile = profile.replace(old, new)
    path = tmp_path_factory.mktemp("instruments") / "long.toml"
    path.write_text(profile)
    return path


@pytest.fixture(scope="session")
def settings(long_path):
    return BenchmarkSettings(
        title="tiny: a set of eight fibres",
        simulate={
            "instrument": str(long_path),
            "seed": 7,
            "plates": 2,
            "exposures": 2,
            "sky_fibers": 2,
            "dead_fibers": 1,
            "bias_frames": 2,
            "spectrographs": (1, 3),
            "balance_sources": True,
        },
        prepare={
            "instrument": str(long_path),
            "stripes": {"row_start": 10, "row_stop": 368, "min_identity": 0},
        },
        splits=("large",),
    )


@pytest.fixture(scope="session")
def tiny_set(settings, sourced_stars, tmp_path_factory):
    out = tmp_path_factory.mktemp("sets") / "set"
    make_benchmark(settings, out, workers=1, stars=sourced_stars)
    return out
