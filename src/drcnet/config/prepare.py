"""From frames and a catalogue to a store of stripes."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from drcnet.config.base import Frozen

__all__ = ["PrepareSettings", "StripeSettings"]


class StripeSettings(Frozen):
    """From a frame to 250 stripes and their 1-D twins."""

    half_width: int = Field(default=5, ge=1, le=15)
    """Pixels kept on each side of the trace's centre: 5 gives the paper's 11 in total."""
    row_start: int = Field(default=500, ge=0)
    """First wavelength pixel kept, counted after turning (the paper's 500)."""
    row_stop: int = Field(default=3500, ge=1)
    """One past the last wavelength pixel kept (the paper's 3500)."""
    follow_trace: bool = True
    """Follow the trace with a whole-pixel crop; False cuts straight at the trace's middle."""
    overscan: Literal["smooth", "row", "constant"] = "smooth"
    """How the bias level follows the overscan's rows: averaged over rows except where it
    demonstrably moves faster; by each row's own mean, whose error is common to the row and adds
    a third of the read noise's variance to a sum of 11 pixels; or one level an amplifier."""
    subtract_bias: bool = True
    """Subtract the overscan-corrected master bias where bias frames exist."""
    combine_flats: bool = False
    """Combine lamp flats taken within an hour of the nearest one, instead of using it alone."""
    bad_pixels: str | None = None
    """Bad-pixel masks, a path in which '{spid}' and '{arm}' stand for the CCD
    ('masks/{spid}-{arm}.fits'); none: no mask."""
    pixel_flat: str | None = None
    """Pixel-to-pixel flats to divide by, a path like that of `bad_pixels`; none: not divided."""
    fiber_flat: bool = False
    """Divide each fibre's light by its throughput on the flat, relative to the typical fibre."""
    reference: str | None = None
    """Throughput patterns that tell fibres apart, from `drcnet instrument learn`; none: by the
    gaps between blocks alone."""
    trace_degree: int = Field(default=4, ge=1, le=8)
    """Degree of a trace's polynomial along wavelength."""
    wavelength_degree: int = Field(default=4, ge=1, le=8)
    """Degree of the wavelength polynomial."""
    shift_to_exposure: bool = True
    """Measure shift and stretch of the flat's traces on each science frame."""
    cosmic_sigma: float = Field(default=6.0, gt=0)
    """Threshold, in standard deviations, of the profile-residual cosmic-ray mask."""
    profile_error: float = Field(default=0.01, ge=0, lt=1)
    """Relative error allowed to the spatial profile when looking for cosmic rays, beyond what
    each 64 rows of a bright fibre tell of it themselves. A long slit allows 0.03 at least."""
    separate_neighbors: bool = True
    """Take the light that neighbouring fibres' wings spill into a fibre off its optimal
    extraction, solving for all fibres together; stripes and box sums stay as they are."""
    scattered_light: Literal["ignore", "measure", "subtract"] = "subtract"
    """Smooth light between and under the fibres, fitted with their profiles: measured for the
    flag and the notes, or also taken off the optimal extraction. Left in, it makes the faintest
    stars and the sky two percent too bright on a simulated plate; taken off, they are true to
    0.1% (docs/results/sky.md). Stripes and box sums stay as they are."""
    min_identity: float = Field(default=0.8, ge=0, le=1)
    """Least confidence of the fibres' identity; below it the frame is refused."""

    @model_validator(mode="after")
    def _rows_ordered(self) -> Self:
        if self.row_stop <= self.row_start:
            raise ValueError(
                f"row_stop ({self.row_stop}) must exceed row_start ({self.row_start})"
            )
        return self

    @property
    def width(self) -> int:
        """Pixels across a stripe."""
        return 2 * self.half_width + 1

    @property
    def rows(self) -> int:
        """Pixels along a stripe."""
        return self.row_stop - self.row_start


_MK_CLASSES = "OBAFGKM"
_MK_TYPES = tuple(f"{letter}{digit}" for letter in _MK_CLASSES for digit in range(10))


def _spelled_out(short: str, label: str) -> tuple[str, ...]:
    """'FGK' to its letters; for subclasses 'G' and 'F5-G4' to their types; else as it came."""
    if label == "class":
        return tuple(short)
    first, _, last = short.partition("-")
    if len(short) == 1:
        first, last = f"{short}0", f"{short}9"
    if first not in _MK_TYPES or last not in _MK_TYPES:
        return (short,)
    return _MK_TYPES[_MK_TYPES.index(first) : _MK_TYPES.index(last) + 1]


class PrepareSettings(Frozen):
    """A night and its catalogue into a store."""

    instrument: str = "lamost-lrs"
    """Name of a shipped instrument profile, or the path of a TOML file."""
    label: Literal["class", "subclass"] = "class"
    """What is learnt: the spectral class ('G'), or the MK subclass ('G5')."""
    classes: tuple[str, ...] = ("F", "G", "K")
    """The labels kept, in the order of the probabilities; or their short form: 'FGK', 'AFGKM',
    and for subclasses a class ('G': its ten) or a range ('F5-G4')."""
    unlabelled: bool = False
    """Make a store without labels, reading no catalogue: a pool for later training."""
    workers: int | None = Field(default=None, ge=1)
    """Processes; none: one a core. The store does not depend on it."""
    stripes: StripeSettings = StripeSettings()

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, values: Any) -> Any:
        """Spell a short form of `classes` out."""
        short = values.get("classes") if isinstance(values, dict) else None
        if not isinstance(short, str):
            return values
        return values | {"classes": _spelled_out(short, values.get("label", "class"))}

    @model_validator(mode="after")
    def _classes_fit(self) -> Self:
        known = set(_MK_TYPES) if self.label == "subclass" else set(_MK_CLASSES)
        strange = [name for name in self.classes if name not in known]
        if strange or not self.classes or len(set(self.classes)) != len(self.classes):
            wanted = "subclasses, as 'G5'" if self.label == "subclass" else f"among {_MK_CLASSES}"
            raise ValueError(f"classes must be {wanted}, each once; came {self.classes}")
        return self
