"""Commands of two words: instrument and catalog."""

import json
import os
import subprocess
import sys

import polars as pl
import pytest

from drcnet.config import load_settings
from drcnet.instruments import InstrumentProfile, instrument_names, load_instrument

CATALOG = (
    "obsid|lmjd|planid|spid|fiberid|objra|objdec|snrr|class|subclass\n"
    "2|57289|P1|1|2|10.5|20.5|31.5|STAR|K3\n"
    "1|57289|P1|1|1|10.4|20.5|-9999|STAR|F5\n"
)


def drcnet(*words, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "drcnet", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=os.environ | {"COLUMNS": "80", "TERM": "dumb"},
    )


@pytest.mark.parametrize(
    "words",
    [
        ("instrument",),
        ("instrument", "list"),
        ("instrument", "show"),
        ("instrument", "learn"),
        ("catalog",),
        ("catalog", "convert"),
    ],
)
def test_every_word_explains_itself_in_80_columns(words):
    shown = drcnet(*words, "--help")
    assert shown.returncode == 0, shown.stderr
    assert "Usage" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80


def test_all_shipped_instruments_are_listed():
    shown = drcnet("instrument", "list")
    assert all(name in shown.stdout for name in instrument_names())
    assert max(map(len, shown.stdout.splitlines())) <= 80
    rows = json.loads(drcnet("instrument", "list", "--json").stdout)["instruments"]
    assert {row["name"]: row["kind"] for row in rows}["kast"] == "long slit"


def test_a_shown_profile_is_one_that_can_be_used(tmp_path):
    (tmp_path / "own.toml").write_text(drcnet("instrument", "show", "boss").stdout)
    assert load_settings(tmp_path / "own.toml", InstrumentProfile) == load_instrument("boss")


def test_a_catalogue_is_converted_once(tmp_path):
    (tmp_path / "c.csv").write_text(CATALOG)
    shown = drcnet("catalog", "convert", "c.csv", "c.parquet", "--json", cwd=tmp_path)
    assert json.loads(shown.stdout) == {"catalog": "c.parquet", "rows": 2}
    table = pl.read_parquet(tmp_path / "c.parquet")
    assert table["fiberid"].to_list() == [1, 2]
    assert table["snrr"].to_list() == [None, 31.5]
    again = drcnet("catalog", "convert", "c.csv", "c.parquet", cwd=tmp_path)
    assert again.returncode == 1
    assert "already" in again.stderr
    assert (
        drcnet("catalog", "convert", "c.csv", "c.parquet", "--overwrite", cwd=tmp_path).returncode
        == 0
    )


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("instrument", "show", "nosuch"), "a shipped profile"),
        (("instrument", "learn", "nowhere", "--out", "r.csv"), "a folder or file"),
        (("catalog", "convert", "nowhere.csv", "c.parquet"), "a catalogue"),
        (("catalog", "convert", "nowhere.csv", "c.csv"), "a file ending in .parquet"),
    ],
)
def test_what_is_wrong_is_one_line(words, wanted, tmp_path):
    shown = drcnet(*words, cwd=tmp_path)
    assert shown.returncode == 1
    assert f"wanted {wanted}" in shown.stderr
    assert "Traceback" not in shown.stderr
