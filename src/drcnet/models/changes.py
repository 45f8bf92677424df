"""The changes that are fitted to a stripe, and their normal equations.

Shapes: N stars, S pixels across, L along wavelength, B blocks of them, T kinds of change,
K coefficients.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from drcnet.models.collapse import block_sum

__all__ = [
    "COEFFICIENTS",
    "along_arm",
    "column_sums",
    "left_side",
    "normal_equations",
    "solve_coefficients",
]

COEFFICIENTS = (
    ("shift", 0, 0.02, 0.5), ("shift", 1, 0.01, 0.2), ("shift", 2, 0.01, 0.2),
    ("width", 0, 0.03, 1.0), ("width", 1, 0.02, 0.3),
    ("left", 0, 0.03, 1.0), ("left", 1, 0.02, 0.3),
    ("right", 0, 0.03, 1.0), ("right", 1, 0.02, 0.3),
    ("haze", 0, 0.04, 2.0), ("haze", 1, 0.02, 1.0), ("haze", 2, 0.02, 1.0),
)  # fmt: skip
"""What is fitted to each arm of each star, its degree along the arm (Legendre's), how much it
differs among stars of which nothing is wrong, where learning begins, and how much at worst: pixels
of shift, square pixels of the profile's variance, parts of either neighbour's light, electrons a
pixel."""

_KINDS = ("shift", "width", "left", "right", "haze")
_TINY = 1e-12


class _Sums(NamedTuple):
    """Sums over the columns, the light eliminated.

    Parameters
    ----------
    square : list of list of Tensor, shape (N, 2, L)
        Of two kinds of change, T x T.
    side : list of Tensor, shape (N, 2, L)
        Of each with what is left of the light.
    """

    square: list[list[Tensor]]
    side: list[Tensor]


def column_sums(
    weight: Tensor, own: Tensor, shapes: tuple[Tensor, Tensor, Tensor, Tensor]
) -> _Sums:
    """Sum over each column what the normal equations need.

    Parameters
    ----------
    weight, own : Tensor, shape (N, 2, S, L)
        Inverse variance of each pixel, and the electrons that are the fibre's.
    shapes : tuple of Tensor, shape (N, 2, S, L)
        Profile, its derivatives by shift and by width, and the neighbours' light.

    Returns
    -------
    _Sums
        Of the five kinds, the light of each column eliminated.
    """
    profile, moved, widened, spilt = shapes
    seen = weight * profile
    total = (seen * profile).sum(2).clamp(min=_TINY)
    light = (seen * own).sum(2) / total
    level = light.clamp(min=0)
    apart = own - profile * light[:, :, None]
    one = weight.new_ones(())
    left, both = left_side(spilt), weight * spilt
    parts = [
        (weight * moved, moved), (weight * widened, widened), (both * left, spilt * left),
        (both * (1 - left), spilt * (1 - left)), (weight, one),
    ]  # fmt: skip
    scale = (level, level, *[torch.ones_like(level)] * 3)
    beside = [(part * profile).sum(2) for part, _ in parts]
    side = [(part * apart).sum(2) * scale[k] for k, (part, _) in enumerate(parts)]
    square = [[level] * len(parts) for _ in parts]
    for i, (part, _) in enumerate(parts):
        for j in range(i, len(parts)):
            column = (part * parts[j][1]).sum(2) - beside[i] * beside[j] / total
            square[i][j] = square[j][i] = column * scale[i] * scale[j]
    return _Sums(square, side)


def normal_equations(sums: _Sums, block: int) -> tuple[Tensor, Tensor]:
    """Normal equations of the polynomials from the columns' sums.

    Parameters
    ----------
    sums : _Sums
        From `column_sums`.
    block : int
        Columns over which a polynomial is taken to be constant.

    Returns
    -------
    tuple of Tensor, shape (N, 2, K, K) and (N, 2, K), double precision
        Left and right sides.
    """
    square = block_sum(torch.stack([torch.stack(row, dim=2) for row in sums.square], 2), block)
    side = block_sum(torch.stack(sums.side, dim=2), block)
    kind = [_KINDS.index(one[0]) for one in COEFFICIENTS]
    basis = _legendre(side.shape[-1], side.device)
    normal = square.double()[:, :, kind][:, :, :, kind] * basis[:, None] * basis
    return normal.sum(-1), (side.double()[:, :, kind] * basis).sum(-1)


def solve_coefficients(
    normal: Tensor, right: Tensor, start: Tensor, spread: Tensor
) -> tuple[Tensor, Tensor]:
    """Solve for coefficients that are held to what is usual.

    Parameters
    ----------
    normal, right : Tensor, shape (N, 2, K, K) and (N, 2, K), double precision
        From `normal_equations`, of what is still to change.
    start : Tensor, shape (N, 2, K), double precision
        Where those stood, less the usual coefficients.
    spread : Tensor, shape (N, 2, K), double precision
        Standard deviations of the prior.

    Returns
    -------
    tuple of Tensor, shape (N, 2, K), double precision
        Coefficients less the usual ones, and their variances.
    """
    scaled = normal * spread[..., None] * spread[..., None, :]
    scaled = scaled + torch.eye(spread.shape[-1], dtype=scaled.dtype, device=scaled.device)
    inverse = torch.linalg.inv(scaled)
    wanted = right + (normal @ start[..., None])[..., 0]
    away = (inverse @ (wanted * spread)[..., None])[..., 0] * spread
    return away, inverse.diagonal(dim1=-2, dim2=-1).clamp(min=_TINY) * spread**2


def left_side(spilt: Tensor) -> Tensor:
    """Tell the sides of a stripe apart.

    Parameters
    ----------
    spilt : Tensor, shape (N, 2, S, L)
        For size, type and device.

    Returns
    -------
    Tensor, shape (S, 1)
        1 on the pixels of the one side, 0 on the other's, 1/2 in the middle.
    """
    across = torch.arange(spilt.shape[2], device=spilt.device, dtype=spilt.dtype)
    return ((((len(across) - 1) / 2 - across).sign() + 1) / 2)[:, None]


def _legendre(size: int, device: torch.device) -> Tensor:
    """Each coefficient's polynomial at equal steps along an arm, (K, size), double precision."""
    along = (torch.arange(size, device=device, dtype=torch.float64) + 0.5) * (2 / size) - 1
    powers = (torch.ones_like(along), along, 1.5 * along**2 - 0.5)
    return torch.stack([powers[one[1]] for one in COEFFICIENTS])


def along_arm(coefficients: Tensor, size: int) -> list[Tensor]:
    """Evaluate each kind's polynomial.

    Parameters
    ----------
    coefficients : Tensor, shape (N, 2, K)
        In the order of `COEFFICIENTS`.
    size : int
        Columns.

    Returns
    -------
    list of Tensor, shape (N, 2, 1, size)
        Shift, width, both neighbours, haze.
    """
    along = _legendre(size, coefficients.device).to(coefficients.dtype)
    names = [one[0] for one in COEFFICIENTS]
    found = []
    for kind in _KINDS:
        which = [k for k, name in enumerate(names) if name == kind]
        found.append((coefficients[:, :, which] @ along[which])[:, :, None])
    return found
