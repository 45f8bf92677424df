"""A night of a drawn spectrograph of sixteen fibres, as files on disk."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

N_FIBER, N_WAVE, SPACE = 16, 256, 304
LMJM = 82496145
SKY_FIBERS = (3, 7, 12)  # from 0
DEAD = 5  # from 0

PROFILE = """
name = "drawn"
title = "A drawn fibre spectrograph"
file_pattern = '^r(?P<kind>.)-(?P<spid>\\d+)(?P<arm>.)-(?P<time>\\d+)-1-(?P<lmjm>\\d+).fit$'
shape = [256, 320]
dispersion_axis = 0
saturation = 65535
[file_kinds]
o = "object"
f = "flat"
b = "bias"
a = "arc"
[[amplifiers]]
data_x = [0, 304]
data_y = [0, 256]
overscan_x = [304, 320]
overscan_y = [0, 256]
gain = 1.5
read_noise = 4.0
[arms.blue]
letter = "b"
wavelength_start = 4780.0
wavelength_stop = 4926.0
[arms.red]
letter = "r"
wavelength_start = 6400.0
wavelength_stop = 6615.0
[fibers]
count = 16
block = 8
pitch = 15.8
gap = 6.0
edge = 30.0
"""


@dataclasses.dataclass(frozen=True)
class Night:
    """Where the files lie, and the light that was put in."""

    folder: Path
    instrument: str
    light: np.ndarray  # (n_fiber,) electrons a row of each star, sky not in it
    sky: float  # electrons a row
    center: np.ndarray  # (n_fiber, n_wave)


def name(kind, arm="b", lmjm=LMJM):
    return f"r{kind}-01{arm}-20150923234527-1-{lmjm}.fit"


def centers():
    nominal = 30.0 + 15.8 * np.arange(N_FIBER) + 6.0 * (np.arange(N_FIBER) // 8)
    t = np.linspace(-1, 1, N_WAVE)
    return nominal[:, None] + 0.6 * (1 - t**2) + 0.3 * t


def draw(rng, light, *, shift=0.0):
    """Raw counts of fibres of Gaussian profile, FWHM 7."""
    pixel = np.arange(SPACE)[:, None]
    image = np.zeros((SPACE, N_WAVE))
    for line, center in zip(light, centers() + shift, strict=True):
        image += line * np.exp(-0.5 * ((pixel - center) / 2.97) ** 2) / (2.97 * np.sqrt(2 * np.pi))
    raw = rng.normal(1000.0, 4.0 / 1.5, (N_WAVE, 320))
    raw[:, :SPACE] += rng.poisson(image).T / 1.5
    return raw.round().astype(np.uint16)


def write(path, raw):
    fits.PrimaryHDU(raw).writeto(path)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    rng = np.random.default_rng(16)
    folder = tmp_path_factory.mktemp("drawn")
    (folder / "drawn.toml").write_text(PROFILE)
    raw = folder / "night"
    raw.mkdir()
    throughput = rng.uniform(0.8, 1.2, N_FIBER)
    throughput[DEAD] = 0.0
    stars = rng.uniform(2000, 6000, N_FIBER)
    stars[list(SKY_FIBERS)] = 0.0
    sky, flat = 400.0, np.ones(N_WAVE)
    for arm in "br":
        for k in range(2):
            blank = np.zeros((N_FIBER, N_WAVE))
            write(raw / name("b", arm, LMJM - 30 + k), draw(rng, blank))
        for k in range(2):
            lamp = 30000.0 * throughput[:, None] * flat
            write(raw / name("f", arm, LMJM - 20 + k), draw(rng, lamp))
        write(
            raw / name("o", arm),
            draw(rng, (throughput * (stars + sky))[:, None] * flat, shift=0.3),
        )
    return Night(raw, str(folder / "drawn.toml"), throughput * stars, sky, centers())
