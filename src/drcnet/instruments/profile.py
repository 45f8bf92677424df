"""An instrument's profile: the only place where one spectrograph differs from another."""

from importlib import resources
from pathlib import Path
from typing import Self

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
    direction: int = 1
    """+1 where wavelength increases with the raw index along dispersion, else -1."""


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
    """Regular expression of a raw file's name, with the groups kind, spid, arm, time, lmjm."""
    file_kinds: dict[str, str]
    """Letter in the file name to 'object', 'flat', 'bias', 'arc', 'sky', 'test'."""
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
    """Our name to the instrument's FITS keyword, where one is known."""

    @model_validator(mode="after")
    def _inside_the_chip(self) -> Self:
        for number, amp in enumerate(self.amplifiers):
            spans = ((amp.data_y, 0), (amp.overscan_y, 0), (amp.data_x, 1), (amp.overscan_x, 1))
            for span, axis in spans:
                if not 0 <= span[0] < span[1] <= self.shape[axis]:
                    raise ValueError(f"amplifier {number}: span {span} is outside axis {axis}")
        return self

    @property
    def n_wave(self) -> int:
        """Pixels along wavelength of the turned image area."""
        return self._extent("y" if self.dispersion_axis == 0 else "x")

    @property
    def n_spatial(self) -> int:
        """Pixels across the fibres of the turned image area."""
        return self._extent("x" if self.dispersion_axis == 0 else "y")

    def _extent(self, axis: str) -> int:
        spans = [getattr(amp, f"data_{axis}") for amp in self.amplifiers]
        return max(stop for _, stop in spans) - min(start for start, _ in spans)


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
