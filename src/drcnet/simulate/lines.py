"""Atomic lines: the shipped table, a fuller list that a user names, and the veil of weak lines.

The shipped `lines.csv` is our own selection of about 440 strong lines from published constants:
Kurucz (1995, 2011) and the NIST Atomic Spectra Database; O'Brian et al. (1991, JOSA B 8, 1185)
for Fe I; Pehlivan Rhodin et al. (2017, A&A 598, A102) for Mg I; Safronova & Safronova (2011) for
Ca II; damping by hydrogen after Barklem, Piskunov & O'Mara (2000, A&AS 142, 467). Lines of one
species that no spectrum at R 1800 can tell apart are merged, and the numbers rounded.
"""

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drcnet.errors import SpectrumError
from drcnet.simulate.elements import solar_elements

__all__ = ["LineList", "join_lines", "read_lines", "shipped_lines", "veil_lines"]

COLUMNS = ("vacuum", "species", "energy", "log_gf", "rad", "stark", "waals")
# Names that other tables give to the same columns.
_ALIASES = {
    "wave_vac_A": "vacuum",
    "e_low_eV": "energy",
    "gamma_rad": "rad",
    "gamma_stark": "stark",
    "gamma_waals": "waals",
}


@dataclass(frozen=True, eq=False)
class LineList:
    """Lines of atoms and molecules, sorted by wavelength.

    Parameters
    ----------
    wave : ndarray, shape (n_line,)
        Vacuum angstrom.
    species : ndarray of int64, shape (n_line,)
        Row of the population table (`drcnet.simulate.synthesis.populations`).
    energy : ndarray, shape (n_line,)
        Lower level, eV.
    log_gf : ndarray, shape (n_line,)
        Log10 of weighted oscillator strength.
    rad, stark, waals : ndarray, shape (n_line,)
        Log10 of full damping widths: s-1; per electron and per H atom in cm3 s-1 at 10^4 K.
    """

    wave: NDArray[np.float64]
    species: NDArray[np.int64]
    energy: NDArray[np.float64]
    log_gf: NDArray[np.float64]
    rad: NDArray[np.float64]
    stark: NDArray[np.float64]
    waals: NDArray[np.float64]


def join_lines(lists: Iterable[LineList]) -> LineList:
    """Merge line lists into one, sorted by wavelength.

    Parameters
    ----------
    lists : iterable of LineList
        At least one.

    Returns
    -------
    LineList
        All lines.
    """
    parts = list(lists)
    names = LineList.__dataclass_fields__
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    order = np.argsort(joined["wave"], kind="stable")
    return LineList(**{name: values[order] for name, values in joined.items()})


def _unsold(energy: float, wave: float, ionisation: float, charge: int) -> float:
    """Log10 van der Waals width per H atom at 10^4 K (Unsold 1955; Gray 2005, ch. 11)."""
    photon = 12398.4 / wave
    lower = max(ionisation - energy, 0.3)
    upper = max(ionisation - energy - photon, 0.3)
    c6 = 0.3e-30 * charge**2 * max(1.0 / upper**2 - 1.0 / lower**2, 1e-3)
    return 20.0 + 0.4 * math.log10(c6) - 0.7 * 4.0 + math.log10(1.380649e-16 * 1e4)


def _line(row: dict[str, str], index: dict[str, int]) -> tuple[float, ...]:
    """One row as numbers; blank damping is replaced by the classical estimate."""
    element, stage = row["species"].split()
    kind = index[element] * 2 + int(stage) - 1
    wave, energy = float(row["vacuum"]), float(row["energy"])
    ionisation = solar_elements().ionisation[index[element], int(stage) - 1]
    rad = float(row.get("rad") or math.log10(2.22e15 / wave**2))
    stark = float(row.get("stark") or -6.3 + 0.35 * min(energy, 4.0) / 2.0)
    waals = float(row.get("waals") or _unsold(energy, wave, float(ionisation), int(stage)))
    return wave, float(kind), energy, float(row["log_gf"]), rad, stark, waals


