"""Libraries of real stars: read, made one, and brought to one resolution and one reach.

A star is one star under all its names (HD, BD, CD and G names in one spelling, else position
within 3 arcsec), has one label and appears once.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.config import SimulateSettings
from drcnet.errors import ConfigError, SpectrumError
from drcnet.simulate.library_lamost import FILE_GLOBS, read_lamost_bundle, read_lamost_files
from drcnet.simulate.library_merge import (
    assign_folds,
    judge_spectra,
    merge_stars,
    name_hash,
)
from drcnet.simulate.library_readers import (
    LibraryReader,
    read_indo_us,
    read_miles,
    read_pyhammer,
)
from drcnet.simulate.library_spectra import SourceSpectra, extend_flat, smooth, unit_median
from drcnet.simulate.library_table import TABLE_ENDINGS, read_table
from drcnet.simulate.red_fill import FILL_FROM, fill_red, reaches_red
from drcnet.simulate.spectra import STAR_COLUMNS, StarSet, rest_grid

__all__ = ["READERS", "USED", "Library", "library_stars", "read_library", "read_source"]

USED = (3875.0, 8640.0)
"""Angstrom that a LAMOST stripe sees; `StarSet.fwhm` is the median over them."""


@dataclass(frozen=True, eq=False)
class Library:
    """Stars ready for use, and what became of the rest.

    Parameters
    ----------
    stars : StarSet
        The stars, sorted by name; its `fwhm` is the median of the curve below.
    left_out : DataFrame
        One row a spectrum that is not used: source, name, type, reason.
    merged : DataFrame
        One row a further spectrum of a star that is used: star, source and type that count,
        other_source, other_name, other_type, and whether the types name different subclasses.
    known : ndarray, shape (n_star, n_pix), float32
        The spectra as far as they were observed, NaN elsewhere; not filled.
    fwhm : ndarray, shape (n_pix,)
        The common resolution along `rest_grid`: the lowest of the sources used.
    """

    stars: StarSet
    left_out: pl.DataFrame
    merged: pl.DataFrame
    known: NDArray[np.float32]
    fwhm: NDArray[np.float64]


def _folder_with(*names: str) -> Callable[[Path], bool]:
    return lambda path: path.is_dir() and all((path / name).is_file() for name in names)


READERS: dict[str, LibraryReader] = {
    "miles": LibraryReader(
        "miles_fgk.npz and miles_fgk.csv",
        _folder_with("miles_fgk.npz", "miles_fgk.csv"),
        read_miles,
    ),
    "pyhammer": LibraryReader(
        "pyhammer_fgk.npz and pyhammer_fgk.csv",
        _folder_with("pyhammer_fgk.npz", "pyhammer_fgk.csv"),
        read_pyhammer,
    ),
    "lamost-bundle": LibraryReader(
        "lamost_fgk.npz and lamost_fgk.csv",
        _folder_with("lamost_fgk.npz", "lamost_fgk.csv"),
        read_lamost_bundle,
    ),
    "indo-us": LibraryReader(
        "spEigenStar-*.fits (Indo-US)",
        lambda path: (
            path.name.startswith("spEigenStar-")
            if path.is_file()
            else any(path.glob("spEigenStar-*.fits*"))
        ),
        read_indo_us,
    ),
    "lamost-files": LibraryReader(
        f"LAMOST files {FILE_GLOBS[0]}",
        lambda path: path.is_dir() and any(any(path.glob(glob)) for glob in FILE_GLOBS),
        read_lamost_files,
    ),
    "table": LibraryReader(
        f"a table ({', '.join(TABLE_ENDINGS)})",
        lambda path: path.is_file() and path.suffix in TABLE_ENDINGS,
        read_table,
    ),
}
"""Formats in the order in which they are tried."""


def library_stars(settings: SimulateSettings) -> StarSet:
    """Take the stars of the libraries that the settings name.

    Parameters
    ----------
    settings : SimulateSettings
        `library` (folders or tables), `class_shares` (the classes kept), `library_min_snr`,
        `stars` (how many; none: all) and `seed`.

    Returns
    -------
    StarSet
        The stars, sorted by name.

    Raises
    ------
    SpectrumError
        A library is not recognised or damaged.
    ConfigError
        More stars are asked for than the libraries have.
    """
    wanted = {name: share for name, share in settings.class_shares.items() if share > 0}
    stars = read_library(
        settings.library_paths,
        classes=wanted,
        seed=settings.seed,
        min_snr=settings.library_min_snr,
    ).stars
    if settings.stars is None:
        return stars
    if settings.stars > len(stars.table):
        raise ConfigError(
            "simulate.stars", f"at most the {len(stars.table)} of the library", f"{settings.stars}"
        )
    # Star number r of a class stands at (r + 1/2) / share: the first so many follow the shares,
    # and a class that runs out leaves its places to the others.
    key = pl.Series("key", [name_hash(settings.seed, name) for name in stars.table["star"]])
    share = pl.col("class").replace_strict(wanted, return_dtype=pl.Float64)
    turn = pl.col("key").rank("ordinal").over("class") - 0.5
    place = stars.table.with_columns(key).select(turn / share).to_series()
    chosen = np.sort(np.argsort(place.to_numpy(), kind="stable")[: settings.stars])
    return StarSet(stars.table[chosen], stars.flux[chosen], stars.fwhm)


def read_source(path: Path) -> SourceSpectra:
    """Read one library, recognised by what it holds.

    Parameters
    ----------
    path : Path
        A folder or a table.

    Returns
    -------
    SourceSpectra
        Its spectra on the common grid, at their own resolution.

    Raises
    ------
    SpectrumError
        No format fits; the message names what was looked for.
    """
    for reader in READERS.values():
        if path.exists() and reader.fits(path):
            return reader.read(path)
    wanted = "; or ".join(reader.wanted for reader in READERS.values())
    came = "nothing of the kind" if path.exists() else "no such file or folder"
    raise SpectrumError(path, f"a library of spectra: {wanted}", came)


def read_library(
    paths: Sequence[Path],
    *,
    classes: Collection[str] = ("F", "G", "K"),
    seed: int = 1,
    min_snr: float = 50.0,
) -> Library:
    """Read libraries and make one of them.

    Parameters
    ----------
    paths : sequence of Path
        Folders or tables; their order does not matter.
    classes : collection of str
        The classes kept.
    seed : int
        Decides the folds.
    min_snr : float
        Least S/N of a spectrum, where its source tells it.

    Returns
    -------
    Library
        Stars and reports.

    Raises
    ------
    SpectrumError
        A library is not recognised or damaged, no star is left, or the red fill cannot be
        fitted.
    """
    sources = [read_source(Path(path)) for path in paths]
    spectra = judge_spectra(sources, min_snr)
    stars, left_out, merged = merge_stars(spectra, classes)
    if stars.is_empty():
        raise SpectrumError(
            ", ".join(str(path) for path in paths),
            f"spectra of the classes {sorted(classes)}",
            f"{len(spectra)} spectra, none of them usable",
        )
    stars = stars.with_columns(assign_folds(stars, seed))
    skipped = [source.skipped.with_columns(source=pl.lit(source.source)) for source in sources]
    left_out = pl.concat([left_out, *(table.select(left_out.columns) for table in skipped)])
    known, fwhm = _at_one_resolution(sources, stars)
    flux, filled_from = _filled(known, stars)
    kept = _first_rows(stars)
    table = stars.with_columns(filled_from=pl.lit(filled_from)).select(
        pl.col(name).cast(kind) for name, kind in STAR_COLUMNS.items()
    )
    used = (rest_grid() >= USED[0]) & (rest_grid() <= USED[1])
    return Library(
        # Noise of a real spectrum may go below zero; the light of a star cannot.
        stars=StarSet(table, np.maximum(unit_median(flux), 0), float(np.median(fwhm[used]))),
        left_out=left_out.sort("source", "name"),
        merged=merged,
        known=known[kept],
        fwhm=fwhm,
    )


def _first_rows(stars: pl.DataFrame) -> NDArray[np.int64]:
    """Where each star's own spectrum stands among all spectra of all stars."""
    count = stars["rows"].list.len().to_numpy()
    return np.cumsum(count) - count


