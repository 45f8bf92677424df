"""What interstellar dust takes of a star's light."""

import torch
from torch import Tensor

__all__ = ["dust"]

_PIVOT = 6250.0  # angstrom at which reddening leaves the light as it is
_CCM_A = (0.32999, -0.77530, 0.01979, 0.72085, -0.02427, -0.50447, 0.17699, 1.0)
_CCM_B = (-2.09002, 5.30260, -0.62251, -5.38434, 1.07233, 2.28305, 1.41338, 0.0)


def dust(wavelength: Tensor) -> Tensor:
    """Extinction per E(B-V), less that at 6250 angstrom, R_V = 3.1.

    Cardelli, Clayton & Mathis 1989 (ApJ 345, 245), equations 3a and 3b.

    Parameters
    ----------
    wavelength : Tensor
        Angstrom, 3030 to 9090.

    Returns
    -------
    Tensor, shape of `wavelength`
        Magnitudes per magnitude.
    """
    y = 1e4 / wavelength - 1.82
    return _curve(y) - _curve(torch.tensor(1e4 / _PIVOT - 1.82))


def _curve(y: Tensor) -> Tensor:
    value = torch.zeros_like(y)
    for a, b in zip(_CCM_A, _CCM_B, strict=True):
        value = value * y + (3.1 * a + b)
    return value
