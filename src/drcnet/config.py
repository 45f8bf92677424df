"""Frozen settings, one class a stage; TOML in and out; an unknown key is an error.

Every decision that the paper leaves open is a field here, with our default and the reason in
the line below it. A product records the settings that made it.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from drcnet.errors import ConfigError

__all__ = [
    "AugmentSettings",
    "BenchmarkSettings",
    "EvaluateSettings",
    "PrepareSettings",
    "Settings",
    "SimulateSettings",
    "SplitSettings",
    "StripeSettings",
    "TrainSettings",
    "load_settings",
    "settings_toml",
]


class _Frozen(BaseModel):
    """Immutable, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class SimulateSettings(_Frozen):
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
    class_shares: dict[str, float] = {"F": 4500, "G": 6500, "K": 4680}
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
    snr_shares: dict[str, float] = {"0-10": 1042, "10-20": 436, "20-30": 461, "30-120": 6050}
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


class StripeSettings(_Frozen):
    """From a frame to 250 stripes and their 1-D twins."""

    half_width: int = Field(default=5, ge=1, le=15)
    """Pixels kept on each side of the trace's centre: 5 gives the paper's 11 in total."""
    row_start: int = Field(default=500, ge=0)
    """First wavelength pixel kept, counted after turning (the paper's 500)."""
    row_stop: int = Field(default=3500, ge=1)
    """One past the last wavelength pixel kept (the paper's 3500)."""
    follow_trace: bool = True
    """Follow the trace with a whole-pixel crop; False cuts straight at the trace's middle."""
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
    profile_error: float = Field(default=0.03, ge=0, lt=1)
    """Relative error allowed to the spatial profile when looking for cosmic rays."""
    separate_neighbors: bool = True
    """Take the light that neighbouring fibres' wings spill into a fibre off its optimal
    extraction, solving for all fibres together; stripes and box sums stay as they are."""
    scattered_light: Literal["ignore", "measure", "subtract"] = "measure"
    """Smooth light between and under the fibres, fitted with their profiles: measured for the
    flag and the notes, or also taken off the optimal extraction."""
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


class PrepareSettings(_Frozen):
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


class SplitSettings(_Frozen):
    """Intervals of S/N, and train, validation and test by star."""

    edges: tuple[float, ...] = (0.0, 10.0, 20.0, 30.0)
    """Lower edges of the half-open S/N intervals; the last has no upper edge."""
    train_above: float = 30.0
    """Only stars of at least this `snrr` are trained on; all else is tested."""
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Train, validation and test shares of the stars above `train_above`. With folds the test
    share is that of one fold, and the first two are in proportion."""
    seed: int = 1
    """Which stars go where."""
    kind: Literal["single", "large", "paper", "test"] = "single"
    """'single': one deal by `fractions`. 'large': the stars of one fold are tested, on all their
    rows. 'paper': the same, with as many rows drawn as the paper's Table 1 has. 'test': every
    row is tested, nothing is trained on."""
    fold: int = Field(default=0, ge=0)
    """Which fold is tested."""
    folds: int = Field(default=5, ge=2)
    """How many folds; where a night says which star is in which, it must have as many."""
    counts: dict[str, int] = {
        "train": 4840,
        "validation": 605,
        ">30": 605,
        "20-30": 461,
        "10-20": 436,
        "0-10": 1042,
    }
    """Rows that 'paper' draws: for training, for validation, and to test by S/N interval."""


class AugmentSettings(_Frozen):
    """Training stars as they would have been seen fainter, or otherwise; all off unless asked."""

    noise: bool = False
    """Fade each star by a factor drawn from `scale`, and add the Poisson and read noise that a
    star of that brightness would have shown besides. The sky and the neighbours stay."""
    scale: tuple[float, float] = (0.02, 1.0)
    """Range of the factor; its logarithm is drawn evenly."""
    share: float = Field(default=1.0, gt=0, le=1)
    """Share of the stars that are changed at all in an epoch."""
    copies: int = Field(default=5, ge=1)
    """Changed copies of the training stars, besides the stars themselves, that a classical
    learner is given; a network sees another copy each epoch."""
    replace_sky: bool = False
    """Put the star before the sky of a sky fibre of the store (another moon, another night)."""
    trace_shift: float = Field(default=0.0, ge=0, lt=2)
    """Error of the trace, pixels (one sigma). Stripes only."""
    wavelength_shift: float = Field(default=0.0, ge=0, lt=20)
    """Shift along wavelength of both arms together, pixels (one sigma)."""
    broaden: float = Field(default=0.0, ge=0, lt=0.3)
    """Greatest share of a pixel's light that goes to each pixel beside it. Stripes only."""
    tilt: float = Field(default=0.0, ge=0, lt=1)
    """Throughput that rises or falls along each arm, by up to so much at its ends (one sigma)."""
    reddening: float = Field(default=0.0, ge=0)
    """Greatest E(B-V) added, magnitudes."""
    neighbor: float = Field(default=0.0, ge=0, lt=1)
    """Greatest share of another training star's light that is spilt into the fibre."""
    cosmic_rays: float = Field(default=0.0, ge=0)
    """Average number of cosmic rays left in an arm."""
    lose_arm: float = Field(default=0.0, ge=0, lt=1)
    """Probability that one arm is missing."""

    @property
    def active(self) -> bool:
        """Whether anything is asked for."""
        return bool(
            self.noise
            or self.replace_sky
            or max(self.trace_shift, self.wavelength_shift, self.broaden, self.tilt) > 0
            or max(self.reddening, self.neighbor, self.cosmic_rays, self.lose_arm) > 0
        )

    @model_validator(mode="after")
    def _scale_ordered(self) -> Self:
        low, high = self.scale
        if not 0 < low <= high <= 1:
            raise ValueError(f"scale must be 0 < low <= high <= 1, got {low}, {high}")
        return self


