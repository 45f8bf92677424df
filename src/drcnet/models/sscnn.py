"""SSCNN: Liu, W., Zhu, M., Dai, C., et al. 2019, MNRAS 483, 4774.

Shapes: N stars, L = 3000 wavelength pixels an arm, K classes.
"""

from torch import Tensor, nn

from drcnet.models.blocks import classifier

__all__ = ["SSCNN"]


class SSCNN(nn.Module):
    """Four wide convolutions and two fully connected layers.

    Published: Conv 64, Conv 64, pool 4, Conv 32, Conv 32, pool 4, FC 1024, FC classes, kernels of
    16, ReLU throughout. Ours: the two arms enter as two channels, convolutions do not pad.

    Parameters
    ----------
    n_class : int, default 3
        Classes, K.
    n_wave : int
        Wavelength pixels of an arm, L.
    hidden : int, default 1024
        Width of the fully connected layer.
    norm : bool, default False
        Batch normalisation after each convolution (not published).
    dropout : float, default 0
        Dropout after the fully connected layer (not published).
    """

    def __init__(
        self,
        n_class: int = 3,
        *,
        n_wave: int = 3000,
        hidden: int = 1024,
        norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        length = _left(_left(n_wave))
        if length < 1:
            raise ValueError(f"'n_wave' of sscnn must be at least 166, got {n_wave}")
        self.features = nn.Sequential(_stage(2, 64, norm=norm), _stage(64, 32, norm=norm))
        self.classifier = classifier(32 * length, (hidden,), n_class, dropout)

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
        return self.classifier(self.features(x[:, :, None]).flatten(1))


def _left(length: int) -> int:
    """Pixels after two convolutions of 16 and a pool of 4."""
    return (length - 30) // 4


def _stage(before: int, after: int, *, norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (before, after):
        layers.append(nn.Conv2d(width, after, (1, 16), bias=not norm))
        if norm:
            layers.append(nn.BatchNorm2d(after))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers, nn.MaxPool2d((1, 4)))
