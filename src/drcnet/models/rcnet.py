"""RC-Net, the one-dimensional network under DRC-Net.

Zou, Z., Zhu, T., Xu, L. & Luo, A.-L. 2020, PASP 132, 044503.

Shapes: N stars, L = 3000 wavelength pixels an arm, K classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from drcnet.models.blocks import RCNET_WIDTHS, Backbone, classifier

__all__ = ["RCNet"]


class RCNet(nn.Module):
    """Residual network on extracted spectra.

    Parameters
    ----------
    n_class : int, default 3
        Classes, K.
    n_wave : int
        Wavelength pixels of an arm, L.
    arms : {'channels', 'concatenated', 'branches'}
        How the two arms enter: as two channels of L, one after the other as 2L, or each through
        a backbone of its own (the fair control for DRC-Net, which has two).
    widths : sequence of int
        Channels of the backbone's stages.
    pooling : {'linear', 'average'}
        How the pooled length becomes one vector of 128.
    classifier_widths : sequence of int
        Hidden widths of the fully connected layers after it; none as published re-implementations
        have it.
    norm : bool, default False
        Batch normalisation; the paper has none.
    dropout : float, default 0
        Dropout between the layers of the classifier; the paper has none.
    """

    def __init__(
        self,
        n_class: int = 3,
        *,
        n_wave: int = 3000,
        arms: str = "channels",
        widths: Sequence[int] = RCNET_WIDTHS,
        pooling: str = "linear",
        classifier_widths: Sequence[int] = (),
        norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if arms not in _ARRANGE:
            raise ValueError(f"'arms' must be one of {', '.join(_ARRANGE)}, got {arms!r}")
        self.arrange = _ARRANGE[arms]
        n_feature = widths[-1] if pooling == "average" else 128
        n_branch = 2 if arms == "branches" else 1
        self.features = nn.ModuleList(
            Backbone(
                2 if arms == "channels" else 1,
                2 * n_wave if arms == "concatenated" else n_wave,
                widths=widths,
                pooling=pooling,
                n_feature=n_feature,
                norm=norm,
            )
            for _ in range(n_branch)
        )
        self.classifier = classifier(n_branch * n_feature, classifier_widths, n_class, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Classify stars.

        Parameters
        ----------
        x : Tensor, shape (N, 2, L)
            Normalised spectra, blue then red.

        Returns
        -------
        Tensor, shape (N, K)
            Logits.
        """
        inputs = self.arrange(x)
        vectors = [branch(part) for branch, part in zip(self.features, inputs, strict=True)]
        return self.classifier(torch.cat(vectors, dim=1))


def _as_channels(x: Tensor) -> list[Tensor]:
    return [x[:, :, None]]  # (N, 2, 1, L)


def _concatenated(x: Tensor) -> list[Tensor]:
    return [x.reshape(len(x), 1, 1, -1)]  # (N, 1, 1, 2L)


def _as_branches(x: Tensor) -> list[Tensor]:
    return [x[:, 0, None, None], x[:, 1, None, None]]  # (N, 1, 1, L) each


_ARRANGE = {
    "channels": _as_channels,
    "concatenated": _concatenated,
    "branches": _as_branches,
}
