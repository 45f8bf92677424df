"""Fixtures that every test may use."""

import os
from pathlib import Path

# Set before torch, numpy and numba are imported: two test workers with two threads each on two
# cores wait for one another most of the time, and the bits of a training depend on the number.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import polars as pl
import pytest
from hypothesis import settings

from drcnet.config import SimulateSettings
from drcnet.instruments import load_instrument
from drcnet.simulate.spectra import STAR_COLUMNS, StarSet, rest_grid
from drcnet.simulate.survey import simulate

# no test asserts seconds: a busy machine is no failure
settings.register_profile("drcnet", deadline=None)
settings.load_profile("drcnet")


@pytest.fixture
def rng():
    return np.random.default_rng(20231025)


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real spectra and frames, or a skip that says so."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("DRCNET_SHARED_DATA", default)).resolve()
    if not folder.is_dir():
        pytest.skip(f"real data not present ({folder}); set DRCNET_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def tiny_work(tmp_path_factory):
    """A prepared work folder of 84 small stars (11 x 256) whose class shows in one line."""
    from types import SimpleNamespace

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


@pytest.fixture(scope="session")
def tiny_path():
    return Path(__file__).with_name("tiny.toml")


@pytest.fixture(scope="session")
def tiny_profile(tiny_path):
    return load_instrument(str(tiny_path))


@pytest.fixture(scope="session")
def toy_stars():
    """Black bodies with two hydrogen lines: twelve stars, four a class."""
    count = 12
    wave = rest_grid()
    kind = np.arange(count) % 3
    teff = np.choose(kind, [6500.0, 5772.0, 4700.0]) + 10.0 * np.arange(count)
    flux = (wave / 6000.0) ** -5 / np.expm1(1.43878e8 / wave / teff[:, None])
    for line in (4862.7, 6564.6):
        flux *= 1 - 0.4 * np.exp(-0.5 * ((wave - line) / 5.0) ** 2)
    flux /= np.median(flux[:, (wave > 5500) & (wave < 7000)], axis=1)[:, None]
    classes = np.array(["F", "G", "K"])[kind]
    table = pl.DataFrame(
        {
            "star": [f"toy-{i}" for i in range(count)],
            "class": classes,
            "subclass": [f"{c}5" for c in classes],
            "luminosity": ["V"] * count,
            "teff": teff,
            "logg": np.full(count, 4.4),
            "feh": np.where(kind == 0, np.nan, 0.0),
            "source": ["toy"] * count,
            "fold": np.arange(count) % 5,
            "filled_from": np.full(count, np.inf),
        },
        schema=STAR_COLUMNS,
    )
    return StarSet(table, flux.astype(np.float32), 1.5)


@pytest.fixture(scope="session")
def tiny_settings(tiny_path):
    return SimulateSettings(
        instrument=str(tiny_path),
        seed=7,
        plates=2,
        exposures=2,
        sky_fibers=2,
        dead_fibers=1,
        bias_frames=2,
        spectrographs=(1, 3),
        workers=1,
    )


@pytest.fixture(scope="session")
def tiny_night(tmp_path_factory, tiny_settings, toy_stars):
    return simulate(tiny_settings, tmp_path_factory.mktemp("nights") / "night", stars=toy_stars)
