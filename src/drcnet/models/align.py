"""From every fibre's own wavelengths to those of all: no light is made up, no weight is lost.

Fibres of one chip see a wavelength some pixels apart from each other, and a network that is shown
pixels sees lines smeared by that, and no radial velocity at all. So each pixel gives its light to
the two places of a common grid that it lies between, in shares by distance, weighed by its
inverse variance: a place has the weighed mean of what it was given, and the sum of the weights.
Other than where spectra are interpolated, as many photons count afterwards as before, and a pixel
of no weight stays of none.

Shapes: N stars, L pixels along wavelength of an arm, and as many places of the grid.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["Align", "Spectra"]

_STEP = 1.0  # angstrom a place before `begin`: nothing that an instrument has


class Spectra(NamedTuple):
    """Stars as spectra, once they are collapsed, and aligned where their wavelengths are told.

    Parameters
    ----------
    light : Tensor, shape (N, 2, L)
        Electrons less the sky, 0 where nothing is known.
    ivar : Tensor, shape (N, 2, L)
        Their inverse variance, 0 there.
    sky : Tensor, shape (N, 2, L) or (N, 0)
        Electrons of the sky; nothing where it is not told.
    """

    light: Tensor
    ivar: Tensor
    sky: Tensor

    def to(self, device: torch.device | str) -> "Spectra":
        """Move all.

        Parameters
        ----------
        device : torch.device or str
            Where to.

        Returns
        -------
        Spectra
            The same there.
        """
        return Spectra(*(part.to(device) for part in self))

    @classmethod
    def together(cls, some: "Sequence[Spectra]") -> "Spectra":
        """Put stars together.

        Parameters
        ----------
        some : sequence of Spectra
            At least one.

        Returns
        -------
        Spectra
            All of them.
        """
        return cls(*map(torch.cat, zip(*some, strict=True)))


class Align(nn.Module):
    """Spectra on a common wavelength grid.

    Parameters
    ----------
    n_wave : int
        Pixels of an arm, L.
    """

    def __init__(self, n_wave: int) -> None:
        super().__init__()
        # double precision: a thousandth of a pixel at 9000 angstrom is below what float32 holds
        nominal = 4000.0 + _STEP * torch.arange(n_wave, dtype=torch.float64)
        self.register_buffer("grid", nominal.expand(2, -1).clone())

    @torch.no_grad()
    def begin(self, wavelength: Tensor) -> None:
        """Take the mean wavelengths of some stars for the grid.

        Parameters
        ----------
        wavelength : Tensor, shape (N, 2, L)
            Vacuum angstrom, increasing; not finite for an arm that is missing.
        """
        known = torch.isfinite(wavelength)
        total = torch.where(known, wavelength, 0.0).double().sum(0)
        mean = total / known.sum(0).clamp(min=1)
        if known.any(0).all() and (mean.diff(dim=1) > 0).all():
            self.get_buffer("grid").copy_(mean)

    def forward(self, wavelength: Tensor, weight: Tensor, *seen: Tensor) -> tuple[Tensor, ...]:
        """Share out.

        Parameters
        ----------
        wavelength : Tensor, shape (N, 2, L)
            Vacuum angstrom.
        weight : Tensor, shape (N, 2, L)
            Inverse variance, 0 where nothing is known.
        *seen : Tensor, shape (N, 2, L)
            What pixels show: light, sky.

        Returns
        -------
        tuple of Tensor, shape (N, 2, L)
            Weight, and what is seen, on the grid; 0 where nothing is known.
        """
        grid = self.get_buffer("grid")
        size = grid.shape[1]
        known = torch.isfinite(wavelength) & (weight > 0)
        here = torch.where(known, wavelength, 0.0).double()
        low, share = _places(here, grid)
        inside = known & (low >= -1) & (low < size)
        weight = torch.where(inside, weight, 0.0)
        # one place more on either side, for shares that fall off the grid
        at, room = (low + 1).clamp(0, size), (*weight.shape[:-1], size + 2)

        def give(values: Tensor) -> Tensor:
            out = values.new_zeros(room)
            out.scatter_add_(-1, at, (1 - share) * values)
            out.scatter_add_(-1, at + 1, share * values)
            return out[..., 1:-1]

        total = give(weight)
        least = total.clamp(min=torch.finfo(total.dtype).tiny)
        return total, *(give(weight * part) / least for part in seen)


def _places(wavelength: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Place of the grid below each wavelength, from -1 to L - 1, and how far on to the next.

    Beyond its ends the grid goes on as it was; what lies more than a step beyond gets -2 or L.
    """
    size = grid.shape[1]
    first, last = grid[:, 1] - grid[:, 0], grid[:, -1] - grid[:, -2]
    ends = ((grid[:, 0] - first)[:, None], grid, (grid[:, -1] + last)[:, None])
    longer = torch.cat(ends, dim=1).contiguous()  # (2, L + 2)
    by_arm = wavelength.transpose(0, 1)  # (2, N, L)
    flat = by_arm.reshape(2, -1).contiguous()
    above = torch.searchsorted(longer, flat, right=True)
    low = above.clamp(1, size + 1) - 1
    start, stop = longer.gather(1, low), longer.gather(1, low + 1)
    share = ((flat - start) / (stop - start)).clamp(0, 1)
    outside = (above == 0) | (above == size + 2)
    place = torch.where(outside, torch.where(above == 0, -2, size), low - 1)
    return (
        place.reshape(by_arm.shape).transpose(0, 1),
        share.reshape(by_arm.shape).transpose(0, 1).to(torch.float32),
    )
