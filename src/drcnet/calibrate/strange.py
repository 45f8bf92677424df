"""Is this any of the classes at all? How far a spectrum lies from all that were trained on.

A network's own confidence does not tell: it calls an M star a K star and is sure of it. So the
spectrum itself is judged, whatever the model sees: sky-subtracted, optimally extracted, each arm
normalised and binned, as principal components and what they leave over; then the Mahalanobis
distance to the nearest class (Lee et al. 2018, NeurIPS 31), at stars' S/N. Distances are learnt
on training stars; the limit comes from validation stars, faded alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from drcnet.calibrate.conformal import conformal_threshold
from drcnet.stripes.normalize import normalize

__all__ = ["Seen", "Space", "Surroundings", "binned", "fit_space", "fit_surroundings"]

_BIN = 30  # pixels: molecular bands and Balmer wings stay, noise and radial velocity go
_COMPONENTS = 20
_SHRINK = 0.05  # of the covariance, towards its diagonal

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Seen:
    """Stars of known class in one S/N interval.

    Parameters
    ----------
    spectrum : ndarray, shape (n, m)
        From `binned`.
    label : ndarray, shape (n,), int64
        Position of the class.
    star : ndarray, shape (n,), str
        Star of each row.
    """

    spectrum: Array
    label: NDArray[np.int64]
    star: NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class Space:
    """Principal components of binned spectra.

    Parameters
    ----------
    mean, scale : ndarray, shape (m,)
        Of each bin over the training stars.
    basis : ndarray, shape (m, c)
        Components, in units of their own spread.
    directions : ndarray, shape (m, c)
        The same components of unit length.
    """

    mean: Array
    scale: Array
    basis: Array
    directions: Array

    def features(self, spectrum: Array) -> Array:
        """Describe spectra.

        Parameters
        ----------
        spectrum : ndarray, shape (n, m)
            From `binned`.

        Returns
        -------
        ndarray, shape (n, c + 1)
            Components, and the logarithm of the squares that they leave over.
        """
        z = (spectrum - self.mean) / self.scale
        left = z - (z @ self.directions) @ self.directions.T
        rest = np.log(np.maximum((left**2).sum(axis=1), 1e-12))
        return np.concatenate([z @ self.basis, rest[:, None]], axis=1)

    def as_dict(self) -> dict[str, Any]:
        """Spell out for JSON.

        Returns
        -------
        dict
            What `from_dict` reads back.
        """
        spread = np.linalg.norm(self.directions, axis=0) / np.linalg.norm(self.basis, axis=0)
        return {
            "mean": _short(self.mean),
            "scale": _short(self.scale),
            "directions": _short(self.directions),
            "spread": _short(spread),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Space":
        """Read back.

        Parameters
        ----------
        values : Mapping
            From `as_dict`.

        Returns
        -------
        Space
            The same, to six digits.
        """
        directions = np.array(values["directions"])
        basis = directions / np.array(values["spread"])
        return cls(np.array(values["mean"]), np.array(values["scale"]), basis, directions)


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Where the stars of each class lie in one S/N interval, and how far out is too far.

    Parameters
    ----------
    centre : ndarray, shape (K, d)
        Average features of each class.
    precision : ndarray, shape (d, d)
        Inverse of the covariance inside a class.
    limit : float
        Largest squared distance that is not strange.
    """

    centre: Array
    precision: Array
    limit: float

    def excess(self, features: Array) -> Array:
        """Measure how strange stars are.

        Parameters
        ----------
        features : ndarray, shape (n, d)
            From `Space.features`.

        Returns
        -------
        ndarray, shape (n,)
            Squared Mahalanobis distance to the nearest class over the limit; above 1 is
            strange; NaN where a feature is.
        """
        away = features[:, None] - self.centre  # (n, K, d)
        squared = np.einsum("nki,ij,nkj->nk", away, self.precision, away)
        return np.asarray(squared.min(axis=1) / self.limit)

    def as_dict(self) -> dict[str, Any]:
        """Spell out for JSON.

        Returns
        -------
        dict
            What `from_dict` reads back.
        """
        centre, precision = _short(self.centre), _short(self.precision)
        return {"centre": centre, "precision": precision, "limit": self.limit}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Surroundings":
        """Read back.

        Parameters
        ----------
        values : Mapping
            From `as_dict`.

        Returns
        -------
        Surroundings
            The same, to six digits.
        """
        centre, precision = np.array(values["centre"]), np.array(values["precision"])
        return cls(centre, precision, float(values["limit"]))


