"""A sky that is not quite right, integrated over.

The sky of a faint star's fibre is ten times as bright as the star, and what other fibres say of it
is off by a percent or so: of its scale, and where wavelength or line width differ a little, of its
first and second difference. What is left looks like lines. As its shape is known, it needs no
guess: each arm gets three columns of the sky beside the components, a Gaussian prior on how much
of each is in the spectrum, and what they could explain no longer counts for the star (Schur's
complement). The star's level is one column more, as more sky and less star look much alike.

Shapes: N stars, L wavelength pixels an arm, D = 2L, C components, J = 3 columns an arm.
"""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["SkyDoubt", "sky_columns"]

_FREE = 1e3  # prior variance of the level, in units of itself


def sky_columns(sky: Tensor) -> Tensor:
    """Shapes that an error of the sky can have.

    Parameters
    ----------
    sky : Tensor, shape (N, 2, L)
        Electrons, 0 where unknown.

    Returns
    -------
    Tensor, shape (N, 2, 3, L)
        The sky, its change from pixel to pixel, and the change's change; 0 at the ends.
    """
    first, second = torch.zeros_like(sky), torch.zeros_like(sky)
    first[..., 1:-1] = 0.5 * (sky[..., 2:] - sky[..., :-2])
    second[..., 1:-1] = sky[..., 2:] - 2 * sky[..., 1:-1] + sky[..., :-2]
    return torch.stack([sky, first, second], dim=2)


class SkyDoubt(NamedTuple):
    """What may be wrong with some stars' sky.

    Parameters
    ----------
    columns : Tensor, shape (N, 2, J, L)
        From `sky_columns`, electrons.
    variance : Tensor, shape (2, J)
        Prior variance of how much of each is in a spectrum.
    """

    columns: Tensor
    variance: Tensor

    def take(self, part: slice) -> "SkyDoubt":
        """Pick stars.

        Parameters
        ----------
        part : slice
            Which.

        Returns
        -------
        SkyDoubt
            Of those.
        """
        return SkyDoubt(self.columns[part], self.variance)

    def eliminate(
        self, weight: Tensor, rest: Tensor, level: Tensor, shape: Tensor, basis: Tensor
    ) -> "Eliminated":
        """Work out what the columns take away from what is known of the components.

        Parameters
        ----------
        weight : Tensor, shape (N, D)
            Inverse variances of spectra at level 1.
        rest : Tensor, shape (N, D)
            Those spectra, less the average.
        level : Tensor, shape (N, 2, 1)
            Electrons of level 1.
        shape : Tensor, shape (N, 2, L)
            The stars at level 1, as far as they are known.
        basis : Tensor, shape (D, C)
            Components.

        Returns
        -------
        Eliminated
            Terms of the normal equations.
        """
        count, arms, _, size = self.columns.shape
        at_level = torch.cat([self.columns / level[..., None], shape[:, :, None]], dim=2)
        weighed = at_level * weight.view(count, arms, 1, size)  # (N, 2, J + 1, L)
        by_arm = weighed.transpose(0, 1).reshape(arms, -1, size)  # all stars in one product
        free = torch.full_like(self.variance[:, :1], _FREE)
        prior = torch.diag_embed(1 / torch.cat([self.variance, free], dim=1))
        precision = weighed @ at_level.transpose(-1, -2) + prior
        cross = by_arm @ basis.view(arms, size, -1)
        cross = cross.unflatten(1, (count, -1)).transpose(0, 1)  # (N, 2, J + 1, C)
        pull = (weighed * rest.view(count, arms, 1, size)).sum(-1, keepdim=True)
        solved = torch.linalg.solve(precision, torch.cat([cross, pull], dim=-1))
        return Eliminated(cross, pull, solved[..., :-1], solved[..., -1:])


class Eliminated(NamedTuple):
    """Normal equations of the columns, the level's the last, solved.

    Parameters
    ----------
    cross : Tensor, shape (N, 2, J + 1, C)
        What columns and components have in common.
    pull : Tensor, shape (N, 2, J + 1, 1)
        What the spectra have of the columns.
    solved_cross, solved_pull : Tensor
        Both, by the columns' precision.
    """

    cross: Tensor
    pull: Tensor
    solved_cross: Tensor
    solved_pull: Tensor

    @property
    def precision(self) -> Tensor:
        """What to take off the components' precision, shape (N, C, C)."""
        return (self.cross.transpose(-1, -2) @ self.solved_cross).sum(1)

    @property
    def right(self) -> Tensor:
        """What to take off the right-hand side, shape (N, C)."""
        return (self.cross.transpose(-1, -2) @ self.solved_pull).sum(1)[..., 0]

    def amount(self, components: Tensor) -> Tensor:
        """Expect how much of each column is there.

        Parameters
        ----------
        components : Tensor, shape (N, C)
            As expected.

        Returns
        -------
        Tensor, shape (N, 2, J)
            In units of the columns; without the level's.
        """
        explained = self.solved_cross @ components[:, None, :, None]
        return (self.solved_pull - explained)[:, :, :-1, 0]
