"""The page of a set says what the set holds, and nothing that it does not."""

import re
import shutil

import polars as pl
import pytest
from typer.testing import CliRunner

from drcnet.benchmark.making import MAKING, read_makings
from drcnet.benchmark.page import page_name, set_page
from drcnet.benchmark.tables import pooled_text, splits_text
from drcnet.cli import app
from drcnet.config import SplitSettings
from drcnet.dataset.split import make_split, read_split, split_digest, write_split
from drcnet.errors import StoreError
from drcnet.stripes.flags import FiberFlag


@pytest.fixture(scope="module")
def seen_set(tiny_set, tmp_path_factory):
    """The tiny set as if its arcs had lines enough: every named star is usable."""
    work = tmp_path_factory.mktemp("pages") / "set"
    shutil.copytree(tiny_set, work)
    index = pl.read_parquet(work / "index.parquet")
    named = pl.col("class") != ""
    index = index.with_columns(
        usable=named,
        pool=pl.when(named).then(pl.lit("labelled")).otherwise(pl.lit("sky")),
        flags=pl.when(named).then(0).otherwise(int(FiberFlag.SKY_FIBER)).cast(pl.UInt32),
    )
    index.write_parquet(work / "index.parquet")
    settings = SplitSettings()
    write_split(work / "split.parquet", make_split(index, settings), settings)
    for fold in range(5):
        asked = settings.model_copy(update={"kind": "large", "fold": fold})
        write_split(work / "splits" / f"large-{fold}.parquet", make_split(index, asked), asked)
    return work


@pytest.fixture(scope="module")
def page(seen_set):
    return set_page(seen_set)


def test_it_is_named_by_the_title(seen_set, page):
    assert page_name(seen_set) == "tiny"
    assert page.startswith("# The benchmark `tiny`\n\na set of ten fibres.")


def test_every_split_stands_there_with_its_digest(seen_set, page):
    paths = [seen_set / "split.parquet", *sorted((seen_set / "splits").iterdir())]
    assert len(paths) == 6
    for path in paths:
        assert split_digest(read_split(path)) in page


def test_counts_are_those_of_the_index(seen_set, page):
    usable = pl.read_parquet(seen_set / "index.parquet").filter("usable")
    assert page.count(f"{len(usable)} usable rows of 64") == 1
    for name in ("F", "G", "K"):
        rows = usable.filter(pl.col("class") == name)
        assert f"{len(rows)} rows, {rows['star'].n_unique()} stars" in page
    figure3 = page.partition("Figure 3")[2].partition("## From fibres")[0]
    counted = [
        int(row.split("|")[2]) for row in re.findall(r"^\| [>\du].*$", figure3, re.MULTILINE)
    ]
    assert sum(counted) == len(usable)


def test_what_it_took_is_told(seen_set, page, tmp_path):
    (call,) = read_makings(seen_set)
    assert call.made == 8
    assert "8 exposures made in" in page
    assert "(1 call)" in page
    untimed = tmp_path / "set"
    shutil.copytree(seen_set, untimed)
    (untimed / MAKING).unlink()
    assert "is not known" in set_page(untimed)


def test_folds_in_one_table():
    split = pl.DataFrame(
        {
            "row": [0, 1, 2, 3],
            "star": ["a", "b", "c", "c"],
            "class": ["F", "G", "G", "G"],
            "snrr": [40.0, 41.0, 5.0, 50.0],
            "interval": [">30", ">30", "0-30", ">30"],
            "part": ["train", "validation", "test", "test"],
        }
    )
    text = splits_text({3: split}, ("0-30", ">30"))
    assert text.splitlines()[0] == "| fold | digest | train | validation | test >30 | test 0-30 |"
    digest = split_digest(split)
    assert text.splitlines()[2] == (
        f"| 3 | `{digest}` | 1 / 1 (1/0) | 1 / 1 (0/1) | 1 / 1 (0/1) | 1 / 1 (0/1) |"
    )
    pooled = pooled_text([split, split], ("0-30", ">30")).splitlines()
    assert pooled[2:] == ["| >30 | 2 | 1 | 2 |", "| 0-30 | 2 | 1 | 2 |"]


def test_the_command_writes_pages_whole(seen_set, tmp_path):
    out = tmp_path / "pages"
    words = ["benchmark", "page", str(seen_set), "--out", str(out), "--no-sources"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert (out / "benchmark-tiny.md").read_text() == set_page(seen_set)


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(StoreError, match="benchmark.toml"):
        set_page(tmp_path)


def test_a_set_of_nothing_is_refused(tiny_set):
    """Its arcs have too few lines, so every frame is refused."""
    with pytest.raises(StoreError, match="usable rows"):
        set_page(tiny_set)
