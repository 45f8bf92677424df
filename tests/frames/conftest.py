"""A tiny two-amplifier spectrograph and the raw files it writes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from drcnet.instruments import InstrumentProfile, load_instrument

N_WAVE, N_SPATIAL, OVER = 120, 64, 16
BIAS = (1000.0, 1030.0)
OBJECT = "ro-16b-20150923234527-10000-82496145.fit"


def tiny(**changes):
    """The LAMOST profile on a chip of 64 x 120 pixels with four fibres."""
    half, stop = N_SPATIAL // 2, N_SPATIAL + OVER
    amp = {"data_y": (0, N_WAVE), "overscan_y": (0, N_WAVE), "gain": 1.0, "read_noise": 4.0}
    values = load_instrument("lamost-lrs").model_dump() | {
        "name": "tiny",
        "shape": (N_WAVE, N_SPATIAL + 2 * OVER),
        "amplifiers": [
            amp | {"data_x": (0, half), "overscan_x": (N_SPATIAL, stop)},
            amp | {"data_x": (half, N_SPATIAL), "overscan_x": (stop, stop + OVER), "gain": 2.0},
        ],
        "fibers": {"count": 4, "block": 2, "pitch": 14.0, "gap": 4.0, "edge": 9.0},
    }
    return InstrumentProfile.model_validate(values | changes)


@dataclass(frozen=True)
class Raw:
    """A raw array and the light it holds, ADU, in the raw array's own axes."""

    counts: np.ndarray
    light: np.ndarray


def draw(rng, *, level=100.0, noise=4.0):
    """Four fibres along y, on two bias levels."""
    x = np.arange(N_SPATIAL)
    profile = sum(np.exp(-0.5 * ((x - c) / 3) ** 2) for c in (9, 23, 41, 55))
    light = level * profile * np.linspace(0.5, 1.5, N_WAVE)[:, None]
    counts = np.zeros((N_WAVE, N_SPATIAL + 2 * OVER))
    counts[:, :N_SPATIAL] = light
    half, stop = N_SPATIAL // 2, N_SPATIAL + OVER
    for bias, columns in ((BIAS[0], slice(0, half)), (BIAS[1], slice(half, N_SPATIAL))):
        counts[:, columns] += bias
    counts[:, N_SPATIAL:stop] = BIAS[0]
    counts[:, stop:] = BIAS[1]
    counts += rng.normal(0, noise, counts.shape)
    return Raw(counts.round().astype(np.uint16), light)


@pytest.fixture
def profile():
    return tiny()


@pytest.fixture
def raw(rng):
    return draw(rng)


@pytest.fixture
def write(tmp_path):
    """Write an array as a raw file and give its path."""

    def write(data, name=OBJECT, *, cards=(), checksum=False) -> Path:
        path = tmp_path / name
        image = fits.CompImageHDU(data) if name.endswith(".fz") else fits.PrimaryHDU(data)
        image.header.extend(cards)
        hdus = fits.HDUList([fits.PrimaryHDU(), image] if name.endswith(".fz") else [image])
        hdus.writeto(path, checksum=checksum)
        return path

    return write
