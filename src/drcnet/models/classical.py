"""Classical learners on principal components of extracted spectra.

Each is fitted by scikit-learn, then kept as plain arrays in a torch module: one way to save,
load, check and predict serves every model here, nothing is ever unpickled, and classifying needs
no scikit-learn.

Shapes: N stars, L wavelength pixels an arm, D = 2L values a star, C components, K classes.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["Fitted", "LogisticRegression", "fit_logit"]

_SCALINGS = ("standard", "robust", "none")
_IQR_TO_SIGMA = 1.3489795003921634  # of a normal distribution


class Fitted(nn.Module):
    """A model that is fitted in one go, on principal components.

    A subclass names its arrays and computes them in `_fit_components`.

    Parameters
    ----------
    n_class : int
        Classes, K.
    n_wave : int
        Wavelength pixels of an arm, L.
    components : int
        Principal components, C; fewer where there are fewer stars or pixels.
    scaling : {'standard', 'robust', 'none'}
        Of each pixel over the training stars, before the components: mean and standard
        deviation, median and interquartile range, or nothing.
    """

    def __init__(self, n_class: int, *, n_wave: int, components: int, scaling: str) -> None:
        super().__init__()
        if scaling not in _SCALINGS:
            raise ValueError(f"'scaling' must be one of {', '.join(_SCALINGS)}, got {scaling!r}")
        if components < 1:
            raise ValueError(f"'components' must be an int >= 1, got {components}")
        self.n_class = n_class
        self.n_wave = n_wave
        self.components = components
        self.scaling = scaling

    def fit(
        self, x: NDArray[np.floating], label: NDArray[np.integer], *, seed: int, balanced: bool
    ) -> None:
        """Fit scaling, components and the learner; the same seed gives the same arrays.

        Parameters
        ----------
        x : ndarray, shape (N, 2, L)
            Normalised spectra.
        label : ndarray of int, shape (N,)
            Classes, 0 to K - 1, each at least once.
        seed : int
            For what is random in the fit.
        balanced : bool
            Weigh stars by the inverse frequency of their class, where the learner can.
        """
        from sklearn.decomposition import PCA  # noqa: PLC0415  classifying needs no scikit-learn

        flat = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
        centre, scale = _pixel_scale(flat, self.scaling)
        flat = (flat - centre) / scale
        pca = PCA(
            n_components=min(self.components, *flat.shape),
            svd_solver="randomized",
            random_state=seed,
        )
        scores = pca.fit_transform(flat)
        # components in units of their own spread: the learners' penalties then mean the same
        spread = np.maximum(scores.std(axis=0), 1e-12)
        rotation = (pca.components_ / spread[:, None]).T / scale[:, None]
        origin = centre + scale * pca.mean_
        self._keep(rotation=rotation, origin=origin)
        self._keep(**self._fit_components(scores / spread, np.asarray(label), seed, balanced))

    def forward(self, x: Tensor) -> Tensor:
        """Classify stars.

        Parameters
        ----------
        x : Tensor, shape (N, 2, L)
            Normalised spectra, blue then red.

        Returns
        -------
        Tensor, shape (N, K)
            Logits: the logarithm of the probabilities, up to a constant a star.
        """
        rotation = self._fitted("rotation")
        flat = x.reshape(len(x), -1).to(rotation.dtype)
        return self._logits((flat - self.get_buffer("origin")) @ rotation)

    def _fit_components(
        self, scores: NDArray[np.float64], label: NDArray[np.integer], seed: int, balanced: bool
    ) -> dict[str, Any]:
        raise NotImplementedError

    def _logits(self, scores: Tensor) -> Tensor:
        raise NotImplementedError

    def _keep(self, **arrays: Any) -> None:
        """Hold arrays as buffers; floats in double precision, as they were fitted."""
        for name, array in arrays.items():
            values = np.asarray(array)
            kind = np.float64 if values.dtype.kind == "f" else np.int64
            self.register_buffer(name, torch.from_numpy(np.array(values, dtype=kind)))

    def _fitted(self, name: str) -> Tensor:
        """Give an array that only a fit or a file can have brought."""
        if name not in self._buffers:
            raise RuntimeError(f"{type(self).__name__} must be fitted or loaded before use")
        return self.get_buffer(name)

    def _linear(self, scores: Tensor) -> Tensor:
        """Apply what `fit_logit` gave."""
        return scores @ self._fitted("weight").T + self._fitted("bias")

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """Make room for the fitted arrays, whose sizes only the data know."""
        for key, values in state_dict.items():
            name = key.removeprefix(prefix)
            if key.startswith(prefix) and "." not in name:
                self.register_buffer(name, torch.empty_like(values))
        super()._load_from_state_dict(state_dict, prefix, *args)  # type: ignore[no-untyped-call]


class LogisticRegression(Fitted):
    """Principal components and multinomial logistic regression: the baseline to beat.

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
    penalty_inverse : float, default 1
        Inverse strength of the ridge penalty on the standardised components (scikit-learn's C).
    """

    def __init__(
        self,
        n_class: int = 3,
        *,
        n_wave: int = 3000,
        components: int = 60,
        scaling: str = "standard",
        penalty_inverse: float = 1.0,
    ) -> None:
        super().__init__(n_class, n_wave=n_wave, components=components, scaling=scaling)
        self.penalty_inverse = penalty_inverse

    def _fit_components(
        self, scores: NDArray[np.float64], label: NDArray[np.integer], seed: int, balanced: bool
    ) -> dict[str, Any]:
        return fit_logit(scores, label, seed=seed, balanced=balanced, inverse=self.penalty_inverse)

    def _logits(self, scores: Tensor) -> Tensor:
        return self._linear(scores)


def fit_logit(
    scores: NDArray[np.floating],
    label: NDArray[np.integer],
    *,
    seed: int,
    balanced: bool,
    inverse: float,
) -> dict[str, Any]:
    """Fit a multinomial logit.

    Parameters
    ----------
    scores : ndarray, shape (N, C)
        What is known of each star.
    label : ndarray of int, shape (N,)
        Classes, each at least once.
    seed : int
        For the solver.
    balanced : bool
        Weigh stars by the inverse frequency of their class.
    inverse : float
        Inverse strength of the ridge penalty (scikit-learn's C).

    Returns
    -------
    dict
        `weight` (K, C) and `bias` (K,).
    """
    from sklearn.linear_model import LogisticRegression as Learner  # noqa: PLC0415

    learner = Learner(
        C=inverse,
        max_iter=5000,
        class_weight="balanced" if balanced else None,
        random_state=seed,
    ).fit(scores, label)
    weight, bias = learner.coef_, learner.intercept_
    if len(weight) == 1:  # two classes: scikit-learn keeps the difference of the logits
        weight = np.vstack([-weight / 2, weight / 2])
        bias = np.concatenate([-bias / 2, bias / 2])
    return {"weight": weight, "bias": bias}


def _pixel_scale(
    flat: NDArray[np.float64], scaling: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre and spread of each pixel, (D,) each; a pixel without spread keeps its scale."""
    if scaling == "none":
        return np.zeros(flat.shape[1]), np.ones(flat.shape[1])
    if scaling == "standard":
        centre, scale = flat.mean(axis=0), flat.std(axis=0)
    else:
        low, centre, high = np.percentile(flat, [25, 50, 75], axis=0)
        scale = (high - low) / _IQR_TO_SIGMA
    return centre, np.where(scale > 0, scale, 1.0)
