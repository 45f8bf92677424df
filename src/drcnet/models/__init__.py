"""All models, by name: networks in torch, and classical learners kept as plain arrays.

Every model is a `torch.nn.Module` from normalised stripes ``(N, 2, 11, 3000)`` or spectra
``(N, 2, 3000)`` to logits ``(N, n_class)``. Nothing here knows of files, stores or settings.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from drcnet.models.classical import Fitted, LogisticRegression
from drcnet.models.drcnet import DRCNet
from drcnet.models.ffcnn import FFCNN
from drcnet.models.hornenet import HorneNet
from drcnet.models.ladder import LadderKernels, LadderReduction, LadderSpectrum, LadderWeights
from drcnet.models.learners import Forest, Neighbors, Perceptron
from drcnet.models.ppca import ProbabilisticComponents
from drcnet.models.racnet import RACNet
from drcnet.models.rcnet import RCNet
from drcnet.models.sgan import SGAN
from drcnet.models.sharma import Sharma
from drcnet.models.sscnn import SSCNN
from drcnet.models.svm import SupportVectors
from drcnet.models.tdscnet import TDSCNet
from drcnet.models.template import Template

__all__ = ["MODELS", "Fitted", "ModelEntry", "build_model"]


View = Literal["stripes", "box", "optimal", "optimal-ivar", "stripes-sky", "stripes-flat"]


@dataclass(frozen=True)
class ModelEntry:
    """One line of the registry.

    Parameters
    ----------
    name : str
        How it is called in settings and cards.
    build : callable
        build(n_class, **options) gives the module.
    view : {'stripes', 'box', 'optimal', 'optimal-ivar', 'stripes-sky', 'stripes-flat'}
        What it sees by itself: 2-D stripes, or 1-D spectra, of the aperture sum or of the optimal
        extraction, or the latter less the sky with its inverse variance; or 2-D stripes beside
        the frame's sky, or besides with what the flat says of them.
    kind : {'torch', 'classical'}
        Trained by gradient, or fitted in one go (a `Fitted`).
    reference : str
        Where it was published, and what is our reading.
    """

    name: str
    build: Callable[..., nn.Module]
    view: View
    kind: Literal["torch", "classical"]
    reference: str

    @property
    def targets(self) -> tuple[str, ...]:
        """Columns of the index that its `training_loss` learns from beside the class."""
        return tuple(getattr(self.build, "targets", ()))

    @property
    def semi(self) -> bool:
        """Whether it learns from stars without a label too, by a `training_loss` of its own."""
        return self.own_loss and not self.targets

    def pools(self, options: Mapping[str, Any]) -> bool:
        """Tell whether it learns from stars without a label, in its loss or where it begins.

        Parameters
        ----------
        options : Mapping
            Keyword arguments of the model.

        Returns
        -------
        bool
            Whether they are to be read.
        """
        return self.semi or bool(options.get("unlabelled_turns"))

    @property
    def own_loss(self) -> bool:
        """Whether it brings a `training_loss` of its own."""
        return hasattr(self.build, "training_loss")

    @property
    def begins(self) -> bool:
        """Whether it starts from statistics of the training stars, by its `begin`."""
        return hasattr(self.build, "begin")

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of the model and their defaults."""
        parameters = inspect.signature(self.build).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def _network(
    name: str,
    build: Callable[..., nn.Module],
    view: View,
    reference: str,
) -> ModelEntry:
    return ModelEntry(name, build, view, "torch", reference)


def _learner(name: str, build: Callable[..., nn.Module], reference: str) -> ModelEntry:
    return ModelEntry(name, build, "box", "classical", reference)


_ENTRIES = (
    _network(
        "drcnet",
        DRCNet,
        "stripes",
        "Zhang et al. 2023 (DRC-Net), Figure 6; widths and activations are our reading",
    ),
    _network(
        "rcnet",
        RCNet,
        "box",
        "Zou et al. 2020, PASP 132, 044503 (RC-Net), as DRC-Net's authors use it",
    ),
    _network(
        "racnet",
        RACNet,
        "box",
        "Zou et al. 2020, PASP 132, 044503 (RAC-Net), our reading of where attention stands",
    ),
    _network(
        "sharma",
        Sharma,
        "box",
        "Sharma et al. 2020, MNRAS 491, 2280, our reading: its widths are not public here",
    ),
    _network(
        "sgan",
        SGAN,
        "box",
        "Zheng et al. 2020, PASP 132, 024504 (SGAN + CNN), our reading: its sizes are not public",
    ),
    _network("sscnn", SSCNN, "box", "Liu et al. 2019, MNRAS 483, 4774 (SSCNN)"),
    _network(
        "ffcnn",
        FFCNN,
        "stripes",
        "Spectrosc. Spect. Anal. 42, 1881 (FFCNN), our reading: its widths are not public",
    ),
    _network(
        "tdscnet",
        TDSCNet,
        "stripes",
        "Li et al. 2024, Spectrosc. Spect. Anal. 44, 1968 (TDSC-Net), our reading of its abstract",
    ),
    _network("ladder-box", LadderSpectrum, "box", "ladder: box sum under DRC-Net's backbone"),
    _network(
        "ladder-optimal",
        LadderSpectrum,
        "optimal",
        "ladder: optimal extraction (Horne 1986) under DRC-Net's backbone",
    ),
    _network("ladder-weights", LadderWeights, "stripes", "ladder: one learned weight a pixel"),
    _network("ladder-reduction", LadderReduction, "stripes", "ladder: the paper's reduction"),
    _network("ladder-kernels", LadderKernels, "stripes", "ladder: true 2-D kernels"),
    _network(
        "hornenet",
        HorneNet,
        "stripes-sky",
        "ours: optimal extraction (Horne 1986) and posterior components as layers that learn",
    ),
    _learner(
        "logreg",
        LogisticRegression,
        "principal components and logistic regression: the baseline to beat",
    ),
    _learner("forest", Forest, "Breiman 2001 (random forest), on principal components"),
    _learner("knn", Neighbors, "k nearest neighbours, on principal components"),
    _learner(
        "svm",
        SupportVectors,
        "support vector machine (Cortes & Vapnik 1995), on principal components",
    ),
    _learner(
        "template",
        Template,
        "likelihood against the training stars; continuum and velocity integrated over",
    ),
    _learner("mlp", Perceptron, "multi-layer perceptron, on principal components"),
    ModelEntry(
        "ppca",
        ProbabilisticComponents,
        "optimal-ivar",
        "classical",
        "probabilistic principal components (Tipping & Bishop 1999), then logistic regression",
    ),
)

MODELS: dict[str, ModelEntry] = {entry.name: entry for entry in _ENTRIES}
"""Name to model."""


def build_model(name: str, n_class: int, **options: Any) -> nn.Module:
    """Build an untrained model.

    Parameters
    ----------
    name : str
        A name in `MODELS`.
    n_class : int
        Classes.
    **options
        Keyword arguments of the model; lists count as tuples.

    Returns
    -------
    torch.nn.Module
        The model; its initial weights come from torch's global random state.

    Raises
    ------
    ValueError
        No such model or option (the known ones are listed), or an option is out of range.
    """
    if name not in MODELS:
        raise ValueError(f"'model' must be one of {', '.join(MODELS)}, got {name!r}")
    entry = MODELS[name]
    unknown = sorted(set(options) - set(entry.options))
    if unknown:
        raise ValueError(
            f"options of {name} must be among {', '.join(entry.options)}, got {', '.join(unknown)}"
        )
    plain = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    return entry.build(n_class, **plain)
