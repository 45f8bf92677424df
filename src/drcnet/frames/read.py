"""A raw frame in: name, pixels, overscan. Axes are turned here, once, and nowhere else.

Whatever can be wrong with a file is one `FrameError`, naming the file, what was wanted and
what came.
"""

import datetime as dt
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drcnet.errors import FrameError
from drcnet.frames.fitsfile import read_header, read_image
from drcnet.frames.frame import Frame, FrameName
from drcnet.frames.overscan import OverscanWay, overscan_levels
from drcnet.frames.sanity import check_pixels, check_shape
from drcnet.instruments import InstrumentProfile, recognise_name

__all__ = ["check_header", "parse_name", "read_frame", "read_name", "turn"]

_MJD_EPOCH = dt.datetime(1858, 11, 17)  # noqa: DTZ001 - local times carry no zone


def parse_name(
    path: Path, profile: InstrumentProfile, header: Mapping[str, Any] | None = None
) -> FrameName:
    """Take a raw file's name apart.

    Parameters
    ----------
    path : Path
        The file; it is not opened.
    profile : InstrumentProfile
        Whose pattern the name follows.
    header : Mapping, optional
        The file's header, for what the name does not say (kind, time).

    Returns
    -------
    FrameName
        What the name says.

    Raises
    ------
    FrameError
        The name does not follow the pattern (a name of another instrument is recognised), it is
        a product and no raw frame, or neither name nor header say the kind or the time.
    """
    path = Path(path)
    found = re.match(profile.file_pattern, path.name)
    if found is None:
        other = recognise_name(path.name)
        came = f"{path.name!r}" + (
            f", a name of {other}" if other not in (None, profile.name) else ""
        )
        raise FrameError(path, f"a raw file name of {profile.name}", came)
    groups = {key: value for key, value in found.groupdict().items() if value is not None}
    if groups.get("stage", "r") != "r":
        raise FrameError(path, "a raw frame", f"a product (first letter {groups['stage']!r})")
    arms = {arm.letter: name for name, arm in profile.arms.items()}
    if groups["arm"] not in arms:
        raise FrameError(path, f"one of the arms {sorted(arms)}", repr(groups["arm"]))
    cards = header or {}
    time = groups.get("time") or _header_time(path, profile, cards)
    return FrameName(
        lmjm=int(groups.get("lmjm") or _lmjm(path, time)),
        spid=int(groups.get("spid", 1)),
        arm=arms[groups["arm"]],
        kind=_kind(path, profile, groups.get("kind"), cards),
        time=time,
    )


def read_name(path: Path, profile: InstrumentProfile) -> FrameName:
    """Take a raw file's name apart, opening its header only where the name does not say all.

    Parameters
    ----------
    path : Path
        The file.
    profile : InstrumentProfile
        Whose pattern the name follows.

    Returns
    -------
    FrameName
        What name and header say.
    """
    if {"kind", "time"} <= set(re.compile(profile.file_pattern).groupindex):
        return parse_name(path, profile)
    if re.match(profile.file_pattern, Path(path).name) is None:
        return parse_name(path, profile)  # raises, with what the name is instead
    return parse_name(path, profile, read_header(path))


def read_frame(
    path: Path,
    profile: InstrumentProfile,
    *,
    master_bias: NDArray[np.float32] | None = None,
    bad_pixels: NDArray[np.bool_] | None = None,
    overscan: OverscanWay = "smooth",
) -> Frame:
    """Read one raw frame.

    Parameters
    ----------
    path : Path
        The file, plain, gzipped or Rice-compressed.
    profile : InstrumentProfile
        The instrument that wrote it.
    master_bias : ndarray, shape (n_spatial, n_wave), float32, optional
        From `drcnet.frames.calibrate.master_bias`, ADU.
    bad_pixels : ndarray, shape (n_spatial, n_wave), bool, optional
        True where a pixel must never be used.
    overscan : str
        How the overscan's level follows the rows: 'smooth', 'row' or 'constant'.

    Returns
    -------
    Frame
        The frame in turned axes; the counts are a view of what was read.

    Raises
    ------
    FrameError
        Anything is wrong with the file.
    """
    path = Path(path)
    if re.match(profile.file_pattern, path.name) is None:
        parse_name(path, profile)
    image = read_image(path)
    name = parse_name(path, profile, image.header)
    check_shape(path, image.data.shape, profile)
    check_header(path, name, profile, image.header)
    check_pixels(path, image.data, profile)
    pedestal, residual = overscan_levels(image.data, profile, name.arm, overscan)
    bias = master_bias
    if residual is not None:
        bias = residual if bias is None else bias + residual
    return Frame(
        path=path,
        name=name,
        profile=profile,
        counts=turn(image.data, profile, name.arm),
        pedestal=pedestal,
        amplifier=_amplifier_map(profile, name.arm),
        gain=profile.gains(name.arm),
        read_noise=profile.read_noises(name.arm),
        bias=bias,
        mask=bad_pixels,
        header=image.header,
    )


