"""One raw frame of one CCD: what it holds, how it is rendered, how it is written."""

import gzip
import io
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from drcnet import __version__
from drcnet.config import SimulateSettings
from drcnet.errors import NightError
from drcnet.instruments import InstrumentProfile
from drcnet.provenance import atomic_write
from drcnet.simulate.detector import (
    BiasPattern,
    CosmicRays,
    FiberLight,
    Layer,
    PhotonNoise,
    PixelFlat,
    Readout,
    ScatteredLight,
    render,
)
from drcnet.simulate.light import Camera, FiberInput, arc_light, flat_light, object_light
from drcnet.simulate.optics import Optics, Traces, ccd_seed, make_optics
from drcnet.simulate.plan import Exposure
from drcnet.simulate.sky import SkyModel

__all__ = ["FrameTask", "frame_digest", "frame_optics", "make_frame", "throughput", "write_frame"]

LAMP_SECONDS = 60.0
"""Exposure time of lamp frames; also how long a bias gathers cosmic rays while it is read."""

COSMIC_RATE = 50.0
"""Tracks per million pixels in 1500 s (about 1.5 a minute and square centimetre at 12 um)."""

_FLEXURE = {"bias": 0.0, "arc": 0.0, "flat": 0.1, "object": 0.3}
_DIGEST_KEY = "SIMDIG"


@dataclass(frozen=True, eq=False)
class FrameTask:
    """All that one frame needs, so that any process can make it.

    Parameters
    ----------
    path : Path
        The raw file.
    exposure : Exposure
        Kind and time.
    spid : int
        Spectrograph.
    arm : str
        'blue' or 'red'.
    settings : SimulateSettings
        The night's settings.
    profile : InstrumentProfile
        The instrument.
    digest : str
        Names the night's settings, instrument and stars; written into the header.
    fibers : FiberInput, optional
        What the fibres looked at; object frames only.
    sky : SkyModel, optional
        The sky; object frames only.
    solar : ndarray, shape (n_pix,), optional
        Solar flux for moonlight; object frames only.
    dead : tuple of int
        Indices of dead fibres.
    """

    path: Path
    exposure: Exposure
    spid: int
    arm: str
    settings: SimulateSettings
    profile: InstrumentProfile
    digest: str
    fibers: FiberInput | None = None
    sky: SkyModel | None = None
    solar: NDArray[np.float32] | None = None
    dead: tuple[int, ...] = ()

    @property
    def seconds(self) -> float:
        """Exposure time."""
        if self.exposure.kind == "object":
            return self.settings.exposure_time
        return 0.0 if self.exposure.kind == "bias" else LAMP_SECONDS


def throughput(
    settings: SimulateSettings, profile: InstrumentProfile, spid: int, dead: tuple[int, ...]
) -> NDArray[np.float64]:
    """Draw the throughput pattern of a spectrograph's fibres.

    Parameters
    ----------
    settings : SimulateSettings
        The seed.
    profile : InstrumentProfile
        Fibres.
    spid : int
        Spectrograph.
    dead : tuple of int
        Indices of dead fibres.

    Returns
    -------
    ndarray, shape (n_fiber,)
        Around 1 with a spread of 0.2; 0 for dead fibres.
    """
    rng = np.random.default_rng(ccd_seed(settings, spid, "", 1))
    pattern = np.clip(rng.normal(1.0, 0.2, profile.fibers.count), 0.4, 1.6)
    pattern[list(dead)] = 0.0
    return pattern


def frame_optics(
    settings: SimulateSettings,
    profile: InstrumentProfile,
    spid: int,
    arm: str,
    exposure: Exposure,
) -> Optics:
    """Compute the true geometry of one frame.

    Parameters
    ----------
    settings : SimulateSettings
        Seed and widths.
    profile : InstrumentProfile
        The instrument.
    spid : int
        Spectrograph.
    arm : str
        'blue' or 'red'.
    exposure : Exposure
        Which frame.

    Returns
    -------
    Optics
        The CCD's optics, shifted by this frame's flexure.
    """
    rng = np.random.default_rng(ccd_seed(settings, spid, arm, 100 + exposure.run))
    across, along = rng.normal(0.0, _FLEXURE[exposure.kind], 2)
    return make_optics(profile, arm, settings, spid).flexed(across, along)


