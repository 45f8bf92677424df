"""Elements: abundances, ionisation energies, partition functions, and the Saha equation."""

import csv
import functools
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray

__all__ = ["Elements", "abundances", "ion_shares", "partition", "solar_elements"]

_ALPHA = ("O", "Mg", "Si", "S", "Ca", "Ti")
_U_REFERENCE = 5777.0


@dataclass(frozen=True, eq=False)
class Elements:
    """What the synthesis knows of each element; see `elements.csv`.

    Parameters
    ----------
    names : tuple of str
        Symbols; H first.
    mass : ndarray, shape (n,)
        Atomic mass units.
    abundance : ndarray, shape (n,)
        Solar log10 N/N(H) + 12 (Asplund et al. 2009, ARA&A 47, 481).
    ionisation : ndarray, shape (n, 2)
        Energies to the first and second ion, eV.
    partition : ndarray, shape (n, 2, 3)
        ln U of atom and ion as a parabola in ln(T / 5777 K), our own fits between 4500 and 7000 K
        to the values of Barklem & Collet (2016, A&A 588, A96).
    second_ion : ndarray, shape (n,)
        Statistical weight taken for the doubly ionised stage.
    """

    names: tuple[str, ...]
    mass: NDArray[np.float64]
    abundance: NDArray[np.float64]
    ionisation: NDArray[np.float64]
    partition: NDArray[np.float64]
    second_ion: NDArray[np.float64]


@functools.cache
def solar_elements() -> Elements:
    """Read the shipped table.

    Returns
    -------
    Elements
        Twenty-seven elements, H first.
    """
    text = resources.files("drcnet.simulate").joinpath("elements.csv").read_text("utf-8")
    rows = list(csv.DictReader(text.splitlines()))

    def column(name: str) -> list[float]:
        return [float(row[name]) for row in rows]

    fits = [[column(f"u{stage}_{power}") for power in range(3)] for stage in (1, 2)]
    return Elements(
        names=tuple(row["element"] for row in rows),
        mass=np.array(column("mass")),
        abundance=np.array(column("abundance")),
        ionisation=np.array([column("ion_1"), column("ion_2")]).T,
        partition=np.moveaxis(np.array(fits), 2, 0),
        second_ion=np.array(column("u_3")),
    )


def abundances(feh: float, *, giant: float = 0.0) -> NDArray[np.float64]:
    """Scale the solar abundances to a metallicity.

    Parameters
    ----------
    feh : float
        [Fe/H]; alpha elements are enhanced by 0.4 dex below -1, tapering to 0 at solar.
    giant : float
        0 for dwarfs, 1 for giants, whose first dredge-up lowers C by 0.15 dex and raises N
        by 0.30 dex (Iben 1967; Lambert & Ries 1981, ApJ 248, 228).

    Returns
    -------
    ndarray, shape (n,)
        N / N(H) of every element.
    """
    elements = solar_elements()
    log_number = elements.abundance - 12.0
    alpha = 0.4 * np.clip(-feh, 0.0, 1.0)
    dredged = {"C": -0.15 * giant, "N": 0.30 * giant}
    for i, name in enumerate(elements.names):
        if name not in ("H", "He"):
            log_number[i] += feh + dredged.get(name, 0.0) + (alpha if name in _ALPHA else 0.0)
    return 10.0**log_number


def partition(temperature: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evaluate the partition functions of atoms and first ions.

    Parameters
    ----------
    temperature : ndarray, shape (n_layer,)
        Kelvin; the fits are used from 2500 to 20000 K.

    Returns
    -------
    ndarray, shape (n, 2, n_layer)
        U, never below 1.
    """
    x = np.log(np.clip(temperature, 2500.0, 20000.0) / _U_REFERENCE)
    # Below the fitted range the parabolas may turn: hold their slope's sign by holding x.
    low = np.maximum(x, np.log(3500.0 / _U_REFERENCE))
    powers = np.stack([np.ones_like(low), low, low**2])
    return np.maximum(np.exp(solar_elements().partition @ powers), 1.0)


def ion_shares(
    temperature: NDArray[np.float64], electron_pressure: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Share each element out over atom, ion and second ion (Saha).

    Parameters
    ----------
    temperature : ndarray, shape (n_layer,)
        Kelvin.
    electron_pressure : ndarray, shape (n_layer,)
        dyn cm-2.

    Returns
    -------
    ndarray, shape (n, 3, n_layer)
        Shares, adding to 1 over the second axis.

    Notes
    -----
    log N1/N0 = -0.1762 + log U1/U0 + 2.5 log T - theta I - log Pe (Gray 2005, eq. 1.20).
    """
    elements = solar_elements()
    theta = 5040.0 / temperature
    u = partition(temperature)
    base = 2.5 * np.log10(temperature) - 0.1762 - np.log10(electron_pressure)
    weight = np.log10(elements.second_ion)[:, None]
    first = base + np.log10(u[:, 1] / u[:, 0]) - theta * elements.ionisation[:, :1]
    second = base + weight - np.log10(u[:, 1]) - theta * elements.ionisation[:, 1:]
    stages = np.stack([np.zeros_like(first), first, first + second], axis=1)
    shares = 10.0 ** (stages - stages.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)
