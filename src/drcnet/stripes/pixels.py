"""A frame's arrays as the kernels take them."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from drcnet.frames.frame import Frame

__all__ = ["Pixels", "frame_pixels"]


class Pixels(NamedTuple):
    """A frame's arrays as the kernels take them; see `Frame`. Empty arrays stand for none."""

    counts: NDArray[Any]
    pedestal: NDArray[np.float32]
    amplifier: NDArray[np.uint8]
    gain: NDArray[np.float32]
    read_noise: NDArray[np.float32]
    bias: NDArray[np.float32]
    mask: NDArray[np.bool_]
    saturation: np.float32


def frame_pixels(frame: Frame) -> Pixels:
    """Collect a frame's arrays for the kernels.

    Parameters
    ----------
    frame : Frame
        The frame.

    Returns
    -------
    Pixels
        The same arrays, none copied.
    """
    return Pixels(
        frame.counts,
        np.ascontiguousarray(frame.pedestal, dtype=np.float32),
        frame.amplifier,
        np.asarray(frame.gain, dtype=np.float32),
        np.asarray(frame.read_noise, dtype=np.float32),
        np.empty((0, 0), np.float32) if frame.bias is None else frame.bias,
        np.empty((0, 0), np.bool_) if frame.mask is None else frame.mask,
        np.float32(frame.profile.saturation),
    )
