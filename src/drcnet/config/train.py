"""One model and its recipe, and what is done to the training stars."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from drcnet.config.base import Frozen

__all__ = ["AugmentSettings", "TeacherSettings", "TrainSettings"]


class AugmentSettings(Frozen):
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


class TeacherSettings(Frozen):
    """Finished runs that a network learns from beside the labels (Hinton et al. 2015)."""

    runs: tuple[str, ...] = Field(min_length=1)
    """Their names, as in `begin_from`. They see the same changed stars as the network does."""
    weight: float = Field(default=0.5, gt=0, le=1)
    """Of the cross entropy to the mean of their probabilities; what is left of 1 is the weight
    of the network's own loss."""


class TrainSettings(Frozen):
    """One model, one recipe. The defaults are the paper's, Table 2."""

    model: str = "drcnet"
    """Name in the registry of models."""
    options: dict[str, Any] = Field(default={})
    """Keyword arguments of the model: the readings of the paper that it offers."""
    split: str | None = None
    """Which split: a file, also one named from inside the work folder
    ('splits/paper-0.parquet'); none: the work folder's split.parquet."""
    view: (
        Literal[
            "stripes",
            "box",
            "optimal",
            "box-sky",
            "optimal-sky",
            "optimal-ivar",
            "stripes-sky",
            "stripes-flat",
            "optimal-full",
            "stripes-full",
        ]
        | None
    ) = None
    """What the model sees: stripes (2-D), box or optimal extraction (1-D), the latter two also
    with the frame's sky taken off; for models that know their noise that beside its inverse
    variance ('optimal-ivar'), or stripes beside the frame's sky ('stripes-sky') and what the flat
    says of profile and neighbours ('stripes-flat'); either told the sky and every pixel's
    wavelength too ('optimal-full', 'stripes-full'); none: the model's own."""
    normalize: Literal["zscore", "robust", "none"] = "zscore"
    """Per stripe and arm: mean and standard deviation, or median and MAD. Views for models that
    know their noise are never normalised: these models do that themselves, by the noise."""
    seed: int = 1
    """Initial weights and the order of the data."""
    optimizer: Literal["adagrad", "adamw"] = "adagrad"
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: Literal["constant", "one-cycle"] = "constant"
    batch_size: int = Field(default=4, ge=1)
    accumulate: int = Field(default=1, ge=1)
    """Pieces that a batch is computed in, one after the other, where it does not fit into the
    device's memory; the step is that of the whole batch (but for batch normalisation)."""
    epochs: int = Field(default=300, ge=1)
    patience: int = Field(default=50, ge=1)
    """Epochs without a lower validation loss before stopping."""
    keep: Literal["best", "last"] = "best"
    """Weights kept: those of the best validation loss, or the last."""
    class_weights: Literal["none", "inverse"] = "none"
    double_softmax: bool = False
    """A softmax before the loss, which has its own (a possible reading of the paper): the loss of
    three classes then cannot fall below 0.551."""
    precision: Literal["32-true", "bf16-mixed", "auto"] = "32-true"
    """Of the network's forward and backward pass; weights, loss and predictions are float32
    always. 'auto': bf16-mixed where the device computes in it, else 32-true; the card says."""
    device: str = "auto"
    """'auto', 'cpu', 'cuda'."""
    deterministic: bool = True
    """Ask the device for the same bits each time, where it can."""
    max_seconds: float | None = Field(default=None, gt=0)
    """Stop training after so many seconds of training time. A one-cycle schedule then follows
    whichever is further, steps or clock, so that it always ends; the result depends on the
    machine's speed, and the card says how many epochs were reached."""
    clock: Literal["wall", "processor"] = "wall"
    """What `max_seconds` counts: time on the wall, or of the processor (of all threads together),
    which gives equal budgets where other work shares the machine. Not for a GPU."""
    memory_gb: float | None = Field(default=None, gt=0)
    """Most memory (1e9 bytes) for the training stars' pixels: where they take more, they are read
    shard by shard while the network learns, in another order; none: all lie in memory."""
    stars_share: float | None = Field(default=None, gt=0, lt=1)
    """Train on so many of the training stars of each class, with all their rows, drawn by `seed`:
    for learning curves. A smaller share is part of a larger one."""
    begin_from: str | None = None
    """Finished run whose weights the network starts from: the name of a folder beside the run's
    own, or a path. Same model, options and view; where the classes are others the layers that name
    them start afresh. Refused where it has seen one of this split's test stars."""
    teachers: TeacherSettings | None = None
    """Learn from other runs too; refused where one of them has seen one of the test stars."""
    shuffle_labels: bool = False
    """Train on labels in random order: a check that must come out at chance."""
    augment: AugmentSettings = AugmentSettings()
    """What is done to the training stars, before they are normalised."""
