"""Master bias, master flat and bad pixels, from many frames within bounded memory."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from drcnet.errors import FrameError
from drcnet.frames.frame import Frame
from drcnet.frames.overscan import OverscanWay
from drcnet.frames.read import read_frame
from drcnet.instruments import InstrumentProfile
from drcnet.provenance import atomic_write

__all__ = [
    "bad_pixels",
    "clipped_median",
    "master_bias",
    "master_flat",
    "read_bad_pixels",
    "write_bad_pixels",
]

_STRIP_PIXELS = 1 << 18  # a megabyte a file: a strip of a few files stays in the cache
_CLIP = 5.0


def master_bias(
    paths: Sequence[Path],
    profile: InstrumentProfile,
    *,
    memory_mb: int = 512,
    overscan: OverscanWay = "smooth",
) -> NDArray[np.float32]:
    """Combine bias frames.

    Parameters
    ----------
    paths : sequence of Path
        Bias frames of one spectrograph and arm; five or more reject cosmic rays well.
    profile : InstrumentProfile
        The instrument.
    memory_mb : int
        Above this many megabytes the frames wait in a temporary file instead.
    overscan : str
        How the overscan's level follows the rows, as for `read_frame`.

    Returns
    -------
    ndarray, shape (n_spatial, n_wave), float32
        ADU above the overscan: the clipped median over the frames.

    Raises
    ------
    FrameError
        There is no frame, one cannot be read, is no bias, or is of another arm.
    """
    frames = _read_all(paths, profile, "bias", memory_mb=memory_mb, overscan=overscan)
    noise = float(np.max(frames[0].read_noise / frames[0].gain))
    combined = np.empty((profile.n_spatial, profile.n_wave), np.float32)
    for rows in _strips(profile, len(frames)):
        stack = np.stack([_adu(frame, rows) for frame in frames])
        combined[rows] = clipped_median(stack, noise)
    return combined


def master_flat(
    paths: Sequence[Path],
    profile: InstrumentProfile,
    *,
    bias: NDArray[np.float32] | None = None,
    memory_mb: int = 512,
    overscan: OverscanWay = "smooth",
) -> NDArray[np.float32]:
    """Combine lamp flats, each scaled to the brightness of the first.

    Parameters
    ----------
    paths : sequence of Path
        Lamp flats of one spectrograph and arm.
    profile : InstrumentProfile
        The instrument.
    bias : ndarray, shape (n_spatial, n_wave), float32, optional
        Master bias, ADU.
    memory_mb : int
        Above this many megabytes the frames wait in a temporary file instead.
    overscan : str
        How the overscan's level follows the rows, as for `read_frame`.

    Returns
    -------
    ndarray, shape (n_spatial, n_wave), float32
        Electrons, in the scale of the first flat: the clipped median over the frames.

    Raises
    ------
    FrameError
        There is no frame, one cannot be read, is no flat, holds no light, or is of another arm.
    """
    frames = _read_all(paths, profile, "flat", bias=bias, memory_mb=memory_mb, overscan=overscan)
    levels = [_brightness(frame) for frame in frames]
    scale = [np.float32(levels[0] / level) for level in levels]
    gain = _gain_map(frames[0])
    noise = float(np.max(frames[0].read_noise))
    combined = np.empty((profile.n_spatial, profile.n_wave), np.float32)
    for rows in _strips(profile, len(frames)):
        light = [_adu(f, rows) * gain[rows] * s for f, s in zip(frames, scale, strict=True)]
        stack = np.stack(light)
        sigma = np.sqrt(noise**2 + np.maximum(np.median(stack, axis=0), 0))
        combined[rows] = clipped_median(stack, sigma)
    return combined


def clipped_median(
    stack: NDArray[np.float32], noise: NDArray[np.float32] | float, clip: float = _CLIP
) -> NDArray[np.float32]:
    """Take the median over the first axis, leave out what is far from it, take it again.

    Parameters
    ----------
    stack : ndarray, shape (n, ...), float32
        Values; overwritten.
    noise : ndarray, shape (...), or float
        Standard deviation of one value.
    clip : float
        Standard deviations beyond which a value is left out.

    Returns
    -------
    ndarray, shape (...), float32
        The median of the values kept; of an even number, the mean of the middle two.
    """
    count = len(stack)
    _sort_network(stack)
    middle = (stack[(count - 1) // 2] + stack[count // 2]) / 2
    if count < 3:
        return middle
    # Sorted, the farthest value is the first or the last.
    hit = np.maximum(middle - stack[0], stack[-1] - middle) > clip * noise
    if hit.any():
        limit = np.broadcast_to(np.asarray(clip * noise, np.float32), middle.shape)[hit]
        middle[hit] = _median_within(stack[:, hit], middle[hit], limit)
    return middle


def bad_pixels(
    bias: NDArray[np.float32],
    profile: InstrumentProfile,
    arm: str,
    *,
    flat: NDArray[np.float32] | None = None,
    n_frames: int = 1,
) -> NDArray[np.bool_]:
    """Find pixels that never can be trusted.

    Hot pixels and columns stand out of the master bias by eight standard deviations and by 20
    ADU; dead pixels have, on the lamp flat, less than half of what lies two rows before and
    after them along wavelength, where a lamp changes slowly.

    Parameters
    ----------
    bias : ndarray, shape (n_spatial, n_wave), float32
        Master bias, ADU.
    profile : InstrumentProfile
        Read noise and gain.
    arm : str
        'blue' or 'red'.
    flat : ndarray, shape (n_spatial, n_wave), float32, optional
        Master flat, electrons.
    n_frames : int
        How many bias frames were combined.

    Returns
    -------
    ndarray, shape (n_spatial, n_wave), bool
        True where a pixel must not be used.
    """
    bad = np.zeros(bias.shape, bool)
    read_noise = profile.read_noises(arm)
    sigma = read_noise / profile.gains(arm)
    for one, span in zip(sigma, profile.turned_spans(arm), strict=True):
        part = bias[span]
        noise = 1.25 * one / np.sqrt(n_frames)  # a median's noise is 1.25 that of a mean
        bad[span] = np.abs(part - np.median(part)) > max(8 * noise, 20.0)
    if flat is None:
        return bad
    around = np.minimum(np.roll(flat, 2, axis=1), np.roll(flat, -2, axis=1))
    noise = np.sqrt(np.maximum(around, 0)) + read_noise.max()
    dead = (flat < 0.5 * around) & (around - flat > 8 * noise)
    dead[:, :2] = dead[:, -2:] = False
    return np.asarray(bad | dead)


def write_bad_pixels(path: Path, bad: NDArray[np.bool_], origin: Mapping[str, Any]) -> None:
    """Keep a bad-pixel mask, as an image that any FITS viewer lays over a turned frame.

    Parameters
    ----------
    path : Path
        The FITS file to write.
    bad : ndarray, shape (n_spatial, n_wave), bool
        True where a pixel must not be used.
    origin : Mapping
        What made it, from `drcnet.provenance.make_provenance`.
    """
    image = fits.PrimaryHDU(bad.astype(np.uint8))
    image.header["EXTNAME"] = "BADPIX"
    image.header["ORIGIN"] = ("drcnet", "1: the pixel must not be used")
    image.header["SETTINGS"] = (str(origin.get("settings_digest", "")), "digest of the settings")
    for line in json.dumps(origin, sort_keys=True, default=str).splitlines():
        image.header.add_history(line)
    with atomic_write(path) as partial:
        image.writeto(partial, checksum=True)


def read_bad_pixels(path: Path, profile: InstrumentProfile) -> NDArray[np.bool_]:
    """Read a bad-pixel mask.

    Parameters
    ----------
    path : Path
        A FITS file from `write_bad_pixels`, or an image of zeros and ones in turned axes.
    profile : InstrumentProfile
        The instrument, for the shape.

    Returns
    -------
    ndarray, shape (n_spatial, n_wave), bool
        True where a pixel must not be used.

    Raises
    ------
    FrameError
        The file cannot be read or is of another shape.
    """
    try:
        with fits.open(path, memmap=False) as hdus:
            mask = np.asarray(hdus[0].data)
    except (OSError, TypeError, ValueError) as err:
        raise FrameError(path, "a bad-pixel mask (FITS)", str(err).splitlines()[0]) from err
    wanted = (profile.n_spatial, profile.n_wave)
    if mask.shape != wanted:
        raise FrameError(path, f"a bad-pixel mask of shape {wanted}", str(mask.shape))
    return mask != 0


def _read_all(
    paths: Sequence[Path],
    profile: InstrumentProfile,
    kind: str,
    *,
    bias: NDArray[np.float32] | None = None,
    memory_mb: int,
    overscan: OverscanWay,
) -> list[Frame]:
    """Read frames of one kind and arm; beyond `memory_mb` their counts wait in a file."""
    if not paths:
        raise FrameError(kind, f"one or more {kind} frames", "none")
    frames: list[Frame] = []
    used = 0
    for path in paths:
        frame = read_frame(path, profile, master_bias=bias, overscan=overscan)
        if frame.name.kind != kind:
            raise FrameError(path, f"a {kind} frame", f"one of kind {frame.name.kind}")
        first = frames[0].name if frames else frame.name
        if (frame.name.spid, frame.name.arm) != (first.spid, first.arm):
            came = f"{frame.name.spid:02d} {frame.name.arm}"
            raise FrameError(path, f"a frame of {first.spid:02d} {first.arm}, as the first", came)
        used += frame.counts.nbytes
        frames.append(frame if used <= memory_mb << 20 else _spooled(frame))
    return frames


def _spooled(frame: Frame) -> Frame:
    """Put a frame's counts into a temporary file that lives as long as the array."""
    with tempfile.TemporaryFile() as stream:
        counts = np.memmap(stream, frame.counts.dtype, "w+", shape=frame.counts.shape)
    counts[:] = frame.counts
    return replace(frame, counts=counts)


