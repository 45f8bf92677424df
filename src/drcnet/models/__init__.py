"""All models, by name: networks in torch, and classical learners kept as plain arrays.

Every model is a `torch.nn.Module` from normalised stripes ``(N, 2, 11, 3000)`` or spectra
``(N, 2, 3000)`` to logits ``(N, n_class)``. Nothing here knows of files, stores or settings.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from drcnet.models.classical import Fitted, LogisticRegression
from drcnet.models.drcnet import DRCNet
from drcnet.models.rcnet import RCNet

__all__ = ["MODELS", "Fitted", "ModelEntry", "build_model"]


@dataclass(frozen=True)
class ModelEntry:
    """One line of the registry.

    Parameters
    ----------
    name : str
        How it is called in settings and cards.
    build : callable
        build(n_class, **options) gives the module.
    view : {'stripes', 'box'}
        What it sees: 2-D stripes, or 1-D spectra (by default the aperture sum).
    kind : {'torch', 'classical'}
        Trained by gradient, or fitted in one go (a `Fitted`).
    reference : str
        Where it was published, and what is our reading.
    """

    name: str
    build: Callable[..., nn.Module]
    view: Literal["stripes", "box"]
    kind: Literal["torch", "classical"]
    reference: str

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of the model and their defaults."""
        parameters = inspect.signature(self.build).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


_ENTRIES = (
    ModelEntry(
        "drcnet",
        DRCNet,
        "stripes",
        "torch",
        "Zhang et al. 2023 (DRC-Net), Figure 6; widths and activations are our reading",
    ),
    ModelEntry(
        "rcnet",
        RCNet,
        "box",
        "torch",
        "Zou et al. 2020, PASP 132, 044503 (RC-Net), as DRC-Net's authors use it",
    ),
    ModelEntry(
        "logreg",
        LogisticRegression,
        "box",
        "classical",
        "principal components and logistic regression: the baseline to beat",
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
