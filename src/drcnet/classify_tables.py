"""A table of classes into a file, in the format that the file's ending names."""

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
from astropy.io.votable import from_table
from astropy.io.votable.tree import Info
from astropy.table import MaskedColumn, Table
from astropy.utils.exceptions import AstropyWarning

from drcnet.errors import ConfigError
from drcnet.provenance import atomic_write

__all__ = ["ENDINGS", "check_output", "write_table"]

Provenance = Mapping[str, Any]


def check_output(path: Path, *, overwrite: bool) -> None:
    """Make sure, before any work, that a table can be written there.

    Parameters
    ----------
    path : Path
        The file.
    overwrite : bool
        Whether an older file may be replaced.

    Raises
    ------
    ConfigError
        The ending is unknown, the file is there already, or it is a folder.
    """
    if path.suffix.lower() not in ENDINGS:
        wanted = f"an output ending in one of {', '.join(ENDINGS)}"
        raise ConfigError(path, wanted, repr(path.suffix) if path.suffix else "none")
    if path.is_dir():
        raise ConfigError(path, "a file to write", "a folder")
    if path.exists() and not overwrite:
        raise ConfigError(path, "a new file", "one that is there already (overwrite replaces it)")


def write_table(path: Path, table: pl.DataFrame, provenance: Provenance) -> None:
    """Write a table so that it appears whole, with its origin in it.

    Parameters
    ----------
    path : Path
        The file; its ending names the format.
    table : DataFrame
        Nulls stay nulls where the format has them; in FITS they are NaN and empty text.
    provenance : Mapping
        JSON-able; in a FITS file COMMENT cards, in a CSV file lines beginning with '#'.

    Raises
    ------
    ConfigError
        The file cannot be written.
    """
    try:
        with atomic_write(path) as partial:
            ENDINGS[path.suffix.lower()](partial, table, provenance)
    except OSError as err:
        raise ConfigError(path, "a file that can be written", err.strerror or str(err)) from err


def _to_astropy(table: pl.DataFrame) -> Table:
    """Columns with masks for nulls; text as text."""
    out = Table()
    for column in table.iter_columns():
        null = column.is_null().to_numpy()
        if column.dtype == pl.String:
            values: Any = column.fill_null("").to_list()
            out[column.name] = MaskedColumn(values, mask=null, dtype=str)
        else:
            filled = column.fill_null(float("nan") if column.dtype.is_float() else 0)
            out[column.name] = MaskedColumn(filled.to_numpy(), mask=null)
        if not null.any():
            out[column.name] = out[column.name].filled()
    return out


def _write_fits(path: Path, table: pl.DataFrame, provenance: Provenance) -> None:
    out = _to_astropy(table)
    for name in out.colnames:
        if isinstance(out[name], MaskedColumn):
            out[name] = out[name].filled("" if out[name].dtype.kind == "U" else float("nan"))
    out.meta["EXTNAME"] = "CLASSES"
    text = json.dumps(provenance, sort_keys=True, default=str)
    out.meta["comments"] = [text[i : i + 70] for i in range(0, len(text), 70)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)  # an older file is replaced knowingly
        out.write(path, format="fits", overwrite=True)


def _write_votable(path: Path, table: pl.DataFrame, provenance: Provenance) -> None:
    votable = from_table(_to_astropy(table))
    value = json.dumps(provenance, sort_keys=True, default=str)
    votable.resources[0].infos.append(Info(name="provenance", value=value))
    votable.to_xml(str(path))


def _write_ecsv(path: Path, table: pl.DataFrame, provenance: Provenance) -> None:
    out = _to_astropy(table)
    out.meta["provenance"] = json.loads(json.dumps(provenance, default=str))
    out.write(path, format="ascii.ecsv", overwrite=True)


def _write_csv(path: Path, table: pl.DataFrame, provenance: Provenance) -> None:
    head = f"# {json.dumps(provenance, sort_keys=True, default=str)}\n"
    path.write_text(head + table.write_csv(), encoding="utf-8")


def _write_parquet(path: Path, table: pl.DataFrame, provenance: Provenance) -> None:
    text = json.dumps(provenance, sort_keys=True, default=str)
    table.write_parquet(path, metadata={"provenance": text})


ENDINGS: dict[str, Callable[[Path, pl.DataFrame, Provenance], None]] = {
    ".fits": _write_fits,
    ".parquet": _write_parquet,
    ".vot": _write_votable,
    ".xml": _write_votable,
    ".ecsv": _write_ecsv,
    ".csv": _write_csv,
}
"""File ending to the function that writes that format."""
