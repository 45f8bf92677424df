"""Catalogue in: fibre to star, class and S/N.

Every release of LAMOST spells its columns in its own way; here they get one spelling, -9999
becomes null, and a fibre finds its row or the reason why not.
"""

from collections.abc import Callable, Collection
from pathlib import Path

import polars as pl

from drcnet.errors import CatalogError
from drcnet.frames.catalog_readers import scan_table
from drcnet.frames.frame import night_of
from drcnet.frames.stars import name_stars
from drcnet.provenance import atomic_write, file_digest, make_provenance

__all__ = [
    "CATALOG_COLUMNS",
    "convert_catalog",
    "join_fibers",
    "read_catalog",
    "scan_catalog",
]

_LIST = pl.List(pl.Int64)

CATALOG_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "obsid": pl.Int64,
    "designation": pl.String,
    "star": pl.String,  # one star under all its rows
    "lmjd": pl.Int64,
    "planid": pl.String,
    "spid": pl.Int64,
    "fiberid": pl.Int64,
    "ra": pl.Float64,
    "dec": pl.Float64,
    "snru": pl.Float64,
    "snrg": pl.Float64,
    "snrr": pl.Float64,
    "snri": pl.Float64,
    "snrz": pl.Float64,
    "raw_class": pl.String,  # CLASS: STAR, GALAXY, QSO, Unknown
    "class": pl.String,  # the spectral class of a star, one letter of OBAFGKM
    "subclass": pl.String,
    "objtype": pl.String,
    "fibertype": pl.String,
    "z": pl.Float64,
    "rv": pl.Float64,
    "teff": pl.Float64,
    "logg": pl.Float64,
    "feh": pl.Float64,
    "lmjmlist": _LIST,  # exposures that were added; entries that are no LMJM are left out
    "is_sky": pl.Boolean,
}

# Ours to theirs, DR1 to DR10, catalogues and headers of 1-D files; the first that is there counts.
_SPELLINGS: dict[str, tuple[str, ...]] = {
    "designation": ("designation", "desig"),
    "ra": ("objra", "ra", "ra_obs"),
    "dec": ("objdec", "dec", "dec_obs"),
    "raw_class": ("raw_class", "class"),
    "fibertype": ("fibertype", "fibertyp", "fib_type"),
    "feh": ("feh", "fe_h", "[fe/h]"),
    "lmjmlist": ("lmjmlist", "lmjm_list"),
} | {f"snr{band}": (f"snr{band}", f"sn_{band}", f"snr_{band}") for band in "ugriz"}

_NEEDED = ("spid", "fiberid", "raw_class", "subclass", "snrr")
_MISSING = -9999
_MISSING_TEXT = ("", "null", "NULL", "nan", "NaN", "None")
_LMJM = r"\b\d{8,9}\b"  # '86009' stands in some real lists: cut short, it names no minute
_EXPLAIN_AT_MOST = 5


def read_catalog(
    path: Path, *, spid: int | None = None, nights: Collection[int] | None = None
) -> pl.DataFrame:
    """Read a catalogue, or the part of it that a night needs.

    Parameters
    ----------
    path : Path
        CSV ('|' or ','), FITS table, Parquet, VOTable, ECSV, or a folder of LAMOST 1-D files.
    spid : int, optional
        Only this spectrograph.
    nights : collection of int, optional
        Only these local modified Julian days; rows without one are kept.

    Returns
    -------
    DataFrame
        The columns of `CATALOG_COLUMNS`; null where nothing is known.

    Raises
    ------
    CatalogError
        The file cannot be read, a needed column is missing (what is there is listed), or a
        value is no number.
    """
    try:
        rows = _scan(path, spid, nights).collect()
    except pl.exceptions.PolarsError as err:
        came = str(err).strip().splitlines()[0]
        raise CatalogError(path, "numbers where numbers belong", came) from err
    return name_stars(rows).select(*CATALOG_COLUMNS)


def scan_catalog(path: Path) -> pl.LazyFrame:
    """Open a catalogue lazily, so that only what is filtered for is read.

    Parameters
    ----------
    path : Path
        As for `read_catalog`.

    Returns
    -------
    LazyFrame
        The columns of `CATALOG_COLUMNS`; `star` is null where the file does not name it.
    """
    return _scan(path, None, None)


