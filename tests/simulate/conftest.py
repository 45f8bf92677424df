"""A spectrograph of eight fibres on 160 x 256 pixels, and stars of toy spectra."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from drcnet.config import SimulateSettings
from drcnet.instruments import load_instrument
from drcnet.simulate.spectra import STAR_COLUMNS, StarSet, rest_grid
from drcnet.simulate.survey import simulate


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
