"""One raw frame, turned: counts, what calibrates them, and its name."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drcnet.errors import FrameError
from drcnet.instruments import InstrumentProfile

__all__ = ["Frame", "FrameName", "night_of"]


def night_of(lmjm: int) -> int:
    """Give the local modified Julian day of a night, noon to noon, as LAMOST counts it.

    Parameters
    ----------
    lmjm : int
        Local modified Julian minute.

    Returns
    -------
    int
        LMJD: the day on which the night ends.

    Examples
    --------
    >>> night_of(80441496)  # 2011-10-28 03:39 local time
    55862
    """
    return math.floor(lmjm / 1440 + 0.5)


@dataclass(frozen=True, order=True)
class FrameName:
    """What a raw file's name says.

    Parameters
    ----------
    lmjm : int
        Local modified Julian minute at the start; blue and red of one exposure share it.
    spid : int
        Spectrograph, 1 to 16.
    arm : str
        'blue' or 'red'.
    kind : str
        'object', 'flat', 'bias', 'arc', 'sky' or 'test'.
    time : str
        Local start time, YYYYMMDDhhmmss.
    """

    lmjm: int
    spid: int
    arm: str
    kind: str
    time: str

    @property
    def lmjd(self) -> int:
        """Local modified Julian day of the night, noon to noon, as LAMOST counts it."""
        return night_of(self.lmjm)


@dataclass(frozen=True, eq=False)
class Frame:
    """A raw frame in turned axes, (spatial, wavelength), wavelength increasing.

    Counts stay raw; electrons and their variance are computed per pixel where they are used.

    Parameters
    ----------
    path : Path
        The file.
    name : FrameName
        What the file's name says.
    profile : InstrumentProfile
        The instrument.
    counts : ndarray, shape (n_spatial, n_wave), uint16 or float32
        ADU as read; a view that need not be contiguous.
    pedestal : ndarray, shape (n_amp, n_wave), float32
        Overscan level of each amplifier at each wavelength row, ADU.
    amplifier : ndarray, shape (n_spatial, n_wave), uint8
        Which amplifier read a pixel; may be a broadcast view.
    gain, read_noise : ndarray, shape (n_amp,)
        Electrons per ADU; electrons.
    bias : ndarray, shape (n_spatial, n_wave), float32, optional
        Master bias after overscan subtraction, ADU.
    mask : ndarray, shape (n_spatial, n_wave), bool, optional
        True where a pixel must not be used.
    header : Mapping
        The FITS header's cards.
    """

    path: Path
    name: FrameName
    profile: InstrumentProfile
    counts: NDArray[Any]
    pedestal: NDArray[np.float32]
    amplifier: NDArray[np.uint8]
    gain: NDArray[np.float32]
    read_noise: NDArray[np.float32]
    bias: NDArray[np.float32] | None = None
    mask: NDArray[np.bool_] | None = None
    header: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Hold the invariants of shape."""
        shape = (self.profile.n_spatial, self.profile.n_wave)
        n_amp = len(self.profile.amplifiers)
        wanted = {
            "counts": shape,
            "amplifier": shape,
            "bias": shape,
            "mask": shape,
            "pedestal": (n_amp, shape[1]),
            "gain": (n_amp,),
            "read_noise": (n_amp,),
        }
        for name, expected in wanted.items():
            value = getattr(self, name)
            if value is not None and value.shape != expected:
                raise FrameError(self.path, f"{name} of shape {expected}", str(value.shape))

    @cached_property
    def electrons(self) -> NDArray[np.float32]:
        """Counts less pedestal and bias, times gain; shape (n_spatial, n_wave)."""
        light = self.counts.astype(np.float32)
        spans = self.profile.turned_spans(self.name.arm)
        for number, span in enumerate(spans):
            light[span] -= self.pedestal[number, span[1]]
            if self.bias is not None:
                light[span] -= self.bias[span]
            light[span] *= self.gain[number]
        return light

    @cached_property
    def variance(self) -> NDArray[np.float32]:
        """Read noise squared plus Poisson noise of the light, e-^2; shape (n_spatial, n_wave).

        A model from the frame's own counts: it is used where no better model of the light (a
        profile times a flux) is at hand. A negative signal counts as none.
        """
        variance = np.maximum(self.electrons, 0)
        for number, span in enumerate(self.profile.turned_spans(self.name.arm)):
            variance[span] += self.read_noise[number] ** 2
        return variance

    @property
    def bad(self) -> NDArray[np.bool_]:
        """True where a pixel is saturated or in the bad-pixel mask; shape (n_spatial, n_wave)."""
        return self.saturated if self.mask is None else self.saturated | self.mask

    @property
    def saturated(self) -> NDArray[np.bool_]:
        """True at and above the instrument's saturation; shape (n_spatial, n_wave)."""
        return np.asarray(self.counts >= self.profile.saturation)
