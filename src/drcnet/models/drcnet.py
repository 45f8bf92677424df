"""DRC-Net: Zhang, M.-R., Gao, J.-P., Qiu, B., et al. (published 2023 October 25), Figure 6.

Shapes: N stars, S = 11 spatial pixels, L = 3000 wavelength pixels, K classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from drcnet.models.blocks import RCNET_WIDTHS, Backbone, Reduction, classifier

__all__ = ["DRCNet"]


class DRCNet(nn.Module):
    """Double-branch network on the blue and the red stripe of a star.

    Each keyword is a place where the paper leaves a choice; the defaults are our reading of it.

    Parameters
    ----------
    n_class : int, default 3
        Classes, K.
    n_spatial, n_wave : int
        Size of a stripe, S x L.
    reduction_channels, reduction_kernels : sequence of int
        Channels and kernel widths of the three convolutions across the stripe. The paper gives
        the kernels (5, 5, 3), not the channels.
    reduction_wave_kernel : int, default 1
        Width of those kernels along wavelength; more than the paper's 1 makes them truly 2-D.
    reduction_activation : {'relu', 'linear'}
        Between those convolutions; 'linear' with one output channel is a learned aperture.
    shared_branches : bool, default False
        Use the same weights for both arms ("two identical feature extraction units" may mean
        either).
    widths : sequence of int
        Channels of the backbone's stages; not in the paper, see `RCNET_WIDTHS`.
    pooling : {'linear', 'average'}
        How 128 x 11 becomes the paper's 1 x 128.
    fusion : {'channels', 'length'}
        Concatenate the arms as 2 channels of 128, or as one of 256.
    fusion_widths : sequence of int
        Channels of the two 1x3 convolutions after it.
    classifier_widths : sequence of int
        Hidden widths of the three fully connected layers.
    norm : bool, default False
        Batch normalisation in reduction, backbone and fusion; the paper has none.
    dropout : float, default 0
        Dropout in the classifier; the paper has none.
    """

    def __init__(
        self,
        n_class: int = 3,
        *,
        n_spatial: int = 11,
        n_wave: int = 3000,
        reduction_channels: Sequence[int] = (8, 8, 1),
        reduction_kernels: Sequence[int] = (5, 5, 3),
        reduction_wave_kernel: int = 1,
        reduction_activation: str = "relu",
        shared_branches: bool = False,
        widths: Sequence[int] = RCNET_WIDTHS,
        pooling: str = "linear",
        fusion: str = "channels",
        fusion_widths: Sequence[int] = (16, 16),
        classifier_widths: Sequence[int] = (128, 64),
        norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        n_branch = 1 if shared_branches else 2
        n_feature = widths[-1] if pooling == "average" else 128
        self.reduction = nn.ModuleList(
            Reduction(
                n_spatial,
                channels=reduction_channels,
                kernels=reduction_kernels,
                wave_kernel=reduction_wave_kernel,
                activation=reduction_activation,
                norm=norm,
            )
            for _ in range(n_branch)
        )
        self.features = nn.ModuleList(
            Backbone(
                reduction_channels[-1] if reduction_channels else 1,
                n_wave,
                widths=widths,
                pooling=pooling,
                n_feature=n_feature,
                norm=norm,
            )
            for _ in range(n_branch)
        )
        self.fusion = _Fusion(fusion, fusion_widths, norm=norm)
        n_fused = fusion_widths[-1] * n_feature * (2 if fusion == "length" else 1)
        self.classifier = classifier(n_fused, classifier_widths, n_class, dropout)

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
        # indices -1 and 0 are the same branch where branches are shared
        blue = self.features[0](self.reduction[0](x[:, 0:1]))  # (N, 128)
        red = self.features[-1](self.reduction[-1](x[:, 1:2]))  # (N, 128)
        fused = self.fusion(torch.stack([blue, red], dim=1))  # (N, C * 128 or C * 256)
        return self.classifier(fused)


class _Fusion(nn.Module):
    """Two 1x3 convolutions over the features of both arms, (N, 2, F) to (N, C * F or C * 2F)."""

    def __init__(self, mode: str, widths: Sequence[int], *, norm: bool) -> None:
        super().__init__()
        if mode not in ("channels", "length"):
            raise ValueError(f"'fusion' must be 'channels' or 'length', got {mode!r}")
        self.arms_as_channels = 2 if mode == "channels" else 1
        before = self.arms_as_channels
        layers: list[nn.Module] = []
        for after in widths:
            layers.append(nn.Conv1d(before, after, 3, padding=1, bias=not norm))
            if norm:
                layers.append(nn.BatchNorm1d(after))
            layers.append(nn.ReLU())
            before = after
        self.layers = nn.Sequential(*layers, nn.Flatten())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.reshape(len(x), self.arms_as_channels, -1))
