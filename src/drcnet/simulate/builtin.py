"""Built-in stars: drawn by class, with spectra from the grid of synthetic ones."""

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.config import SimulateSettings
from drcnet.errors import ConfigError
from drcnet.simulate.grid import FEH, LOGG, TEFF, Progress, SpectrumGrid
from drcnet.simulate.spectra import STAR_COLUMNS, StarSet, rest_grid
from drcnet.simulate.synthesis import FWHM

__all__ = ["BUILTIN_CLASSES", "builtin_stars", "main_sequence_logg", "spectral_type"]

BUILTIN_CLASSES = ("A", "F", "G", "K", "M")

# Teff of subclasses 0-9. Dwarfs: Pecaut & Mamajek (2013, ApJS 208, 9), table 5.
_DWARFS = {
    "A": (9700, 9300, 8800, 8600, 8250, 8100, 7910, 7760, 7590, 7400),
    "F": (7220, 7020, 6820, 6750, 6670, 6550, 6350, 6280, 6180, 6050),
    "G": (5930, 5860, 5770, 5720, 5680, 5660, 5600, 5550, 5480, 5380),
    "K": (5270, 5170, 5100, 4830, 4600, 4440, 4300, 4100, 3990, 3930),
    "M": (3850, 3660, 3560, 3430, 3210, 3060, 2810, 2680, 2570, 2380),
}
# Giants: A and F as dwarfs' but for the cool end; G to M after Alonso et al. (1999, A&AS 140, 261)
# and van Belle et al. (1999, AJ 117, 521), interpolated.
_GIANTS = {
    "A": (9700, 9300, 8800, 8600, 8250, 8100, 7910, 7760, 7590, 7400),
    "F": (7200, 7020, 6840, 6700, 6560, 6420, 6280, 6140, 6000, 5870),
    "G": (5740, 5620, 5500, 5380, 5260, 5150, 5090, 5030, 4960, 4880),
    "K": (4800, 4640, 4480, 4320, 4160, 4010, 3970, 3940, 3910, 3880),
    "M": (3840, 3770, 3700, 3600, 3500, 3380, 3250, 3120, 3000, 2900),
}
_GIANT_SHARE = {"A": 0.1, "F": 0.12, "G": 0.3, "K": 0.5, "M": 0.4}
_SEQUENCE_TEFF = (3400, 3850, 4500, 5300, 5900, 6500, 7300, 8500, 10000)
_SEQUENCE_LOGG = (4.9, 4.75, 4.63, 4.52, 4.40, 4.27, 4.20, 4.15, 4.10)
_BRANCH_TEFF = (3400, 3800, 4200, 4600, 4900, 5300, 6000, 7300, 10000)
_BRANCH_LOGG = (0.5, 1.0, 1.7, 2.3, 2.7, 3.1, 3.4, 3.6, 3.6)


def main_sequence_logg(teff: NDArray[np.float64]) -> NDArray[np.float64]:
    """Place dwarfs on the main sequence.

    Parameters
    ----------
    teff : ndarray, shape (n,)
        Kelvin.

    Returns
    -------
    ndarray, shape (n,)
        Mean log g (masses and radii of Pecaut & Mamajek 2013).
    """
    return np.interp(teff, _SEQUENCE_TEFF, _SEQUENCE_LOGG)


def _borders(scale: Mapping[str, tuple[int, ...]]) -> NDArray[np.float64]:
    """Return lower Teff edges of A0, A1, ... M9: half way to the next subclass."""
    centres = np.array([t for letter in BUILTIN_CLASSES for t in scale[letter]], float)
    return np.append((centres[:-1] + centres[1:]) / 2.0, 0.0)


def spectral_type(teff: float, *, giant: bool) -> str:
    """Name the spectral type of a temperature.

    Parameters
    ----------
    teff : float
        Kelvin.
    giant : bool
        Use the scale of giants, which reach a type at a lower temperature.

    Returns
    -------
    str
        Class and subclass, 'G2'.
    """
    place = int(np.argmax(teff >= _borders(_GIANTS if giant else _DWARFS)))
    return f"{BUILTIN_CLASSES[place // 10]}{place % 10}"


def _class_range(letter: str, *, giant: bool) -> tuple[float, float]:
    """Temperatures of a class, inside the grid."""
    edges = np.append(np.inf, _borders(_GIANTS if giant else _DWARFS))
    first = BUILTIN_CLASSES.index(letter) * 10
    return max(edges[first + 10], TEFF[0]), min(edges[first], TEFF[-1])


