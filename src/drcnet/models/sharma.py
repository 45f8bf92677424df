"""The one-dimensional CNN of Sharma, Kembhavi, Kembhavi et al. 2020, MNRAS 491, 2280.

Published: convolutions with pooling on the spectrum, dense layers with dropout. Widths here are
our reading.

Shapes: N stars, L = 3000 wavelength pixels an arm, K classes.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from drcnet.models.blocks import classifier, conv

__all__ = ["Sharma"]


class Sharma(nn.Module):
    """Convolutions and pools, then dense layers.

    Parameters
    ----------
    n_class : int, default 3
        Classes, K.
    n_wave : int
        Wavelength pixels of an arm, L.
    widths : sequence of int
        Channels of the stages, each a convolution of 9 pixels and a pool of 4.
    hidden : sequence of int
        Widths of the dense layers.
    norm : bool, default False
        Batch normalisation after each convolution.
    dropout : float, default 0.2
        Dropout after each dense layer.
    """

    def __init__(
        self,
        n_class: int = 3,
        *,
        n_wave: int = 3000,
        widths: Sequence[int] = (16, 32, 64),
        hidden: Sequence[int] = (256, 128),
        norm: bool = False,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        length = n_wave // 4 ** len(widths)
        if length < 1:
            raise ValueError(
                f"'n_wave' must be at least {4 ** len(widths)} for {len(widths)} pools of 4, "
                f"got {n_wave}"
            )
        stages: list[nn.Module] = []
        before = 2
        for after in widths:
            stages += [conv(before, after, 9, norm=norm), nn.ReLU(inplace=True)]
            stages.append(nn.MaxPool2d((1, 4)))
            before = after
        self.features = nn.Sequential(*stages)
        self.classifier = classifier(before * length, hidden, n_class, dropout)

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