def binned(light: NDArray[np.floating]) -> Array:
    """Normalise and bin sky-subtracted spectra.

    Parameters
    ----------
    light : ndarray, shape (n, 2, L)
        Electrons of both arms, sky subtracted.

    Returns
    -------
    ndarray, shape (n, 2 L / 30)
        Averages over 30 pixels of the z-scored arms, blue then red; pixels that are left over
        at an arm's end are not used. NaN where an arm is empty.
    """
    z = normalize(torch.as_tensor(np.asarray(light, np.float32)), "zscore").double().numpy()
    size = min(_BIN, z.shape[-1])
    whole = z.shape[-1] // size
    cut = z[..., : whole * size].reshape(*z.shape[:2], whole, size)
    out = cut.mean(axis=-1).reshape(len(z), -1)
    dark = ~np.isfinite(light).any(axis=2).all(axis=1)
    out[dark] = np.nan
    return np.asarray(out)


def fit_space(spectrum: Array) -> Space:
    """Find the principal components of binned spectra.

    Parameters
    ----------
    spectrum : ndarray, shape (n, m)
        Training stars of all S/N.

    Returns
    -------
    Space
        20 components, or as many as there are stars or bins.
    """
    mean, scale = spectrum.mean(axis=0), spectrum.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    _, size, axes = np.linalg.svd((spectrum - mean) / scale, full_matrices=False)
    count = min(_COMPONENTS, int((size > size[0] * 1e-6).sum()))
    directions = axes[:count].T
    spread = size[:count] / np.sqrt(len(spectrum))
    return Space(mean, scale, directions / spread, directions)


def fit_surroundings(space: Space, trained: Seen, judged: Seen, allowed: float) -> Surroundings:
    """Learn where stars of one S/N interval lie, and set the limit.

    Parameters
    ----------
    space : Space
        The components.
    trained : Seen
        Training stars: where the classes lie.
    judged : Seen
        Validation stars: how far out they lie sets the limit.
    allowed : float
        Share of stars of the known classes that may lie beyond it.

    Returns
    -------
    Surroundings
        The limit counts stars, not their copies (see `conformal_threshold`); with too few stars
        for the share asked for it is 1.5 times the largest distance.
    """
    features = space.features(trained.spectrum)
    classes: Sequence[int] = sorted(set(trained.label.tolist()))
    centre = np.stack([features[trained.label == k].mean(axis=0) for k in classes])
    own = np.searchsorted(classes, trained.label)
    left = features - centre[own]
    covariance = left.T @ left / len(left)
    even = np.diag(np.diag(covariance) + 1e-9)
    precision = np.linalg.inv((1 - _SHRINK) * covariance + _SHRINK * even)
    plain = Surroundings(centre, precision, 1.0)
    distance = plain.excess(space.features(judged.spectrum))
    top = 1.5 * float(distance.max())
    score = 1.0 - distance / top  # conformal_threshold takes 1 - p
    zero = np.zeros(len(score), np.int64)
    limit = top * conformal_threshold(score[:, None], zero, judged.star, 1 - allowed)
    return Surroundings(centre, precision, limit)


def _short(values: Array) -> Any:
    """Six digits: more than the stars can tell."""
    flat = [float(f"{v:.6g}") for v in values.ravel()]
    return np.array(flat).reshape(values.shape).tolist()
