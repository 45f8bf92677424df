import re

import numpy as np
import polars as pl
import pytest
from astropy.io import fits
from astropy.table import Table

from drcnet.errors import CatalogError
from drcnet.frames.catalog import (
    CATALOG_COLUMNS,
    convert_catalog,
    join_fibers,
    read_catalog,
    scan_catalog,
)
from drcnet.frames.catalog_readers import READERS

LMJM = 80441496
NIGHT = 55862


def rows(n=3, **changes):
    """A catalogue in LAMOST's DR1 columns."""
    table = {
        "obsid": [100 + i for i in range(n)],
        "designation": [f"J0636{i:02d}.24+272227.2" for i in range(n)],
        "lmjd": [NIGHT] * n,
        "planid": ["B6212"] * n,
        "spid": [6] * n,
        "fiberid": [i + 1 for i in range(n)],
        "objra": [99.0 + i for i in range(n)],
        "objdec": [27.0] * n,
        "snru": [1.5] * n,
        "snrg": [10.5] * n,
        "snrr": [20.25, *[-9999.0] * (n - 1)],
        "snri": [20.0] * n,
        "snrz": [15.0] * n,
        "objtype": ["star"] * n,
        "class": ["STAR"] * n,
        "subclass": [["F5", "dM2", "Non"][i % 3] for i in range(n)],
        "fibertype": ["Obj", "Obj", "Sky", *["Obj"] * (n - 3)][:n],
        "z": [1e-4] * n,
        "rv": [30.0] * n,
        "teff": [6000.0, *[-9999.0] * (n - 1)],
    }
    return pl.DataFrame(table | changes, strict=False)


def save(table, path):
    """Write a table in the format of the path's ending."""
    if path.suffix == ".parquet":
        table.write_parquet(path)
    elif path.name.endswith((".csv", ".txt", ".csv.gz")):
        text = table.write_csv(separator="|")
        if path.suffix == ".gz":
            import gzip

            path.write_bytes(gzip.compress(text.encode()))
        else:
            path.write_text(text)
    else:
        astro = Table({name: table[name].to_numpy() for name in table.columns})
        for name in astro.colnames:
            if astro[name].dtype == object:
                astro[name] = astro[name].astype(str)
        kind = "votable" if path.suffix in {".vot", ".votable", ".xml"} else None
        astro.write(path, format=kind or ("ascii.ecsv" if path.suffix == ".ecsv" else "fits"))
    return path


def catalog(tmp_path, **changes):
    return read_catalog(save(rows(**changes), tmp_path / "catalog.parquet"))


@pytest.mark.parametrize("ending", READERS)
def test_every_format_gives_the_same_table(tmp_path, ending):
    found = read_catalog(save(rows(), tmp_path / f"catalog{ending}"))
    assert found.schema == pl.Schema(CATALOG_COLUMNS)
    assert found["snrr"].to_list() == [20.25, None, None]
    assert found["teff"].to_list() == [6000.0, None, None]
    assert found["logg"].to_list() == [None] * 3
    assert found["raw_class"].to_list() == ["STAR"] * 3
    assert found["class"].to_list() == ["F", "M", None]
    assert found["is_sky"].to_list() == [False, False, True]
    assert found["ra"].to_list() == [99.0, 100.0, 101.0]
    assert found["star"].to_list() == rows()["designation"].to_list()
    assert found.equals(read_catalog(save(rows(), tmp_path / "same.parquet")))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("objra", "ra"),
        ("objra", "ra_obs"),
        ("objra", "OBJRA"),
        ("snrr", "SN_R"),
        ("fibertype", "FIB_TYPE"),
        ("fibertype", "fibertyp"),
        ("designation", "DESIG"),
        ("class", "CLASS"),
    ],
)
def test_every_spelling_is_known(tmp_path, old, new):
    usual = read_catalog(save(rows(), tmp_path / "a.csv"))
    assert read_catalog(save(rows().rename({old: new}), tmp_path / "b.csv")).equals(usual)


