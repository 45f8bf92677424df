"""Molecules: dissociation equilibrium, rotational lines of bands, and TiO as smooth bands.

`bands.csv` holds one row a vibrational band: its origin and rotational constants, worked out from
Huber & Herzberg (1979, Constants of Diatomic Molecules), and rounded absorption oscillator
strengths after Larsson & Siegbahn (1986) for CH, Knowles et al. (1988) for CN, Kirby et al. (1979)
for MgH, Weck et al. (2003) for CaH and Langhoff et al. (1990) for C2. `titanium_oxide.csv` holds
band heads after Pearse & Gaydon (1976), with strengths after Jorgensen (1994, A&A 284, 179)
adjusted to the temperatures at which MILES stars show them.
"""

import csv
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from drcnet.simulate.elements import solar_elements
from drcnet.simulate.lines import LineList

__all__ = [
    "MOLECULES",
    "molecule_lines",
    "molecule_numbers",
    "partition_function",
    "titanium_oxide_opacity",
]

MOLECULES = ("CH", "CN", "MgH", "CaH", "C2", "TiO")
MASSES = {"CH": 13.0, "CN": 26.0, "MgH": 25.3, "CaH": 41.1, "C2": 24.0, "TiO": 63.9}
# log10 Kp (dyn cm-2) and log10 Q as parabolas in theta: our fits, 3500-7500 K, to Barklem & Collet
# (2016, A&A 588, A96).
_EQUILIBRIUM = {
    "CH": ((11.618, -3.475, -0.121), (4.975, -2.221, 0.632)),
    "CN": ((12.744, -7.936, -0.089), (5.474, -2.074, 0.580)),
    "MgH": ((10.367, -1.415, 0.008), (5.503, -2.470, 0.690)),
    "CO": ((13.613, -11.447, -0.093), (4.867, -1.703, 0.452)),
    "TiO": ((13.468, -8.206, 0.305), (6.857, -2.229, 0.628)),
    "C2": ((12.618, -6.483, -0.076), (5.910, -2.166, 0.573)),
    "CaH": ((11.324, -3.993, 0.584), (5.643, -2.564, 0.753)),
}
# Factors on the published strengths, so that the indices of MILES stars come out.
_TUNED = {"CH": 1.2, "CN": 2.0, "MgH": 1.3}
_WAVENUMBER_KELVIN = 1.43878  # h c / k, cm K
_WAVENUMBER_EV = 1.239842e-4
_BOLTZMANN = 1.380649e-16
_LN_10 = 2.302585093
_LIGHT = 2.99792458e10
_CLASSICAL = 0.026540  # pi e^2 / m c, cm2 Hz


