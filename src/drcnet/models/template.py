"""Template matching: what surveys do today.

Every bright training star is a template. A star is a template moved along the arm, times a
low-order polynomial (flux calibration, reddening), plus another (what is left of the sky, and
what a z-score took off), plus noise. Both polynomials have a flat prior and are integrated over;
templates and moves are summed over. Each arm moves by itself: rows of pixels are not on a common
wavelength grid, and where a fibre's spectrum lies on the blue and the red chip says as much as its
velocity (3 pixels rms on simulated LAMOST chips, where a pixel is 45 km/s).

Shapes: N stars, L wavelength pixels an arm, B = L / 2 bins, M templates, V velocities, J
polynomials, K classes.
"""

import math
from typing import Any

import numpy as np
import torch
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from torch import Tensor

from drcnet.models.classical import Fitted

__all__ = ["Template"]

_BIN = 2  # pixels a bin
_STRETCH = 50  # bins over which a star's noise is taken as even
_MAD_TO_SIGMA = 1.4826
_SECOND = 1.5  # variance of a bin less the mean of the two beside it, over a bin's
_CHUNK = 32  # stars computed at once: bounds the memory
_RIDGE = 1e-6


class Template(Fitted):
    """Likelihood against the training stars, noise measured on the star itself.

    For weights w = 1 / sigma^2 and a basis of J columns (template times polynomials, and
    polynomials alone) the evidence is exp(b' A^-1 b / 2) / sqrt(det A) up to what all templates
    share, A and b being the normal equations.

    Parameters
    ----------
    n_class : int, default 3
        Classes, K.
    n_wave : int
        Wavelength pixels of an arm, L.
    templates : int, default 240
        Training stars kept, those of the highest S/N, in the classes' own shares.
    continuum : int, default 4
        Polynomials that multiply the template, an arm.
    offset : int, default 1
        Polynomials added to it, an arm.
    velocities : int, default 4
        Bins by which a template is moved to either side, the arms apart.
    mismatch : float, default 0.8
        Scatter of stars about templates, in units of the star's own spread: no template is
        exact. What stars differ by is correlated over many bins, which the likelihood does not
        know: with a scatter as small as that of a bin, faint stars are matched by a few pixels.
    """

    def __init__(
        self,
        n_class: int = 3,
        *,
        n_wave: int = 3000,
        templates: int = 240,
        continuum: int = 4,
        offset: int = 1,
        velocities: int = 4,
        mismatch: float = 0.8,
    ) -> None:
        super().__init__(n_class, n_wave=n_wave, components=1, scaling="none")
        if templates < n_class:
            raise ValueError(f"'templates' must be at least {n_class}, got {templates}")
        if continuum < 1 or offset < 0 or velocities < 0:
            raise ValueError(
                "'continuum' must be >= 1, 'offset' and 'velocities' >= 0, "
                f"got {continuum}, {offset}, {velocities}"
            )
        self.templates = templates
        self.continuum = continuum
        self.offset = offset
        self.velocities = velocities
        self.mismatch = mismatch

    def fit(
        self,
        x: NDArray[np.floating],
        label: NDArray[np.integer],
        *,
        seed: int,  # noqa: ARG002  nothing is random
        balanced: bool,
    ) -> None:
        """Choose the templates.

        Parameters
        ----------
        x : ndarray, shape (N, 2, L)
            Spectra.
        label : ndarray of int, shape (N,)
            Classes, each at least once.
        seed : int
            Not used.
        balanced : bool
            Give every class the same prior; else that of its training stars.
        """
        spectra = _binned(torch.from_numpy(np.asarray(x, dtype=np.float64)))
        spread = spectra.std(dim=2).clamp_min(1e-12)
        snr = (spread / _noise(spectra).mean(dim=2)).mean(dim=1).numpy()
        count = np.bincount(label, minlength=self.n_class)
        keep = []
        for k in range(self.n_class):
            own = np.flatnonzero(label == k)
            wanted = max(1, round(self.templates * len(own) / len(label)))
            keep.append(own[np.argsort(-snr[own], kind="stable")[:wanted]])
        kept = np.concatenate(keep)
        used = np.bincount(label[kept], minlength=self.n_class)
        share = np.ones(self.n_class) if balanced else count / count.sum()
        self._keep(
            spectra=spectra[torch.from_numpy(kept)].numpy(),
            prior=np.log(share / used)[label[kept]],
            kind=label[kept],
        )
        self._keep(sharpness=self._sharpness())

    def forward(self, x: Tensor) -> Tensor:
        """Classify stars.

        Parameters
        ----------
        x : Tensor, shape (N, 2, L)
            Spectra, blue then red.

        Returns
        -------
        Tensor, shape (N, K)
            Logarithm of the posterior probabilities, up to a constant a star.
        """
        self._fitted("spectra")
        parts = _binned(x.double()).split(_CHUNK)
        return torch.cat([self._posterior(self._each(part)) for part in parts])

    def _sharpness(self) -> float:
        """Share of the evidence to believe, so that templates know how sure to be of each other.

        What stars differ by is correlated over many bins, which the likelihood does not know.
        """
        kind = self.get_buffer("kind")
        parts = [self._each(part) for part in self.get_buffer("spectra").split(_CHUNK)]
        each = torch.cat(parts).fill_diagonal_(-torch.inf)
        loss = torch.nn.functional.cross_entropy
        tried = torch.logspace(-3, 0, 31, dtype=each.dtype).tolist()
        return min(tried, key=lambda share: float(loss(self._classes(each, share), kind)))

    def _posterior(self, each: Tensor) -> Tensor:
        return self._classes(each, float(self.get_buffer("sharpness")))

    def _classes(self, each: Tensor, share: float) -> Tensor:
        """(N, M) to (N, K)."""
        each, kind = share * each + self.get_buffer("prior"), self.get_buffer("kind")
        classes = [torch.logsumexp(each[:, kind == k], dim=1) for k in range(self.n_class)]
        # a class whose only template is the star itself has nothing to say
        return torch.stack(classes, dim=1).clamp_min(-1e6)

    def _each(self, stars: Tensor) -> Tensor:
        """Log evidence of each template, (N, 2, B) to (N, M)."""
        templates = self.get_buffer("spectra")
        spread = stars.std(dim=2, keepdim=True).clamp_min(1e-12)
        weight = 1.0 / (_noise(stars) ** 2 + (self.mismatch * spread) ** 2)
        moves = range(-self.velocities, self.velocities + 1)
        total = stars.new_zeros(len(stars), len(templates))
        for a in range(stars.shape[1]):
            arm = (stars[:, a], weight[:, a])
            moved = [self._evidence(*arm, templates[:, a].roll(move, dims=1)) for move in moves]
            total = total + torch.logsumexp(torch.stack(moved), dim=0)
        return total

    def _evidence(self, star: Tensor, weight: Tensor, template: Tensor) -> Tensor:
        """Log evidence of each template for one arm; (N, B), (N, B), (M, B) to (N, M)."""
        size = star.shape[1]
        line = chebyshev.chebvander(np.linspace(-1, 1, size), max(self.continuum, self.offset))
        poly = torch.from_numpy(line.T.copy()).to(star)  # (J, B)
        times, plus = poly[: self.continuum], poly[: self.offset]
        weighed = weight[:, None] * times  # (N, C, B)
        square = _products(weighed, times) @ (template**2).T  # (N, C, C, M)
        right = [(weighed * star[:, None]) @ template.T]  # (N, C, M)
        if self.offset:
            mixed = _products(weighed, plus) @ template.T  # (N, C, O, M)
            own = torch.einsum("nb,ib,jb->nij", weight, plus, plus)  # (N, O, O)
            own = own[..., None].expand(-1, -1, -1, len(template))
            upper = torch.cat([square, mixed], dim=2)
            lower = torch.cat([mixed.transpose(1, 2), own], dim=2)
            square = torch.cat([upper, lower], dim=1)
            alone = torch.einsum("nb,ib,nb->ni", weight, plus, star)
            right.append(alone[..., None].expand(-1, -1, len(template)))
        return _log_evidence(square.permute(0, 3, 1, 2), torch.cat(right, 1).permute(0, 2, 1))