def test_commas_separate_too(tmp_path):
    (tmp_path / "a.csv").write_text(rows().write_csv())
    assert read_catalog(tmp_path / "a.csv").equals(catalog(tmp_path))


def test_numbers_as_text_and_spaces(tmp_path):
    text = (
        rows()
        .with_columns(pl.all().cast(pl.String))
        .with_columns((" " + pl.col(name) + " ").alias(name) for name in rows().columns)
    )
    text = text.with_columns(fiberid=pl.col("fiberid").str.strip_chars() + ".0")
    assert read_catalog(save(text, tmp_path / "a.csv")).equals(catalog(tmp_path))


def test_only_what_is_asked_for(tmp_path):
    path = save(rows(4, spid=[6, 7, 6, 6], lmjd=[NIGHT, NIGHT, 1, -9999]), tmp_path / "a.csv")
    assert read_catalog(path, spid=6)["fiberid"].to_list() == [1, 3, 4]
    assert read_catalog(path, spid=6, nights={NIGHT})["fiberid"].to_list() == [1, 4]


def test_the_night_follows_from_the_minutes(tmp_path):
    path = save(rows(lmjmlist=[f"{LMJM}-{LMJM + 28}"] * 3).drop("lmjd"), tmp_path / "catalog.csv")
    assert read_catalog(path)["lmjd"].to_list() == [NIGHT] * 3


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (f"{LMJM}-{LMJM + 28}-{LMJM + 56}", [LMJM, LMJM + 28, LMJM + 56]),
        (f"{LMJM}-86009", [LMJM]),
        ("86009", []),
        (str(LMJM), [LMJM]),
    ],
)
def test_minutes_cut_short_are_left_out(tmp_path, value, wanted):
    found = catalog(tmp_path, lmjmlist=[value] * 3)
    assert found["lmjmlist"].to_list() == [wanted] * 3


@pytest.mark.parametrize(
    ("raw", "sub", "wanted"),
    [
        ("STAR", "F5", "F"),
        ("STAR", "A7V", "A"),
        ("STAR", "K0III", "K"),
        ("STAR", "dM2", "M"),
        ("STAR", "gM0", "M"),
        ("STAR", "sdF8", "F"),
        ("star ", " G3 ", "G"),
        ("STAR", "F", "F"),
        ("STAR", "Non", None),
        ("STAR", "WD", None),
        ("STAR", "Carbon", None),
        ("STAR", "GB", None),
        ("STAR", "DoubleStar", None),
        ("STAR", "OB", None),
        ("GALAXY", "F5", None),
        ("Unknown", "G2", None),
        (None, "F5", None),
        ("STAR", None, None),
    ],
)
def test_the_class_of_a_type(tmp_path, raw, sub, wanted):
    table = catalog(tmp_path, **{"class": [raw] * 3, "subclass": [sub] * 3})
    assert table["class"].to_list() == [wanted] * 3


@pytest.mark.parametrize("gone", ["spid", "fiberid", "class", "subclass", "snrr", "lmjd"])
def test_a_missing_column_is_named_and_the_others_listed(tmp_path, gone):
    path = save(rows().drop(gone), tmp_path / "a.csv")
    with pytest.raises(CatalogError) as caught:
        read_catalog(path)
    assert gone in caught.value.wanted
    assert caught.value.came.startswith("only obsid, designation")
    assert gone not in caught.value.came.replace("subclass", "" if gone == "class" else "subclass")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "wanted a header line, got an empty file"),
        ("a.parquet", b"not a parquet", "wanted a readable .parquet table"),
        ("a.fits", b"not a fits", "wanted a readable .fits table"),
        ("a.vot", b"<html>", "wanted a readable .vot table"),
        ("a.ecsv", b"# nothing", "wanted a readable .ecsv table"),
        ("a.xlsx", b"PK", "wanted a file ending in .csv"),
        ("a.csv", b"obsid|obsid\n1|2\n", "wanted every column once, got ['obsid'] more than once"),
        ("a.csv", b"OBSID|obsid\n1|2\n", "wanted every column once, got ['obsid'] more than once"),
        ("a.csv", b"spid|fiberid\n1|2|3\n", "wanted"),
    ],
)
def test_a_bad_file_is_one_error(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CatalogError, match=re.escape(message)):
        read_catalog(tmp_path / name)


