"""What noise leaves open: the spectra that a star may have, and what they say together.

Of a faint star a Gaussian of components is known, not a point. A class read off its mean is too
sure: at S/N 2 the mean says as much as at S/N 100. So the head is asked about many points of the
Gaussian, and its probabilities are averaged,

    p(class | spectrum) = integral p(class | components) p(components | spectrum) d components.

What the head then learns is a star's class were there no noise; noise is none of its business. The
points are the same for every star: a scrambled Sobol sequence (Sobol 1967; Owen 1998), each with
its mirror image, whitened, so that mean and covariance are exact.

Shapes: N stars, C components, M points, K classes.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

__all__ = ["average_logits", "draw_components", "fit_expected_logit", "normal_points"]

_CLIP = 1e-6  # of a quantile: keeps the normal points finite
_JITTER = 1e-5  # of the largest precision: what single precision leaves of the least
_ITERATIONS = 200


def normal_points(count: int, size: int) -> Tensor:
    """Spread points as a normal distribution does.

    Parameters
    ----------
    count : int
        How many, M: even, and at least 2 C; or 0: the one in the middle.
    size : int
        Dimensions, C.

    Returns
    -------
    Tensor, shape (M, C)
        Their mean is 0 and their covariance the identity, to rounding. The same on every call.

    Raises
    ------
    ValueError
        `count` is neither.
    """
    if count == 0:
        return torch.zeros(1, size)
    if count % 2 or count < 2 * size:
        raise ValueError(f"points must be 0, or even and at least {2 * size}, got {count}")
    even = torch.quasirandom.SobolEngine(size, scramble=True, seed=0).draw(count // 2)
    half = torch.special.ndtri(even.double().clamp(_CLIP, 1 - _CLIP))
    spread, turn = torch.linalg.eigh(half.T @ half / len(half))
    half = half @ (turn / spread.sqrt()) @ turn.T
    return torch.cat([half, -half]).float()


def draw_components(mean: Tensor, precision: Tensor, points: Tensor) -> Tensor:
    """Put points where a star's components may be.

    Parameters
    ----------
    mean : Tensor, shape (N, C)
        Posterior means.
    precision : Tensor, shape (N, C, C)
        Posterior precisions: symmetric; rounding may have taken the last of positive definite.
    points : Tensor, shape (M, C)
        From `normal_points`.

    Returns
    -------
    Tensor, shape (N, M, C)
        With the posterior's mean and covariance; of the type of `mean`.
    """
    if len(points) == 1:
        return mean[:, None]
    whole = precision.double()
    least = _JITTER * whole.diagonal(dim1=-2, dim2=-1).amax(-1)
    factor = torch.linalg.cholesky(whole + torch.diag_embed(least[:, None].expand(mean.shape)))
    apart = torch.linalg.solve_triangular(
        factor.mT, points.double().T.expand(len(mean), -1, -1), upper=True
    )
    return mean[:, None] + apart.mT.to(mean.dtype)


def average_logits(logits: Tensor) -> Tensor:
    """Average probabilities over the points of a star.

    Parameters
    ----------
    logits : Tensor, shape (N, M, K)
        Of each point.

    Returns
    -------
    Tensor, shape (N, K)
        Logarithms of the averages; of a single point its logits, as they are.
    """
    if logits.shape[1] == 1:
        return logits[:, 0]
    return log_softmax(logits, dim=-1).logsumexp(1) - math.log(logits.shape[1])


def fit_expected_logit(
    draws: Tensor, label: Tensor, weight: Tensor, bias: Tensor, *, inverse: float
) -> tuple[Tensor, Tensor]:
    """Fit a multinomial logit to stars of which only a distribution is known.

    Parameters
    ----------
    draws : Tensor, shape (N, M, C)
        From `draw_components`.
    label : Tensor of int64, shape (N,)
        Classes.
    weight, bias : Tensor, shapes (K, C) and (K,)
        Where to begin, such as the logit of the means.
    inverse : float
        Inverse strength of the ridge penalty, as of `drcnet.models.classical.fit_logit`.

    Returns
    -------
    tuple of Tensor
        Weight and bias of the greatest penalised likelihood of the averaged probabilities.
    """
    found = torch.cat([weight.T, bias[None]]).detach().double().requires_grad_()  # (C + 1, K)
    solver = torch.optim.LBFGS(
        [found], max_iter=_ITERATIONS, history_size=20, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        solver.zero_grad()
        by_class = average_logits(draws @ found[:-1].to(draws) + found[-1].to(draws))
        unlikely = -by_class.gather(1, label[:, None]).sum().double()
        total = unlikely + (found[:-1] ** 2).sum() / (2 * inverse)
        total.backward()  # type: ignore[no-untyped-call]
        return total

    with torch.enable_grad():
        solver.step(loss)  # type: ignore[arg-type]
    found = found.detach()
    return found[:-1].T.to(weight), found[-1].to(bias)
