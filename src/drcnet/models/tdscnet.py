"""TDSC-Net: Li, R., Cao, G., Pu, Y., et al. 2024, Spectrosc. Spect. Anal. 44, 1968.

From its abstract: identical feature extraction layers for the blue and the red two-dimensional
spectrum, an attention mechanism, features fused, then classified. All sizes are our reading.

Shapes: N stars, S = 11 spatial pixels, L = 3000 wavelength pixels an arm, K classes.
"""

import torch
from torch import Tensor, nn

from drcnet.models.blocks import Attention, classifier

__all__ = ["TDSCNet"]

_STAGES = ((16, (3, 9), (1, 4)), (32, (3, 7), (2, 4)), (64, (3, 5), (2, 4)), (64, (1, 3), (2, 4)))
"""Channels, kernel and pool of each stage: 11 x 3000 becomes 1 x 11."""


class TDSCNet(nn.Module):
    """Two branches of 2-D convolutions with attention.

    Parameters
    ----------
    n_class : int, default 3
        Classes, K.
    n_spatial, n_wave : int
        Size of a stripe, S x L.
    hidden : int, default 128
        Width of the fully connected layer after the fusion.
    norm : bool, default False
        Batch normalisation after each convolution.
    dropout : float, default 0
        Dropout after the fully connected layer.
    """

    def __init__(
        self,
        n_class: int = 3,
        *,
        n_spatial: int = 11,
        n_wave: int = 3000,
        hidden: int = 128,
        norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        size = _size_left(n_spatial, n_wave)
        self.features = nn.ModuleList(_branch(norm=norm) for _ in range(2))
        self.classifier = classifier(2 * _STAGES[-1][0] * size, (hidden,), n_class, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Classify stars.

        Parameters
        ----------
        x : Tensor, shape (N, 2, S, L)
            Normalised stripes, blue then red.

        Returns
        -------
        Tensor, shape (N, K)
            Logits.
        """
        arms = [branch(x[:, a, None]).flatten(1) for a, branch in enumerate(self.features)]
        return self.classifier(torch.cat(arms, dim=1))  # fusion


def _size_left(n_spatial: int, n_wave: int) -> int:
    """Pixels of the last stage's features."""
    for _, _, (across, along) in _STAGES:
        n_spatial, n_wave = n_spatial // across, n_wave // along
    if n_spatial * n_wave < 1:
        raise ValueError("'n_spatial' and 'n_wave' of tdscnet must be at least 8 and 256")
    return n_spatial * n_wave


def _branch(*, norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    before = 1
    for after, kernel, pool in _STAGES:
        padding = (kernel[0] // 2, kernel[1] // 2)
        layers.append(nn.Conv2d(before, after, kernel, padding=padding, bias=not norm))
        if norm:
            layers.append(nn.BatchNorm2d(after))
        # on what the pool left: on the whole stripe attention would cost more than all the rest
        layers += [nn.ReLU(inplace=True), nn.MaxPool2d(pool), Attention(after, (3, 7))]
        before = after
    return nn.Sequential(*layers)