def test_a_missing_file_and_an_empty_folder(tmp_path):
    with pytest.raises(CatalogError, match="wanted a catalogue, got no such file"):
        read_catalog(tmp_path / "gone.csv")
    with pytest.raises(CatalogError, match=re.escape("LAMOST 1-D spectra (*.fits, *.fits.gz)")):
        read_catalog(tmp_path)


def test_words_where_numbers_belong(tmp_path):
    path = save(rows(snrr=["20", "good", "3"]), tmp_path / "a.csv")
    with pytest.raises(CatalogError, match="wanted numbers where numbers belong, got .*good"):
        read_catalog(path)


def test_a_fits_image_is_no_catalogue(tmp_path):
    fits.PrimaryHDU(np.zeros((3, 3))).writeto(tmp_path / "a.fits")
    with pytest.raises(CatalogError, match="wanted a FITS file with a table, got one without"):
        read_catalog(tmp_path / "a.fits")


def test_convert_writes_what_was_read(tmp_path):
    path = save(rows(fiberid=[3, 1, 2]), tmp_path / "a.csv")
    out = tmp_path / "out.parquet"
    assert convert_catalog(path, out) == 3
    found = read_catalog(out)
    assert found["fiberid"].to_list() == [1, 2, 3]
    assert found.equals(read_catalog(path).sort("fiberid"))
    assert "a.csv" in pl.read_parquet_metadata(out)["drcnet"]
    before = out.read_bytes()
    convert_catalog(path, out)
    assert out.read_bytes() == before


# --- join


def test_join_gives_every_fibre_a_row(tmp_path):
    found = join_fibers(catalog(tmp_path), spid=6, lmjm=LMJM, n_fiber=5)
    assert found["fiberid"].to_list() == [1, 2, 3, 4, 5]
    assert found["obsid"].to_list() == [100, 101, 102, None, None]
    assert found["in_catalog"].to_list() == [True, True, True, False, False]
    assert found["is_sky"].to_list() == [False, False, True, False, False]


def test_join_by_the_list_of_minutes(tmp_path):
    minutes = [f"{LMJM}-{LMJM + 28}", f"{LMJM + 28}", f"{LMJM}"]
    found = join_fibers(catalog(tmp_path, lmjmlist=minutes), spid=6, lmjm=LMJM, n_fiber=3)
    assert found["in_catalog"].to_list() == [True, False, True]


def test_of_two_plates_the_list_of_minutes_decides(tmp_path):
    table = catalog(
        tmp_path,
        n=4,
        fiberid=[1, 2, 1, 2],
        planid=["A", "A", "B", "B"],
        lmjmlist=[str(LMJM)] * 2 + [str(LMJM + 60)] * 2,
    )
    found = join_fibers(table, spid=6, lmjm=LMJM + 60, n_fiber=2)
    assert found["obsid"].to_list() == [102, 103]


def test_a_minute_cut_short_does_not_match_but_its_row_does_by_its_plate(tmp_path):
    minutes = [str(LMJM), "86009", "86009"]
    table = catalog(tmp_path, lmjmlist=minutes, planid=["A", "A", "B"])
    found = join_fibers(table, spid=6, lmjm=LMJM, n_fiber=3)
    assert found["in_catalog"].to_list() == [True, True, False]


