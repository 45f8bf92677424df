"""An instrument's profile: the only place where one spectrograph differs from another."""

import re
from importlib import resources
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from drcnet.config import load_settings
from drcnet.errors import ConfigError

__all__ = [
    "Amplifier",
    "Arm",
    "FiberLayout",
    "InstrumentProfile",
    "instrument_names",
    "load_instrument",
]

Span = tuple[int, int]
FrameKind = Literal["object", "flat", "bias", "arc", "sky", "test"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Amplifier(_Frozen):
    """One readout amplifier, in the raw array's own (y, x) pixels; spans are half-open."""

    data_x: Span
    data_y: Span
    overscan_x: Span
    overscan_y: Span
    gain: float = Field(gt=0)
    """Electrons per ADU."""
    read_noise: float = Field(ge=0)
    """Electrons."""


class Arm(_Frozen):
    """One arm of a spectrograph."""

    letter: str
    """The arm in a file name."""
    wavelength_start: float
    """Nominal vacuum angstrom at the first wavelength pixel, after turning."""
    wavelength_stop: float
    """Nominal vacuum angstrom at the last wavelength pixel, after turning."""
    direction: Literal[1, -1] = 1
    """+1 where wavelength increases with the raw index along dispersion, else -1."""
    fiber_direction: Literal[1, -1] = 1
    """+1 where fibre numbers increase with the raw index across dispersion, else -1."""
    gains: tuple[float, ...] = ()
    """Electrons per ADU of each amplifier, where they differ between arms."""
    read_noises: tuple[float, ...] = ()
    """Electrons of each amplifier, where they differ between arms."""


class FiberLayout(_Frozen):
    """Nominal centres of the fibres across the chip, middle row, in turned pixels."""

    count: int = Field(ge=1)
    block: int = Field(ge=1)
    """Fibres in a block."""
    pitch: float = Field(gt=0)
    """Pixels between neighbours in a block."""
    gap: float = Field(ge=0)
    """Extra pixels between blocks."""
    edge: float
    """Pixels from the chip's edge to the first fibre."""

    def centers(self) -> NDArray[np.float64]:
        """Nominal centres.

        Returns
        -------
        ndarray, shape (count,)
            Pixels, increasing; fibre 1 first.
        """
        index = np.arange(self.count)
        return self.edge + self.pitch * index + self.gap * (index // self.block)


class InstrumentProfile(_Frozen):
    """What differs between spectrographs."""

    name: str
    title: str
    file_pattern: str
    """Regular expression of a raw file's name. The group arm is needed; kind, spid, time, lmjm
    and stage are used where they are there, and read from the header where not."""
    file_kinds: dict[str, FrameKind] = {}
    """Letter in the file name to the frame's kind; empty where only the header says it."""
    header_kinds: dict[str, FrameKind] = {}
    """Regular expression of the header's value to the frame's kind; the first that is found
    in it counts, whatever the case. The key is `header_keys['kind']`."""
    shape: tuple[int, int]
    """Raw array, (y, x)."""
    dispersion_axis: int = Field(ge=0, le=1)
    """NumPy axis of the raw array along which wavelength runs."""
    saturation: float
    """ADU at and above which a pixel is saturated."""
    amplifiers: tuple[Amplifier, ...]
    arms: dict[str, Arm]
    fibers: FiberLayout
    utc_offset_hours: float = 0.0
    """Local time minus UTC, for local modified Julian minutes."""
    header_keys: dict[str, str] = {}
    """Our name (kind, spid, arm, lmjm, time) to the instrument's FITS keyword, where one is known.
    A name that says otherwise than a card that is there is refused."""
    long_slit: bool = False
    """True where one trace crosses the chip and there are no fibres to tell apart."""
    tested: bool = True
    """False where the profile follows public descriptions and has met no real frame."""

    @model_validator(mode="after")
    def _pattern_names_an_arm(self) -> Self:
        try:
            groups = re.compile(self.file_pattern).groupindex
        except re.error as err:
            raise ValueError(f"file_pattern is no regular expression: {err}") from err
        if "arm" not in groups:
            raise ValueError("file_pattern has no group 'arm'")
        return self

    @model_validator(mode="after")
    def _amplifiers_tile_the_image(self) -> Self:
        area = sum(
            (a.data_x[1] - a.data_x[0]) * (a.data_y[1] - a.data_y[0]) for a in self.amplifiers
        )
        if area != self.n_wave * self.n_spatial:
            raise ValueError("the amplifiers' data spans do not tile one rectangle")
        return self

    @model_validator(mode="after")
    def _arms_know_every_amplifier(self) -> Self:
        for name, arm in self.arms.items():
            for values in (arm.gains, arm.read_noises):
                if values and len(values) != len(self.amplifiers):
                    raise ValueError(
                        f"arm {name}: {len(values)} values for {len(self.amplifiers)} amplifiers"
                    )
        return self

    @model_validator(mode="after")
    def _inside_the_chip(self) -> Self:
        for number, amp in enumerate(self.amplifiers):
            spans = ((amp.data_y, 0), (amp.overscan_y, 0), (amp.data_x, 1), (amp.overscan_x, 1))
            for span, axis in spans:
                if not 0 <= span[0] < span[1] <= self.shape[axis]:
                    raise ValueError(f"amplifier {number}: span {span} is outside axis {axis}")
        return self

    def gains(self, arm: str) -> NDArray[np.float32]:
        """Gain of each amplifier in an arm.

        Parameters
        ----------
        arm : str
            'blue' or 'red'.

        Returns
        -------
        ndarray, shape (n_amp,), float32
            Electrons per ADU.
        """
        own = self.arms[arm].gains or tuple(amp.gain for amp in self.amplifiers)
        return np.array(own, np.float32)

    def read_noises(self, arm: str) -> NDArray[np.float32]:
        """Read noise of each amplifier in an arm.

        Parameters
        ----------
        arm : str
            'blue' or 'red'.

        Returns
        -------
        ndarray, shape (n_amp,), float32
            Electrons.
        """
        own = self.arms[arm].read_noises or tuple(amp.read_noise for amp in self.amplifiers)
        return np.array(own, np.float32)

    @property
    def n_wave(self) -> int:
        """Pixels along wavelength of the turned image area."""
        return self._extent("y" if self.dispersion_axis == 0 else "x")

    @property
    def n_spatial(self) -> int:
        """Pixels across the fibres of the turned image area."""
        return self._extent("x" if self.dispersion_axis == 0 else "y")

    @property
    def image_area(self) -> tuple[slice, slice]:
        """The raw array's (y, x) slices that hold light: every amplifier's data."""
        return self._span("y"), self._span("x")

    def turned_spans(self, arm: str) -> list[tuple[slice, slice]]:
        """Which part of the turned image each amplifier read.

        Parameters
        ----------
        arm : str
            'blue' or 'red'.

        Returns
        -------
        list of (slice, slice)
            Spatial and wavelength slices, one pair an amplifier.
        """
        wave, space = ("y", "x") if self.dispersion_axis == 0 else ("x", "y")
        turn = self.arms[arm]
        return [
            (
                self._turned(getattr(amp, f"data_{space}"), space, turn.fiber_direction),
                self._turned(getattr(amp, f"data_{wave}"), wave, turn.direction),
            )
            for amp in self.amplifiers
        ]

    def _turned(self, span: Span, axis: str, direction: int) -> slice:
        area = self._span(axis)
        if direction == 1:
            return slice(span[0] - area.start, span[1] - area.start)
        return slice(area.stop - span[1], area.stop - span[0])

    def _span(self, axis: str) -> slice:
        spans = [getattr(amp, f"data_{axis}") for amp in self.amplifiers]
        return slice(min(start for start, _ in spans), max(stop for _, stop in spans))

    def _extent(self, axis: str) -> int:
        span = self._span(axis)
        return span.stop - span.start


def instrument_names() -> list[str]:
    """List the shipped profiles.

    Returns
    -------
    list of str
        Names that `load_instrument` takes.
    """
    folder = resources.files("drcnet.instruments")
    return sorted(
        f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")
    )


def load_instrument(name: str) -> InstrumentProfile:
    """Read an instrument's profile.

    Parameters
    ----------
    name : str
        The name of a shipped profile, or the path of a TOML file.

    Returns
    -------
    InstrumentProfile
        The profile.

    Raises
    ------
    ConfigError
        There is no such profile, or its file is wrong.
    """
    if name in instrument_names():
        with resources.as_file(resources.files("drcnet.instruments") / f"{name}.toml") as path:
            return load_settings(path, InstrumentProfile)
    if not name.endswith(".toml"):
        known = ", ".join(instrument_names())
        raise ConfigError("instrument", f"a shipped profile ({known}) or a .toml file", repr(name))
    return load_settings(Path(name), InstrumentProfile)