class TrainSettings(_Frozen):
    """One model, one recipe. The defaults are the paper's, Table 2."""

    model: str = "drcnet"
    """Name in the registry of models."""
    options: dict[str, Any] = {}
    """Keyword arguments of the model: the readings of the paper that it offers."""
    split: str | None = None
    """Which split: a file, also one named from inside the work folder
    ('splits/paper-0.parquet'); none: the work folder's split.parquet."""
    view: Literal["stripes", "box", "optimal", "box-sky", "optimal-sky"] | None = None
    """What the model sees: stripes (2-D), box or optimal extraction (1-D), the latter two also
    with the frame's sky taken off; none: the model's own."""
    normalize: Literal["zscore", "robust", "none"] = "zscore"
    """Per stripe and arm: mean and standard deviation, or median and MAD."""
    seed: int = 1
    """Initial weights and the order of the data."""
    optimizer: Literal["adagrad", "adamw"] = "adagrad"
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: Literal["constant", "one-cycle"] = "constant"
    batch_size: int = Field(default=4, ge=1)
    epochs: int = Field(default=300, ge=1)
    patience: int = Field(default=50, ge=1)
    """Epochs without a lower validation loss before stopping."""
    keep: Literal["best", "last"] = "best"
    """Weights kept: those of the best validation loss, or the last."""
    class_weights: Literal["none", "inverse"] = "none"
    double_softmax: bool = False
    """A softmax before the loss, which has its own (a possible reading of the paper): the loss of
    three classes then cannot fall below 0.551."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    device: str = "auto"
    """'auto', 'cpu', 'cuda'."""
    deterministic: bool = True
    """Ask the device for the same bits each time, where it can."""
    max_seconds: float | None = Field(default=None, gt=0)
    """Stop training after so many seconds of training time. A one-cycle schedule then follows
    whichever is further, steps or clock, so that it always ends; the result depends on the
    machine's speed, and the card says how many epochs were reached."""
    memory_gb: float | None = Field(default=None, gt=0)
    """Most memory (1e9 bytes) for the training stars' pixels: where they take more, they are read
    shard by shard while the network learns, in another order; none: all lie in memory."""
    shuffle_labels: bool = False
    """Train on labels in random order: a check that must come out at chance."""
    augment: AugmentSettings = AugmentSettings()
    """What is done to the training stars, before they are normalised."""


