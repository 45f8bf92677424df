"""Labels, and why there is none."""

import polars as pl
import pytest

from drcnet.config import PrepareSettings, load_settings
from drcnet.dataset.build import prepare
from drcnet.dataset.labels import add_labels
from drcnet.dataset.split import read_split
from drcnet.dataset.store import open_store
from drcnet.errors import ConfigError
from drcnet.frames.catalog import _class_column


def labelled(subclasses, *, raw="STAR", **settings):
    rows = pl.DataFrame(
        {
            "raw_class": [raw] * len(subclasses),
            "subclass": pl.Series(subclasses, dtype=pl.String),
            "is_sky": [False] * len(subclasses),
            "in_catalog": [True] * len(subclasses),
        }
    ).with_columns(_class_column().alias("class"))
    return add_labels(rows, PrepareSettings(**settings))


def test_a_class_is_the_first_letter_of_the_type():
    got = labelled(["F5", "A7V", "G2", "dM2", "sdF8", "gM0"], classes="AFGKM")
    assert got["class"].to_list() == ["F", "A", "G", "M", "F", "M"]
    assert got["luminosity"].to_list() == ["", "V", "", "V", "", "III"]
    assert set(got["unlabelled"]) == {""}


@pytest.mark.parametrize(
    ("subclass", "luminosity"),
    [
        *(("G5III", "III"), ("K0IV", "IV"), ("F2Ib", "Ib"), ("M1Iab", "Iab"), ("B8Ia", "Ia")),
        *(("G2.5V", "V"), ("K3II", "II"), ("F8 V", "V"), ("G5IIIb", "III"), ("Non", "")),
    ],
)
def test_luminosity_is_what_the_type_says(subclass, luminosity):
    assert labelled([subclass], classes="OBAFGKM")["luminosity"].to_list() == [luminosity]


@pytest.mark.parametrize(
    ("subclass", "why"),
    [
        ("A5", "A is not among the classes asked for"),
        ("Non", "SUBCLASS 'Non' names no spectral class"),
        ("GB", "SUBCLASS 'GB' names no spectral class"),
        ("G8/K0", "SUBCLASS 'G8/K0' spans two labels"),
        ("K5-M0", "SUBCLASS 'K5-M0' spans two labels"),
        (None, "SUBCLASS '' names no spectral class"),
    ],
)
def test_why_there_is_no_label(subclass, why):
    got = labelled([subclass])
    assert got["class"].to_list() == [""]
    assert got["unlabelled"].to_list() == [why]


def test_galaxies_are_named_as_such():
    assert labelled(["Non"], raw="GALAXY")["unlabelled"][0] == "CLASS 'GALAXY' is no star"


def test_subclasses_are_labels_of_their_own():
    got = labelled(["G5V", "G2.5", "G9/K0", "G0/1", "F9", "G8/K1"], label="subclass", classes="G")
    assert got["class"].to_list() == ["G5", "G2", "", "", "", ""]
    assert got["unlabelled"].to_list()[2:] == [
        "SUBCLASS 'G9/K0' spans two labels",
        "SUBCLASS 'G0/1' spans two labels",
        "F9 is not among the classes asked for",
        "SUBCLASS 'G8/K1' spans two labels",
    ]


def test_two_types_of_one_class_are_one_class():
    assert labelled(["G0/G5", "G0/1"])["class"].to_list() == ["G", "G"]


def test_short_forms_of_the_classes():
    assert PrepareSettings(classes="AFGKM").classes == ("A", "F", "G", "K", "M")
    ten = PrepareSettings(label="subclass", classes="G").classes
    assert ten == tuple(f"G{k}" for k in range(10))
    span = PrepareSettings(label="subclass", classes="F8-G1").classes
    assert span == ("F8", "F9", "G0", "G1")


@pytest.mark.parametrize(
    "values",
    [
        {"classes": "FGX"},
        {"classes": ["F", "F"]},
        {"classes": []},
        {"classes": ["G5"]},
        {"classes": "G5-F2", "label": "subclass"},
        {"classes": "FGK", "label": "subclass"},
    ],
)
def test_classes_that_cannot_be_are_refused(values):
    with pytest.raises(ConfigError, match="classes must be"):
        load_settings(None, PrepareSettings, values)


def test_what_is_left_out_adds_up(fakes, toy_night, tmp_path):
    """Every row stands in a part or in the report, with a reason."""
    path = toy_night / "catalog.csv"
    text = path.read_text().replace("STAR|K5", "STAR|WD").replace("|10|STAR|G5", "|-9999|STAR|G5")
    path.write_text(text)
    prepare(toy_night, tmp_path / "work", settings=fakes.make_settings(toy_night))
    index = open_store(tmp_path / "work").index
    table = pl.read_parquet(tmp_path / "work" / "left_out.parquet")
    used = read_split(tmp_path / "work").filter(pl.col("part") != "unused")
    assert table["rows"].sum() + len(used) == len(index)
    told = {(stage, reason): n for stage, reason, n in table.select(table.columns[:3]).rows()}
    assert told["label", "SUBCLASS 'WD' names no spectral class"] == 3
    assert told["fibre", "no light on the lamp flat"] == 3
    assert told["fibre", "looked at blank sky"] == 3
    assert told["label", "no row of the catalogue is this fibre"] == 3
    assert told["split", "no S/N in the catalogue"] == 3
    where = table.filter(pl.col("reason").str.contains("WD"))["examples"][0]
    assert where.startswith(f"{fakes.LMJM}-01 5 (WD); ")


def test_pools_keep_apart_what_has_no_label(fakes, toy_night, tmp_path):
    path = toy_night / "catalog.csv"
    path.write_text(path.read_text().replace("STAR|K5", "STAR|WD"))
    prepare(toy_night, tmp_path / "work", settings=fakes.make_settings(toy_night))
    first = open_store(tmp_path / "work").index.head(8)
    assert first["pool"].to_list() == [
        *("labelled", "rejected", "labelled", "labelled"),
        *("unlabelled", "labelled", "unlabelled", "sky"),
    ]


def test_without_a_catalogue_all_stars_are_unlabelled(fakes, toy_night, tmp_path):
    (toy_night / "catalog.csv").unlink()
    settings = fakes.make_settings(toy_night, unlabelled=True)
    summary = prepare(toy_night, tmp_path / "work", settings=settings)
    index = open_store(tmp_path / "work").index
    assert summary.usable == 0
    assert summary.classes == {}
    assert not index["usable"].any()
    pools = dict(index["pool"].value_counts().iter_rows())
    assert pools == {"unlabelled": 15, "rejected": 3, "sky": 6}
    assert len(read_split(tmp_path / "work")) == 0
    assert prepare(toy_night, tmp_path / "work", settings=settings).continued == 3


def test_a_store_of_subclasses(fakes, toy_night, tmp_path):
    settings = fakes.make_settings(toy_night, label="subclass", classes="G")
    summary = prepare(toy_night, tmp_path / "work", settings=settings)
    assert summary.classes == {"G5": 6}
    store = open_store(tmp_path / "work")
    assert store.provenance["settings"]["prepare"]["classes"] == [f"G{k}" for k in range(10)]
    told = set(store.index.filter(pl.col("subclass") == "F5")["unlabelled"])
    assert told == {"F5 is not among the classes asked for"}
