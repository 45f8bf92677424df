"""RAC-Net, the residual network with attention beside RC-Net.

Zou, Z., Zhu, T., Xu, L. & Luo, A.-L. 2020, PASP 132, 044503. Published: residual modules, and
attention that "allows the network to focus on specific bands and specific features". Its layout
is not public: ours is RC-Net with `Attention` to features and to places after each module.

Shapes: N stars, L = 3000 wavelength pixels an arm, K classes.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from drcnet.models.blocks import RCNET_WIDTHS, Backbone, classifier

__all__ = ["RACNet"]


class RACNet(nn.Module):
    """Residual network with attention on extracted spectra.

    Parameters
    ----------
    n_class : int, default 3
        Classes, K.
    n_wave : int
        Wavelength pixels of an arm, L.
    widths : sequence of int
        Channels of the backbone's stages.
    norm : bool, default False
        Batch normalisation.
    dropout : float, default 0
        Dropout between the layers of the classifier.
    """

    def __init__(
        self,
        n_class: int = 3,
        *,
        n_wave: int = 3000,
        widths: Sequence[int] = RCNET_WIDTHS,
        norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.features = Backbone(2, n_wave, widths=widths, norm=norm, attention=True)
        self.classifier = classifier(128, (), n_class, dropout)

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
        return self.classifier(self.features(x[:, :, None]))  # (N, 2, 1, L)
