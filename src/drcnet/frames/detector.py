"""What is known of a CCD before the night: bad pixels and the pixel-to-pixel flat."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from drcnet.config import StripeSettings
from drcnet.errors import FrameError
from drcnet.frames.calibrate import master_flat, read_bad_pixels
from drcnet.frames.frame import Frame
from drcnet.frames.overscan import OverscanWay
from drcnet.frames.read import read_frame
from drcnet.instruments import InstrumentProfile
from drcnet.provenance import atomic_write

__all__ = [
    "ccd_path",
    "combine_flats",
    "correct_frame",
    "detector_files",
    "divide_pixels",
    "measure_pixel_flat",
    "read_pixel_flat",
    "write_pixel_flat",
]

_WINDOW = 31  # rows over which a lamp and a trace are straight lines
_RANGE = (0.2, 5.0)  # a response outside is a defect, not a response
_MEDIAN_NOISE = 1.25  # noise of a median over that of a mean


def ccd_path(pattern: str, spid: int, arm: str) -> Path:
    """Name the file of one CCD.

    Parameters
    ----------
    pattern : str
        A path in which '{spid}' and '{arm}' stand for the CCD; '$NAME' is an environment
        variable.
    spid : int
        Spectrograph.
    arm : str
        'blue' or 'red'.

    Returns
    -------
    Path
        The file.

    Examples
    --------
    >>> ccd_path("masks/{spid}-{arm}.fits", 1, "blue").as_posix()
    'masks/01-blue.fits'
    """
    filled = pattern.replace("{spid}", f"{spid:02d}").replace("{arm}", arm)
    return Path(os.path.expandvars(filled)).expanduser()


def detector_files(settings: StripeSettings, spid: int, arm: str) -> list[Path]:
    """List the files of one CCD that the settings name.

    Parameters
    ----------
    settings : StripeSettings
        `bad_pixels`, `pixel_flat`.
    spid : int
        Spectrograph.
    arm : str
        'blue' or 'red'.

    Returns
    -------
    list of Path
        None, one or two files.
    """
    patterns = (settings.bad_pixels, settings.pixel_flat)
    return [ccd_path(pattern, spid, arm) for pattern in patterns if pattern is not None]


def correct_frame(frame: Frame, settings: StripeSettings) -> Frame:
    """Mask bad pixels and divide by the pixel flat, where the settings name them.

    Parameters
    ----------
    frame : Frame
        As read.
    settings : StripeSettings
        `bad_pixels`, `pixel_flat`.

    Returns
    -------
    Frame
        The same frame where neither is set.

    Raises
    ------
    FrameError
        A file that is named cannot be read.
    """
    if settings.bad_pixels is not None:
        path = ccd_path(settings.bad_pixels, frame.name.spid, frame.name.arm)
        bad = read_bad_pixels(path, frame.profile)
        frame = replace(frame, mask=bad if frame.mask is None else bad | frame.mask)
    if settings.pixel_flat is not None:
        path = ccd_path(settings.pixel_flat, frame.name.spid, frame.name.arm)
        frame = divide_pixels(frame, read_pixel_flat(path, frame.profile))
    return frame


def divide_pixels(frame: Frame, response: NDArray[np.float32]) -> Frame:
    """Divide a frame's light by the pixels' response.

    Parameters
    ----------
    frame : Frame
        The frame.
    response : ndarray, shape (n_spatial, n_wave), float32
        Relative response, about 1; a pixel without one (not positive) becomes bad.

    Returns
    -------
    Frame
        Counts are real numbers now, such that its electrons are the old ones over the response;
        pixels that were saturated are masked, as their counts no longer show it.
    """
    usable = response > 0
    level = np.empty(frame.counts.shape, np.float32)
    for number, span in enumerate(frame.profile.turned_spans(frame.name.arm)):
        level[span] = frame.pedestal[number, span[1]]
    if frame.bias is not None:
        level += frame.bias
    counts = (frame.counts - level) / np.where(usable, response, np.float32(1)) + level
    return replace(frame, counts=counts, mask=frame.bad | ~usable)


def combine_flats(
    paths: Sequence[Path],
    profile: InstrumentProfile,
    *,
    bias: NDArray[np.float32] | None = None,
    overscan: OverscanWay = "smooth",
) -> Frame:
    """Combine lamp flats into one frame.

    Parameters
    ----------
    paths : sequence of Path
        Flats of one spectrograph and arm; the first lends its name and scale.
    profile : InstrumentProfile
        The instrument.
    bias : ndarray, shape (n_spatial, n_wave), float32, optional
        Master bias, ADU.
    overscan : str
        How the overscan's level follows the rows, as for `read_frame`.

    Returns
    -------
    Frame
        Clipped median of the flats; its read noise is that of the median.

    Raises
    ------
    FrameError
        One of them cannot be used.
    """
    first = read_frame(paths[0], profile, master_bias=bias, overscan=overscan)
    if len(paths) == 1:
        return first
    light = master_flat(paths, profile, bias=bias, overscan=overscan)
    shrink = np.float32(_MEDIAN_NOISE / np.sqrt(len(paths)))
    return replace(
        first,
        counts=light / first.gain[first.amplifier],
        pedestal=np.zeros_like(first.pedestal),
        bias=None,
        read_noise=first.read_noise * shrink,
        mask=first.bad,
    )


def measure_pixel_flat(
    flat: Frame, *, n_frames: int = 1, max_error: float = 0.01
) -> NDArray[np.float32]:
    """Measure the pixels' response against their neighbours along wavelength.

    Parameters
    ----------
    flat : Frame
        Lamp flat, best of many combined.
    n_frames : int
        How many flats were combined: the noise falls with them.
    max_error : float
        Pixels whose relative photon noise exceeds this have no measured response.

    Returns
    -------
    ndarray, shape (n_spatial, n_wave), float32
        A pixel's light over a straight line through the 31 rows about it; 1 where too little
        light falls, and 0, 'do not use', where it departs by more than a factor of five.
    """
    light = np.where(flat.bad, np.nan, flat.electrons)
    known = np.isfinite(light)
    weight = uniform_filter1d(known.astype(np.float32), _WINDOW, axis=1, mode="nearest")
    total = uniform_filter1d(np.where(known, light, 0), _WINDOW, axis=1, mode="nearest")
    smooth = total / np.maximum(weight, 1e-3)
    enough = smooth * n_frames > _MEDIAN_NOISE**2 / max_error**2
    ratio = np.where(known & enough, light / np.where(enough, smooth, 1), 1)
    ratio[:, : _WINDOW // 2] = ratio[:, -(_WINDOW // 2) :] = 1  # the window leans there
    ratio[(ratio < _RANGE[0]) | (ratio > _RANGE[1])] = 0
    return ratio.astype(np.float32)


def write_pixel_flat(path: Path, response: NDArray[np.float32], origin: Mapping[str, Any]) -> None:
    """Keep a pixel flat, as an image in turned axes.

    Parameters
    ----------
    path : Path
        The FITS file to write.
    response : ndarray, shape (n_spatial, n_wave), float32
        Relative response.
    origin : Mapping
        What made it, from `drcnet.provenance.make_provenance`.
    """
    image = fits.PrimaryHDU(response.astype(np.float32))
    image.header["EXTNAME"] = "PIXFLAT"
    image.header["ORIGIN"] = ("drcnet", "relative response; 0: do not use")
    image.header.add_history(json.dumps(origin, sort_keys=True, default=str))
    with atomic_write(path) as partial:
        image.writeto(partial, checksum=True)


def read_pixel_flat(path: Path, profile: InstrumentProfile) -> NDArray[np.float32]:
    """Read a pixel flat.

    Parameters
    ----------
    path : Path
        An image of relative response in turned axes.
    profile : InstrumentProfile
        The instrument, for the shape.

    Returns
    -------
    ndarray, shape (n_spatial, n_wave), float32
        Relative response.

    Raises
    ------
    FrameError
        The file cannot be read, is of another shape, or is no response.
    """
    try:
        with fits.open(path, memmap=False) as hdus:
            response = np.asarray(hdus[0].data, np.float32)
    except (OSError, TypeError, ValueError) as err:
        raise FrameError(path, "a pixel flat (FITS)", str(err).splitlines()[0]) from err
    wanted = (profile.n_spatial, profile.n_wave)
    if response.shape != wanted:
        raise FrameError(path, f"a pixel flat of shape {wanted}", str(response.shape))
    middle = float(np.nanmedian(response))
    if not 0.5 < middle < 2:
        raise FrameError(path, "relative responses about 1", f"a median of {middle:g}")
    return np.nan_to_num(response)
