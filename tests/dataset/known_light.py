"""A store whose every electron is known: what the tests of augmentation and calibration ask."""

import numpy as np
import polars as pl
import torch

from drcnet.config import AugmentSettings, PrepareSettings, StripeSettings
from drcnet.dataset.augment import make_augmenter
from drcnet.dataset.loader import Samples, see
from drcnet.dataset.profiles import row_reader
from drcnet.dataset.split import write_split
from drcnet.dataset.store import create_store, open_store, write_exposure
from drcnet.frames.frame import FrameName
from drcnet.instruments import load_instrument
from drcnet.provenance import make_provenance
from drcnet.stripes.calibration_file import ArmCalibration, write_calibration
from drcnet.stripes.flags import FiberFlag
from drcnet.stripes.spatial import SpatialProfile, gaussian_table
from drcnet.stripes.trace import TraceSet
from drcnet.stripes.wavelength import WavelengthSet

N, L, PITCH, FWHM, READ = 60, 96, 15.8, 7.0, 3.0
SKY, DARK = 57, 55  # the first sky fibre, the first dead one
PROFILE = load_instrument("lamost-lrs").model_copy(
    update={"fibers": load_instrument("lamost-lrs").fibers.model_copy(update={"count": N})}
)
STRIPES = StripeSettings(row_start=0, row_stop=L)


def gaussian(distance):
    """Light of a pixel at some distance from the centre, window sum about 1."""
    sigma = FWHM / 2.3548200450309493
    return np.exp(-0.5 * (distance / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi)) / 0.935672


def shares(offset):
    """Own profile and those of the neighbours before and after; (n, 11, L) each."""
    pixel = np.arange(-5, 6)[:, None] - offset[:, None]
    return gaussian(pixel), gaussian(pixel + PITCH), gaussian(pixel - PITCH)


def observe(star, sky, offset, rng):
    """Stripes with Poisson and read noise, and their sums."""
    own, before, after = shares(offset)
    total = star + sky
    first, last = np.zeros((1, L)), np.zeros((1, L))
    light = total[:, None] * own
    light += np.concatenate([first, total[:-1]])[:, None] * before
    light += np.concatenate([total[1:], last])[:, None] * after
    return rng.poisson(light) + rng.normal(0, READ, light.shape)


def truth():
    rng = np.random.default_rng(5)
    wave = np.arange(L)
    star = np.linspace(300, 3000, N)[:, None] * (1 + 0.3 * np.sin(wave / 7))
    star[DARK:] = 0
    sky = np.full((N, L), 200.0) + 900.0 * np.exp(-0.5 * ((wave - 60) / 2) ** 2)
    offset = rng.uniform(-0.5, 0.5, (N, 1)) + np.zeros((N, L))
    return star, sky, offset


def calibration(arm, offset):
    center = np.zeros((N, 2))
    center[:, 0] = 20 + PITCH * np.arange(N)
    fwhm = np.tile([FWHM, 0.0], (N, 1))
    traces = TraceSet(
        np.arange(1, N + 1), center, fwhm, np.ones(N, bool), np.zeros(N), L, np.ones(N)
    )
    profile = SpatialProfile(
        gaussian_table().astype(np.float32)[None, None], np.array([N / 2]), np.array([L / 2])
    )
    name = FrameName(82495846, 1, arm, "flat", "20150923184603")
    waves = WavelengthSet(np.tile([5000.0, 500.0], (N, 1)), np.zeros(N), "nominal", 0, L)
    through = np.ones((N, L), np.float32)
    return ArmCalibration(name, None, traces, waves, profile, through, 1.0, np.zeros(N, np.uint32))


def make_work(work):
    """A store of one exposure whose every electron is known."""
    rng = np.random.default_rng(6)
    star, sky, offset = truth()
    settings = PrepareSettings(stripes=STRIPES)
    provenance = make_provenance({"prepare": settings.model_dump(mode="json")})
    create_store(
        work, exposures=["1-01"], profile=PROFILE, settings=settings, provenance=provenance
    )
    own = shares(offset)[0]
    for arm in ("blue", "red"):
        stripes = observe(star, sky, offset, rng)
        light = (stripes * own).sum(axis=1) / (own**2).sum(axis=1)
        mask = np.zeros(stripes.shape)
        stripes[3, 4, 50] += 5000
        mask[3, 4, 50] = 2
        write_exposure(
            work,
            0,
            arm,
            {
                "stripes": stripes,
                "mask": mask,
                "box": stripes.sum(axis=1),
                "box_ivar": np.ones((N, L)),
                "optimal": np.where(np.arange(N)[:, None] == DARK, np.nan, star + sky),
                "optimal_ivar": 1 / np.maximum(light, 1),
                "sky": sky,
                "wavelength": np.tile([5000.0, 500.0, 0, 0, 0], (N, 1)),
                "offset": offset,
            },
        )
        write_calibration(work / "traces" / f"01-{arm}-82495846.fits", calibration(arm, offset))
    flags = np.zeros(N, np.uint32)
    flags[SKY:] = int(FiberFlag.SKY_FIBER)
    flags[DARK] = int(FiberFlag.DEAD)
    kind = np.array(["F", "G", "K"])[np.arange(N) % 3]
    index = pl.DataFrame(
        {
            "row": np.arange(N),
            "star": [f"star {k}" for k in range(N)],
            "class": kind,
            "subclass": [f"{name}5" for name in kind],
            "snrr": np.full(N, 40.0),
            "lmjm": np.full(N, 82495860),
            "spid": np.ones(N, np.int64),
            "flags": flags,
            "read_noise_blue": np.full(N, READ),
            "read_noise_red": np.full(N, READ),
        }
    )
    index.write_parquet(work / "index.parquet")
    part = np.select([np.arange(N) < 36, np.arange(N) < 48], ["train", "validation"], "test")
    split = index[:DARK].select("row", "star", "class", "snrr")
    split = split.with_columns(pl.lit(">30").alias("interval"), pl.Series("part", part[:DARK]))
    write_split(work / "split.parquet", split)
    return work


def samples_of(work, view, rows):
    store = open_store(work)
    x = torch.from_numpy(see(view, row_reader(store, rows)))
    label = torch.zeros(len(rows), dtype=torch.int64)
    return store, Samples(x, label, rows, ("F",))


def augmenter_of(work, view, rows=None, **settings):
    rows = np.arange(1, 50) if rows is None else rows
    store, samples = samples_of(work, view, rows)
    return make_augmenter(store, samples, view, settings=AugmentSettings(**settings), seed=3)
