"""Catalogue files of every format to one lazy table with the file's own column names."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from astropy.io import fits
from astropy.table import Table

from drcnet.errors import CatalogError

__all__ = ["READERS", "Reader", "scan_table"]

Reader = Callable[[Path], pl.LazyFrame]

_SEPARATORS = ("|", "\t", ";", ",")
_SPECTRA = ("*.fits", "*.fits.gz")


def scan_table(path: Path) -> pl.LazyFrame:
    """Open a table by its ending.

    Parameters
    ----------
    path : Path
        A file with one of the endings of `READERS`, or a folder of LAMOST 1-D spectra.

    Returns
    -------
    LazyFrame
        The file's columns, names in lower case; text columns of a CSV are not yet numbers.

    Raises
    ------
    CatalogError
        The file is missing, of an unknown format, or damaged.
    """
    path = Path(path)
    if path.is_dir():
        return _lower(path, _read_headers(path))
    if not path.exists():
        raise CatalogError(path, "a catalogue", "no such file")
    reader = next((r for ending, r in READERS.items() if path.name.lower().endswith(ending)), None)
    if reader is None:
        raise CatalogError(path, f"a file ending in {', '.join(READERS)}", repr(path.name))
    try:
        return _lower(path, reader(path))
    except CatalogError:
        raise
    except Exception as err:
        # Four libraries read these formats, each with errors of its own.
        raise CatalogError(path, f"a readable {path.suffix} table", _first_line(err)) from err


def _lower(path: Path, table: pl.LazyFrame) -> pl.LazyFrame:
    names = table.collect_schema().names()
    lowered = [name.strip().lower() for name in names]
    _refuse_doubles(path, lowered)
    return table.rename(dict(zip(names, lowered, strict=True)))


def _refuse_doubles(path: Path, names: list[str]) -> None:
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise CatalogError(path, "every column once", f"{doubled} more than once")


def _first_line(err: BaseException) -> str:
    lines = str(err).strip().splitlines()
    return lines[0] if lines else type(err).__name__


def _scan_csv(path: Path) -> pl.LazyFrame:
    """Every column as text: what a column holds is known here and need not be guessed."""
    opener: Callable[..., Any] = gzip.open if path.name.endswith(".gz") else Path.open
    with opener(path, "rb") as stream:
        head = stream.readline().decode("utf-8", errors="replace").strip()
    if not head:
        raise CatalogError(path, "a header line", "an empty file")
    separator = max(_SEPARATORS, key=head.count)
    _refuse_doubles(path, [name.strip().lower() for name in head.split(separator)])
    return pl.scan_csv(path, separator=separator, infer_schema=False, null_values=[""])


def _scan_parquet(path: Path) -> pl.LazyFrame:
    return pl.scan_parquet(path)


def _read_fits(path: Path) -> pl.LazyFrame:
    with fits.open(path, memmap=False) as hdus:
        tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
        if not tables:
            raise CatalogError(path, "a FITS file with a table", "one without")
        data = tables[0].data
        columns = {name: _native(np.asarray(data[name])) for name in data.names}
    return pl.LazyFrame({name: column for name, column in columns.items() if column.ndim == 1})


def _read_votable(path: Path) -> pl.LazyFrame:
    return _from_astropy(Table.read(path, format="votable"))


def _read_ecsv(path: Path) -> pl.LazyFrame:
    return _from_astropy(Table.read(path, format="ascii.ecsv"))


def _from_astropy(table: Table) -> pl.LazyFrame:
    columns: dict[str, pl.Series] = {}
    for name in table.colnames:
        column = table[name]
        values = _native(np.asarray(column))
        if values.ndim != 1:
            continue
        series = pl.Series(name, values.tolist() if values.dtype == object else values)
        mask = np.asarray(getattr(column, "mask", np.zeros(len(values), bool)))
        hidden = pl.Series(np.broadcast_to(mask, len(values)).copy())
        columns[name] = pl.select(pl.when(~hidden).then(series)).to_series()
    return pl.LazyFrame(columns)


def _native(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if values.dtype.kind == "S":
        return np.char.decode(values, "utf-8", errors="replace")
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _read_headers(folder: Path) -> pl.LazyFrame:
    """One row a LAMOST 1-D file of a folder, from its primary header."""
    paths = sorted(path for pattern in _SPECTRA for path in folder.rglob(pattern))
    if not paths:
        raise CatalogError(folder, "LAMOST 1-D spectra (*.fits, *.fits.gz)", "none")
    rows = []
    for path in paths:
        try:
            header = fits.getheader(path, 0)
            rows.append({k: str(header[k]) for k in header if k not in ("", "COMMENT", "HISTORY")})
        except (OSError, EOFError, ValueError, fits.VerifyError) as err:
            raise CatalogError(path, "a LAMOST 1-D FITS file", _first_line(err)) from err
    names = dict.fromkeys(name for row in rows for name in row)
    return pl.LazyFrame({name: [row.get(name) for row in rows] for name in names})


READERS: dict[str, Reader] = {
    ".csv": _scan_csv,
    ".csv.gz": _scan_csv,
    ".txt": _scan_csv,
    ".parquet": _scan_parquet,
    ".fits": _read_fits,
    ".fits.gz": _read_fits,
    ".fit": _read_fits,
    ".vot": _read_votable,
    ".votable": _read_votable,
    ".xml": _read_votable,
    ".ecsv": _read_ecsv,
}
