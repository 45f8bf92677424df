"""The question behind the paper, as a ladder of inputs under one and the same network.

Every rung has DRC-Net's backbones, fusion and classifier; only what turns a stripe into a
spectrum differs: box sum, optimal extraction, 11 learned weights, the paper's reduction, true
2-D kernels.
"""

from typing import Any

from torch import Tensor

from drcnet.models.drcnet import DRCNet

__all__ = ["LadderKernels", "LadderReduction", "LadderSpectrum", "LadderWeights"]


class LadderSpectrum(DRCNet):
    """Extracted spectra: the rungs 'box sum' and 'optimal extraction'.

    Parameters
    ----------
    n_class : int, default 3
        Classes, K.
    n_wave : int
        Wavelength pixels of an arm, L.
    norm : bool, default False
        Batch normalisation.
    """

    def __init__(self, n_class: int = 3, *, n_wave: int = 3000, norm: bool = False) -> None:
        shape: dict[str, Any] = {"reduction_channels": (), "reduction_kernels": ()}
        super().__init__(n_class, n_spatial=1, n_wave=n_wave, norm=norm, **shape)

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
        return super().forward(x[:, :, None])  # (N, 2, 1, L)


class LadderWeights(DRCNet):
    """One learned weight a spatial pixel: a learned aperture.

    Parameters
    ----------
    n_class : int, default 3
        Classes, K.
    n_spatial, n_wave : int
        Size of a stripe, S x L.
    norm : bool, default False
        Batch normalisation.
    """

    def __init__(
        self, n_class: int = 3, *, n_spatial: int = 11, n_wave: int = 3000, norm: bool = False
    ) -> None:
        shape: dict[str, Any] = {"reduction_channels": (1,), "reduction_kernels": (n_spatial,)}
        super().__init__(n_class, n_spatial=n_spatial, n_wave=n_wave, norm=norm, **shape)


class LadderReduction(DRCNet):
    """The paper's reduction: DRC-Net itself, without its other readings.

    Parameters
    ----------
    n_class : int, default 3
        Classes, K.
    n_spatial, n_wave : int
        Size of a stripe, S x L.
    norm : bool, default False
        Batch normalisation.
    """

    def __init__(
        self, n_class: int = 3, *, n_spatial: int = 11, n_wave: int = 3000, norm: bool = False
    ) -> None:
        super().__init__(n_class, n_spatial=n_spatial, n_wave=n_wave, norm=norm)


class LadderKernels(DRCNet):
    """True 2-D kernels, 5x3, 5x3 and 3x3, where the paper has 5x1, 5x1 and 3x1.

    Parameters
    ----------
    n_class : int, default 3
        Classes, K.
    n_spatial, n_wave : int
        Size of a stripe, S x L.
    norm : bool, default False
        Batch normalisation.
    """

    def __init__(
        self, n_class: int = 3, *, n_spatial: int = 11, n_wave: int = 3000, norm: bool = False
    ) -> None:
        super().__init__(
            n_class, n_spatial=n_spatial, n_wave=n_wave, norm=norm, reduction_wave_kernel=3
        )
