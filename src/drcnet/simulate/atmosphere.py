"""A layered grey-like atmosphere in hydrostatic equilibrium."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drcnet.simulate.elements import abundances, ion_shares
from drcnet.simulate.opacity import continuum_opacity

__all__ = ["Atmosphere", "electron_pressure", "grey_temperature", "layered_atmosphere"]

_BOLTZMANN = 1.380649e-16
_HYDROGEN_MASS = 1.6735e-24
_REFERENCE = np.array([5000.0])  # angstrom at which the optical depth is counted
_LAYERS = 34
_HAZE_TEFF = (3800.0, 4450.0, 4800.0, 5300.0, 5800.0, 6300.0)
_HAZE = (0.7, 0.4, 0.3, 0.25, 0.12, 0.0)


@dataclass(frozen=True, eq=False)
class Atmosphere:
    """Layers from the top down.

    Parameters
    ----------
    teff, logg, feh : float
        Kelvin, log10 cm s-2, dex.
    tau : ndarray, shape (n_layer,)
        Continuous optical depth at 5000 angstrom.
    temperature, pressure, electron_pressure : ndarray, shape (n_layer,)
        Kelvin, dyn cm-2, dyn cm-2.
    nuclei : ndarray, shape (n_layer,)
        Hydrogen nuclei, cm-3.
    neutral : ndarray, shape (n_layer,)
        Share of hydrogen nuclei in neutral atoms (the rest: protons and H2).
    reference : ndarray, shape (n_layer,)
        Continuous opacity at 5000 angstrom, cm2 per hydrogen nucleus.
    number : ndarray, shape (n_element,)
        N / N(H) of every element.
    haze : tuple of float
        The `haze` of the continuum.
    """

    teff: float
    logg: float
    feh: float
    tau: NDArray[np.float64]
    temperature: NDArray[np.float64]
    pressure: NDArray[np.float64]
    electron_pressure: NDArray[np.float64]
    nuclei: NDArray[np.float64]
    neutral: NDArray[np.float64]
    reference: NDArray[np.float64]
    number: NDArray[np.float64]
    haze: tuple[float, float]


def grey_temperature(teff: float, tau: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evaluate a grey temperature law with a cooled, line-blanketed surface.

    Parameters
    ----------
    teff : float
        Kelvin.
    tau : ndarray, shape (n_layer,)
        Optical depth.

    Returns
    -------
    ndarray, shape (n_layer,)
        Kelvin: T^4 = 3/4 Teff^4 (tau + q(tau)), q after Vernazza, Avrett & Loeser (1981) in the
        form used by Sonoi et al. (2019, A&A 621, A84).
    """
    q = 1.0361 - 0.3134 * np.exp(-2.448 * tau) - 0.2959 * np.exp(-30.0 * tau)
    return teff * (0.75 * (tau + q)) ** 0.25


def electron_pressure(
    temperature: float, pressure: float, number: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Solve for the electrons and hydrogen of one layer.

    Parameters
    ----------
    temperature, pressure : float
        Kelvin and total gas pressure in dyn cm-2.
    number : ndarray, shape (n_element,)
        N / N(H).

    Returns
    -------
    electrons : float
        Electron pressure, dyn cm-2.
    nuclei : float
        Fictitious pressure of hydrogen nuclei, dyn cm-2.
    neutral : float
        Share of hydrogen nuclei in neutral atoms.
    """
    theta = 5040.0 / temperature
    # H2: log Kp after Tsuji (1973, A&A 23, 411), dyn cm-2.
    log_k = 12.5335 - 4.9252 * theta + 0.05619 * theta**2 - 0.00327 * theta**3
    constant = 10.0**log_k
    trial = pressure * 10.0 ** np.linspace(-10.0, -0.302, 80)
    shares = ion_shares(np.full(trial.shape, temperature), trial)
    free = number @ (shares[:, 1] + 2.0 * shares[:, 2])
    nuclei = (pressure - trial) / number.sum()
    for _ in range(4):
        atoms = nuclei * shares[0, 0]
        bound = atoms + constant / 4.0 * (1.0 - np.sqrt(1.0 + 8.0 * atoms / constant))
        nuclei = (pressure - trial) / (number.sum() - bound / 2.0 / nuclei)
    excess = np.log(nuclei * free) - np.log(trial)  # falls with the trial pressure
    log_electrons = float(np.interp(0.0, -excess, np.log(trial)))
    here = np.log(trial)
    total = float(np.interp(log_electrons, here, nuclei))
    neutral = float(np.interp(log_electrons, here, shares[0, 0] - bound / nuclei))
    return float(np.exp(log_electrons)), total, max(neutral, 1e-8)


def _haze(teff: float, feh: float) -> tuple[float, float]:
    """Amount and red end of the haze, chosen so that colours follow MILES."""
    amount = float(np.interp(teff, _HAZE_TEFF, _HAZE)) * 10.0 ** (0.5 * feh)
    return amount, float(np.interp(teff, [4000.0, 4900.0], [6200.0, 5200.0]))


def layered_atmosphere(teff: float, logg: float, feh: float) -> Atmosphere:
    """Build the atmosphere of one star.

    Parameters
    ----------
    teff, logg, feh : float
        Kelvin, log10 cm s-2, dex.

    Returns
    -------
    Atmosphere
        Thirty-four layers, log tau -4.5 to 1.7, from dP/dtau = g / kappa (Heun steps).
    """
    tau = 10.0 ** np.linspace(-4.5, 1.7, _LAYERS)
    temperature = grey_temperature(teff, tau)
    number = abundances(feh, giant=float(np.clip((3.6 - logg) / 0.6, 0.0, 1.0)))
    haze = _haze(teff, feh)
    weight = 10.0**logg * _HYDROGEN_MASS * 1.37  # 1.37: helium and metals ride along

    def state(i: int, pressure: float) -> tuple[float, float, float, float]:
        electrons, nuclei, neutral = electron_pressure(temperature[i], pressure, number)
        opacity = continuum_opacity(
            _REFERENCE,
            temperature[i : i + 1],
            np.array([electrons]),
            np.array([neutral]),
            haze=haze,
        )
        return electrons, nuclei, neutral, float(opacity[0, 0])

    pressure = np.empty(_LAYERS)
    rows = np.empty((_LAYERS, 4))
    guess = 10.0 ** (0.5 * logg) * 3.0
    for _ in range(6):  # the top layer: P = g tau / kappa with the opacity it implies
        guess = (guess * weight * tau[0] / state(0, guess)[3]) ** 0.5
    pressure[0], rows[0] = guess, state(0, guess)
    step = np.diff(np.log(tau))
    for i in range(1, _LAYERS):
        slope = weight * tau[i - 1] / (rows[i - 1, 3] * pressure[i - 1])
        first = pressure[i - 1] * np.exp(slope * step[i - 1])
        ahead = weight * tau[i] / (state(i, first)[3] * first)
        pressure[i] = pressure[i - 1] * np.exp((slope + ahead) / 2.0 * step[i - 1])
        rows[i] = state(i, pressure[i])
    return Atmosphere(
        teff=teff,
        logg=logg,
        feh=feh,
        tau=tau,
        temperature=temperature,
        pressure=pressure,
        electron_pressure=rows[:, 0],
        nuclei=rows[:, 1] / (_BOLTZMANN * temperature),
        neutral=rows[:, 2],
        reference=rows[:, 3],
        number=number,
        haze=haze,
    )
