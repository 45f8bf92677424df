"""From a stripe to a spectrum and its inverse variance: optimal extraction that can learn.

Horne (1986, PASP 98, 609) weighs each pixel across a fibre by its share of the light and its
noise. Both are taken from the stripe itself. The sky goes through the same fibre as the star, so
that even the faintest star's stripe shows the fibre's profile well: averaged over a block of
wavelengths it needs no flat, no trace and no width. What is learnt comes on top, and begins at
nothing: how a profile is bettered, how much light is scattered, from which distance on a pixel is
doubted.

Shapes: N stars, S pixels across, L along wavelength, B blocks of them.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

__all__ = ["SPECTRA", "TOLD", "Collapse", "Extracted", "block_sum", "rows_of_input", "weigh"]

SPECTRA = 2
"""Rows of an input that is extracted already: light and inverse variance."""

TOLD = 2
"""Rows more of it where sky and wavelengths are told; a stripe has its sky, and gets one more."""

_TINY = 1e-12
_START = 1e-3  # spread of weights that begin at almost nothing
_DIM = 100.0  # electrons a wavelength pixel
_PROFILE_ERROR = 0.1  # relative; no pixel is doubted for less


class Extracted(NamedTuple):
    """Spectra.

    Parameters
    ----------
    light : Tensor, shape (N, 2, L)
        Electrons of the fibre, 0 where nothing is known.
    ivar : Tensor, shape (N, 2, L)
        Their inverse variance.
    """

    light: Tensor
    ivar: Tensor


class Collapse(nn.Module):
    """Stripes of both arms to spectra.

    Parameters
    ----------
    block : int, default 100
        Wavelength pixels over which a profile is taken to be one.
    read_noise : float, default 5
        Electrons; learnt further.
    channels : int, default 8
        Of the two convolutions that better the profile.
    doubt : float, default 8
        Standard deviations from which on a pixel counts less; learnt further.
    learned : bool, default True
        Better the profile; else it is what the block shows.
    """

    def __init__(
        self,
        *,
        block: int = 100,
        read_noise: float = 5.0,
        channels: int = 8,
        doubt: float = 8.0,
        learned: bool = True,
    ) -> None:
        super().__init__()
        if block < 1:
            raise ValueError(f"'block' must be an int >= 1, got {block}")
        self.block = block
        self.log_read_noise = nn.Parameter(torch.tensor(read_noise).log())
        self.log_doubt = nn.Parameter(torch.tensor(doubt).log())
        self.haze = nn.Parameter(torch.zeros(2))  # electrons a pixel that no fibre brought
        self.better = _better(channels) if learned else None

    def forward(self, stripe: Tensor) -> Extracted:
        """Extract.

        Parameters
        ----------
        stripe : Tensor, shape (N, 2, S, L)
            Electrons, not finite where a pixel is bad.

        Returns
        -------
        Extracted
            The fibre's light, star and sky.
        """
        known = torch.isfinite(stripe)
        light = torch.where(known, stripe, torch.zeros((), dtype=stripe.dtype))
        light = (light - self.haze[:, None, None]) * known
        with torch.no_grad():  # only to find what is not to be believed
            rough = self._profile(light, known)
            first = weigh(light, rough, known / (light.clamp(min=0) + self._noise))
        sure = known * self._trust(light, rough, first)
        profile = self._bettered(self._profile(light * sure, sure))
        return weigh(light, profile, sure / self._variance(profile, first.light))

    @torch.no_grad()
    def begin(self, stripe: Tensor) -> None:
        """Measure the scattered light: what edge pixels show where the fibre has next to none.

        Parameters
        ----------
        stripe : Tensor, shape (N, 2, S, L)
            Electrons of some stars, faint and bright ones.
        """
        known = torch.isfinite(stripe)
        light = torch.where(known, stripe, torch.zeros((), dtype=stripe.dtype))
        mean = block_sum(light, self.block) / block_sum(known, self.block).clamp(min=1)
        level = mean.sum(2)  # (N, 2, B)
        edge = (mean[:, :, 0] + mean[:, :, -1]) / 2
        for arm in range(2):
            weight = 1 / (level[:, arm] + _DIM).clamp(min=1) ** 2  # wings differ by their share
            wings = torch.stack([torch.ones_like(weight), level[:, arm]], dim=-1).flatten(0, 1)
            scaled = wings * weight.flatten()[:, None]
            found = torch.linalg.solve(scaled.T @ wings, scaled.T @ edge[:, arm].flatten())
            self.haze[arm] = found[0]

    @property
    def _noise(self) -> Tensor:
        return (2 * self.log_read_noise).exp()

    def _profile(self, light: Tensor, known: Tensor) -> Tensor:
        """Share of the light on each pixel, one a block, (N, 2, S, L)."""
        mean = block_sum(light, self.block) / block_sum(known, self.block).clamp(min=_START)
        mean = mean.clamp(min=0)
        share = mean / mean.sum(2, keepdim=True).clamp(min=_TINY)
        return _along(share, light.shape[-1])

    def _bettered(self, profile: Tensor) -> Tensor:
        """Let the convolutions over pixels and blocks change the profile by some per cent."""
        if self.better is None:
            return profile
        size = profile.shape[-1]
        seen = block_sum(profile, self.block) / self.block
        seen = (seen + _START).log().flatten(0, 1)[:, None]  # (2N, 1, S, B)
        factor = self.better(seen).tanh().exp()[:, 0].unflatten(0, profile.shape[:2])
        changed = profile * _along(factor, size)
        return changed / changed.sum(2, keepdim=True).clamp(min=_TINY)

    def _variance(self, profile: Tensor, light: Tensor) -> Tensor:
        return profile * light.clamp(min=0)[:, :, None] + self._noise

    def _trust(self, light: Tensor, profile: Tensor, found: Extracted) -> Tensor:
        """Weight between 0 and 1 of each pixel: cosmic rays left in, a neighbour's light."""
        expected = profile * found.light[:, :, None]
        variance = self._variance(profile, found.light) + (_PROFILE_ERROR * expected) ** 2
        far = (light - expected) ** 2 / variance * (-2 * self.log_doubt).exp()
        return 1 / (1 + far**2)


