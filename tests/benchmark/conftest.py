"""A benchmark set on a spectrograph of ten fibres."""

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
def settings(tiny_path):
    return BenchmarkSettings(
        title="tiny: a set of ten fibres",
        simulate={
            "instrument": str(tiny_path),
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
            "instrument": str(tiny_path),
            "stripes": {"row_start": 10, "row_stop": 240, "min_identity": 0},
        },
        splits=("large",),
    )


@pytest.fixture(scope="session")
def tiny_set(settings, sourced_stars, tmp_path_factory):
    out = tmp_path_factory.mktemp("sets") / "set"
    make_benchmark(settings, out, workers=1, stars=sourced_stars)
    return out
