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
from drcnet.dataset.split import read_split, split_digest
from drcnet.errors import StoreError


@pytest.fixture(scope="module")
def page(tiny_set):
    return set_page(tiny_set)


def test_it_is_named_by_the_title(tiny_set, page):
    assert page_name(tiny_set) == "tiny"
    assert page.startswith("# The benchmark `tiny`\n\na set of eight fibres.")


def test_every_split_stands_there_with_its_digest(tiny_set, page):
    paths = [tiny_set / "split.parquet", *sorted((tiny_set / "splits").iterdir())]
    assert len(paths) == 6
    for path in paths:
        assert split_digest(read_split(path)) in page


def test_counts_are_those_of_the_index(tiny_set, page):
    usable = pl.read_parquet(tiny_set / "index.parquet").filter("usable")
    assert page.count(f"{len(usable)} usable rows of 64") == 1
    for name in ("F", "G", "K"):
        rows = usable.filter(pl.col("class") == name)
        assert f"{len(rows)} rows, {rows['star'].n_unique()} stars" in page
    figure3 = page.partition("Figure 3")[2].partition("## From fibres")[0]
    counted = [
        int(row.split("|")[2]) for row in re.findall(r"^\| [>\du].*$", figure3, re.MULTILINE)
    ]
    assert sum(counted) == len(usable)


def test_what_it_took_is_told(tiny_set, page, tmp_path):
    (call,) = read_makings(tiny_set)
    assert call.made == 8
    assert "8 exposures made in" in page
    assert "(1 call)" in page
    untimed = tmp_path / "set"
    shutil.copytree(tiny_set, untimed)
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


def test_the_command_writes_pages_whole(tiny_set, tmp_path):
    out = tmp_path / "pages"
    words = ["benchmark", "page", str(tiny_set), "--out", str(out), "--no-sources"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert (out / "benchmark-tiny.md").read_text() == set_page(tiny_set)


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(StoreError, match="benchmark.toml"):
        set_page(tmp_path)


def test_a_set_of_nothing_is_refused(tiny_set, tmp_path):
    work = tmp_path / "set"
    shutil.copytree(tiny_set, work)
    index = pl.read_parquet(work / "index.parquet").with_columns(usable=False)
    index.write_parquet(work / "index.parquet")
    with pytest.raises(StoreError, match="usable rows"):
        set_page(work)
