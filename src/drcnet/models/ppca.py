"""A linear model that knows its noise: principal components as a probability, then a logit.

Plain principal components weigh every pixel alike, so that at low S/N a sky line's noise counts
as much as a spectral line. Here a spectrum is a draw from a Gaussian of few components seen
through each pixel's own noise (Tipping & Bishop 1999, probabilistic principal components; with
unequal noise as in Bailey 2012, PASP 124, 1015). What is known of the components given one
noisy spectrum is again a Gaussian,

    S = (1 / variances + V^T W V)^-1,    c = S V^T W (x - mean),

W being the inverse variances: the noisier, the nearer c to 0, the average star. Missing pixels
have no weight, and a missing arm is no special case. What must not tell a star's class, as dust
does not, is given columns of V of its own and a variance without bounds: it is integrated over.

Shapes: N stars, L wavelength pixels an arm, D = 2L values a star, C components, K classes.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drcnet.models.classical import Fitted, fit_logit
from drcnet.models.doubt import SkyDoubt

__all__ = [
    "Expected",
    "Posterior",
    "ProbabilisticComponents",
    "bright_stars",
    "expect_components",
    "known_spectra",
    "learn_components",
    "posterior_components",
]

_ROWS = 1024  # stars at once: bounds the memory
_TURNS = 2  # level and components in turn
_DOUBTFUL_TURNS = 3  # and where the sky is doubted, which moves the level too
_MODEL_ERROR = 0.01  # relative; no pixel is trusted further, as no star is a sum of components
_FREE = 1e3  # variance of a bend: a third of the light either way, and more
_LEAST_BRIGHT = 64  # stars that components are learnt from, at least


class ProbabilisticComponents(Fitted):
    """Posterior principal components and multinomial logistic regression.

    Parameters
    ----------
    n_class : int, default 3
        Classes, K.
    n_wave : int
        Wavelength pixels of an arm, L.
    components : int, default 20
        Principal components, C, learnt from the stars of the highest S/N.
    bright : float, default 20
        Median S/N a pixel from which on a star shows the components.
    penalty_inverse : float, default 0.1
        Inverse strength of the ridge penalty (scikit-learn's C), on components in units of
        their own spread.
    continuum : int, default 0
        Degree of a polynomial along each arm that the spectrum may be bent by without telling
        anything of its class: dust, throughput. 0 takes the continuum's shape for the star's.
    """

    def __init__(
        self,
        n_class: int = 3,
        *,
        n_wave: int = 3000,
        components: int = 20,
        bright: float = 20.0,
        penalty_inverse: float = 0.1,
        continuum: int = 0,
    ) -> None:
        super().__init__(n_class, n_wave=n_wave, components=components, scaling="none")
        if continuum < 0:
            raise ValueError(f"'continuum' must be an int >= 0, got {continuum}")
        self.bright = bright
        self.continuum = continuum
        self.penalty_inverse = penalty_inverse

    def fit(
        self, x: NDArray[np.floating], label: NDArray[np.integer], *, seed: int, balanced: bool
    ) -> None:
        """Learn components from the bright stars, and the logit from all.

        Parameters
        ----------
        x : ndarray, shape (N, 2, 2, L)
            Spectra and their inverse variances; what is not finite is unknown.
        label : ndarray of int, shape (N,)
            Classes, 0 to K - 1, each at least once.
        seed : int
            For the random start of the components.
        balanced : bool
            Weigh stars by the inverse frequency of their class.
        """
        spectrum, weight = known_spectra(torch.from_numpy(np.ascontiguousarray(x)))
        bright = bright_stars(spectrum, weight, self.bright)
        mean, basis, variance = learn_components(
            *bright, components=self.components, degree=self.continuum, seed=seed
        )
        self._keep(mean=mean, basis=basis, variance=variance)
        scores = self._scores(spectrum, weight).numpy()
        learnt = fit_logit(
            scores, np.asarray(label), seed=seed, balanced=balanced, inverse=self.penalty_inverse
        )
        self._keep(**learnt)

    def forward(self, x: Tensor) -> Tensor:
        """Classify stars.

        Parameters
        ----------
        x : Tensor, shape (N, 2, 2, L)
            Blue and red; spectrum and inverse variance, 0 or not finite where unknown.

        Returns
        -------
        Tensor, shape (N, K)
            Logits.
        """
        return self._linear(self._scores(*known_spectra(x)))

    def _scores(self, spectrum: Tensor, weight: Tensor) -> Tensor:
        """Posterior means in units of the components' spread, shape (N, C)."""
        variance = self._fitted("variance")
        found = posterior_components(
            spectrum, weight, self.get_buffer("mean"), self.get_buffer("basis"), variance
        )
        known = slice(len(variance) - 2 * self.continuum)  # how it bends is not used
        return (found.mean / variance.sqrt())[:, known]


class Posterior(NamedTuple):
    """What is known of stars' components.

    Parameters
    ----------
    mean : Tensor, shape (N, C)
        Posterior means, c of the module's equation.
    precision : Tensor, shape (N, C, C)
        Inverses of the posterior covariances, S of the module's equation.
    """

    mean: Tensor
    precision: Tensor


def posterior_components(  # noqa: PLR0917  spectra, and a model of them
    spectrum: Tensor,
    weight: Tensor,
    mean: Tensor,
    basis: Tensor,
    variance: Tensor,
    doubt: SkyDoubt | None = None,
) -> Posterior:
    """Expect the components of spectra, given each pixel's noise.

    The level of each arm is free: level and components are solved for in turn.

    Parameters
    ----------
    spectrum, weight : Tensor, shape (N, 2, L)
        Electrons and their inverse variance, 0 where unknown.
    mean : Tensor, shape (2, L)
        Average spectrum, of level 1 in each arm.
    basis : Tensor, shape (2L, C)
        Components, orthonormal.
    variance : Tensor, shape (C,)
        Variance of each component among stars.
    doubt : SkyDoubt, optional
        What may be wrong with the sky that was taken off; integrated over.

    Returns
    -------
    Posterior
        Of the same stars, of the type of `basis`.
    """
    squares = (basis[:, :, None] * basis[:, None, :]).flatten(1)  # (D, C^2)
    found = []
    for start in range(0, len(spectrum), _ROWS):
        part = slice(start, start + _ROWS)
        light, ivar = spectrum[part].to(basis.dtype), weight[part].to(basis.dtype)
        wrong = None if doubt is None else doubt.take(part)
        found.append(_expect(light, ivar, mean, basis, variance, squares, wrong)[:2])
    return Posterior(*map(torch.cat, zip(*found, strict=True)))


class Expected(NamedTuple):
    """What is known of stars' components, and what it was known from.

    Parameters
    ----------
    mean : Tensor, shape (N, C)
        Posterior means.
    covariance : Tensor, shape (N, C, C)
        Posterior covariances.
    weight : Tensor, shape (N, D)
        Inverse variances at level 1; no pixel is trusted beyond the model's own error.
    rest : Tensor, shape (N, D)
        Spectra at level 1, less the average.
    """

    mean: Tensor
    covariance: Tensor
    weight: Tensor
    rest: Tensor


def expect_components(
    light: Tensor, ivar: Tensor, mean: Tensor, basis: Tensor, variance: Tensor
) -> Expected:
    """Expect the components of spectra with their covariance, for learning from them.

    Parameters
    ----------
    light, ivar : Tensor, shape (N, 2, L)
        Electrons and their inverse variance, 0 where unknown; of the type of `basis`.
    mean, basis, variance : Tensor
        As for `posterior_components`.

    Returns
    -------
    Expected
        Of the same stars.
    """
    squares = (basis[:, :, None] * basis[:, None, :]).flatten(1)
    c, precision, weight, rest = _expect(light, ivar, mean, basis, variance, squares)
    return Expected(c, torch.linalg.inv(precision), weight, rest)


def _expect(  # noqa: PLR0917  one star set, one model, and its squares at hand
    light: Tensor,
    ivar: Tensor,
    mean: Tensor,
    basis: Tensor,
    variance: Tensor,
    squares: Tensor,
    doubt: SkyDoubt | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Posterior means and precisions, weights and residuals at level 1; of a few stars."""
    size, prior = len(variance), torch.diag(1 / variance)
    shape, star = mean.expand_as(light), light
    turns = _TURNS if doubt is None else _DOUBTFUL_TURNS
    for turn in range(1, turns + 1):
        # with a sky in doubt a turn is dear, and a gradient through the last tells the way
        learns = torch.is_grad_enabled() and (doubt is None or turn == turns)
        with torch.set_grad_enabled(learns):
            level = _level(star, ivar, shape)
            scaled = ivar * level**2
            scaled = (scaled / (1 + scaled * _MODEL_ERROR**2)).flatten(1)
            rest = (light / level - mean).flatten(1)
            precision = (scaled @ squares).unflatten(1, (size, size)) + prior
            right = (scaled * rest) @ basis
            if doubt is not None:
                wrong = doubt.eliminate(scaled, rest, level, shape, basis)
                precision, right = precision - wrong.precision, right - wrong.right
            c = torch.linalg.solve(precision, right)
            if turn < turns:
                shape = mean + (c @ basis.T).unflatten(1, mean.shape)
            if doubt is not None and turn < turns:
                star = light - (wrong.amount(c)[:, :, None] @ doubt.columns)[:, :, 0]
    return c, precision, scaled, rest


def _level(light: Tensor, ivar: Tensor, shape: Tensor) -> Tensor:
    """Best-fitting level of each arm, (N, 2, 1); at least a thousandth of its own error.

    A faint arm may fit best below 0: that the light is not negative is known.
    """
    precision = (ivar * shape**2).sum(-1, keepdim=True)
    level = (ivar * light * shape).sum(-1, keepdim=True) / precision.clamp(min=1e-30)
    return level.clamp(min=1e-3 * precision.clamp(min=1e-12).rsqrt())


def known_spectra(x: Tensor) -> tuple[Tensor, Tensor]:
    """Take spectra and weights apart.

    Parameters
    ----------
    x : Tensor, shape (N, 2, 2, L)
        Spectrum and inverse variance of each arm.

    Returns
    -------
    tuple of Tensor, shape (N, 2, L)
        Both 0 where one is unknown.
    """
    spectrum, weight = x[:, :, 0], x[:, :, 1]
    good = torch.isfinite(spectrum) & torch.isfinite(weight) & (weight > 0)
    zero = torch.zeros((), dtype=x.dtype, device=x.device)
    return torch.where(good, spectrum, zero), torch.where(good, weight, zero)


def bright_stars(spectrum: Tensor, weight: Tensor, bright: float) -> tuple[Tensor, Tensor]:
    """Pick the stars of the highest S/N, and take each arm to level 1.

    Parameters
    ----------
    spectrum, weight : Tensor, shape (N, 2, L)
        Electrons and their inverse variance, 0 where unknown.
    bright : float
        Median S/N a pixel from which on a star counts; the 64 best do anyway.

    Returns
    -------
    tuple of Tensor, shape (M, 2, L)
        Spectra and weights, in double precision.
    """
    snr = (spectrum * weight.sqrt()).flatten(1).median(dim=1).values
    count = max(int((snr >= bright).sum()), min(_LEAST_BRIGHT, len(snr)))
    best = torch.sort(snr, descending=True, stable=True).indices[:count]
    light, ivar = spectrum[best].double(), weight[best].double()
    level = light.sum(-1, keepdim=True) / (ivar > 0).sum(-1, keepdim=True).clamp(min=1)
    return light / level, ivar * level**2


def learn_components(
    light: Tensor, ivar: Tensor, *, components: int, degree: int, seed: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Learn principal components of bright stars.

    Unknown pixels are filled with the average star. The noise's share is taken off the
    variances, as an average over pixels; a hundredth is left at least.

    Parameters
    ----------
    light, ivar : Tensor, shape (M, 2, L)
        From `bright_stars`.
    components : int
        How many, C; fewer where there are few stars.
    degree : int
        Of the polynomials that bend the continuum of each arm, B = 2 `degree` in all.
    seed : int
        For the random start.

    Returns
    -------
    tuple of ndarray
        Mean (2, L), columns (2L, C + B) and variances (C + B,); the last B bend the continuum.
    """
    from sklearn.decomposition import PCA  # noqa: PLC0415  classifying needs no scikit-learn

    known = ivar > 0
    mean = (light * known).sum(0) / known.sum(0).clamp(min=1)
    flat = torch.where(known, light, mean).flatten(1).numpy()
    bends = _bends(mean.numpy(), degree)
    flat = flat - (flat - mean.flatten().numpy()) @ np.linalg.pinv(bends).T @ bends.T
    pca = PCA(
        n_components=min(components, len(flat) - 1, flat.shape[1]),
        svd_solver="randomized",
        random_state=seed,
    ).fit(flat)
    noise = torch.where(known, 1 / ivar.clamp(min=1e-12), torch.zeros(())).flatten(1).mean()
    variance = pca.explained_variance_
    variance = np.maximum(variance - float(noise), 0.01 * variance)
    columns = np.concatenate([pca.components_.T, bends], axis=1)
    free = np.full(bends.shape[1], _FREE)
    return pca.mean_.reshape(2, -1), columns, np.concatenate([variance, free])


def _bends(mean: NDArray[np.float64], degree: int) -> NDArray[np.float64]:
    """Columns (2L, 2 degree) by which the continuum of either arm may bend, of norm 1.

    Legendre polynomials of degree 1 and up, times the average star; the level is free anyway.
    """
    along = np.linspace(-1, 1, mean.shape[1])
    bends = np.zeros((2, degree, *mean.shape))
    for arm in range(2):
        for k in range(degree):
            bends[arm, k, arm] = mean[arm] * np.polynomial.Legendre.basis(k + 1)(along)
    columns = bends.reshape(2 * degree, mean.size).T
    return np.asarray(columns / np.linalg.norm(columns, axis=0))
