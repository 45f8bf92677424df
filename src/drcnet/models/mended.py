"""From a stripe to a spectrum where the flat is known, and mended by what the stripe says itself.

Horne (1986, PASP 98, 609) with the flat's profile at the measured trace, the neighbours' light
taken off, is as good as an extraction gets, while all of that is true. A stripe tells what is not:
that its trace lies elsewhere, that the focus has changed, that a neighbour is brighter than
believed, that light is scattered. Each of these changes a column of S pixels in a way of its own,

    D = F (P + a dP/da + b dP/db) + c left + d right + h + noise,

with F the light of the fibre, unknown in every column, and a, b, c, d, h polynomials of low degree
along the arm: twelve numbers for 33,000 pixels. F is eliminated column by column, the twelve
follow from normal equations, each shrunk towards what is usual. Before a sky ten times as bright
as the star an error of a percent in any of them is colour, so the flat is believed closely, unless
the stripe contradicts it by some standard deviations: then the stripe is. Pixels that fit nothing,
as cosmic rays, are doubted. Profiles are bent in their logarithm, where moving and widening a
Gaussian is exact.

Shapes: N stars, S pixels across, L along wavelength, B blocks of them, T kinds of change,
K coefficients.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from drcnet.models.collapse import Extracted, block_sum, weigh

__all__ = ["COEFFICIENTS", "Mended", "MendedCollapse"]

COEFFICIENTS = (
    ("shift", 0, 0.02, 0.5), ("shift", 1, 0.01, 0.2), ("shift", 2, 0.01, 0.2),
    ("width", 0, 0.05, 1.0), ("width", 1, 0.03, 0.3),
    ("left", 0, 0.05, 1.0), ("left", 1, 0.03, 0.3),
    ("right", 0, 0.05, 1.0), ("right", 1, 0.03, 0.3),
    ("haze", 0, 0.1, 2.0), ("haze", 1, 0.05, 1.0), ("haze", 2, 0.05, 1.0),
)  # fmt: skip
"""What is fitted to each arm of each star, its degree along the arm (Legendre's), how much it
differs among stars of which nothing is wrong, where learning begins, and how much at worst: pixels
of shift, square pixels of the profile's variance, parts of either neighbour's light, electrons a
pixel."""

_KINDS = ("shift", "width", "left", "right", "haze")
_TINY = 1e-12
_FLOOR = 1e-5  # share of light; below it a profile's logarithm says nothing
_STEEPEST, _SHARPEST = 3.0, 2.0  # first and second difference of that logarithm
_FARTHEST = 3.0  # that it is changed by
_NARROWEST = 0.3  # of the variance of a profile that was believed
_PROFILE_ERROR = 0.1  # relative; no pixel is doubted for less
_CONTRADICTION = 3.0  # standard deviations
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
                found, error = self._step(normal, right, found, worst)
            normal, right = self._equations(few, found, 0.0)
        with torch.no_grad():  # what contradicts the flat is let go
            free = (found - self.usual) ** 2 - (_CONTRADICTION * error) ** 2
        spread = ((2 * self.log_spread).exp() + free.clamp(min=0)).sqrt()
        return self._bent(flat, self._step(normal, right, found, spread)[0])

    def _step(
        self, normal: Tensor, right: Tensor, before: Tensor, spread: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Coefficients after one more fit, and their standard deviations; (N, 2, K) each."""
        size = spread.double()
        scaled = normal * size[..., None] * size[..., None, :]
        scaled = scaled + torch.eye(size.shape[-1], dtype=scaled.dtype, device=scaled.device)
        held = (self.usual - before).double() / size
        inverse = torch.linalg.inv(scaled)
        step = (inverse @ (right * size + held)[..., None])[..., 0] * size
        error = inverse.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt() * size
        return before + step.to(before.dtype), error.to(before.dtype)

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
        sums = _column_sums(weight, own, (found.profile, moved, widened, flat.spilt))
        return _coefficients(sums, max(self.block // (2 * _BIN), 1))

    def _bent(self, flat: _Flat, coefficients: Tensor) -> Mended:
        """Profiles and neighbours with these coefficients."""
        shift, width, left, right, haze = _along(coefficients, flat.light.shape[-1])
        slope = flat.slope - shift * flat.bend
        wider = (1 - width * flat.bend).clamp(min=_NARROWEST)
        change = shift * (0.5 * shift * flat.bend - flat.slope)
        change = change + 0.5 * (slope**2 * width / wider - wider.log())
        profile = flat.profile * change.clamp(-_FARTHEST, _FARTHEST).exp()
        side = _left(flat.spilt)
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
    shift, width = _along(found.coefficients, flat.light.shape[-1])[:2]
    wider = (1 - width * flat.bend).clamp(min=_NARROWEST)
    slope = (flat.slope - shift * flat.bend) / wider
    return -found.profile * slope, 0.5 * found.profile * (slope**2 + flat.bend / wider)


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


def _column_sums(
    weight: Tensor, own: Tensor, shapes: tuple[Tensor, Tensor, Tensor, Tensor]
) -> _Sums:
    """Sum over each column; `shapes`: profile, its two derivatives, the neighbours' light."""
    profile, moved, widened, spilt = shapes
    seen = weight * profile
    total = (seen * profile).sum(2).clamp(min=_TINY)
    light = (seen * own).sum(2) / total
    level = light.clamp(min=0)
    apart = own - profile * light[:, :, None]
    one = weight.new_ones(())
    left, both = _left(spilt), weight * spilt
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


def _coefficients(sums: _Sums, block: int) -> tuple[Tensor, Tensor]:
    """Normal equations of polynomials from the columns' sums, block by block."""
    square = block_sum(torch.stack([torch.stack(row, dim=2) for row in sums.square], 2), block)
    side = block_sum(torch.stack(sums.side, dim=2), block)
    kind = [_KINDS.index(one[0]) for one in COEFFICIENTS]
    basis = _legendre(side.shape[-1], side.device)
    normal = square.double()[:, :, kind][:, :, :, kind] * basis[:, None] * basis
    return normal.sum(-1), (side.double()[:, :, kind] * basis).sum(-1)


def _differences(profile: Tensor) -> tuple[Tensor, Tensor]:
    """First and second difference across of a profile's logarithm; exact for a parabola."""
    level = (profile + _FLOOR).log()
    inner = (level[:, :, 2:] - level[:, :, :-2]) / 2
    bend = level[:, :, 2:] - 2 * level[:, :, 1:-1] + level[:, :, :-2]
    first, last = inner[:, :, :1] - bend[:, :, :1], inner[:, :, -1:] + bend[:, :, -1:]
    slope = torch.cat([first, inner, last], dim=2).clamp(-_STEEPEST, _STEEPEST)
    bend = torch.cat([bend[:, :, :1], bend, bend[:, :, -1:]], dim=2)
    return slope, bend.clamp(-_SHARPEST, _SHARPEST)


def _left(spilt: Tensor) -> Tensor:
    """1 on the pixels of the one side of the stripe, 0 on the other's, (S, 1)."""
    across = torch.arange(spilt.shape[2], device=spilt.device, dtype=spilt.dtype)
    return ((((len(across) - 1) / 2 - across).sign() + 1) / 2)[:, None]


def _legendre(size: int, device: torch.device) -> Tensor:
    """Each coefficient's polynomial at equal steps along an arm, (K, size), double precision."""
    along = (torch.arange(size, device=device, dtype=torch.float64) + 0.5) * (2 / size) - 1
    powers = (torch.ones_like(along), along, 1.5 * along**2 - 0.5)
    return torch.stack([powers[one[1]] for one in COEFFICIENTS])


def _along(coefficients: Tensor, size: int) -> list[Tensor]:
    """Each kind's polynomial, (N, 2, 1, size)."""
    along = _legendre(size, coefficients.device).to(coefficients.dtype)
    names = [one[0] for one in COEFFICIENTS]
    found = []
    for kind in _KINDS:
        which = [k for k, name in enumerate(names) if name == kind]
        found.append((coefficients[:, :, which] @ along[which])[:, :, None])
    return found
