"""Components of spectra from all stars at hand, however faint, and with or without a label.

Principal components want bright stars: a faint one's noise would be taken for a component. As a
probability the same components can be learnt from any spectrum whose noise is known (Tipping &
Bishop 1999; with unequal noise as in Bailey 2012, PASP 124, 1015): expect each star's components
given its noise (`drcnet.models.ppca`), then fit mean and components to all of them together, pixel
by pixel and weighted by what each star knows there, and begin again.

Shapes: N stars, L wavelength pixels an arm, D = 2L values a star, C components.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from drcnet.models.ppca import expect_components

__all__ = ["Components", "refine_components"]

_ROWS = 256  # stars at once
_PRIOR = 1e-4  # what a pixel's old values count, in stars of its average weight


class Components(NamedTuple):
    """What spectra are made of.

    Parameters
    ----------
    mean : Tensor, shape (2, L), float64
        Average spectrum, of level 1 in each arm.
    basis : Tensor, shape (2L, C), float64
        Components, orthonormal.
    variance : Tensor, shape (C,), float64
        Variance of each among stars, largest first.
    """

    mean: Tensor
    basis: Tensor
    variance: Tensor


def refine_components(light: Tensor, ivar: Tensor, start: Components, turns: int) -> Components:
    """Learn components from stars of any S/N, by expectation-maximisation.

    Parameters
    ----------
    light, ivar : Tensor, shape (N, 2, L)
        Electrons and their inverse variance, 0 where unknown.
    start : Components
        Where to begin: those of the bright stars.
    turns : int
        Turns of expectation and maximisation; 0 gives `start` back.

    Returns
    -------
    Components
        As many as there were.
    """
    found = start
    for _ in range(turns):
        found = _turn(light, ivar, found)
    return found


def _turn(light: Tensor, ivar: Tensor, old: Components) -> Components:
    """Expect all stars' components, and fit mean, components and variances to them.

    Of each pixel d the mean and the components, v_d of C + 1 values, follow from

        sum_n w_nd E[c~ c~^T]_n v_d = sum_n w_nd x_nd E[c~]_n,    c~ = (1, c).
    """
    count, size = len(old.variance) + 1, old.mean.numel()
    outer = light.new_zeros((size, count * count), dtype=torch.float64)
    inner = light.new_zeros((size, count), dtype=torch.float64)
    spread = light.new_zeros(count - 1, dtype=torch.float64)
    for start in range(0, len(light), _ROWS):
        part = slice(start, start + _ROWS)
        one = expect_components(light[part].double(), ivar[part].double(), *old)
        seen = torch.cat([torch.ones_like(one.mean[:, :1]), one.mean], dim=1)  # (n, C + 1)
        square = seen[:, :, None] * seen[:, None, :]
        square[:, 1:, 1:] += one.covariance
        outer += one.weight.T @ square.flatten(1)
        inner += (one.weight * (one.rest + old.mean.flatten())).T @ seen
        spread += square.diagonal(dim1=1, dim2=2)[:, 1:].sum(dim=0)
    before = torch.cat([old.mean.reshape(-1, 1), old.basis], dim=1)  # (D, C + 1)
    solved = _solve(outer.unflatten(1, (count, count)), inner, before, len(light))
    return _in_order(solved, spread / len(light), old)


def _solve(outer: Tensor, inner: Tensor, before: Tensor, stars: int) -> Tensor:
    """Each pixel's mean and components; where nobody knows a pixel it keeps what it was."""
    known = outer[:, 0, 0] > 0
    typical = outer[known, 0, 0].mean() / stars
    prior = _PRIOR * typical * torch.eye(outer.shape[1], dtype=outer.dtype, device=outer.device)
    wanted = inner + before @ prior
    return torch.linalg.solve(outer + prior, wanted[:, :, None])[:, :, 0]


def _in_order(solved: Tensor, spread: Tensor, old: Components) -> Components:
    """Make components orthonormal again, the largest first, each with its old sign."""
    mean, columns = solved[:, 0], solved[:, 1:]
    left, size, _ = torch.linalg.svd(columns * spread.sqrt(), full_matrices=False)
    sign = torch.sign((left * old.basis).sum(dim=0))
    left = left * torch.where(sign == 0, torch.ones_like(sign), sign)
    return Components(mean.reshape(old.mean.shape), left, size**2)
