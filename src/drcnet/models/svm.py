"""Support vector machine on principal components of extracted spectra.

Shapes: N stars, M support vectors, C components, K classes.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drcnet.models.classical import Fitted, fit_logit

__all__ = ["SupportVectors"]


class SupportVectors(Fitted):
    """One machine a class with a Gaussian kernel; their margins are turned into probabilities.

    A logistic regression on the margins of stars that the machine was not fitted to (three
    folds) does that; changed copies of one star may stand in several folds.

    Parameters
    ----------
    n_class : int, default 3
        Classes, K.
    n_wave : int
        Wavelength pixels of an arm, L.
    components : int, default 60
        Principal components, each in units of its own spread.
    scaling : {'standard', 'robust', 'none'}
        Of each pixel over the training stars.
    penalty_inverse : float, default 3
        Inverse strength of the penalty (scikit-learn's C).
    width : float, default 1
        Width of the kernel, in units of the typical distance between stars.
    """

    def __init__(
        self,
        n_class: int = 3,
        *,
        n_wave: int = 3000,
        components: int = 60,
        scaling: str = "standard",
        penalty_inverse: float = 3.0,
        width: float = 1.0,
    ) -> None:
        super().__init__(n_class, n_wave=n_wave, components=components, scaling=scaling)
        if width <= 0:
            raise ValueError(f"'width' must be above 0, got {width}")
        self.penalty_inverse = penalty_inverse
        self.width = width

    def _fit_components(
        self, scores: NDArray[np.float64], label: NDArray[np.integer], seed: int, balanced: bool
    ) -> dict[str, Any]:
        from sklearn.model_selection import StratifiedKFold, cross_val_predict  # noqa: PLC0415
        from sklearn.svm import SVC  # noqa: PLC0415

        gamma = 1.0 / (self.width**2 * scores.shape[1])
        weight = "balanced" if balanced else None
        folds = min(3, int(np.bincount(label).min()))
        coef = np.zeros((self.n_class, len(scores)))
        offset, margin = np.zeros(self.n_class), np.zeros((len(scores), self.n_class))
        for k in range(self.n_class):
            machine = SVC(C=self.penalty_inverse, gamma=gamma, class_weight=weight)
            own = label == k
            machine.fit(scores, own)
            coef[k, machine.support_] = machine.dual_coef_[0]
            offset[k] = machine.intercept_[0]
            margin[:, k] = machine.decision_function(scores)
            if folds > 1:
                cut = StratifiedKFold(folds, shuffle=True, random_state=seed)
                margin[:, k] = cross_val_predict(
                    machine, scores, own, cv=cut, method="decision_function"
                )
        turned = fit_logit(margin, label, seed=seed, balanced=False, inverse=1.0)
        used = coef.any(axis=0)
        return {
            "vectors": np.ascontiguousarray(scores[used]),
            "coef": np.ascontiguousarray(coef[:, used]),
            "offset": offset,
            "gamma": np.array([gamma]),
            "slope": turned["weight"],
            "bias": turned["bias"],
        }

    def _logits(self, scores: Tensor) -> Tensor:
        exact = "donot_use_mm_for_euclid_dist"
        apart = torch.cdist(scores, self.get_buffer("vectors"), compute_mode=exact)  # (N, M)
        kernel = torch.exp(-self.get_buffer("gamma") * apart**2)
        margin = kernel @ self.get_buffer("coef").T + self.get_buffer("offset")  # (N, K)
        return margin @ self.get_buffer("slope").T + self.get_buffer("bias")