class EvaluateSettings(_Frozen):
    """Predictions into numbers."""

    bootstrap: int = Field(default=1000, ge=100)
    """Bootstrap draws, over stars."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Coverage of every interval in the tables."""
    seed: int = 1
    """Seed of the bootstrap draws."""
    reliability_bins: int = Field(default=10, ge=2, le=100)
    """Equal-width bins of the highest probability, for calibration."""
    figures: bool = True
    """Draw figures/*.png into each run folder."""


class BenchmarkSettings(_Frozen):
    """A benchmark set: one simulated survey, its store and its splits."""

    title: str
    """One line that says what it is."""
    simulate: SimulateSettings
    """The survey."""
    prepare: PrepareSettings = PrepareSettings()
    """How it is reduced; its instrument must be the survey's."""
    split: SplitSettings = SplitSettings()
    """Of split.parquet; its seed, edges, counts and folds also serve the splits below."""
    splits: tuple[Literal["large", "paper"], ...] = ()
    """Further split files, one a fold: splits/KIND-FOLD.parquet."""

    @model_validator(mode="after")
    def _one_instrument(self) -> Self:
        if self.prepare.instrument != self.simulate.instrument:
            raise ValueError(
                f"simulate.instrument ({self.simulate.instrument}) and prepare.instrument "
                f"({self.prepare.instrument}) must be the same"
            )
        return self


class Settings(_Frozen):
    """All stages of a run, as one TOML file."""

    title: str = ""
    """One line, printed on the report."""
    simulate: SimulateSettings = SimulateSettings()
    prepare: PrepareSettings = PrepareSettings()
    split: SplitSettings = SplitSettings()
    train: dict[str, TrainSettings] = {}
    """Run name to training settings: `[train.drcnet]`, `[train.rcnet]`, ..."""
    evaluate: EvaluateSettings = EvaluateSettings()


AnySettings = TypeVar("AnySettings", bound=BaseModel)


def load_settings(
    path: Path | None,
    model: type[AnySettings] = Settings,  # type: ignore[assignment]
    overrides: Mapping[str, Any] | None = None,
) -> AnySettings:
    """Read settings from a TOML file.

    Parameters
    ----------
    path : Path or None
        The file; None gives the defaults.
    model : type
        Which settings class the file holds.
    overrides : Mapping, optional
        Values that replace those of the file; keys may be dotted ('prepare.workers').

    Returns
    -------
    BaseModel
        An instance of `model`.

    Raises
    ------
    ConfigError
        The file is absent or not TOML, a key is unknown (the known ones are listed), or a value
        is out of range.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as err:
            raise ConfigError(path, "a readable TOML file", err.strerror or str(err)) from err
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
            raise ConfigError(path, "TOML", str(err)) from err
    for key, value in (overrides or {}).items():
        _set_dotted(values, key, value)
    try:
        return model.model_validate(values)
    except ValidationError as err:
        raise _explain(path or "settings", model, err) from err


def settings_toml(settings: BaseModel) -> str:
    """Write settings as TOML that `load_settings` reads back to an equal object.

    Parameters
    ----------
    settings : BaseModel
        Any settings of this module.

    Returns
    -------
    str
        TOML text; fields that are None are left out.
    """
    return tomli_w.dumps(settings.model_dump(mode="json", exclude_none=True))


def _set_dotted(values: dict[str, Any], key: str, value: Any) -> None:
    *groups, last = key.split(".")
    for group in groups:
        values = values.setdefault(group, {})
    values[last] = value


def _explain(where: str | Path, model: type[BaseModel], err: ValidationError) -> ConfigError:
    """Turn the first validation error into one sentence, with the known keys where it helps."""
    first = err.errors()[0]
    location = first["loc"]
    name = ".".join(str(part) for part in location)
    if first["type"] == "extra_forbidden":
        known = ", ".join(_known_keys(model, location[:-1]))
        return ConfigError(where, f"one of the known keys ({known})", f"the unknown key '{name}'")
    return ConfigError(where, f"'{name}': {first['msg']}", repr(first["input"]))


def _known_keys(model: Any, location: tuple[int | str, ...]) -> list[str]:
    for part in location:
        field = getattr(model, "model_fields", {}).get(part)
        annotation = field.annotation if field is not None else None
        args = getattr(annotation, "__args__", ())
        model = next((a for a in (annotation, *args, model) if hasattr(a, "model_fields")), model)
    return sorted(getattr(model, "model_fields", {}))
