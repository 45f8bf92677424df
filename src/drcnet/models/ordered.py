"""A head for a sequence of classes: subclass and stellar parameters on the way to the logits.

F, G and K are one sequence of temperature, and a star of G9 is nearer to K0 than to G0. So beside
a linear map of the components stands the place of the star on that sequence, from which an
ordered logit gives probabilities of their own; a small network adds what is not linear. It is
asked about every spectrum that a star may have (`drcnet.models.possible`), and averages.

Shapes: N stars, M points for each, C components, K classes.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import huber_loss, logsigmoid, pad

from drcnet.models.possible import average_logits

__all__ = [
    "Found",
    "OrderedHead",
    "next_on_sequence",
    "parameter_loss",
    "scaled",
    "subclass_loss",
    "unscaled",
]

_START = 1e-2
_SUBCLASSES = 10  # of a class
_REACH = 1.5  # subclasses: how far a label may be off
_VELOCITY = 50.0  # km/s: about the spread among stars
_RIDGE = 1e-2  # of the spread of a component, for the regression on components


class Found(NamedTuple):
    """What the head says.

    Parameters
    ----------
    logits : Tensor, shape (N, K)
        Of the classes.
    place : Tensor, shape (N,)
        On the sequence of subclasses, F0 0, G0 10, K0 20.
    parameters : Tensor, shape (N, P)
        5040 K / Teff, log g and [Fe/H], scaled; and the radial velocity, where P is 4.
    """

    logits: Tensor
    place: Tensor
    parameters: Tensor


class OrderedHead(nn.Module):
    """Components to classes: linear, with a small network and the sequence on top.

    Parameters
    ----------
    components : int
        Components, C.
    n_class : int
        Classes, K, in the order of temperature.
    hidden : int
        Width of the small network's hidden layer; 0 for none.
    parameters : int, default 3
        Stellar parameters, P.
    """

    def __init__(self, components: int, n_class: int, hidden: int, parameters: int = 3) -> None:
        super().__init__()
        self.components, self.parameters_count = components, parameters
        self.direct = nn.Linear(components, n_class)
        self.beside = nn.Linear(components, 1 + parameters)
        self.more: nn.Module | None = None
        if hidden:
            last = nn.Linear(hidden, n_class + 1 + parameters)
            nn.init.normal_(last.weight, std=_START)
            nn.init.zeros_(last.bias)
            self.more = nn.Sequential(nn.Linear(components + 2, hidden), nn.GELU(), last)
        self.share = nn.Parameter(torch.full((), _START))  # of the sequence in the logits
        middle = _SUBCLASSES * (n_class - 1) / 2
        self.register_buffer("middle", torch.tensor(middle), persistent=False)
        self.register_buffer(
            "borders", _SUBCLASSES * torch.arange(1.0, n_class) - 0.5, persistent=False
        )
        self.log_width = nn.Parameter(torch.tensor(_REACH).log())

    def forward(self, seen: Tensor) -> Found:
        """Read the components.

        Parameters
        ----------
        seen : Tensor, shape (N, M, C + 2)
            What the components may be, and the logarithms of the S/N of both arms.

        Returns
        -------
        Found
            Classes, place and parameters, averaged over the points.
        """
        z = seen[..., : self.components]
        logits, beside = self.direct(z), self.beside(z)
        if self.more is not None:
            more = self.more(seen)
            logits = logits + more[..., : logits.shape[-1]]
            beside = beside + more[..., logits.shape[-1] :]
        place = self.get_buffer("middle") + _SUBCLASSES * beside[..., 0]
        logits = average_logits(logits + self.share * self._of_place(place))
        return Found(logits, place.mean(1), beside[..., 1:].mean(1))

    @torch.no_grad()
    def begin(self, z: Tensor, label: Tensor, targets: Tensor) -> None:
        """Begin with the ridge regression of the sequence and the parameters on components.

        Parameters
        ----------
        z : Tensor, shape (N, C)
            Components of training stars; on the CPU, as the others.
        label : Tensor of int64, shape (N,)
            Classes.
        targets : Tensor, shape (N, 5) or (N, 0)
            Subclass, Teff, log g, [Fe/H] and velocity, NaN where unknown; or nothing, and nothing
            is done.
        """
        if not targets.shape[1]:
            return
        place = _place(label, targets[:, 0]) - self.get_buffer("middle").cpu()
        values = scaled(targets[:, 1:])[:, : self.parameters_count]
        wanted = torch.cat([place[:, None] / _SUBCLASSES, values], dim=1)
        for k, column in enumerate(wanted.unbind(dim=1)):
            known = torch.isfinite(column)
            if not known.any():
                continue
            seen = pad(z[known], (0, 1), value=1.0).double()
            ridge = _RIDGE * known.sum() * torch.eye(seen.shape[1], dtype=torch.float64)
            ridge[-1, -1] = 0
            found = torch.linalg.solve(seen.T @ seen + ridge, seen.T @ column[known].double())
            self.beside.weight[k] = found[:-1].to(self.beside.weight)
            self.beside.bias[k] = found[-1].to(self.beside.bias)

    def _of_place(self, place: Tensor) -> Tensor:
        """Log-probability of each class at places (...) of the sequence, (..., K)."""
        gap = _SUBCLASSES * (-self.log_width).exp()
        apart = (self.get_buffer("borders") - place[..., None]) * (-self.log_width).exp()
        below, above = logsigmoid(apart), logsigmoid(-apart)  # of each border
        between = above[..., :-1] + below[..., 1:] + torch.log(-torch.expm1(-gap))
        return torch.cat([below[..., :1], between, above[..., -1:]], dim=-1)


def subclass_loss(found: Found, label: Tensor, subclass: Tensor) -> Tensor:
    """Compute Huber's loss of the place.

    Parameters
    ----------
    found : Found
        What the head says.
    label : Tensor of int64, shape (N,)
        Classes.
    subclass : Tensor, shape (N,)
        0 to 9, NaN where unknown: then the middle of the class is wanted.

    Returns
    -------
    Tensor
        The mean over the stars, in units of a class.
    """
    wanted = _place(label, subclass)
    return huber_loss(found.place / _SUBCLASSES, wanted / _SUBCLASSES, delta=0.3)


def parameter_loss(found: Found, parameters: Tensor) -> Tensor:
    """Compute the squared error of stellar parameters.

    Parameters
    ----------
    found : Found
        What the head says.
    parameters : Tensor, shape (N, 4)
        Teff, log g, [Fe/H] and velocity, NaN where unknown; the last may be none of the head's.

    Returns
    -------
    Tensor
        The mean over what is known, scaled; 0 where nothing is.
    """
    wanted = scaled(parameters)[:, : found.parameters.shape[1]]
    known = torch.isfinite(wanted)
    apart = torch.where(known, found.parameters - wanted.nan_to_num(), 0.0)
    return (apart**2).sum() / known.sum().clamp(min=1)


def next_on_sequence(label: Tensor, subclass: Tensor) -> Tensor:
    """Name for each star the next cooler one of a batch, and for the coolest the one before it.

    Parameters
    ----------
    label : Tensor of int64, shape (N,)
        Classes.
    subclass : Tensor, shape (N,)
        0 to 9, NaN where unknown.

    Returns
    -------
    Tensor of int64, shape (N,)
        Positions in the batch.
    """
    order = torch.argsort(_place(label, subclass), stable=True)
    after = torch.cat([order[1:], order[-2:-1] if len(order) > 1 else order])
    return torch.empty_like(order).scatter_(0, order, after)


def _place(label: Tensor, subclass: Tensor) -> Tensor:
    """Place on the sequence; the middle of its class for a star whose subclass is unknown."""
    middle = _SUBCLASSES * (label + 0.5)
    return torch.where(torch.isfinite(subclass), subclass + _SUBCLASSES * label, middle)


def scaled(parameters: Tensor) -> Tensor:
    """Put Teff, log g, [Fe/H] and velocities into numbers near 1.

    Parameters
    ----------
    parameters : Tensor, shape (N, P)
        Kelvin, dex of cm s-2, dex, and km/s where P is 4.

    Returns
    -------
    Tensor, shape (N, P)
        The first is linear in 5040 K / Teff, as line strengths are.
    """
    teff, logg, feh, *velocity = parameters.unbind(dim=1)
    more = [part / _VELOCITY for part in velocity]
    return torch.stack([5 * (5040 / teff - 0.9), (logg - 4) / 1.5, feh / 0.5, *more], dim=1)


def unscaled(numbers: Tensor) -> Tensor:
    """Undo `scaled`.

    Parameters
    ----------
    numbers : Tensor, shape (N, P)
        As `scaled` gives them.

    Returns
    -------
    Tensor, shape (N, P), float64
        Teff, log g, [Fe/H], and the velocity; Teff between 2000 and 50000 K whatever comes.
    """
    heat, gravity, metals, *velocity = numbers.double().unbind(dim=1)
    teff = 5040 / (heat / 5 + 0.9).clamp(5040 / 50_000, 5040 / 2000)
    more = [part * _VELOCITY for part in velocity]
    return torch.stack([teff, 1.5 * gravity + 4, 0.5 * metals, *more], dim=1)
