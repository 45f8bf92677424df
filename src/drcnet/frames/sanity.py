"""What a raw array must look like before anybody believes its pixels."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drcnet.errors import FrameError
from drcnet.instruments import Amplifier, InstrumentProfile, instrument_names, load_instrument

__all__ = ["check_pixels", "check_shape"]

_LOST = 256  # pixels; half a kilobyte, the smallest block a disk or a network loses
_RUN = 8  # pixels side by side: noise does not write so many of one value
_EMPTY = (0, 32768)  # what zeroed bytes read as, without and with the offset of unsigned integers
_ENOUGH_ROWS = 400  # of the overscan, spread over it, to judge its level and noise
_SATURATED = 0.5  # share of saturated pixels above which a frame is of no use


def check_shape(path: Path, shape: tuple[int, ...], profile: InstrumentProfile) -> None:
    """Refuse an array that is not the instrument's.

    Parameters
    ----------
    path : Path
        The file, for the message.
    shape : tuple of int
        The array's shape, (y, x).
    profile : InstrumentProfile
        The instrument that should have written it.
    """
    if shape == profile.shape:
        return
    wanted = f"an array of shape {profile.shape} ({profile.name})"
    raise FrameError(path, wanted, f"{shape}{_shape_hint(shape, profile)}")


def _shape_hint(shape: tuple[int, ...], profile: InstrumentProfile) -> str:
    if shape == profile.shape[::-1]:
        return ", transposed"
    area = tuple(span.stop - span.start for span in profile.image_area)
    if shape == area:
        return ", the image area alone: the overscan is missing"
    for name in instrument_names():
        if name != profile.name and load_instrument(name).shape == shape:
            return f", the shape of {name}"
    return ""


def check_pixels(path: Path, raw: NDArray[Any], profile: InstrumentProfile) -> None:
    """Refuse pixels that no detector writes.

    Parameters
    ----------
    path : Path
        The file, for the message.
    raw : ndarray, shape `profile.shape`, uint16 or float32
        The raw array.
    profile : InstrumentProfile
        Saturation, image area and overscan.

    Raises
    ------
    FrameError
        Pixels are not finite, a block of them is empty, nearly all are saturated, or the
        overscan is empty or holds light.
    """
    if raw.dtype.kind == "f":
        lost = int(raw.size - np.isfinite(raw).sum())
        if lost:
            raise FrameError(path, "finite pixels", f"{lost} that are NaN or infinite")
    share = float(np.mean(raw[profile.image_area] >= profile.saturation))
    if share > _SATURATED:
        raise FrameError(path, "light below saturation", f"{share:.0%} of the pixels saturated")
    for value in _EMPTY:
        _refuse_block(path, raw, value, profile.image_area)
    for number, amp in enumerate(profile.amplifiers):
        _check_overscan(path, raw, number, amp)


def _refuse_block(
    path: Path, raw: NDArray[Any], value: int, image_area: tuple[slice, ...]
) -> None:
    """Look for pixels of one exact value, side by side in the file's own order.

    A bias level stands under every real pixel and noise moves it, so runs of zeros were never
    read from a chip, whether they fill whole rows or a part of many.
    """
    equal = raw == value
    only_overscan = np.count_nonzero(equal[image_area]) < _RUN  # that has words of its own
    if only_overscan or np.count_nonzero(equal) < _LOST:
        return
    edges = np.flatnonzero(np.diff(equal.ravel(), prepend=False, append=False))
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    runs = lengths >= _RUN
    lost = int(lengths[runs].sum())
    if lost >= _LOST:
        y, x = divmod(int(starts[runs][0]), raw.shape[1])
        came = f"a block of {lost} pixels of {value} from (y, x) = ({y}, {x})"
        raise FrameError(path, "a signal in every part of the frame", came)


def _check_overscan(path: Path, raw: NDArray[Any], number: int, amp: Amplifier) -> None:
    step = max(1, (amp.overscan_y[1] - amp.overscan_y[0]) // _ENOUGH_ROWS)
    part = raw[slice(*amp.overscan_y, step), slice(*amp.overscan_x)].astype(np.float32)
    rows = np.median(part, axis=1, keepdims=True)
    level = float(np.median(rows))
    if level <= 0:
        wanted = f"a bias level above zero in the overscan of amplifier {number}"
        raise FrameError(path, wanted, f"{level:g} ADU")
    spread = 1.4826 * float(np.median(np.abs(part - rows)))
    limit = 10 * amp.read_noise / amp.gain + 5
    if spread > limit:
        wanted = f"an overscan of noise below {limit:.0f} ADU (amplifier {number})"
        raise FrameError(path, wanted, f"{spread:.0f} ADU: light, as in the image area")
