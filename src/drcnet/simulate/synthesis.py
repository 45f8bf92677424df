"""LTE synthesis of one star's spectrum from its layered atmosphere."""

import functools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expn

from drcnet.simulate.atmosphere import Atmosphere, layered_atmosphere
from drcnet.simulate.elements import ion_shares, partition, solar_elements
from drcnet.simulate.hydrogen import add_hydrogen
from drcnet.simulate.lines import (
    LineList,
    join_lines,
    read_lines,
    shipped_lines,
    veil_lines,
)
from drcnet.simulate.molecules import (
    MASSES,
    MOLECULES,
    molecule_lines,
    molecule_numbers,
    partition_function,
    titanium_oxide_opacity,
)
from drcnet.simulate.opacity import continuum_opacity, planck
from drcnet.simulate.transfer import add_lines, emergent_flux, smooth

__all__ = ["FWHM", "all_lines", "fine_grid", "microturbulence", "populations", "synthesize"]

FWHM = 2.8
"""Resolution of the spectra, angstrom: that of LAMOST's R 1800 near 5000 angstrom."""

_STEP = 1e-5  # of ln(wavelength), 3 km/s
_COARSE = 16  # fine pixels a continuum pixel
_RANGE = (3540.0, 9320.0)
_VEIL_SEED = 20231025
_VEIL_STRENGTH = 1.0
# Cool stars show Balmer lines from a chromosphere, which grey layers lack: hydrogen is excited at
# no less than the second (kelvin), by log g, the first; tuned on H alpha of MILES stars.
_CHROMOSPHERE = ((2.0, 3.8), (5250.0, 4800.0))
# Giants show more TiO, and dwarfs less, than grey layers give: tuned on MILES.
_OXIDE_SLOPE, _OXIDE_LOGG = 0.21, 3.7
_FAINT = 5e-4  # a wing is followed until it is this small a share of the continuum
_REACH = 0.02  # of ln(wavelength): how far any wing is followed
_LIGHT = 2.99792458e5  # km/s


def fine_grid() -> NDArray[np.float64]:
    """Make the grid on which lines are added up.

    Returns
    -------
    ndarray, shape (n_fine,)
        Vacuum angstrom, 3 km/s a pixel.
    """
    count = int(math.log(_RANGE[1] / _RANGE[0]) / _STEP / _COARSE) * _COARSE + 1
    return _RANGE[0] * np.exp(_STEP * np.arange(count))


def microturbulence(teff: float, logg: float) -> float:
    """Choose the microturbulence of a star.

    Parameters
    ----------
    teff, logg : float
        Kelvin, log10 cm s-2.

    Returns
    -------
    float
        km/s: 1.2 for solar-type dwarfs, 1.6 for F stars, 1.8 for giants.
    """
    warm = float(np.interp(teff, [4500.0, 5800.0, 6700.0, 8000.0], [1.0, 1.2, 1.7, 2.2]))
    return warm + 0.25 * float(np.clip(4.2 - logg, 0.0, 3.0))


@functools.lru_cache(maxsize=4)
def all_lines(path: Path | None = None) -> LineList:
    """Collect every line: atoms, veil and molecules.

    Parameters
    ----------
    path : Path, optional
        A list that takes the place of the shipped table; if it is more than twice as long,
        also of the veil inside the wavelengths that it covers.

    Returns
    -------
    LineList
        Sorted by wavelength.
    """
    veil = veil_lines(_VEIL_SEED, strength=_VEIL_STRENGTH)
    atoms = shipped_lines() if path is None else read_lines(path)
    if path is not None and len(atoms.wave) > 2 * len(shipped_lines().wave):
        beyond = (veil.wave < atoms.wave.min()) | (veil.wave > atoms.wave.max())
        names = LineList.__dataclass_fields__
        veil = LineList(**{name: getattr(veil, name)[beyond] for name in names})
    molecules = molecule_lines(2 * len(solar_elements().names))
    return join_lines([atoms, veil, molecules])


@dataclass(frozen=True, eq=False)
class Populations:
    """What absorbs, per hydrogen nucleus and unit statistical weight.

    Parameters
    ----------
    number : ndarray, shape (n_species, n_layer)
        N / (N(H) U): atoms and ions of each element in turn, then the molecules.
    mass : ndarray, shape (n_species,)
        Atomic mass units.
    titanium_oxide : ndarray, shape (n_layer,)
        TiO molecules per hydrogen nucleus.
    """

    number: NDArray[np.float64]
    mass: NDArray[np.float64]
    titanium_oxide: NDArray[np.float64]