def _products(weighed: Tensor, poly: Tensor) -> Tensor:
    """(N, C, B) and (J, B) to (N, C, J, B)."""
    return weighed[:, :, None] * poly


def _log_evidence(square: Tensor, right: Tensor) -> Tensor:
    """Integrate a Gaussian over its coefficients: (..., J, J) and (..., J) to (...)."""
    scale = square.diagonal(dim1=-2, dim2=-1).clamp_min(1e-300).sqrt()
    square = square / (scale[..., None] * scale[..., None, :])
    square = square + _RIDGE * torch.eye(square.shape[-1], dtype=square.dtype)
    root = torch.linalg.cholesky(square)
    half = torch.linalg.solve_triangular(root, (right / scale)[..., None], upper=False)[..., 0]
    size = root.diagonal(dim1=-2, dim2=-1).log().sum(-1) + scale.log().sum(-1)
    return 0.5 * (half**2).sum(-1) - size + 0.5 * right.shape[-1] * math.log(2 * math.pi)


def _binned(x: Tensor) -> Tensor:
    """Mean of each bin; what is left over at the red end is cut off."""
    size = x.shape[-1] // _BIN
    return x[..., : size * _BIN].reshape(*x.shape[:-1], size, _BIN).mean(dim=-1)


def _noise(x: Tensor) -> Tensor:
    """Standard deviation of a bin from bin to bin, by stretch; shape of `x`."""
    bend = x.clone()
    bend[..., 1:-1] = x[..., 1:-1] - 0.5 * (x[..., :-2] + x[..., 2:])
    bend[..., 0], bend[..., -1] = bend[..., 1], bend[..., -2]
    parts = bend.abs().split(_STRETCH, dim=-1)
    spreads: list[Any] = [
        part.median(dim=-1, keepdim=True).values.expand_as(part) for part in parts
    ]
    return (torch.cat(spreads, dim=-1) * (_MAD_TO_SIGMA / math.sqrt(_SECOND))).clamp_min(1e-9)
