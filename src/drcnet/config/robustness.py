"""What a finished classifier is put through."""

from typing import Literal

from pydantic import Field

from drcnet.config.base import Frozen

__all__ = ["RobustnessSettings", "SaliencySettings"]


class RobustnessSettings(Frozen):
    """How far each disturbance goes; none of a kind: it is left out."""

    seed: int = 1
    """Of sides, partners, cosmic rays, added noise, the choice of rows and the bootstrap."""
    rows: int | None = Field(default=None, ge=20)
    """At most so many test rows, drawn star by star; none: all."""
    bootstrap: int = Field(default=1000, ge=100)
    """Bootstrap draws, over stars."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Coverage of every interval."""
    trace: tuple[float, ...] = (0.25, 0.5, 1.0, 1.5, 2.0)
    """Error of the trace, pixels."""
    wavelength: tuple[float, ...] = (0.5, 1.0, 2.0, 5.0, 10.0)
    """Shift along wavelength of star and sky, pixels."""
    sky: tuple[float, ...] = (0.5, 1.0, 3.0, 10.0)
    """Sky added, in units of the frame's own."""
    moon: tuple[float, ...] = (0.5, 1.0, 3.0, 10.0)
    """Moonlight (sunlight) added, in units of the median of the frame's own sky."""
    neighbor: tuple[float, ...] = (1.0, 10.0, 30.0, 100.0)
    """Brightness of a neighbour, in units of the star, that spills 1% of its light."""
    cosmic_rays: tuple[int, ...] = (1, 3, 10, 30)
    """Cosmic rays left in each arm."""
    throughput: tuple[float, ...] = (0.1, 0.2, 0.4)
    """Rise or fall of the throughput from an arm's middle to its ends."""
    reddening: tuple[float, ...] = (0.1, 0.3, 0.5, 1.0)
    """E(B-V) added, magnitudes."""
    lose_arm: tuple[Literal["blue", "red"], ...] = ("blue", "red")
    """Which arm is missing."""
    positions: int = Field(default=5, ge=2, le=25)
    """Parts of the chip, from fibre to fibre, that are told apart."""


class SaliencySettings(Frozen):
    """Where a classifier looks."""

    method: Literal["gradients", "occlusion"] = "gradients"
    """Integrated gradients (Sundararajan et al. 2017), or the change when a window is hidden (for
    models without a gradient, such as a forest)."""
    against: Literal["smooth", "zero"] = "smooth"
    """What a star is compared with: itself without its lines (smoothed), or a blank stripe."""
    steps: int = Field(default=16, ge=2)
    """Points between the two, for integrated gradients."""
    smooth: float = Field(default=40.0, gt=0)
    """Sigma of that smoothing, pixels."""
    bin: float = Field(default=4.0, gt=0)
    """Width of a wavelength bin of the maps, angstrom."""
    window: int = Field(default=32, ge=1)
    """Width of the hidden window, pixels."""
    line: float = Field(default=12.0, gt=0)
    """Half width that counts as a named line, angstrom."""
    rows: int | None = Field(default=400, ge=3)
    """At most so many test rows, drawn star by star; none: all."""
    random: int = Field(default=5, ge=1)
    """Models of randomised weights that the map is held against."""
    seed: int = 1
    """Of the choice of rows and the random weights."""