def populations(atmosphere: Atmosphere) -> Populations:
    """Populate atoms, ions and molecules (Saha, and dissociation equilibrium).

    Parameters
    ----------
    atmosphere : Atmosphere
        The layers.

    Returns
    -------
    Populations
        Two rows an element, one a molecule.
    """
    temperature = atmosphere.temperature
    shares = ion_shares(temperature, atmosphere.electron_pressure)
    number = atmosphere.number[:, None, None] * shares[:, :2]
    formed = molecule_numbers(temperature, atmosphere.nuclei, atmosphere.neutral, number[:, 0])
    names = solar_elements().names
    for molecule, metal in (("MgH", "Mg"), ("CaH", "Ca"), ("TiO", "Ti")):
        row = names.index(metal)
        number[row, 0] = np.maximum(number[row, 0] - formed[molecule], 1e-30)
    atoms = (number / partition(temperature)).reshape(-1, len(temperature))
    bound = [formed[name] / partition_function(name, temperature) for name in MOLECULES]
    mass = [m for m in solar_elements().mass for _ in range(2)] + [MASSES[m] for m in MOLECULES]
    return Populations(np.concatenate([atoms, bound]), np.array(mass), formed["TiO"])


@functools.cache
def _third_integral() -> tuple[NDArray[np.float64], float]:
    """E3 tabulated evenly from 0 to 20, and the step."""
    step = 1e-3
    return expn(3, step * np.arange(20001)), step


def synthesize(
    teff: float,
    logg: float,
    feh: float,
    wavelength: NDArray[np.float64],
    lines: LineList | None,
) -> NDArray[np.float64]:
    """Synthesise the spectrum of one star.

    Parameters
    ----------
    teff, logg, feh : float
        Kelvin, log10 cm s-2, dex.
    wavelength : ndarray, shape (n_pix,)
        Vacuum angstrom, increasing, inside 3550-9310.
    lines : LineList or None
        Lines to add (`all_lines`); None: continuum only, without hydrogen lines or TiO.

    Returns
    -------
    ndarray, shape (n_pix,)
        Flux per angstrom at a resolution of `FWHM`, in the units of `planck`.
    """
    atmosphere = layered_atmosphere(teff, logg, feh)
    fine = fine_grid()
    coarse = fine[::_COARSE]
    temperature = atmosphere.temperature
    continuum = continuum_opacity(
        coarse,
        temperature,
        atmosphere.electron_pressure,
        atmosphere.neutral,
        haze=atmosphere.haze,
    )
    absorbers = populations(atmosphere)
    if lines is not None:
        oxide = absorbers.titanium_oxide * 10.0 ** (_OXIDE_SLOPE * (_OXIDE_LOGG - logg))
        continuum += titanium_oxide_opacity(coarse, temperature, oxide)
    opacity = np.empty((len(temperature), len(fine)))
    place = np.arange(len(fine)) / _COARSE
    for i in range(len(temperature)):
        opacity[i] = np.interp(place, np.arange(len(coarse)), continuum[i])
    if lines is not None:
        _add_all(opacity, continuum, atmosphere, absorbers, lines)
    third, step = _third_integral()
    source = planck(coarse[None, :], temperature[:, None])
    flux = emergent_flux(opacity, (atmosphere.reference, atmosphere.tau), source, third, step)
    return smooth(flux, fine, np.asarray(wavelength, float), FWHM / 2.3548)


def _add_all(
    opacity: NDArray[np.float64],
    continuum: NDArray[np.float64],
    atmosphere: Atmosphere,
    absorbers: Populations,
    lines: LineList,
) -> None:
    """Add metal, molecular and hydrogen lines in place."""
    temperature = atmosphere.temperature
    speed = microturbulence(atmosphere.teff, atmosphere.logg) * 1e5
    turbulence = np.full(len(temperature), speed)
    electrons = atmosphere.electron_pressure / (1.380649e-16 * temperature)
    neutral = atmosphere.neutral * atmosphere.nuclei
    layers = (temperature, electrons, neutral, turbulence)
    table = tuple(getattr(lines, name) for name in LineList.__dataclass_fields__)
    grid = (_RANGE[0], _STEP, _COARSE, _FAINT, _REACH)
    add_lines(opacity, continuum, layers, (absorbers.number, absorbers.mass, *table), grid)
    floor = float(np.interp(atmosphere.logg, *_CHROMOSPHERE))
    excited = (*layers, np.maximum(temperature, floor))
    add_hydrogen(opacity, continuum, excited, absorbers.number[0], (_RANGE[0], _STEP, _COARSE))