def _strips(profile: InstrumentProfile, n_frame: int) -> Iterator[slice]:
    height = max(1, _STRIP_PIXELS // (profile.n_wave * n_frame))
    edges = [*range(0, profile.n_spatial, height), profile.n_spatial]
    return (slice(*pair) for pair in pairwise(edges))


def _adu(frame: Frame, rows: slice) -> NDArray[np.float32]:
    """Counts of some rows less overscan and bias."""
    adu = frame.counts[rows].astype(np.float32)
    top, stop = rows.start, rows.stop
    for number, (space, wave) in enumerate(frame.profile.turned_spans(frame.name.arm)):
        inside = slice(max(space.start, top) - top, max(min(space.stop, stop) - top, 0))
        adu[inside, wave] -= frame.pedestal[number, wave]
    return adu if frame.bias is None else adu - frame.bias[rows]


def _gain_map(frame: Frame) -> NDArray[np.float32]:
    return frame.gain[frame.amplifier]


def _brightness(frame: Frame) -> float:
    """Mean light of a frame, electrons."""
    total = sum(
        float(np.sum(_adu(frame, rows), dtype=np.float64)) for rows in _strips(frame.profile, 1)
    )
    mean = total / frame.counts.size * float(np.mean(frame.gain))
    if mean <= 0:
        raise FrameError(frame.path, "a lamp flat", "a frame without light")
    return mean


def _sort_network(stack: NDArray[np.float32]) -> None:
    """Sort along the first axis in place, by Batcher's odd-even merge network.

    A few whole-array minima and maxima: for the dozen values of a calibration many times as
    fast as sorting every pixel by itself (Knuth, The Art of Computer Programming 3, 5.2.2 M).
    """
    n = len(stack)
    half = 1 << max((n - 1).bit_length() - 1, 0)
    p = half
    while p > 0 and n > 1:
        q, r, d = half, 0, p
        while d > 0:
            for i in (i for i in range(n - d) if i & p == r):
                low = np.minimum(stack[i], stack[i + d])
                np.maximum(stack[i], stack[i + d], out=stack[i + d])
                stack[i] = low
            d, q, r = q - p, q >> 1, p
        p >>= 1


def _median_within(
    ordered: NDArray[np.float32], centre: NDArray[np.float32], limit: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Median of the values of each sorted column that are within a limit of its centre.

    Two halves far apart leave nothing: then the centre stands.
    """
    far = np.abs(ordered - centre) > limit
    start = (far & (ordered < centre)).sum(axis=0)
    count = (~far).sum(axis=0)
    last = len(ordered) - 1
    low = np.take_along_axis(ordered, np.minimum(start + (count - 1) // 2, last)[None], axis=0)[0]
    high = np.take_along_axis(ordered, np.minimum(start + count // 2, last)[None], axis=0)[0]
    return np.where(count > 0, (low + high) / 2, centre)