def _constant(name: str, theta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Dissociation constant, dyn cm-2."""
    fit = _EQUILIBRIUM[name][0]
    return np.exp(_LN_10 * np.polynomial.polynomial.polyval(np.clip(theta, 0.45, 2.0), fit))


def partition_function(name: str, temperature: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evaluate the internal partition function of a molecule.

    Parameters
    ----------
    name : str
        One of `MOLECULES`.
    temperature : ndarray, shape (n_layer,)
        Kelvin.

    Returns
    -------
    ndarray, shape (n_layer,)
        Q.
    """
    theta = np.clip(5040.0 / temperature, 0.45, 2.0)
    return np.exp(_LN_10 * np.polynomial.polynomial.polyval(theta, _EQUILIBRIUM[name][1]))


def _pair(
    first: NDArray[np.float64], second: NDArray[np.float64], constant: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Pressure of AB, given all A and all B that may form it: (A - AB)(B - AB) = K AB."""
    total = first + second + constant
    return 2.0 * first * second / (total + np.sqrt(total**2 - 4.0 * first * second))


def molecule_numbers(
    temperature: NDArray[np.float64],
    nuclei: NDArray[np.float64],
    neutral: NDArray[np.float64],
    atoms: NDArray[np.float64],
) -> dict[str, NDArray[np.float64]]:
    """Find how many molecules there are; CO first, which takes the scarcer of C and O.

    Parameters
    ----------
    temperature : ndarray, shape (n_layer,)
        Kelvin.
    nuclei, neutral : ndarray, shape (n_layer,)
        Hydrogen nuclei, cm-3, and the share of them in neutral atoms.
    atoms : ndarray, shape (n_element, n_layer)
        Neutral atoms of each element before molecules form, per hydrogen nucleus.

    Returns
    -------
    dict of str to ndarray, shape (n_layer,)
        Molecules per hydrogen nucleus. N2 is not followed, so CN is too strong in M stars.
    """
    theta = 5040.0 / temperature
    unit = nuclei * _BOLTZMANN * temperature  # pressure of the hydrogen nuclei
    index = {name: i for i, name in enumerate(solar_elements().names)}
    pressure = {name: atoms[index[name]] * unit for name in ("C", "N", "O", "Mg", "Ca", "Ti")}
    hydrogen = neutral * unit
    monoxide = _pair(pressure["C"], pressure["O"], _constant("CO", theta))
    carbon, oxygen = pressure["C"] - monoxide, pressure["O"] - monoxide
    oxide = _pair(pressure["Ti"], np.maximum(oxygen, 0.0), _constant("TiO", theta))
    found = {
        "CH": carbon * hydrogen / (_constant("CH", theta) + hydrogen),
        "CN": carbon * pressure["N"] / _constant("CN", theta),
        "MgH": pressure["Mg"] * hydrogen / (_constant("MgH", theta) + hydrogen),
        "CaH": pressure["Ca"] * hydrogen / (_constant("CaH", theta) + hydrogen),
        "C2": carbon**2 / _constant("C2", theta),
        "TiO": oxide,
    }
    return {name: np.maximum(value, 0.0) / unit for name, value in found.items()}


def _read(name: str) -> list[dict[str, str]]:
    text = resources.files("drcnet.simulate").joinpath(name).read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


def _branches(j: NDArray[np.float64], delta_lambda: int) -> list[tuple[int, NDArray[np.float64]]]:
    """Hönl-London factors of P, Q and R, adding to 2 J + 1 (high-J limits of Herzberg 1950)."""
    whole = 2.0 * j + 1.0
    if delta_lambda == 0:
        return [(-1, j), (1, j + 1.0)]
    half = whole / 2.0
    side = delta_lambda * 0.5
    return [
        (-1, np.maximum(half / 2.0 - side, 0.0)),
        (0, half),
        (1, np.maximum(half / 2.0 + side, 0.0)),
    ]


def _band(row: dict[str, str], species: int) -> NDArray[np.float64]:
    """Lines of one band as columns: vacuum angstrom, species, eV, log gf."""
    n = np.arange(1.0, float(row["last"]))
    upper, lower = float(row["b_upper"]), float(row["b_lower"])
    stretch_upper, stretch_lower = float(row["d_upper"]), float(row["d_lower"])
    below = lower * n * (n + 1.0) - stretch_lower * (n * (n + 1.0)) ** 2
    strength = float(row["f"]) * float(row["weight"]) * _TUNED.get(row["molecule"], 1.0)
    gap = float(row["splitting"]) / (n + 1.0) / 2.0
    sides = (-1.0, 1.0) if gap[0] > 0 else (0.0,)
    columns = []
    for step, factor in _branches(n, int(row["delta_lambda"])):
        m = n + step
        above = upper * m * (m + 1.0) - stretch_upper * (m * (m + 1.0)) ** 2
        for side in sides:
            number = float(row["origin"]) + above - below + side * gap
            weight = np.maximum(strength * factor / len(sides), 1e-12)
            energy = (float(row["energy"]) + below) * _WAVENUMBER_EV
            keep = (m >= 1.0) & (factor > 0)
            lines = (1e8 / number, np.full(n.shape, float(species)), energy, np.log10(weight))
            columns.append(np.array(lines)[:, keep])
    return np.concatenate(columns, axis=1)


def molecule_lines(first_species: int) -> LineList:
    """Work out the rotational lines of CH, CN, MgH, CaH and C2.

    Parameters
    ----------
    first_species : int
        Row of CH in the population table; the others follow in the order of `MOLECULES`.

    Returns
    -------
    LineList
        Some seven thousand lines inside 3540-9320 angstrom, positions good to about an angstrom.
    """
    bands = [_band(r, first_species + MOLECULES.index(r["molecule"])) for r in _read("bands.csv")]
    lines = np.concatenate(bands, axis=1)
    lines = lines[:, (lines[0] > 3540.0) & (lines[0] < 9320.0)]
    lines = lines[:, np.argsort(lines[0], kind="stable")]
    count = lines.shape[1]
    return LineList(
        wave=lines[0],
        species=lines[1].astype(np.int64),
        energy=lines[2],
        log_gf=lines[3],
        rad=np.full(count, 7.5),
        stark=np.full(count, -7.0),
        waals=np.full(count, -8.0),
    )


def titanium_oxide_opacity(
    wavelength: NDArray[np.float64],
    temperature: NDArray[np.float64],
    number: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Add up the TiO bands, each smoothed over its rotational lines.

    Parameters
    ----------
    wavelength : ndarray, shape (n_wave,)
        Vacuum angstrom.
    temperature : ndarray, shape (n_layer,)
        Kelvin.
    number : ndarray, shape (n_layer,)
        TiO molecules per hydrogen nucleus.

    Returns
    -------
    ndarray, shape (n_layer, n_wave)
        cm2 per hydrogen nucleus.

    Notes
    -----
    Just-overlapping lines (Tsuji 1966; Golden 1967): the opacity of a band falls from its head as
    exp(-x / w), w = k T / (h c) |B' - B''| / B'', x the distance from the head in cm-1.
    """
    total = np.zeros((len(temperature), len(wavelength)))
    wavenumber = 1e8 / wavelength
    kelvin = temperature / _WAVENUMBER_KELVIN  # k T / h c, cm-1
    share = number / partition_function("TiO", temperature)
    for row in _read("titanium_oxide.csv"):
        lower = float(row["b_lower"])
        width = kelvin * abs(float(row["b_upper"]) - lower) / lower
        away = 1e8 / float(row["head"]) - wavenumber
        inside = np.flatnonzero((away >= 0.0) & (away < 12.0 * width.max()))
        levels = float(row["weight"]) * kelvin / lower
        occupied = share * levels * np.exp(-float(row["energy"]) / kelvin)
        scale = _CLASSICAL * float(row["f"]) * occupied / (width * _LIGHT)
        total[:, inside] += scale[:, None] * np.exp(-away[inside] / width[:, None])
    return total
