"""The simulated night."""

import os
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from drcnet.config.base import Frozen
from drcnet.errors import ConfigError

__all__ = ["SimulateSettings"]


class SimulateSettings(Frozen):
    """A night of raw frames, after what is known of LAMOST."""

    instrument: str = "lamost-lrs"
    """Name of a shipped instrument profile, or the path of a TOML file."""
    seed: int = 1
    """Every number of the night follows from this one."""
    source: Literal["builtin", "library"] = "builtin"
    """Stars from the built-in physics, or from libraries of real spectra."""
    library: tuple[Path, ...] = ()
    """Folders or tables of real spectra; needed when `source` is 'library'. '$NAME' stands for an
    environment variable, so that a file is the same on every machine."""
    library_min_snr: float = Field(default=50.0, ge=0)
    """Least S/N of a library's spectrum, where the library tells it (LAMOST's snrr)."""
    lines: Path | None = None
    """A fuller line list (CSV) for the built-in physics; none: the shipped table and its veil."""
    class_shares: dict[str, float] = Field(default={"F": 4500, "G": 6500, "K": 4680})
    """Relative number of stars by class (the paper's counts; they are normalised)."""
    balance_sources: bool = False
    """Give every class the same mix of sources (that of all stars together), so that where a
    spectrum comes from tells nothing of its class."""
    stars: int | None = Field(default=None, ge=1)
    """Distinct stars to draw from the source; none: as many as there are object fibres
    (built-in), or every star of the library."""
    plates: int = Field(default=1, ge=1)
    """Plates observed in the night; each gives every fibre another star."""
    spectrographs: tuple[int, ...] = (1,)
    """Spectrograph numbers, 1 to 16; each has 250 fibres and two CCDs."""
    exposures: int = Field(default=1, ge=1)
    """Exposures of each plate."""
    exposure_time: float = Field(default=1500.0, gt=0)
    """Seconds of one exposure."""
    sky_fibers: int = Field(default=20, ge=0)
    """Fibres on blank sky in each spectrograph."""
    dead_fibers: int = Field(default=3, ge=0)
    """Fibres without light in each spectrograph."""
    snr_shares: dict[str, float] = Field(
        default={"0-10": 1042, "10-20": 436, "20-30": 461, "30-120": 6050}
    )
    """Relative number of observations by interval of the catalogue's `snrr` (the paper's
    Table 1); log-uniform inside an interval (lower edge at least 2)."""
    border_spread: float = Field(default=120.0, ge=0)
    """Built-in stars: spread (kelvin, one sigma) of the class borders. Literature types of one
    star differ by about one subclass, some 100-150 K at F8-G0 and G8-K1; 0 makes labels exact."""
    moon: float = Field(default=0.3, ge=0, le=1)
    """Moonlight, as a fraction of full moon, on average over plates."""
    sky_level: float = Field(default=1.0, ge=0)
    """Sky brightness relative to a dark site."""
    wing_fraction: float = Field(default=0.02, ge=0, le=0.2)
    """Share of a fibre's light in Lorentzian wings of its spatial profile."""
    profile_fwhm: float = Field(default=7.0, gt=1, lt=12)
    """FWHM of the spatial profile at the chip's centre, pixels."""
    wavelength_fwhm: float = Field(default=5.0, gt=1, lt=12)
    """FWHM of the line spread along wavelength, pixels."""
    scattered_light: float = Field(default=0.01, ge=0, le=0.5)
    """Scattered light, as a fraction of the frame's light."""
    cosmic_rays: float = Field(default=1.0, ge=0)
    """Cosmic rays relative to the usual rate for the exposure time."""
    bias_frames: int = Field(default=5, ge=0)
    """Bias frames an arm."""
    flat_frames: int = Field(default=1, ge=1)
    """Lamp-flat frames an arm."""
    file_format: Literal[".fit", ".fit.gz", ".fits.fz"] = ".fit"
    """Ending, and so compression, of the raw files."""
    date: str = "2015-09-23"
    """Local date of the evening (YYYY-MM-DD)."""
    workers: int | None = Field(default=None, ge=1)
    """Processes; none: one a core. The files do not depend on it."""

    @property
    def library_paths(self) -> tuple[Path, ...]:
        """The libraries, with '$NAME' and '~' expanded; an unset variable is a `ConfigError`."""
        expanded = [Path(os.path.expandvars(path)).expanduser() for path in self.library]
        for path in expanded:
            if "$" in str(path):
                raise ConfigError("simulate.library", "the variable in it to be set", str(path))
        return tuple(expanded)

    @model_validator(mode="after")
    def _library_named(self) -> Self:
        if self.source == "library" and not self.library:
            raise ValueError("source = 'library' needs 'library', a list of folders or tables")
        return self