def _class_counts(shares: dict[str, float], count: int) -> dict[str, int]:
    """Share `count` stars out by largest remainder."""
    wanted = {name: share for name, share in sorted(shares.items()) if share > 0}
    unknown = sorted(set(wanted) - set(BUILTIN_CLASSES))
    if unknown or not wanted:
        came = f"{unknown}" if unknown else "no class with a share above 0"
        raise ConfigError("simulate.class_shares", f"classes among {BUILTIN_CLASSES}", came)
    total = sum(wanted.values())
    exact = {name: count * share / total for name, share in wanted.items()}
    counts = {name: int(value) for name, value in exact.items()}
    rest = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in rest[: count - sum(counts.values())]:
        counts[name] += 1
    return counts


def _noisy_type(
    star: tuple[float, bool], allowed: set[str], spread: float, rng: np.random.Generator
) -> str:
    """Type a star as literature would: by a temperature off by `spread` (kelvin).

    A type outside the classes of the survey is drawn again.
    """
    teff, giant = star
    for _ in range(100):
        found = spectral_type(teff + spread * rng.standard_normal(), giant=giant)
        if found[0] in allowed:
            return found
    return spectral_type(teff, giant=giant)


def _draw(settings: SimulateSettings, count: int) -> pl.DataFrame:
    """Draw the table of stars."""
    rng = np.random.default_rng([settings.seed, 0x57A25])
    counts = _class_counts(settings.class_shares, count)
    letters = rng.permutation(np.repeat(list(counts), list(counts.values())))
    giant = rng.uniform(size=count) < np.array([_GIANT_SHARE[c] for c in letters])
    ranges = np.array(
        [_class_range(c, giant=bool(g)) for c, g in zip(letters, giant, strict=True)]
    ).reshape(count, 2)
    # A hair inside the range, so that without a spread the type is the class that was drawn.
    teff = ranges[:, 0] + (0.001 + 0.998 * rng.uniform(size=count)) * np.ptp(ranges, axis=1)
    dwarf_logg = main_sequence_logg(teff) + 0.1 * rng.standard_normal(count)
    branch_logg = np.interp(teff, _BRANCH_TEFF, _BRANCH_LOGG) + 0.25 * rng.standard_normal(count)
    logg = np.clip(np.where(giant, branch_logg, dwarf_logg), LOGG[0], LOGG[-1])
    # A thin disc and, for one star in eight, a thick disc with its metal-poor tail.
    thick = rng.uniform(size=count) < 0.125
    feh = np.where(thick, rng.normal(-0.6, 0.35, count), rng.normal(-0.08, 0.2, count))
    feh = np.clip(feh, FEH[0], FEH[-1])
    allowed = set(counts)
    types = [
        _noisy_type((float(t), bool(g)), allowed, settings.border_spread, rng)
        for t, g in zip(teff, giant, strict=True)
    ]
    table = pl.DataFrame(
        {
            "star": [f"B{i + 1:06d}" for i in range(count)],
            "class": [name[0] for name in types],
            "subclass": types,
            "luminosity": ["III" if g else "V" for g in giant],
            "teff": teff,
            "logg": logg,
            "feh": feh,
            "source": ["builtin"] * count,
            "filled_from": [np.inf] * count,
        }
    )
    fold = (pl.int_range(pl.len()).over("class") % 5).cast(pl.Int64).alias("fold")
    return table.with_columns(fold).select(
        pl.col(name).cast(kind) for name, kind in STAR_COLUMNS.items()
    )


def builtin_stars(
    settings: SimulateSettings, count: int, *, progress: Progress | None = None
) -> StarSet:
    """Make stars from the built-in physics.

    Parameters
    ----------
    settings : SimulateSettings
        `class_shares` (classes among A, F, G, K, M), `border_spread`, `lines`, `seed` and
        `workers` are used.
    count : int
        Stars wanted.
    progress : callable, optional
        Called with grid nodes done and wanted, while nodes are computed for the first time.

    Returns
    -------
    StarSet
        Stars named 'B000001' on, in random order of class; Teff uniform within its class, [Fe/H]
        of a thin and a thick disc. With a `border_spread` the class may differ from what the
        true Teff says.

    Raises
    ------
    ConfigError
        A class is not one of `BUILTIN_CLASSES`, or `count` is below 1.
    """
    if count < 1:
        raise ConfigError("simulate.stars", "at least 1 star", str(count))
    table = _draw(settings, count)
    parameters = table.select("teff", "logg", "feh").to_numpy()
    grid = SpectrumGrid(lines=settings.lines, workers=settings.workers)
    flux = grid.interpolate(parameters, progress)
    wave = rest_grid()
    inside = (wave >= 5500.0) & (wave < 7000.0)
    flux = flux / np.median(flux[:, inside], axis=1, keepdims=True)
    return StarSet(table=table, flux=flux.astype(np.float32), fwhm=FWHM)
