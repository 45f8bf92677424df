"""Fixtures that every test may use."""

import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(20231025)


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real spectra and frames, or a skip that says so."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("DRCNET_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"real data not present ({folder}); set DRCNET_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def tiny_work(tmp_path_factory):
    """A prepared work folder of 84 small stars (11 x 256) whose class shows in one line."""
    from types import SimpleNamespace

    import polars as pl

    from drcnet.config import PrepareSettings, StripeSettings
    from drcnet.dataset.split import write_split
    from drcnet.dataset.store import create_store, write_exposure
    from drcnet.provenance import make_provenance

    rng = np.random.default_rng(84)
    work = tmp_path_factory.mktemp("tiny") / "work"
    n, names = 84, np.array(["F", "G", "K"])
    kind = np.arange(n) % 3
    settings = PrepareSettings(stripes=StripeSettings(row_start=0, row_stop=256))
    profile = SimpleNamespace(name="lamost-lrs", fibers=SimpleNamespace(count=n))
    provenance = make_provenance({"prepare": settings.model_dump(mode="json")})
    create_store(
        work, exposures=["1-01"], profile=profile, settings=settings, provenance=provenance
    )
    wave, across = np.arange(256), np.exp(-0.5 * ((np.arange(11) - 5) / 3) ** 2)
    line = np.exp(-0.5 * ((wave - 40 - 70 * kind[:, None]) / 4) ** 2)  # (n, 256)
    light = 400 * (1 - 0.6 * line)
    for arm in ("blue", "red"):
        stripes = rng.poisson(light[:, None] * across[:, None] + 30) + rng.normal(
            0, 4, (n, 11, 256)
        )
        box = stripes.sum(axis=1)
        write_exposure(
            work,
            0,
            arm,
            {
                "stripes": stripes,
                "mask": np.zeros(stripes.shape),
                "box": box,
                "box_ivar": 1 / np.maximum(box, 1),
                "optimal": box * 0.9,
                "optimal_ivar": 1 / np.maximum(box, 1),
                "sky": np.full((n, 256), 330.0),
                "wavelength": np.zeros((n, 5)),
                "offset": np.zeros((n, 256)),
            },
        )
    snrr = np.where(np.arange(n) < 72, 40.0, 15.0)
    index = pl.DataFrame(
        {
            "row": np.arange(n),
            "star": [f"star {k}" for k in range(n)],
            "class": names[kind],
            "subclass": [f"{name}5" for name in names[kind]],
            "snrr": snrr,
        }
    )
    part = np.select([np.arange(n) < 48, np.arange(n) < 60], ["train", "validation"], "test")
    interval = np.where(snrr > 30, ">30", "10-20")
    index.write_parquet(work / "index.parquet")
    split = index.select("row", "star", "class", "snrr").with_columns(
        pl.Series("interval", interval), pl.Series("part", part)
    )
    write_split(work / "split.parquet", split)
    return work