def _at_one_resolution(
    sources: list[SourceSpectra], stars: pl.DataFrame
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Bring all spectra of the stars kept, star by star, to the lowest resolution among them.

    Returns
    -------
    flux : ndarray, shape (n_spectrum, n_pix)
        With unit median; NaN where not observed.
    fwhm : ndarray, shape (n_pix,)
        The common resolution, angstrom.
    """
    rows = stars.explode("rows")["rows"].to_numpy()
    start = np.cumsum([0] + [len(source.table) for source in sources])
    number = np.searchsorted(start, rows, side="right") - 1  # which source each row is of
    used = [sources[n] for n in np.unique(number)]
    fwhm = np.max([source.fwhm for source in used], axis=0)
    flux = np.empty((len(rows), len(fwhm)), dtype=np.float32)
    for n in np.unique(number):
        own = rows[number == n] - start[n]
        flux[number == n] = smooth(sources[n].flux[own], sources[n].fwhm, fwhm)
    return unit_median(flux), fwhm


def _filled(known: NDArray[np.float32], stars: pl.DataFrame) -> tuple[NDArray[np.float32], float]:
    """Extend and fill the spectra that are used, and say from where on they are filled."""
    first = _first_rows(stars)
    reaches = reaches_red(known)
    whole = extend_flat(known)
    if reaches[first].all():
        return whole[first], float("inf")
    # Further spectra of a star (Indo-US of a MILES star) teach too, in their star's fold.
    fold = np.repeat(stars["fold"].to_numpy(), stars["rows"].list.len().to_numpy())
    return fill_red(whole[first], fold[first], whole[reaches], fold[reaches]), FILL_FROM