def _from_rows(rows: Iterable[dict[str, str]], where: str) -> LineList:
    """Turn rows of text into a list; lines of hydrogen and of unknown elements are left out."""
    index = {name: i for i, name in enumerate(solar_elements().names)}
    numbers = []
    for count, raw in enumerate(rows, start=2):
        row = {_ALIASES.get(name, name): value for name, value in raw.items() if name}
        missing = [name for name in COLUMNS[:4] if not row.get(name)]
        if missing:
            raise SpectrumError(f"{where}, line {count}", f"columns {COLUMNS}", f"no {missing}")
        element, _, stage = row["species"].partition(" ")
        if element == "H" or element not in index or stage not in ("1", "2"):
            continue
        try:
            numbers.append(_line(row, index))
        except ValueError as err:
            raise SpectrumError(f"{where}, line {count}", "numbers", str(err)) from err
    if not numbers:
        raise SpectrumError(where, f"lines with columns {COLUMNS}", "no usable line")
    columns = np.array(sorted(numbers)).T
    return LineList(columns[0], columns[1].astype(np.int64), *columns[2:])


def read_lines(path: Path) -> LineList:
    """Read a line list that a user names.

    Parameters
    ----------
    path : Path
        CSV with the columns of the shipped table ('vacuum', 'species', 'energy', 'log_gf', and
        where known 'rad', 'stark', 'waals'), or with 'wave_vac_A', 'e_low_eV', 'gamma_rad',
        'gamma_stark', 'gamma_waals' in their place. Species are written 'Fe 1', 'Ca 2'.

    Returns
    -------
    LineList
        Its lines; hydrogen, which is computed apart, and elements that the package does not
        know are left out.

    Raises
    ------
    SpectrumError
        The file is absent, lacks a column, holds no usable line, or holds what is no number.
    """
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise SpectrumError(path, "a CSV table of lines", str(err)) from err
    return _from_rows(csv.DictReader(text.splitlines()), str(path))


def shipped_lines() -> LineList:
    """Read the shipped table of strong lines.

    Returns
    -------
    LineList
        About 440 lines, 3700 to 9300 angstrom.
    """
    text = resources.files("drcnet.simulate").joinpath("lines.csv").read_text("utf-8")
    return _from_rows(csv.DictReader(text.splitlines()), "lines.csv")


def veil_lines(seed: int, *, strength: float = 1.0) -> LineList:
    """Draw the many weak lines that the shipped table leaves out.

    Parameters
    ----------
    seed : int
        Where the lines fall. The same for all stars: it is part of the physics, not of a night.
    strength : float
        Multiplies every gf.

    Returns
    -------
    LineList
        Some five thousand lines. Number, mean and spread of excitation energy and of strength
        (log gf - energy 5040 / 5777) per 10
        angstrom follow `veil.csv`, our summary of the weaker lines in published lists (Kurucz
        1995, 2011; Placco et al. 2021, RNAAS 5, 92), expressed as lines of Fe I and Fe II that
        are as strong at 5777 K.
    """
    rng = np.random.default_rng(seed)
    text = resources.files("drcnet.simulate").joinpath("veil.csv").read_text("utf-8")
    rows = []
    for row in csv.DictReader(text.splitlines()):
        start, stop, count = float(row["start"]), float(row["stop"]), int(row["count"])
        # One line in each of `count` equal cells: weak lines repel less than random ones clump.
        cells = (np.arange(count) + rng.uniform(size=count)) / count
        waves = start + cells * (stop - start)
        # Spreads are cut: a tail would hold lines that the shipped table would have listed.
        scatter = np.clip(rng.standard_normal((2, count)), -1.5, 1.5)
        energy = np.maximum(float(row["energy"]) + float(row["energy_spread"]) * scatter[0], 0.0)
        gf = float(row["strength"]) + float(row["strength_spread"]) * scatter[1]
        gf += energy * 5040.0 / 5777.0 + math.log10(strength)
        rows += [
            {
                "vacuum": f"{wave:.3f}",
                "species": row["species"],
                "energy": f"{e:.3f}",
                "log_gf": f"{g:.3f}",
            }
            for wave, e, g in zip(waves, energy, gf, strict=True)
        ]
    return _from_rows(rows, "veil.csv")
