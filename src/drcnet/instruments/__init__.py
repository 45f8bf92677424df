"""What differs between spectrographs, as data: one TOML file an instrument."""

from drcnet.instruments.profile import (
    Amplifier,
    Arm,
    FiberLayout,
    InstrumentProfile,
    instrument_names,
    load_instrument,
)
from drcnet.instruments.recognise import recognise_name

__all__ = [
    "Amplifier",
    "Arm",
    "FiberLayout",
    "InstrumentProfile",
    "instrument_names",
    "load_instrument",
    "recognise_name",
]
