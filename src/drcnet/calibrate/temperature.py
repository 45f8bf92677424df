"""One temperature for every S/N: logits divided by it give probabilities that come true.

Guo et al. 2017 (ICML, PMLR 70, 1321) divide by one number; a spectrum's S/N tells how wrong that
number would be for it, so here log T is a parabola in log S/N: three numbers in all, and the
class with the highest probability never changes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Temperature", "fit_temperature", "scale_logits", "scale_probabilities"]

_PRIOR = 0.5  # spread of each coefficient: few stars do not talk a model out of its odds
_LIMIT = 5.0  # of |log T|: beyond it probabilities are even, or 0 and 1, already
_TINY = 1e-300


@dataclass(frozen=True)
class Temperature:
    """Temperature against S/N.

    Parameters
    ----------
    coefficients : tuple of float
        Of 1, u and u^2, with u = log10(S/N / 10); they give ln T.
    low, high : float
        Range of S/N that it was fitted on; outside it the value at its end holds.
    """

    coefficients: tuple[float, float, float] = (0.0, 0.0, 0.0)
    low: float = 2.0
    high: float = 100.0

    def at(self, snr: ArrayLike) -> NDArray[np.float64]:
        """Temperature at some S/N.

        Parameters
        ----------
        snr : array_like, shape (n,)
            S/N in the catalogue's meaning; where it is unknown (NaN), the lowest one counts.

        Returns
        -------
        ndarray, shape (n,)
            Positive.

        Examples
        --------
        >>> Temperature((0.0, -np.log(2), 0.0)).at([1, 10, 100]).round(2).tolist()
        [1.62, 1.0, 0.5]
        """
        terms = _terms(np.asarray(snr, dtype=np.float64), self.low, self.high)
        return np.asarray(np.exp(np.clip(terms @ np.array(self.coefficients), -_LIMIT, _LIMIT)))


def fit_temperature(
    logits: NDArray[np.float64],
    label: NDArray[np.int64],
    snr: NDArray[np.float64],
    weight: NDArray[np.float64],
    stars: int,
) -> Temperature:
    """Fit the temperature that makes the true classes most likely.

    Parameters
    ----------
    logits : ndarray, shape (n, K)
        Logits, or logarithms of probabilities.
    label : ndarray, shape (n,), int64
        True classes.
    snr : ndarray, shape (n,)
        S/N, > 0.
    weight : ndarray, shape (n,)
        Weight of each row, >= 0.
    stars : int
        How many stars the rows are of: so many witnesses there are.

    Returns
    -------
    Temperature
        The most probable one, given the rows and that models are about right: a normal prior of
        spread 0.5 on each coefficient. A score of stars says little against it, thousands all.
    """
    from scipy.optimize import minimize  # noqa: PLC0415

    low, high = (float(v) for v in np.percentile(snr, [0, 99]))
    terms = _terms(snr, low, high)
    centred = logits - logits[np.arange(len(label)), label][:, None]
    share, ridge = weight / weight.sum(), 1.0 / (stars * _PRIOR**2)

    def loss(coefficients: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        log_t = np.clip(terms @ coefficients, -_LIMIT, _LIMIT)
        scaled = centred / np.exp(log_t)[:, None]
        top = scaled.max(axis=1, keepdims=True)
        powers = np.exp(scaled - top)
        total = powers.sum(axis=1)
        slope = -(powers * scaled).sum(axis=1) / total  # d NLL / d ln T
        value = float(share @ (np.log(total) + top[:, 0]))
        pull = ridge * coefficients
        return value + 0.5 * float(pull @ coefficients), (share * slope) @ terms + pull

    found = minimize(loss, np.zeros(3), jac=True, method="BFGS")
    a, b, c = (float(v) for v in found.x)
    return Temperature((a, b, c), low, high)


def scale_logits(
    logits: NDArray[np.float64], snr: ArrayLike, temperature: Temperature
) -> NDArray[np.float64]:
    """Turn logits into true probabilities.

    Parameters
    ----------
    logits : ndarray, shape (n, K)
        Logits, or logarithms of probabilities; NaN stays NaN.
    snr : array_like, shape (n,)
        S/N of each row.
    temperature : Temperature
        From `fit_temperature`.

    Returns
    -------
    ndarray, shape (n, K)
        softmax(logits / T).
    """
    scaled = logits / temperature.at(snr)[:, None]
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def scale_probabilities(
    p: NDArray[np.float64], snr: ArrayLike, temperature: Temperature
) -> NDArray[np.float64]:
    """Make probabilities true.

    Parameters
    ----------
    p : ndarray, shape (n, K)
        A model's probabilities; NaN stays NaN.
    snr : array_like, shape (n,)
        S/N of each row.
    temperature : Temperature
        From `fit_temperature`.

    Returns
    -------
    ndarray, shape (n, K)
        softmax(log p / T), the same as dividing the logits by T; a probability of 0 counts as
        1e-300.
    """
    return scale_logits(np.log(np.maximum(p, _TINY)), snr, temperature)


def _terms(snr: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    known = np.clip(np.where(np.isfinite(snr), snr, low), low, high)
    place = np.log10(known / 10.0)
    return np.stack([np.ones_like(place), place, place**2], axis=1)
