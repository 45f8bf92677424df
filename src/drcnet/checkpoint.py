"""A trained model on disk: weights, and a card with everything needed to use them again.

Weights are safetensors and the card is JSON: nothing is unpickled.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from drcnet.dataset.loader import FULL, WEIGHED, lit_arms
from drcnet.errors import CheckpointError, ConfigError
from drcnet.models import MODELS, build_model
from drcnet.provenance import atomic_write, file_digest
from drcnet.stripes.normalize import NORMALIZATIONS, normalize

__all__ = [
    "CARD_FORMAT",
    "Card",
    "Classifier",
    "load_classifier",
    "pick_device",
    "predict",
    "read_card",
    "save_classifier",
    "softmax",
]

CARD_FORMAT = 1
"""Version of `card.json`."""

_BATCH = 256  # stars predicted at once; the numbers do not depend on it beyond rounding


@dataclass(frozen=True)
class Card:
    """What a checkpoint is: enough to build, feed and judge the model.

    Parameters
    ----------
    model : str
        Name in the registry.
    options : dict
        Every keyword argument of the model.
    classes : tuple of str
        Class names, in the order of the logits.
    view : str
        'stripes', 'box', 'optimal', ...: one of `drcnet.dataset.loader.VIEWS`.
    normalize : str
        'zscore', 'robust' or 'none'.
    instrument : str
        Name of the instrument's profile.
    stripes : dict
        The `StripeSettings` that cut the training set.
    split : str
        Digest of the split.
    seed : int
        The run's.
    epochs, best_epoch : int
        Epochs trained, and the one whose weights are kept; 0 where there are none.
    stopped : str
        Why training ended: 'epochs', 'patience', 'time', 'fitted', or 'error'.
    training : dict
        What was seen: stars, parameters, seconds, stars_per_second, losses.
    provenance : dict
        Settings, inputs and versions.
    weights : str
        Digest of `weights.safetensors`; filled in when saved.
    format : int
        `CARD_FORMAT`.
    """

    model: str
    options: dict[str, Any]
    classes: tuple[str, ...]
    view: str
    normalize: str
    instrument: str
    stripes: dict[str, Any]
    split: str
    seed: int
    epochs: int
    best_epoch: int
    stopped: str
    training: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    weights: str = ""
    format: int = CARD_FORMAT


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained model, ready for electrons.

    Parameters
    ----------
    run : Path
        The run folder it came from.
    card : Card
        What it is.
    model : torch.nn.Module
        In evaluation mode, on `device`.
    device : torch.device
        Where it computes.
    """

    run: Path
    card: Card
    model: nn.Module
    device: torch.device

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one star: (2, 11, 3000), (2, 3000), or (2, 2, 3000) with inverse variance."""
        options = self.card.options
        if self.card.view in WEIGHED:
            return (2, 2 + len(FULL.get(self.card.view, ())), options["n_wave"])
        spatial = (options["n_spatial"],) if "n_spatial" in options else ()
        return (2, *spatial, options["n_wave"])

    def probabilities(self, x: NDArray[np.floating]) -> NDArray[np.float64]:
        """Classify stars from electrons; normalises as in training.

        Parameters
        ----------
        x : ndarray, shape (n, 2, 11, 3000), (n, 2, 3000) or (n, 2, 2, 3000)
            Electrons of blue and red, as the run's view shows them.

        Returns
        -------
        ndarray, shape (n, n_class)
            Probabilities in the order of `card.classes`; NaN for a star without a finite pixel
            in one of its arms.

        Raises
        ------
        CheckpointError
            `x` has another shape than the model was trained on.
        """
        self._check(x)
        if not len(x):
            return np.empty((0, len(self.card.classes)))
        tensor = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
        logits = predict(self.model, tensor, self.device, how=self.card.normalize)
        probability = softmax(logits)
        probability[~lit_arms(x, self.card.view).all(axis=1)] = np.nan
        return probability

    @property
    def measures(self) -> tuple[str, ...]:
        """What the model measures beside the class: names of columns, none for most models."""
        return tuple(getattr(self.model, "estimates", ()))

    def estimates(self, x: NDArray[np.floating]) -> dict[str, NDArray[np.float64]]:
        """Measure what the model measures beside the class; most models measure nothing.

        Parameters
        ----------
        x : ndarray
            As for `probabilities`.

        Returns
        -------
        dict of str to ndarray, shape (n,)
            By name ('teff' in kelvin, 'logg', 'feh'); NaN as for `probabilities`.

        Raises
        ------
        CheckpointError
            `x` has another shape than the model was trained on.
        """
        self._check(x)
        if not self.measures or not len(x):
            return {name: np.empty(0) for name in self.measures}
        tensor = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
        estimate = cast("Callable[[Tensor], Tensor]", self.model.estimate)
        found = predict(estimate, tensor, self.device, how=self.card.normalize).numpy()
        found[~lit_arms(x, self.card.view).all(axis=1)] = np.nan
        return {name: found[:, k] for k, name in enumerate(self.measures)}

    def _check(self, x: NDArray[np.floating]) -> None:
        if x.shape[1:] != self.input_shape:
            raise CheckpointError(
                self.run, f"input of shape (n, {_spell(self.input_shape)})", f"{x.shape}"
            )


def load_classifier(
    run: Path, device: str = "auto", *, expect: Mapping[str, Any] | None = None
) -> Classifier:
    """Read a trained model from its run folder.

    Parameters
    ----------
    run : Path
        The run folder.
    device : str, default 'auto'
        'auto', 'cpu' or 'cuda'.
    expect : Mapping, optional
        Fields of the card and the values they must have, such as
        ``{"normalize": "zscore", "instrument": "lamost-lrs"}``.

    Returns
    -------
    Classifier
        Ready to use.

    Raises
    ------
    CheckpointError
        The folder, its card or its weights are absent or damaged, card and weights do not belong
        together, or the card is not what was expected.
    ConfigError
        The device is unknown or absent.
    """
    run = Path(run)
    where = pick_device(device)
    card = read_card(run)
    for name, wanted in (expect or {}).items():
        came = getattr(card, name)
        if came != wanted:
            raise CheckpointError(run / "card.json", f"{name} {wanted!r}", repr(came))
    weights = _read_weights(run / "weights.safetensors", card)
    model = _build(run, card)
    try:
        model.load_state_dict(weights)
    except (RuntimeError, KeyError) as err:
        detail = " ".join(str(err).split())[:200]
        raise CheckpointError(
            run / "weights.safetensors", f"the weights of {card.model} {card.options}", detail
        ) from err
    return Classifier(run, card, model.to(where).eval(), where)


def read_card(run: Path) -> Card:
    """Read and check `card.json`.

    Parameters
    ----------
    run : Path
        The run folder.

    Returns
    -------
    Card
        The card.

    Raises
    ------
    CheckpointError
        It is absent, no JSON, of another format, or lacks a field.
    """
    path = Path(run) / "card.json"
    if not path.is_file():
        raise CheckpointError(path, "the card of a finished run", "no such file")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise CheckpointError(path, "JSON", str(err)) from err
    if not isinstance(values, dict) or values.get("format") != CARD_FORMAT:
        came = values.get("format") if isinstance(values, dict) else type(values).__name__
        raise CheckpointError(path, f"a card of format {CARD_FORMAT}", repr(came))
    names = {f.name for f in dataclasses.fields(Card)}
    if set(values) != names:
        raise CheckpointError(
            path, f"the fields {', '.join(sorted(names))}", ", ".join(sorted(values))
        )
    card = Card(**(values | {"classes": tuple(values["classes"])}))
    if card.normalize not in NORMALIZATIONS:
        raise CheckpointError(path, f"a normalisation of {NORMALIZATIONS}", repr(card.normalize))
    return card


def save_classifier(run: Path, weights: Mapping[str, Tensor], card: Card) -> Card:
    """Write `weights.safetensors` and `card.json`, each whole.

    Parameters
    ----------
    run : Path
        The run folder.
    weights : Mapping of str to Tensor
        The model's state.
    card : Card
        What it is.

    Returns
    -------
    Card
        The card with the digest of the weights.
    """
    plain = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    target = Path(run) / "weights.safetensors"
    with atomic_write(target) as path:
        safetensors.torch.save_file(plain, path, metadata={"model": card.model})
    card = dataclasses.replace(card, weights=file_digest(target))
    with atomic_write(Path(run) / "card.json") as path:
        text = json.dumps(dataclasses.asdict(card), indent=2, sort_keys=True)
        path.write_text(text + "\n", encoding="utf-8")
    return card


@torch.inference_mode()
def predict(
    model: Callable[[Tensor], Tensor], x: Tensor, device: torch.device, *, how: str
) -> Tensor:
    """Compute logits in batches.

    Parameters
    ----------
    model : callable
        A network in evaluation mode, on `device`, or what it measures besides.
    x : Tensor, shape (n, 2, ...)
        Electrons, or normalised input with ``how='none'``.
    device : torch.device
        Where to compute.
    how : {'zscore', 'robust', 'none'}
        Normalisation.

    Returns
    -------
    Tensor, shape (n, n_class), float64, on the CPU
        Logits.
    """
    parts = [
        model(normalize(x[start : start + _BATCH].to(device), how)).double().cpu()
        for start in range(0, len(x), _BATCH)
    ]
    return torch.cat(parts)


def softmax(logits: Tensor) -> NDArray[np.float64]:
    """Turn logits into probabilities.

    Parameters
    ----------
    logits : Tensor, shape (n, n_class)
        From a model.

    Returns
    -------
    ndarray, shape (n, n_class)
        Rows that sum to 1.
    """
    return torch.softmax(logits.double(), dim=1).numpy()


def pick_device(name: str) -> torch.device:
    """Find a device by name.

    Parameters
    ----------
    name : str
        'auto' (an accelerator if there is one), 'cpu' or 'cuda'.

    Returns
    -------
    torch.device
        The device.

    Raises
    ------
    ConfigError
        The name is unknown, or there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise ConfigError("device", "'auto', 'cpu' or 'cuda'", repr(name))
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device", "a CUDA device for 'cuda'", "none on this machine")
    return torch.device(name)


def _build(run: Path, card: Card) -> nn.Module:
    if card.model not in MODELS:
        raise CheckpointError(
            run / "card.json", f"a model of {', '.join(MODELS)}", repr(card.model)
        )
    try:
        with torch.random.fork_rng(devices=[]):  # initial weights are drawn, then replaced
            model = build_model(card.model, len(card.classes), **card.options)
    except (TypeError, ValueError) as err:
        raise CheckpointError(run / "card.json", f"options of {card.model}", str(err)) from err
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _read_weights(path: Path, card: Card) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(path, "the weights of a finished run", "no such file")
    digest = file_digest(path)
    if digest != card.weights:
        raise CheckpointError(
            path, f"the weights that the card names ({card.weights})", f"others ({digest})"
        )
    try:
        return safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as err:
        raise CheckpointError(path, "a safetensors file", str(err)) from err


def _spell(shape: tuple[int, ...]) -> str:
    return ", ".join(str(n) for n in shape)