def test_two_plates_of_a_night_without_minutes_are_refused_and_listed(tmp_path):
    table = catalog(tmp_path, planid=["A", "A", "B"])
    with pytest.raises(CatalogError, match="wanted rows of one plate .*, got 2 plates: A, B"):
        join_fibers(table, spid=6, lmjm=LMJM, n_fiber=3)
    found = join_fibers(table, spid=6, lmjm=LMJM, n_fiber=3, planid="B")
    assert found["in_catalog"].to_list() == [False, False, True]


@pytest.mark.parametrize(
    ("spid", "lmjm", "came"),
    [
        (7, LMJM, "0 rows of this spectrograph, of nights none"),
        (6, LMJM + 1440, f"3 rows of this spectrograph, of nights {NIGHT}"),
    ],
)
def test_none_of_these_fibres_is_an_error(tmp_path, spid, lmjm, came):
    with pytest.raises(CatalogError, match=came):
        join_fibers(catalog(tmp_path), spid=spid, lmjm=lmjm, n_fiber=3)


def test_rows_that_disagree_are_refused_and_listed(tmp_path):
    table = catalog(tmp_path, fiberid=[1, 1, 2], subclass=["F5", "G2", "F5"])
    with pytest.raises(CatalogError, match="fibre 1: obsid 100 F5; fibre 1: obsid 101 G2"):
        join_fibers(table, spid=6, lmjm=LMJM, n_fiber=3)


def test_rows_that_agree_are_one(tmp_path):
    table = catalog(
        tmp_path, fiberid=[1, 1, 2], subclass=["F5"] * 3, designation=["J1", "J1", "J2"]
    ).with_columns(is_sky=False)
    found = join_fibers(table, spid=6, lmjm=LMJM, n_fiber=2)
    assert found["obsid"].to_list() == [100, 102]


def test_a_fibre_of_another_instrument_is_refused(tmp_path):
    with pytest.raises(CatalogError, match=re.escape("wanted fibres 1 to 2, got [3]")):
        join_fibers(catalog(tmp_path), spid=6, lmjm=LMJM, n_fiber=2)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("folder", "count", "first"),
    [
        ("grd349-dr1", 18, ("B6212", 55862, 6)),
        ("chenfazheng-dr7", 3, ("HD103621N361936B01", 58575, 3)),
        ("junhui-dr8", 3, ("F5902", 55859, 3)),
        ("gcbellys-dr10", 60, ("KII051405N211325B02", 59528, 8)),
    ],
)
def test_folders_of_real_spectra_are_catalogues(shared_data, folder, count, first):
    found = read_catalog(shared_data / "lamost-files" / folder)
    assert len(found) == count
    assert found.select("planid", "lmjd", "spid").row(0) == first
    assert found["snrr"].null_count() == 0
    assert found["class"].null_count() < count / 2
    assert found["lmjmlist"].list.len().min() > 0
    assert found["star"].str.starts_with("J").all()


@pytest.mark.shared
def test_a_real_excerpt_without_fibres_is_refused(shared_data):
    with pytest.raises(CatalogError, match="got only obsid, class, subclass"):
        read_catalog(shared_data / "lamost-files" / "gcbellys-dr10" / "AFG_merged_params.csv")


def test_a_big_table_is_filtered_before_it_is_read(tmp_path):
    n = 40_000
    night = np.arange(n) // 4000 + NIGHT
    table = (
        rows(1)
        .select(pl.all().repeat_by(n).explode())
        .with_columns(
            obsid=pl.int_range(n),
            lmjd=pl.Series(night),
            spid=pl.Series(np.arange(n) // 250 % 16 + 1),
            fiberid=pl.Series(np.arange(n) % 250 + 1),
        )
    )
    path = save(table, tmp_path / "big.parquet")
    part = read_catalog(path, spid=6, nights={NIGHT})
    assert 240 <= len(part) <= 260
    assert scan_catalog(path).select(pl.len()).collect().item() == n