def make_frame(task: FrameTask) -> NDArray[np.uint16]:
    """Render a frame.

    Parameters
    ----------
    task : FrameTask
        The frame.

    Returns
    -------
    ndarray, shape `task.profile.shape`, uint16
        ADU, [y, x] as in the instrument's files.
    """
    settings, profile = task.settings, task.profile
    shape = (profile.n_spatial, profile.n_wave)
    seed = ccd_seed(settings, task.spid, task.arm, 10_000 + task.exposure.run)
    image = render(_layers(task), shape, seed)
    readout = Readout(profile, task.arm, BiasPattern(ccd_seed(settings, task.spid, task.arm, 3)))
    last = np.random.SeedSequence(seed.entropy, spawn_key=(99,))
    return readout.raw(image, np.random.Generator(np.random.SFC64(last)))


def _layers(task: FrameTask) -> list[Layer]:
    """Effects in the order in which light meets them."""
    settings = task.settings
    exposed = max(task.seconds, LAMP_SECONDS)
    cosmic = CosmicRays(COSMIC_RATE * settings.cosmic_rays * exposed / 1500.0)
    if task.exposure.kind == "bias":
        return [cosmic]
    optics = frame_optics(settings, task.profile, task.spid, task.arm, task.exposure)
    traces = optics.traces()
    fibers = FiberLight(traces, _light(task, traces), settings.wing_fraction)
    return [
        fibers,
        ScatteredLight(settings.scattered_light + fibers.lost_share()),
        PixelFlat(ccd_seed(settings, task.spid, task.arm, 2)),
        PhotonNoise(),
        cosmic,
    ]


def _light(task: FrameTask, traces: Traces) -> NDArray[np.float32]:
    settings = task.settings
    camera = Camera(task.profile, task.arm, settings.wavelength_fwhm, task.seconds)
    if task.exposure.kind == "object":
        if task.fibers is None or task.sky is None or task.solar is None:
            raise ValueError("an object frame needs fibers, sky and solar")
        return object_light(task.fibers, traces, task.sky, task.solar, camera)
    pattern = throughput(settings, task.profile, task.spid, task.dead)
    return (flat_light if task.exposure.kind == "flat" else arc_light)(pattern, traces, camera)


def write_frame(task: FrameTask) -> Path:
    """Render a frame and write it, whole or not at all.

    Parameters
    ----------
    task : FrameTask
        The frame.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    NightError
        The disk is full or may not be written to.
    """
    raw = make_frame(task)
    try:
        with atomic_write(task.path) as partial:
            _write_fits(partial, raw, _header(task))
    except OSError as err:
        raise NightError(task.path, "room to write a frame", err.strerror or str(err)) from err
    return task.path


def _write_fits(path: Path, raw: NDArray[np.uint16], header: fits.Header) -> None:
    """Write by the file's ending; no clock enters the bytes."""
    if path.name.endswith(".fits.fz"):
        image = fits.CompImageHDU(raw, header, compression_type="RICE_1")
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)
    elif path.name.endswith(".gz"):
        stream = io.BytesIO()
        fits.PrimaryHDU(raw, header).writeto(stream)
        path.write_bytes(gzip.compress(stream.getvalue(), compresslevel=3, mtime=0))
    else:
        fits.PrimaryHDU(raw, header).writeto(path)


def frame_digest(path: Path) -> str | None:
    """Read which settings made a frame.

    Parameters
    ----------
    path : Path
        A raw file.

    Returns
    -------
    str or None
        The digest; None where the file is absent, cut short, or not one of ours.
    """
    try:
        header = fits.getheader(path, 1 if path.name.endswith(".fz") else 0)
    except (OSError, IndexError, EOFError, ValueError):
        return None
    return header.get(_DIGEST_KEY)


def _header(task: FrameTask) -> fits.Header:
    start, keys = task.exposure.start, task.profile.header_keys
    utc = start - timedelta(hours=task.profile.utc_offset_hours)
    cards: list[tuple[str, Any, str]] = [
        ("ORIGIN", "drcnet simulate", "a simulated frame"),
        (keys.get("kind", "OBS_TYPE"), task.exposure.kind, "kind of frame"),
        (keys.get("spid", "SPID"), task.spid, "spectrograph"),
        ("CCDARM", task.arm, "arm"),
        ("DATE-OBS", utc.isoformat(timespec="seconds"), "start, UTC"),
        ("DATE-LOC", start.isoformat(timespec="seconds"), "start, local time"),
        (keys.get("lmjm", "LMJM"), task.exposure.lmjm, "local modified Julian minute"),
        ("EXPTIME", task.seconds, "seconds"),
        ("SIMSEED", task.settings.seed, "seed of the night"),
        (_DIGEST_KEY, task.digest, "settings, instrument and stars"),
        ("SIMVERS", __version__, "version of drcnet"),
    ]
    header = fits.Header(cards)
    header.add_comment("Simulated by drcnet: no photon of this frame came from the sky.")
    return header