def _better(channels: int) -> nn.Sequential:
    last = nn.Conv2d(channels, 1, 3, padding=1, bias=False)
    nn.init.normal_(last.weight, std=_START)
    return nn.Sequential(nn.Conv2d(1, channels, 3, padding=1), nn.GELU(), last)


def weigh(light: Tensor, profile: Tensor, weight: Tensor) -> Extracted:
    """Horne's equation 8, and the inverse of his table 1's variance."""
    ivar = (weight * profile**2).sum(2)
    total = (weight * profile * light).sum(2)
    return Extracted(total / ivar.clamp(min=_TINY), ivar)


def block_sum(x: Tensor, block: int) -> Tensor:
    """(..., L) to (..., B); the last block may be shorter."""
    x = pad(x.float(), (0, -x.shape[-1] % block))
    return x.unflatten(-1, (-1, block)).sum(-1)


def _along(x: Tensor, size: int) -> Tensor:
    """Interpolate blocks to pixels, (N, 2, S, B) to (N, 2, S, L)."""
    flat = interpolate(x.flatten(0, 1), size=size, mode="linear", align_corners=False)
    return flat.unflatten(0, x.shape[:2])


def rows_of_input(n_spatial: int, *, flat: bool, told: bool) -> int:
    """Count an input's rows without what is told besides.

    Parameters
    ----------
    n_spatial : int
        All rows.
    flat : bool
        The flat's profile and neighbours are among them.
    told : bool
        Wavelengths are among them, and in spectra the sky.

    Returns
    -------
    int
        `SPECTRA` of spectra, else those of the stripe, its sky and what the flat says.

    Raises
    ------
    ValueError
        No view has so many.
    """
    if told and flat:
        raise ValueError("'told' and 'flat' of hornenet are views of their own, got both")
    spectra = n_spatial == SPECTRA + (TOLD if told else 0)
    rows = SPECTRA if spectra else n_spatial - told
    if flat and (n_spatial < 10 or n_spatial % 3 != 1):
        wanted = "3 rows for each of at least 3 pixels, and a sky"
        raise ValueError(f"'n_spatial' must be {wanted}, got {n_spatial}")
    if rows < 4 and not spectra:
        wanted = "at least 3 pixels and a sky, or 2 for spectra; and 1 or 2 more where 'told'"
        raise ValueError(f"'n_spatial' must be {wanted}, got {n_spatial}")
    return rows
