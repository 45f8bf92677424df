"""Neighbours, forest and perceptron on principal components of extracted spectra.

Shapes: N stars, C components, K classes, T trees.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drcnet.models.classical import Fitted

__all__ = ["Forest", "Neighbors", "Perceptron"]

Scores = NDArray[np.float64]
Labels = NDArray[np.integer]


class Neighbors(Fitted):
    """The k nearest training stars vote, the nearer the more.

    Parameters
    ----------
    n_class : int, default 3
        Classes, K.
    n_wave : int
        Wavelength pixels of an arm, L.
    components : int, default 20
        Principal components, each in units of its own spread.
    scaling : {'standard', 'robust', 'none'}
        Of each pixel over the training stars.
    neighbors : int, default 15
        Stars that vote.
    """

    def __init__(
        self,
        n_class: int = 3,
        *,
        n_wave: int = 3000,
        components: int = 20,
        scaling: str = "standard",
        neighbors: int = 15,
    ) -> None:
        super().__init__(n_class, n_wave=n_wave, components=components, scaling=scaling)
        if neighbors < 1:
            raise ValueError(f"'neighbors' must be an int >= 1, got {neighbors}")
        self.neighbors = neighbors

    def _fit_components(
        self,
        scores: Scores,
        label: Labels,
        seed: int,  # noqa: ARG002  nothing is random
        balanced: bool,
    ) -> dict[str, Any]:
        count = np.bincount(label, minlength=self.n_class)
        votes = len(label) / (self.n_class * count) if balanced else np.ones(self.n_class)
        return {"stars": scores, "star_votes": np.eye(self.n_class)[label] * votes}

    def _logits(self, scores: Tensor) -> Tensor:
        stars, votes = self.get_buffer("stars"), self.get_buffer("star_votes")
        distance = torch.cdist(scores, stars, compute_mode="donot_use_mm_for_euclid_dist")
        near = distance.topk(min(self.neighbors, len(stars)), largest=False)
        weight = 1 / near.values.clamp_min(1e-9)  # (N, k)
        share = (weight[..., None] * votes[near.indices]).sum(dim=1)  # (N, K)
        return torch.log(share / share.sum(dim=1, keepdim=True) + 1e-3)


class Forest(Fitted):
    """Random forest; its trees are kept as tables of nodes.

    Parameters
    ----------
    n_class : int, default 3
        Classes, K.
    n_wave : int
        Wavelength pixels of an arm, L.
    components : int, default 60
        Principal components.
    scaling : {'standard', 'robust', 'none'}
        Of each pixel over the training stars.
    trees : int, default 300
        Trees, T.
    """

    def __init__(
        self,
        n_class: int = 3,
        *,
        n_wave: int = 3000,
        components: int = 60,
        scaling: str = "standard",
        trees: int = 300,
    ) -> None:
        super().__init__(n_class, n_wave=n_wave, components=components, scaling=scaling)
        self.trees = trees

    def _fit_components(
        self, scores: Scores, label: Labels, seed: int, balanced: bool
    ) -> dict[str, Any]:
        from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415

        forest = RandomForestClassifier(
            n_estimators=self.trees,
            class_weight="balanced" if balanced else None,
            random_state=seed,
        ).fit(scores, label)
        trees = [estimator.tree_ for estimator in forest.estimators_]
        size = max(tree.node_count for tree in trees)

        def table(name: str) -> NDArray[Any]:
            columns = [np.asarray(getattr(tree, name)) for tree in trees]
            tail = columns[0].shape[1:]
            padded = np.zeros((len(trees), size, *tail), dtype=columns[0].dtype)
            for row, column in zip(padded, columns, strict=True):
                row[: len(column)] = column
            return padded

        value = table("value")[:, :, 0]  # (T, nodes, K)
        total = np.maximum(value.sum(axis=-1, keepdims=True), 1e-12)
        return {
            "left": table("children_left"),
            "right": table("children_right"),
            "feature": np.maximum(table("feature"), 0),
            "threshold": table("threshold"),
            "value": value / total,
        }

    def _logits(self, scores: Tensor) -> Tensor:
        left, right = self.get_buffer("left"), self.get_buffer("right")
        tree = torch.arange(len(left), device=scores.device)  # (T,)
        star = torch.arange(len(scores), device=scores.device)[:, None]
        feature, threshold = self.get_buffer("feature"), self.get_buffer("threshold")
        # scikit-learn compares in float32
        scores = scores.float().double()
        node = torch.zeros(len(scores), len(left), dtype=torch.int64, device=scores.device)
        inner = left[tree, node] > 0
        while bool(inner.any()):
            below = scores[star, feature[tree, node]] <= threshold[tree, node]
            child = torch.where(below, left[tree, node], right[tree, node])
            node = torch.where(inner, child, node)
            inner = left[tree, node] > 0
        share = self.get_buffer("value")[tree, node].mean(dim=1)  # (N, K)
        return torch.log(share + 1e-3)


class Perceptron(Fitted):
    """Multi-layer perceptron with a ridge penalty.

    Parameters
    ----------
    n_class : int, default 3
        Classes, K.
    n_wave : int
        Wavelength pixels of an arm, L.
    components : int, default 60
        Principal components.
    scaling : {'standard', 'robust', 'none'}
        Of each pixel over the training stars.
    widths : sequence of int
        Hidden layers.
    ridge : float, default 1
        Penalty on the weights (scikit-learn's alpha).
    """

    def __init__(
        self,
        n_class: int = 3,
        *,
        n_wave: int = 3000,
        components: int = 60,
        scaling: str = "standard",
        widths: Sequence[int] = (64,),
        ridge: float = 1.0,
    ) -> None:
        super().__init__(n_class, n_wave=n_wave, components=components, scaling=scaling)
        self.widths = tuple(widths)
        self.ridge = ridge

    def _fit_components(
        self,
        scores: Scores,
        label: Labels,
        seed: int,
        balanced: bool,
    ) -> dict[str, Any]:
        from sklearn.neural_network import MLPClassifier  # noqa: PLC0415

        count = np.bincount(label, minlength=self.n_class)
        weight = len(label) / (self.n_class * count[label]) if balanced else None
        learner = MLPClassifier(
            hidden_layer_sizes=self.widths,
            alpha=self.ridge,
            solver="lbfgs",
            max_iter=5000,
            max_fun=100_000,
            random_state=seed,
        ).fit(scores, label, sample_weight=weight)
        arrays = {f"weight{k}": w for k, w in enumerate(learner.coefs_)}
        arrays |= {f"bias{k}": b for k, b in enumerate(learner.intercepts_)}
        last = len(self.widths)
        if arrays[f"weight{last}"].shape[1] == 1:  # two classes: one output, their difference
            for name in (f"weight{last}", f"bias{last}"):
                arrays[name] = np.concatenate([-arrays[name] / 2, arrays[name] / 2], axis=-1)
        return arrays

    def _logits(self, scores: Tensor) -> Tensor:
        x = scores
        for k in range(len(self.widths) + 1):
            if k:
                x = torch.relu(x)
            x = x @ self.get_buffer(f"weight{k}") + self.get_buffer(f"bias{k}")
        return x
