"""A second renderer, with Moffat profiles, that knows nothing of the simulator."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import gamma

from drcnet.config import StripeSettings
from drcnet.frames.frame import Frame, FrameName
from drcnet.instruments import Amplifier, Arm, FiberLayout, InstrumentProfile

BETA = 4.765  # of the Moffat profile: that of turbulence, with wings beyond a Gaussian's


def tiny_profile(n_fiber=16, n_wave=400, *, block=8, pitch=15.8, gap=6.0, edge=25.0):
    """An instrument of two amplifiers, small enough for a unit test."""
    blocks = (n_fiber - 1) // block
    n_spatial = 2 * int(np.ceil((2 * edge + pitch * (n_fiber - 1) + gap * blocks) / 2))
    half = n_spatial // 2
    spans = ((0, half, n_spatial), (half, n_spatial, n_spatial + 8))
    amplifiers = tuple(
        Amplifier(
            data_x=(lo, hi),
            data_y=(0, n_wave),
            overscan_x=(over, over + 8),
            overscan_y=(0, n_wave),
            gain=gain,
            read_noise=noise,
        )
        for (lo, hi, over), gain, noise in zip(spans, (1.0, 1.3), (4.0, 3.5), strict=True)
    )
    return InstrumentProfile(
        name="tiny",
        title="tiny",
        file_pattern=r"(?P<arm>[br])\.fit",
        file_kinds={"o": "object"},
        shape=(n_wave, n_spatial + 16),
        dispersion_axis=0,
        saturation=65535,
        amplifiers=amplifiers,
        arms={
            "blue": Arm(letter="b", wavelength_start=4000.0, wavelength_stop=4000 + 0.57 * n_wave),
            "red": Arm(letter="r", wavelength_start=6000.0, wavelength_stop=6000 + 0.84 * n_wave),
        },
        fibers=FiberLayout(count=n_fiber, block=block, pitch=pitch, gap=gap, edge=edge),
    )


@dataclass(frozen=True)
class Optics:
    """Where the light truly falls: centre and FWHM of each fibre and row."""

    center: np.ndarray  # (n, n_wave)
    fwhm: np.ndarray  # (n, n_wave)

    def moved(self, shift=0.0, stretch=0.0):
        middle = (self.center.max() + self.center.min()) / 2
        return Optics(self.center + shift + stretch * (self.center - middle), self.fwhm)


def make_optics(profile, *, bow=2.0, tilt=1.5, fwhm=7.0, seed=3):
    """Curved and tilted traces whose width changes over the chip."""
    rng = np.random.default_rng(seed)
    nominal = profile.fibers.centers()
    y = np.linspace(-1, 1, profile.n_wave)
    x = (nominal / profile.n_spatial * 2 - 1)[:, None]
    jitter = rng.normal(0, 0.15, len(nominal))[:, None]
    center = nominal[:, None] + jitter + bow * (1 - y**2) * (0.5 + x) + tilt * y + 0.1 * x * y**3
    width = fwhm * (1 + 0.05 * x**2 + 0.06 * y**2 + 0.02 * x * y)
    return Optics(center, width)


def moffat(distance, fwhm, beta=BETA):
    """Moffat profile of integral 1 (across), averaged over a pixel by five points."""
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    norm = gamma(beta) / (gamma(beta - 0.5) * np.sqrt(np.pi)) / alpha
    nodes, weights = np.polynomial.legendre.leggauss(3)
    total = 0.0
    for node, weight in zip(nodes, weights, strict=True):
        total = total + 0.5 * weight * (1 + ((distance + 0.5 * node) / alpha) ** 2) ** -beta
    return norm * total


def window_share(fwhm, width=11, beta=BETA):
    """Share of a Moffat profile inside the exact window."""
    pixel = np.arange(width) - width // 2
    return moffat(pixel[:, None, None] + 0.0, fwhm[None], beta).sum(axis=0)


def render_light(profile, optics, light, reach=40):
    """Noiseless electrons, (n_spatial, n_wave)."""
    image = np.zeros((profile.n_spatial, profile.n_wave))
    rows = np.arange(profile.n_wave)
    for center, fwhm, line in zip(optics.center, optics.fwhm, light, strict=True):
        if not line.any():
            continue
        pixel = np.rint(center).astype(int) + np.arange(-reach, reach + 1)[:, None]
        value = line * moffat(pixel - center, fwhm)
        inside = (pixel >= 0) & (pixel < profile.n_spatial)
        np.add.at(
            image, (pixel[inside], np.broadcast_to(rows, pixel.shape)[inside]), value[inside]
        )
    return image


def make_frame(profile, image, rng=None, *, kind="object", arm="blue", lmjm=80000000, mask=None):
    """A raw frame of the electrons in `image`; without `rng` neither noise nor rounding."""
    n_amp = len(profile.amplifiers)
    gain = np.array([a.gain for a in profile.amplifiers], dtype=np.float32)
    noise = np.array([a.read_noise for a in profile.amplifiers], dtype=np.float32)
    line = np.zeros(profile.n_spatial, dtype=np.uint8)
    for number, amp in enumerate(profile.amplifiers):
        line[slice(*amp.data_x)] = number
    amplifier = np.broadcast_to(line[:, None], image.shape)
    pedestal = 500.0 + 3.0 * np.sin(np.arange(profile.n_wave) / 50.0) + np.arange(n_amp)[:, None]
    electrons = image
    if rng is not None:  # rounding to whole counts is a part of the read noise
        read = np.sqrt(noise**2 - gain**2 / 12.0)
        electrons = rng.poisson(image) + rng.normal(size=image.shape) * read[amplifier]
    counts = electrons / gain[amplifier] + pedestal[amplifier, np.arange(profile.n_wave)]
    if rng is not None:
        counts = np.clip(np.rint(counts), 0, 65535).astype(np.uint16)
    counts = np.asfortranarray(counts if rng is not None else counts.astype(np.float32))
    name = FrameName(lmjm=lmjm, spid=1, arm=arm, kind=kind, time="20150923200000")
    return Frame(
        path=Path(f"{kind}.fit"),
        name=name,
        profile=profile,
        counts=counts,
        pedestal=pedestal.astype(np.float32),
        amplifier=amplifier,
        gain=gain,
        read_noise=noise,
        mask=mask,
    )


@dataclass(frozen=True)
class Scene:
    """A flat and what made it."""

    profile: InstrumentProfile
    optics: Optics
    throughput: np.ndarray
    flat: Frame
    settings: StripeSettings


def make_scene(n_fiber=16, n_wave=400, *, dead=(), seed=5, flat_light=30000.0, **kwargs):
    rng = np.random.default_rng(seed)
    profile = tiny_profile(n_fiber, n_wave, **kwargs)
    optics = make_optics(profile)
    throughput = rng.uniform(0.6, 1.2, n_fiber)
    throughput[list(dead)] = 0.0
    lamp = flat_light * (1 + 0.3 * np.sin(np.arange(n_wave) / n_wave * 3))
    flat = make_frame(
        profile, render_light(profile, optics, throughput[:, None] * lamp), rng, kind="flat"
    )
    settings = StripeSettings(row_start=n_wave // 10, row_stop=n_wave - n_wave // 10)
    return Scene(profile, optics, throughput, flat, settings)


def straight_scene(rng):
    """Sixteen fibres that run straight, and their flat."""
    profile = tiny_profile()
    center = profile.fibers.centers()[:, None] + rng.uniform(-0.4, 0.4, (16, 1)) + np.zeros(400)
    optics = Optics(center, np.full(center.shape, 7.0))
    light = np.full((16, 400), 30000.0)
    flat = make_frame(profile, render_light(profile, optics, light), rng, kind="flat")
    return Scene(profile, optics, np.ones(16), flat, StripeSettings(row_start=40, row_stop=360))


def with_counts(frame, counts, mask=None):
    return replace(frame, counts=counts, mask=frame.mask if mask is None else mask)


def noiseless(scene, optics, light, **kwargs):
    return make_frame(scene.profile, render_light(scene.profile, optics, light), **kwargs)


@pytest.fixture(scope="session")
def renderer():
    """The renderer's functions, for tests (which cannot import this file)."""
    return SimpleNamespace(
        tiny_profile=tiny_profile,
        make_optics=make_optics,
        moffat=moffat,
        window_share=window_share,
        render_light=render_light,
        make_frame=make_frame,
        make_scene=make_scene,
        straight_scene=straight_scene,
        with_counts=with_counts,
        noiseless=noiseless,
    )


@pytest.fixture(scope="session")
def scene():
    return make_scene()
