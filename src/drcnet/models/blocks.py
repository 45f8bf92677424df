"""The parts from which the networks are built.

Convolutions along wavelength are written as 1 x k convolutions over ``(N, C, 1, L)``: the same
sums as a 1-D convolution, but PyTorch can hold them channels-last, which is 1.3-1.5 times faster
on a CPU. Shapes: N stars, C channels, S spatial pixels, L wavelength pixels.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from drcnet.models.fused import Norm, norm_relu
from drcnet.models.pool import Pool

__all__ = [
    "RCNET_WIDTHS",
    "Attention",
    "Backbone",
    "Reduction",
    "ResidualModule",
    "classifier",
    "conv",
]

RCNET_WIDTHS = (16, 16, 32, 32, 64, 64, 128, 128)
"""Channels of RC-Net's eight stages in its public re-implementations (the paper has none)."""


def conv(in_channels: int, out_channels: int, kernel: int, *, norm: bool) -> nn.Sequential:
    """Make a convolution along wavelength that keeps the length.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels.
    kernel : int
        Odd width in pixels.
    norm : bool
        Follow it by batch normalisation (which then carries the bias).

    Returns
    -------
    torch.nn.Sequential
        ``(N, in_channels, 1, L)`` to ``(N, out_channels, 1, L)``.
    """
    layer = nn.Conv2d(
        in_channels, out_channels, (1, kernel), padding=(0, kernel // 2), bias=not norm
    )
    return nn.Sequential(layer, Norm(out_channels)) if norm else nn.Sequential(layer)


class ResidualModule(nn.Module):
    """Three 1x3 convolutions and a 1x1 convolution on the skip, added (the paper's Figure 5).

    ReLU stands after the first two convolutions and after the sum, as in public
    re-implementations of RC-Net (Zou et al. 2020).

    Parameters
    ----------
    in_channels, out_channels : int
        Channels.
    norm : bool, default False
        Batch normalisation after each convolution (not in the paper).
    """

    def __init__(self, in_channels: int, out_channels: int, *, norm: bool = False) -> None:
        super().__init__()
        self.path = nn.Sequential(
            conv(in_channels, out_channels, 3, norm=norm),
            nn.ReLU(inplace=True),
            conv(out_channels, out_channels, 3, norm=norm),
            nn.ReLU(inplace=True),
            conv(out_channels, out_channels, 3, norm=norm),
        )
        self.skip = conv(in_channels, out_channels, 1, norm=norm)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Add path and skip.

        Parameters
        ----------
        x : Tensor, shape (N, in_channels, 1, L)
            Features.

        Returns
        -------
        Tensor, shape (N, out_channels, 1, L)
            Features.
        """
        if len(self.skip) == 1:  # nothing is normalised
            return self.activation(self.path(x) + self.skip(x))
        first, _, second, _, third = self.path
        y = norm_relu(_before_norm(first, x))
        y = norm_relu(_before_norm(second, y))
        return norm_relu(_before_norm(third, y), _before_norm(self.skip, x))


def _before_norm(convolution: nn.Module, x: Tensor) -> tuple[Norm, Tensor]:
    """What `conv` made, as far as its normalisation, and that."""
    layer, norm = cast("nn.Sequential", convolution)
    return cast("Norm", norm), layer(x)


class Attention(nn.Module):
    """Weigh features, then places: what matters, and where (after Woo et al. 2018, CBAM).

    Weights for each channel come from its average, through two small layers; weights for each
    place from the channels' mean and maximum there, through one convolution. They lie between 0
    and 2, near 1 where nothing is learnt yet: smaller ones would put a deep network to sleep.

    Parameters
    ----------
    channels : int
        Channels, C.
    kernel : tuple of int
        Odd size of the convolution over places, across and along.
    """

    def __init__(self, channels: int, kernel: tuple[int, int] = (1, 7)) -> None:
        super().__init__()
        hidden = max(channels // 8, 4)
        self.features = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, hidden, 1),
            nn.GELU(),
            nn.Conv2d(hidden, channels, 1),
            nn.Sigmoid(),
        )
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.places = nn.Sequential(nn.Conv2d(2, 1, kernel, padding=padding), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Weigh.

        Parameters
        ----------
        x : Tensor, shape (N, C, S, L)
            Features.

        Returns
        -------
        Tensor, shape (N, C, S, L)
            Weighed features.
        """
        x = x * (2 * self.features(x))  # the factor on the small tensor
        seen = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        return x * (2 * self.places(seen))


class Reduction(nn.Module):
    """The paper's data dimension reduction: convolutions across the fibre, S pixels to one.

    Kernels 5x1, 5x1, 3x1 take 11 pixels to 7, to 3, to 1; neighbouring wavelengths never mix.
    With ``activation='linear'``, no `norm` and one output channel this is exactly one weighted
    sum of S pixels: a learned aperture.

    Parameters
    ----------
    n_spatial : int
        Pixels across the stripe, S.
    channels : sequence of int
        Channels after each convolution.
    kernels : sequence of int
        Width of each convolution, pixels; together they must use up all S pixels. None at all
        leave a spectrum, S = 1, as it is.
    wave_kernel : int, default 1
        Odd width along wavelength; the paper's is 1, more makes the kernels truly 2-D.
    activation : {'relu', 'linear'}
        What stands between the convolutions; nothing stands after the last.
    norm : bool, default False
        Batch normalisation after each convolution (not in the paper). It costs a fifth of a
        training step, these arrays being the network's largest; with the result alone
        normalised, learning starts several times more slowly.
    """

    def __init__(
        self,
        n_spatial: int,
        *,
        channels: Sequence[int] = (8, 8, 1),
        kernels: Sequence[int] = (5, 5, 3),
        wave_kernel: int = 1,
        activation: str = "relu",
        norm: bool = False,
    ) -> None:
        super().__init__()
        if len(channels) != len(kernels):
            raise ValueError(
                f"'channels' and 'kernels' of the reduction must be equally long, "
                f"got {tuple(channels)} and {tuple(kernels)}"
            )
        left = n_spatial - sum(k - 1 for k in kernels)
        if left != 1:
            raise ValueError(
                f"'kernels' of the reduction must take {n_spatial} pixels to 1, "
                f"got {tuple(kernels)}, which leave {left}"
            )
        if wave_kernel < 1 or wave_kernel % 2 == 0:
            raise ValueError(
                f"'wave_kernel' of the reduction must be an odd int >= 1, got {wave_kernel}"
            )
        if activation not in ("relu", "linear"):
            raise ValueError(
                f"'activation' of the reduction must be 'relu' or 'linear', got {activation!r}"
            )
        layers: list[nn.Module] = []
        before = 1
        for after, kernel in zip(channels, kernels, strict=True):
            if layers and activation == "relu":
                layers.append(nn.ReLU(inplace=True))
            size, padding = (kernel, wave_kernel), (0, wave_kernel // 2)
            layers.append(nn.Conv2d(before, after, size, padding=padding, bias=not norm))
            if norm:
                layers.append(Norm(after))
            before = after
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Collapse a stripe to a spectrum.

        Parameters
        ----------
        x : Tensor, shape (N, 1, S, L)
            Stripes of one arm.

        Returns
        -------
        Tensor, shape (N, channels[-1], 1, L)
            Spectra.
        """
        if not torch.is_grad_enabled():
            return self.layers(x)
        pixels = x.shape[2]  # where something is learnt, as matrices
        x = x.transpose(1, 2).contiguous(memory_format=torch.channels_last)  # (N, S, 1, L)
        layers = list(self.layers)
        while layers:
            layer = layers.pop(0)
            if isinstance(layer, nn.Conv2d):
                matrix = _across(layer.weight, pixels)
                pixels = pixels - layer.weight.shape[2] + 1
                bias = None if layer.bias is None else layer.bias.repeat(pixels)
                x = conv2d(x, matrix, bias, padding=(0, matrix.shape[3] // 2))
            elif isinstance(layer, Norm) and layers and isinstance(layers[0], nn.ReLU):
                layers.pop(0)
                x = _as_row(norm_relu((layer, _as_places(x, pixels))))
            else:
                x = _as_row(layer(_as_places(x, pixels)))
        return x


def _across(weight: Tensor, pixels: int) -> Tensor:
    """A convolution across `pixels` as one matrix from all of them to all that are left.

    The same sums, several times faster: few channels and a long kernel are slow as an image. From
    (O, I, K, w) to (P O, S I, 1, w), the channels of a pixel beside each other.
    """
    out_channels, _, kernel, along = weight.shape
    left = pixels - kernel + 1
    lines = weight.transpose(1, 2)  # (O, K, I, w)
    shifted = [pad(lines, (0, 0, 0, 0, p, left - 1 - p)) for p in range(left)]
    return torch.stack(shifted).reshape(left * out_channels, -1, 1, along)


def _as_places(x: Tensor, pixels: int) -> Tensor:
    """(N, P C, 1, L) as an image of C channels, (N, C, L, P), where it lies."""
    return x.permute(0, 2, 3, 1).unflatten(3, (pixels, -1)).squeeze(1).permute(0, 3, 1, 2)


def _as_row(x: Tensor) -> Tensor:
    """Undo `_as_places`."""
    return x.permute(0, 2, 3, 1).flatten(2).unsqueeze(1).permute(0, 3, 1, 2)


class Backbone(nn.Module):
    """RC-Net's feature module: eight times [residual module, max pool of 2], then 128 numbers.

    3000 pixels are pooled to 11; "a 1D vector output with a size of 1x128" is then read as a
    fully connected layer on the 128 x 11 values, followed by ReLU (``pooling='linear'``), or as
    their average over wavelength (``pooling='average'``).

    Parameters
    ----------
    in_channels : int
        Channels of the input.
    n_wave : int
        Wavelength pixels of the input, L.
    widths : sequence of int
        Channels of each stage.
    pooling : {'linear', 'average'}
        How the pooled length becomes one vector.
    n_feature : int
        Length of that vector; ``'average'`` needs the last of `widths`.
    norm : bool, default False
        Batch normalisation (not in the paper).
    attention : bool, default False
        `Attention` after each residual module, as in RAC-Net.
    """

    def __init__(
        self,
        in_channels: int,
        n_wave: int,
        *,
        widths: Sequence[int] = RCNET_WIDTHS,
        pooling: str = "linear",
        n_feature: int = 128,
        norm: bool = False,
        attention: bool = False,
    ) -> None:
        super().__init__()
        length = n_wave >> len(widths)
        if length < 1:
            raise ValueError(
                f"'n_wave' must be at least {1 << len(widths)} for {len(widths)} poolings, "
                f"got {n_wave}"
            )
        stages: list[nn.Module] = []
        before = in_channels
        for after in widths:
            stages.append(ResidualModule(before, after, norm=norm))
            if attention:
                stages.append(Attention(after))
            stages.append(Pool())
            before = after
        self.stages = nn.Sequential(*stages)
        self.vector = _vector(before, length, pooling, n_feature, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """Turn a spectrum into features.

        Parameters
        ----------
        x : Tensor, shape (N, in_channels, 1, L)
            Spectra.

        Returns
        -------
        Tensor, shape (N, n_feature)
            Features.
        """
        return self.vector(self.stages(x))


def _vector(
    channels: int, length: int, pooling: str, n_feature: int, *, norm: bool
) -> nn.Sequential:
    """(N, channels, 1, length) to (N, n_feature)."""
    if pooling == "average":
        if n_feature != channels:
            raise ValueError(
                f"'n_feature' must be {channels}, the last width, with average pooling, "
                f"got {n_feature}"
            )
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    if pooling != "linear":
        raise ValueError(f"'pooling' must be 'linear' or 'average', got {pooling!r}")
    layers: list[nn.Module] = [
        nn.Flatten(),
        nn.Linear(channels * length, n_feature, bias=not norm),
    ]
    if norm:
        layers.append(nn.BatchNorm1d(n_feature))
    return nn.Sequential(*layers, nn.ReLU(inplace=True))


def classifier(n_in: int, widths: Sequence[int], n_class: int, dropout: float = 0.0) -> nn.Module:
    """Make fully connected layers with ReLU (and dropout) between, logits at the end.

    Parameters
    ----------
    n_in : int
        Features in.
    widths : sequence of int
        Width of each hidden layer.
    n_class : int
        Logits out.
    dropout : float, default 0
        Share of hidden values dropped in training.

    Returns
    -------
    torch.nn.Module
        ``(N, n_in)`` to ``(N, n_class)``.
    """
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(n_in, width), nn.ReLU(inplace=True)]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
        n_in = width
    return nn.Sequential(*layers, nn.Linear(n_in, n_class))