def turn(raw: NDArray[Any], profile: InstrumentProfile, arm: str) -> NDArray[Any]:
    """Turn a raw array's image area into (spatial, wavelength), wavelength increasing.

    Parameters
    ----------
    raw : ndarray, shape `profile.shape`
        The raw array.
    profile : InstrumentProfile
        Image area, dispersion axis and directions.
    arm : str
        'blue' or 'red'.

    Returns
    -------
    ndarray, shape (n_spatial, n_wave)
        A view of `raw`.
    """
    image = raw[profile.image_area]
    if profile.dispersion_axis == 0:
        image = image.T
    directions = profile.arms[arm]
    return image[:: directions.fiber_direction, :: directions.direction]


def check_header(
    path: Path, name: FrameName, profile: InstrumentProfile, header: Mapping[str, Any]
) -> None:
    """Refuse a file whose name and header disagree.

    Parameters
    ----------
    path : Path
        The file.
    name : FrameName
        What the name says.
    profile : InstrumentProfile
        The instrument's known keywords.
    header : Mapping
        The file's cards; a keyword that is not there is not missed.
    """
    for ours in ("spid", "lmjm"):
        key = profile.header_keys.get(ours, "")
        if key in header and str(header[key]).strip() != str(getattr(name, ours)):
            wanted = f"the {ours} of the file's name ({getattr(name, ours)}) in its header"
            raise FrameError(path, wanted, f"{key} = {header[key]!r}")
    key = profile.header_keys.get("arm", "")
    spellings = {name.arm, profile.arms[name.arm].letter}
    if key in header and str(header[key]).strip().lower() not in spellings:
        wanted = f"the arm of the file's name ({name.arm}) in its header"
        raise FrameError(path, wanted, f"{key} = {header[key]!r}")
    key = profile.header_keys.get("kind", "")
    if key not in header or not profile.header_kinds:
        return
    kind = _header_kind(profile, header)
    if kind is not None and kind != name.kind:
        wanted = f"the kind of the file's name ({name.kind}) in its header"
        raise FrameError(path, wanted, f"{key} = {header[key]!r}")


def _kind(
    path: Path, profile: InstrumentProfile, letter: str | None, cards: Mapping[str, Any]
) -> str:
    if letter is not None:
        if letter not in profile.file_kinds:
            raise FrameError(path, f"one of the kinds {sorted(profile.file_kinds)}", repr(letter))
        return profile.file_kinds[letter]
    kind = _header_kind(profile, cards)
    if kind is None:
        key = profile.header_keys.get("kind", "a keyword")
        wanted = f"{key} like one of {sorted(profile.header_kinds)} in the header"
        raise FrameError(path, wanted, repr(cards.get(key)))
    return kind


def _header_kind(profile: InstrumentProfile, cards: Mapping[str, Any]) -> str | None:
    text = str(cards.get(profile.header_keys.get("kind", ""), "")).strip()
    kinds = (k for p, k in profile.header_kinds.items() if re.search(p, text, re.IGNORECASE))
    return next(kinds, None)


def _header_time(path: Path, profile: InstrumentProfile, cards: Mapping[str, Any]) -> str:
    """Local start time, YYYYMMDDhhmmss, from a UTC card or one of seconds since MJD 0."""
    key = profile.header_keys.get("time", "")
    try:
        value = cards[key]
        if isinstance(value, int | float):
            utc = _MJD_EPOCH + dt.timedelta(seconds=value)
        else:
            utc = dt.datetime.fromisoformat(str(value).strip())
    except (KeyError, ValueError, OverflowError) as err:
        came = repr(cards.get(key))
        raise FrameError(path, f"the UTC time in the header's {key or 'time'}", came) from err
    local = utc.replace(tzinfo=None) + dt.timedelta(hours=profile.utc_offset_hours)
    return local.strftime("%Y%m%d%H%M%S")


def _lmjm(path: Path, time: str) -> int:
    try:
        local = dt.datetime.strptime(time, "%Y%m%d%H%M%S")  # noqa: DTZ007 - local, without zone
    except ValueError as err:
        raise FrameError(path, "a local time YYYYMMDDhhmmss", repr(time)) from err
    return math.floor((local - _MJD_EPOCH) / dt.timedelta(minutes=1))


def _amplifier_map(profile: InstrumentProfile, arm: str) -> NDArray[np.uint8]:
    """Which amplifier read a pixel; broadcast along an axis that no border crosses."""
    spans = profile.turned_spans(arm)
    shape = (profile.n_spatial, profile.n_wave)
    full = [
        all((span[axis].start, span[axis].stop) == (0, shape[axis]) for span in spans)
        for axis in (0, 1)
    ]
    small = np.empty([1 if whole else n for whole, n in zip(full, shape, strict=True)], np.uint8)
    for number, (space, wave) in enumerate(spans):
        small[space if not full[0] else slice(None), wave if not full[1] else slice(None)] = number
    return np.broadcast_to(small, shape)