def _scan(path: Path, spid: int | None, nights: Collection[int] | None) -> pl.LazyFrame:
    table = scan_table(path)
    schema = table.collect_schema()
    found = _spelled(path, schema)
    keep = _filters(spid, nights)
    for ours, test in keep.items():
        raw = found[ours]
        if raw is not None and schema[raw].is_integer():
            # On the file's own column a test lets the reader skip whole blocks.
            table = table.filter(test(pl.col(raw)))
    table = table.select(
        _column(found[ours], schema, dtype).alias(ours) for ours, dtype in CATALOG_COLUMNS.items()
    )
    if found["lmjd"] is None:
        lmjm = pl.col("lmjmlist").list.first()
        table = table.with_columns(lmjd=((lmjm + 720) // 1440).cast(pl.Int64))
    for ours, test in keep.items():
        table = table.filter(test(pl.col(ours)))
    sky = pl.any_horizontal(pl.col("objtype", "fibertype").str.to_lowercase() == "sky")
    return table.with_columns(_class_column().alias("class"), sky.fill_null(False).alias("is_sky"))


def _spelled(path: Path, schema: pl.Schema) -> dict[str, str | None]:
    """Our column to theirs, None where they have none."""
    found = {
        ours: next((name for name in _SPELLINGS.get(ours, (ours,)) if name in schema), None)
        for ours in CATALOG_COLUMNS
    }
    _refuse_missing(path, found, schema.names())
    return found


def _filters(
    spid: int | None, nights: Collection[int] | None
) -> dict[str, Callable[[pl.Expr], pl.Expr]]:
    """Tests by column of ours; a row that does not say its night is not left out."""
    keep: dict[str, Callable[[pl.Expr], pl.Expr]] = {}
    if spid is not None:
        keep["spid"] = lambda column: column == spid
    if nights is not None:
        known = [*nights, _MISSING]
        keep["lmjd"] = lambda column: column.is_in(known) | column.is_null()
    return keep


def join_fibers(
    catalog: pl.DataFrame, *, spid: int, lmjm: int, n_fiber: int, planid: str | None = None
) -> pl.DataFrame:
    """Give every fibre of an exposure its catalogue row.

    Rows whose `lmjmlist` holds the exposure match; where rows have no list, those of the night
    match, if they are of one plate only.

    Parameters
    ----------
    catalog : DataFrame
        From `read_catalog`.
    spid : int
        Spectrograph.
    lmjm : int
        Local modified Julian minute of the exposure.
    n_fiber : int
        Fibres of the instrument.
    planid : str, optional
        Only rows of this plate.

    Returns
    -------
    DataFrame, n_fiber rows
        The catalogue's columns by `fiberid` 1, 2, ...; `in_catalog` is False and all else null
        for a fibre without a row.

    Raises
    ------
    CatalogError
        No row is of this exposure, two plates of the night could be meant, a fibre has two rows
        that disagree, or a fibre number is not the instrument's.
    """
    where = f"catalogue rows of exposure {lmjm}-{spid:02d}"
    rows = catalog.filter(pl.col("spid") == spid)
    if planid is not None:
        rows = rows.filter(pl.col("planid") == planid)
    rows = _one_row_a_fiber(where, _match(where, rows, lmjm), n_fiber)
    fibers = pl.DataFrame({"fiberid": pl.Series(range(1, n_fiber + 1), dtype=pl.Int64)})
    joined = fibers.join(
        rows.with_columns(in_catalog=pl.lit(value=True)), on="fiberid", how="left"
    )
    return (
        joined.sort("fiberid")
        .select(
            *(name for name in catalog.columns if name != "in_catalog"),
            pl.col("in_catalog").fill_null(value=False),
        )
        .with_columns(pl.col("is_sky").fill_null(value=False))
    )


def convert_catalog(path: Path, out: Path) -> int:
    """Write a catalogue as Parquet, ordered by night, spectrograph and fibre.

    Parameters
    ----------
    path : Path
        As for `read_catalog`.
    out : Path
        The Parquet file to write.

    Returns
    -------
    int
        Rows written.
    """
    if out.suffix != ".parquet":
        raise CatalogError(out, "a file ending in .parquet", repr(out.name))
    rows = read_catalog(path).sort("lmjd", "spid", "fiberid", "obsid", maintain_order=True)
    inputs = {} if Path(path).is_dir() else {Path(path).name: file_digest(Path(path))}
    origin = make_provenance({"catalog": Path(path).name}, inputs=inputs)
    with atomic_write(out) as partial:
        rows.write_parquet(partial, row_group_size=100_000, metadata={"drcnet": str(origin)})
    return len(rows)


def _refuse_missing(path: Path, found: dict[str, str | None], there: list[str]) -> None:
    needed = [*_NEEDED, *(["lmjd"] if found["lmjmlist"] is None else [])]
    missing = [_SPELLINGS.get(name, (name,)) for name in needed if found[name] is None]
    if missing:
        wanted = ", ".join(" or ".join(spellings) for spellings in missing)
        raise CatalogError(path, f"the columns {wanted}", f"only {', '.join(there)}")


def _column(
    name: str | None, schema: pl.Schema, dtype: pl.DataType | type[pl.DataType]
) -> pl.Expr:
    """One of their columns as one of ours: stripped, -9999 made null, and of our type."""
    if name is None:
        return pl.lit(None, dtype=dtype)
    column = pl.col(name)
    text = schema[name] == pl.String
    if text:
        column = column.str.strip_chars()
        column = pl.when(~column.is_in(_MISSING_TEXT)).then(column)
    if dtype == _LIST:
        return _lmjm_list(column, schema[name])
    if dtype == pl.Int64 and text:
        column = column.str.replace(r"\.0*$", "")
    column = column.cast(dtype)
    if dtype == pl.Float64:
        return pl.when((column > _MISSING + 0.5) & column.is_not_nan()).then(column)
    if dtype == pl.Int64:
        return pl.when(column != _MISSING).then(column)
    if dtype == pl.String:
        return pl.when(~column.is_in([str(_MISSING), f"{_MISSING}.0"])).then(column)
    return column


def _lmjm_list(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.List):
        return column.cast(_LIST)
    return column.cast(pl.String).str.extract_all(_LMJM).cast(_LIST)


def _class_column() -> pl.Expr:
    """Spectral class by LAMOST's CLASS and SUBCLASS ('F5', 'A7V', 'dM2', 'gM0', 'Non', ...).

    One letter of OBAFGKM; null for what is no star or has no such type ('Non', 'WD', 'Carbon',
    'DoubleStar', 'GB').
    """
    letter = pl.col("subclass").str.extract(r"^(?:sd|[dg])?([OBAFGKM])(?:\d|$)", 1)
    return pl.when(pl.col("raw_class").str.to_uppercase() == "STAR").then(letter)


def _match(where: str, rows: pl.DataFrame, lmjm: int) -> pl.DataFrame:
    """Rows that hold the minute, and rows without a list that are of the same plate."""
    holds = pl.col("lmjmlist").list.contains(lmjm).fill_null(value=False)
    listless = pl.col("lmjmlist").list.len().fill_null(0) == 0
    exact = rows.filter(holds)
    loose = rows.filter(listless & (pl.col("lmjd") == night_of(lmjm)))
    if len(exact):
        plates = exact["planid"].unique().to_list()
        loose = loose.filter(pl.col("planid").is_in(plates))
        return pl.concat([exact, loose.join(exact, on="fiberid", how="anti")])
    plates = sorted(loose["planid"].unique().to_list(), key=str)
    if len(plates) > 1:
        wanted = "rows of one plate (give planid, or a catalogue with lmjmlist)"
        raise CatalogError(where, wanted, f"{len(plates)} plates: {', '.join(map(str, plates))}")
    if not len(loose):
        nights = ", ".join(
            str(n) for n in rows["lmjd"].unique().sort().to_list()[:_EXPLAIN_AT_MOST]
        )
        came = f"{len(rows)} rows of this spectrograph, of nights {nights or 'none'}"
        raise CatalogError(where, f"rows of night {night_of(lmjm)}", came)
    return loose


def _one_row_a_fiber(where: str, rows: pl.DataFrame, n_fiber: int) -> pl.DataFrame:
    """Take doubled rows that agree as one; refuse those that do not."""
    outside = rows.filter(~pl.col("fiberid").is_between(1, n_fiber) | pl.col("fiberid").is_null())
    if len(outside):
        came = str(outside["fiberid"].head(_EXPLAIN_AT_MOST).to_list())
        raise CatalogError(where, f"fibres 1 to {n_fiber}", came)
    says = ["fiberid", "star", "raw_class", "subclass", "is_sky"]
    doubled = rows.unique(says).filter(pl.col("fiberid").is_duplicated()).sort("fiberid", "obsid")
    if len(doubled):
        shown = doubled.head(2 * _EXPLAIN_AT_MOST).select("fiberid", "obsid", "subclass").rows()
        listed = "; ".join(f"fibre {f}: obsid {o} {s}" for f, o, s in shown)
        raise CatalogError(where, "one row a fibre", f"rows that disagree ({listed})")
    return rows.sort("fiberid", "obsid").unique("fiberid", keep="first", maintain_order=True)
