"""From a stripe to a spectrum where the flat is known, and mended by what the stripe says itself.

Horne (1986, PASP 98, 609) with the flat's profile at the measured trace, the neighbours' light
taken off, is as good as an extraction gets, while all of that is true. A stripe tells what is not:
that its trace lies elsewhere, that the focus has changed, that a neighbour is brighter than
believed, that light is scattered. Each of these changes a column of S pixels in a way of its own,

    D = F (P + a dP/da + b dP/db) + c left + d right + h + noise,

with F the light of the fibre, unknown in every column, and a, b, c, d, h polynomials of low degree
along the arm: twelve numbers for 33,000 pixels. F is eliminated column by column, the twelve
follow from normal equations, each shrunk towards what is usual. Before a sky ten times as bright
as the star an error of a percent in any of them is colour, so the flat is believed closely. Only
what the stripe contradicts by some standard deviations, all else being as usual, is let go, the
worst first. Pixels that fit nothing, as cosmic rays, are doubted. Profiles are bent in
their logarithm, where moving and widening a Gaussian is exact.

Shapes: N stars, S pixels across, L along wavelength, B blocks of them, T kinds of change,
K coefficients.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from drcnet.models.changes import (
    COEFFICIENTS,
    along_arm,
    column_sums,
    left_side,
    normal_equations,
    solve_coefficients,
)
from drcnet.models.collapse import Extracted, weigh

__all__ = ["Mended", "MendedCollapse"]

_TINY = 1e-12
_FLOOR = 1e-5  # share of light; below it a profile's logarithm says nothing
_STEEPEST, _SHARPEST = 3.0, 2.0  # first and second difference of that logarithm
_FARTHEST = 3.0  # that it is changed by
_NARROWEST = 0.3  # of the variance of a profile that was believed
_PROFILE_ERROR = 0.1  # relative; no pixel is doubted for less
_CONTRADICTION = 4.0  # standard deviations
_FAULTS = 5  # coefficients of an arm that may be let go
_LOOSE = 1.0  # pixels of shift that are held possible before any was fitted
_LOOSE_NEIGHBOR = 3.0  # and how far wrong a neighbour's light
_BIN = 4  # columns taken together where changes are fitted: a trace hardly moves in so few
_JUMP = 0.01  # of a profile within them: there a window has followed the trace by a pixel


class Mended(NamedTuple):
    """What a stripe says of the flat's profile and of the neighbours.

    Parameters
    ----------
    profile : Tensor, shape (N, 2, S, L)
        Share of the light on each pixel.
    rest : Tensor, shape (N, 2, S, L)
        Electrons that are not the fibre's.
    coefficients : Tensor, shape (N, 2, K)
        In the order of `COEFFICIENTS`.
    """

    profile: Tensor
    rest: Tensor
    coefficients: Tensor


class _Flat(NamedTuple):
    """Columns of stripes, and what is believed of them; (N, 2, S, L) each.

    Parameters
    ----------
    light, known : Tensor
        Electrons, 0 where nothing is known, and how many pixels were averaged.
    profile, spilt : Tensor
        As for `MendedCollapse.forward`, finite.
    slope, bend : Tensor
        First and second difference of the profile's logarithm.
    """

    light: Tensor
    known: Tensor
    profile: Tensor
    spilt: Tensor
    slope: Tensor
    bend: Tensor


class MendedCollapse(nn.Module):
    """Stripes of both arms to spectra, by a flat that need not be quite true.

    Parameters
    ----------
    block : int, default 100
        Wavelength pixels over which the polynomials are taken to be constant in the fit, at
        least 4.
    read_noise : float, default 5
        Electrons; learnt further.
    doubt : float, default 8
        Standard deviations from which on a pixel counts less; learnt further.
    learned : bool, default True
        Mend, with priors that are learnt; else the flat is believed.
    turns : int, default 5
        Times that the changes are fitted, each from where the last one led; all but the last to
        half of the columns.
    """

    def __init__(
        self,
        *,
        block: int = 100,
        read_noise: float = 5.0,
        doubt: float = 8.0,
        learned: bool = True,
        turns: int = 5,
    ) -> None:
        super().__init__()
        if block < _BIN or turns < 2:
            raise ValueError(f"'block' must be >= {_BIN}, 'turns' >= 2, got {block}, {turns}")
        self.block, self.turns = block, turns
        self.log_read_noise = nn.Parameter(torch.tensor(read_noise).log())
        self.log_doubt = nn.Parameter(torch.tensor(doubt).log())
        self.usual = nn.Parameter(torch.zeros(2, len(COEFFICIENTS)))
        self.log_spread: nn.Parameter | None = None
        if learned:
            self.log_spread = nn.Parameter(torch.tensor([one[2] for one in COEFFICIENTS]).log())

    def forward(self, stripe: Tensor, profile: Tensor, spilt: Tensor) -> Extracted:
        """Extract.

        Parameters
        ----------
        stripe : Tensor, shape (N, 2, S, L)
            Electrons, not finite where a pixel is bad.
        profile : Tensor, shape (N, 2, S, L)
            The flat's share of the light on each pixel.
        spilt : Tensor, shape (N, 2, S, L)
            Electrons that the neighbours are believed to bring.

        Returns
        -------
        Extracted
            The fibre's light, star and sky.
        """
        flat = _believed(stripe, profile, spilt)
        found = self._mended(flat)
        own = (flat.light - found.rest) * flat.known
        rough = self._rough(flat, found)
        sure = flat.known * self._trust(own, found, rough)
        first = weigh(own, found.profile, sure / self._variance(found, rough)).light.detach()
        return weigh(own, found.profile, sure / self._variance(found, first))

    def mend(self, stripe: Tensor, profile: Tensor, spilt: Tensor) -> Mended:
        """Say what the stripes change of what was believed.

        Parameters
        ----------
        stripe, profile, spilt : Tensor, shape (N, 2, S, L)
            As for `forward`.

        Returns
        -------
        Mended
            What was believed, where nothing is learnt.
        """
        return self._mended(_believed(stripe, profile, spilt))

    @torch.no_grad()
    def begin(self, stripe: Tensor, profile: Tensor, spilt: Tensor) -> None:
        """Measure what is usual, scattered light above all, from some stars together.

        Parameters
        ----------
        stripe, profile, spilt : Tensor, shape (N, 2, S, L)
            As for `forward`, of some stars.
        """
        few = _binned(_believed(stripe, profile, spilt))
        worst = torch.tensor([one[3] for one in COEFFICIENTS], dtype=torch.float64)
        for turn in range(self.turns):
            before = self.usual.expand(len(stripe), -1, -1)
            normal, right = self._equations(few, before, float(not turn))
            prior = torch.diag(1 / worst.to(normal.device) ** 2)
            step = torch.linalg.solve(normal.sum(0) + prior, right.sum(0))
            self.usual.add_(step.to(self.usual.dtype))

    def _mended(self, flat: _Flat) -> Mended:
        """Fit the changes in turns; nothing that is learnt needs the slopes of the sums."""
        found = self.usual.expand(len(flat.light), -1, -1)
        if self.log_spread is None:
            return self._bent(flat, found)
        with torch.set_grad_enabled(torch.is_grad_enabled() and flat.light.requires_grad):
            few = _binned(flat)
            half = _Flat(*(part[..., ::2].contiguous() for part in few))
            worst = found.new_tensor([one[3] for one in COEFFICIENTS]).expand_as(found)
            for turn in range(self.turns - 1):
                normal, right = self._equations(half, found, 1 / 2**turn)
                found = self._solved(normal, right, found, worst)
            normal, right = self._equations(few, found, 0.0)
        spread = self.log_spread.exp().expand_as(found)
        with torch.no_grad():
            freed = self._contradicted(normal, right, found, spread)
        spread = (spread**2 + freed**2).sqrt()
        return self._bent(flat, self._solved(normal, right, found, spread))

    def _solved(self, normal: Tensor, right: Tensor, before: Tensor, spread: Tensor) -> Tensor:
        """Coefficients after one more fit, held to what is usual by `spread`, (N, 2, K)."""
        start = (before - self.usual).double()
        away, _ = solve_coefficients(normal, right, start, spread.double())
        return self.usual + away.to(before.dtype)

    def _contradicted(
        self, normal: Tensor, right: Tensor, before: Tensor, spread: Tensor
    ) -> Tensor:
        """How far from usual what must be let go seems to be, 0 for all else, (N, 2, K).

        One coefficient after the other: the one that is contradicted most, all others held as
        they are. Freed of its prior alone, of variance s^2, a coefficient m of variance v would be
        m / (1 - v / s^2), of variance v / (1 - v / s^2).
        """
        start, size = (before - self.usual).double(), spread.double()
        freed = torch.zeros_like(size)
        for _ in range(_FAULTS):
            held = (size**2 + freed**2).sqrt()
            away, variance = solve_coefficients(normal, right, start, held)
            told = (1 - variance / held**2).clamp(min=_TINY)
            far = (away**2 / (variance * told).clamp(min=_TINY)).masked_fill(freed > 0, 0.0)
            worst = far.amax(-1, keepdim=True)
            let_go = (far == worst) & (worst > _CONTRADICTION**2)
            freed = torch.where(let_go, (away / told).abs(), freed)
        return freed.to(spread.dtype)

    def _equations(self, flat: _Flat, before: Tensor, loose: float) -> tuple[Tensor, Tensor]:
        """Normal equations of what is still to change, the light of each column eliminated.

        Returns
        -------
        tuple of Tensor, shape (N, 2, K, K) and (N, 2, K), double precision
            Left and right sides.
        """
        found = self._bent(flat, before)
        own = (flat.light - found.rest) * (flat.known > 0)
        rough = self._rough(flat, found)
        moved, widened = _derivatives(flat, found)
        extra = loose**2 * ((_LOOSE * moved * rough[:, :, None]) ** 2
                            + (_LOOSE_NEIGHBOR * flat.spilt) ** 2) if loose else None  # fmt: skip
        trust = self._trust(own, found, rough, extra)
        weight = flat.known * trust / self._variance(found, rough)
        sums = column_sums(weight, own, (found.profile, moved, widened, flat.spilt))
        return normal_equations(sums, max(self.block // (2 * _BIN), 1))

    def _bent(self, flat: _Flat, coefficients: Tensor) -> Mended:
        """Profiles and neighbours with these coefficients."""
        shift, width, left, right, haze = along_arm(coefficients, flat.light.shape[-1])
        slope = flat.slope - shift * flat.bend
        wider = (1 - width * flat.bend).clamp(min=_NARROWEST)
        change = shift * (0.5 * shift * flat.bend - flat.slope)
        change = change + 0.5 * (slope**2 * width / wider - wider.log())
        profile = flat.profile * change.clamp(-_FARTHEST, _FARTHEST).exp()
        side = left_side(flat.spilt)
        believed = 1 + right + (left - right) * side
        rest = flat.spilt * believed + haze
        return Mended(profile, rest, coefficients)

    def _variance(self, found: Mended, light: Tensor) -> Tensor:
        expected = found.profile * light.clamp(min=0)[:, :, None] + found.rest.clamp(min=0)
        return expected + (2 * self.log_read_noise).exp()

    @torch.no_grad()
    def _rough(self, flat: _Flat, found: Mended) -> Tensor:
        """Light of each column, only good enough to know its noise, (N, 2, L)."""
        weight = flat.known / (flat.light.clamp(min=0) + (2 * self.log_read_noise).exp())
        return weigh(flat.light - found.rest, found.profile, weight).light

    def _trust(
        self, own: Tensor, found: Mended, light: Tensor, extra: Tensor | None = None
    ) -> Tensor:
        """Weight between 0 and 1 of each pixel: cosmic rays that are left in."""
        expected = found.profile * light[:, :, None]
        variance = self._variance(found, light) + (_PROFILE_ERROR * expected) ** 2
        variance = variance if extra is None else variance + extra
        far = (own - expected) ** 2 / variance * (-2 * self.log_doubt).exp()
        return 1 / (1 + far**2)


def _believed(stripe: Tensor, profile: Tensor, spilt: Tensor) -> _Flat:
    known = torch.isfinite(stripe) & (profile > 0)
    light = torch.where(known, stripe, torch.zeros((), dtype=stripe.dtype, device=stripe.device))
    believed = profile.nan_to_num().clamp(min=0)
    spilt = spilt.nan_to_num()
    return _Flat(light, known.to(stripe.dtype), believed, spilt, *_differences(believed))


def _binned(flat: _Flat) -> _Flat:
    """Averages of a few columns each; none where the window jumps."""
    size = flat.light.shape[-1] // _BIN * _BIN
    light, known, profile, spilt = (
        part[..., :size].unflatten(-1, (-1, _BIN)) for part in flat[:4]
    )
    count = known.sum(-1)
    light = light.sum(-1) / count.clamp(min=1)
    apart = (profile[..., 0] - profile[..., -1]).abs().amax(2, keepdim=True)
    count = count * (apart < _JUMP)
    mean = profile.mean(-1)
    return _Flat(light, count, mean, spilt.mean(-1), *_differences(mean))


def _derivatives(flat: _Flat, found: Mended) -> tuple[Tensor, Tensor]:
    """How the profiles change with shift and width, from where they are now."""
    shift, width = along_arm(found.coefficients, flat.light.shape[-1])[:2]
    wider = (1 - width * flat.bend).clamp(min=_NARROWEST)
    slope = (flat.slope - shift * flat.bend) / wider
    return -found.profile * slope, 0.5 * found.profile * (slope**2 + flat.bend / wider)


def _differences(profile: Tensor) -> tuple[Tensor, Tensor]:
    """First and second difference across of a profile's logarithm; exact for a parabola."""
    level = (profile + _FLOOR).log()
    inner = (level[:, :, 2:] - level[:, :, :-2]) / 2
    bend = level[:, :, 2:] - 2 * level[:, :, 1:-1] + level[:, :, :-2]
    first, last = inner[:, :, :1] - bend[:, :, :1], inner[:, :, -1:] + bend[:, :, -1:]
    slope = torch.cat([first, inner, last], dim=2).clamp(-_STEEPEST, _STEEPEST)
    bend = torch.cat([bend[:, :, :1], bend, bend[:, :, -1:]], dim=2)
    return slope, bend.clamp(-_SHARPEST, _SHARPEST)
