"""FFCNN, our reading: Spectroscopy and Spectral Analysis 42, 1881 (2022).

Shapes: N stars, S = 11 spatial pixels, L = 3000 wavelength pixels, K classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from drcnet.models.blocks import classifier

__all__ = ["FFCNN"]

_KERNEL = (3, 20)


class FFCNN(nn.Module):
    """Feature-fusion network: one 2-D CNN an arm with 3x20 kernels, fused, and a further CNN.

    Published: the two CNNs, their kernel, the fusion, the CNN after it. Widths, strides and
    pooling are not public; those here are ours.

    Parameters
    ----------
    n_class : int, default 3
        Classes, K.
    n_spatial, n_wave : int
        Size of a stripe, S x L.
    widths : sequence of int
        Channels of each arm's stages; each halves the wavelengths by a stride and again by a
        pool.
    fusion_width : int, default 64
        Channels of the convolution after the fusion.
    hidden : int, default 128
        Width of the fully connected layer.
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
        widths: Sequence[int] = (8, 16, 32),
        fusion_width: int = 64,
        hidden: int = 128,
        norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if n_wave < 4 ** len(widths) or n_spatial < 3:
            raise ValueError(
                f"'n_spatial' and 'n_wave' of ffcnn must be at least 3 and {4 ** len(widths)}, "
                f"got {n_spatial} and {n_wave}"
            )
        self.features = nn.ModuleList(_arm(widths, norm=norm) for _ in range(2))
        self.fusion = nn.Sequential(
            *_convolution(2 * widths[-1], fusion_width, 1, norm=norm),
            nn.AdaptiveAvgPool2d((1, 4)),
            nn.Flatten(),
        )
        self.classifier = classifier(4 * fusion_width, (hidden,), n_class, dropout)

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
        arms = [branch(x[:, k : k + 1]) for k, branch in enumerate(self.features)]
        return self.classifier(self.fusion(torch.cat(arms, dim=1)))


def _convolution(before: int, after: int, stride: int, *, norm: bool) -> list[nn.Module]:
    # 20 is even: one pixel more on the red side keeps the length
    padding = nn.ZeroPad2d((9, 10, 1, 1))
    layer = nn.Conv2d(before, after, _KERNEL, stride=(1, stride), bias=not norm)
    normed: list[nn.Module] = [nn.BatchNorm2d(after)] if norm else []
    return [padding, layer, *normed, nn.ReLU(inplace=True)]


def _arm(widths: Sequence[int], *, norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    before = 1
    for after in widths:
        layers += [*_convolution(before, after, 2, norm=norm), nn.MaxPool2d((1, 2))]
        before = after
    return nn.Sequential(*layers)
