"""drcnet dataset: what it prints, and its exit codes."""

import json

import pytest
from typer.testing import CliRunner

from drcnet.cli.dataset import app
from drcnet.dataset.build import prepare
from drcnet.dataset.store import open_store, shard_path
from drcnet.errors import StoreError


@pytest.fixture
def prepared(fakes, toy_night, tmp_path):
    prepare(toy_night, tmp_path / "work", settings=fakes.make_settings(toy_night))
    return tmp_path / "work"


def drcnet(*words):
    return CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "80", "TERM": "dumb"})


def test_info_fits_80_columns_and_says_all(prepared, monkeypatch):
    monkeypatch.chdir(prepared.parent)
    shown = drcnet("info", "work")
    assert shown.exit_code == 0
    body = shown.stdout.splitlines()[1:]  # the first names the instrument's file, here a path
    assert max(map(len, body)) <= 80
    for word in ("Figure 4", "Table 1", "Figure 3", "Flags", "Left out", "split", "zarr"):
        assert word in shown.stdout
    assert "no light on the lamp flat" in shown.stdout


def test_info_as_json(prepared):
    found = json.loads(drcnet("info", prepared, "--json").stdout)
    assert found["rows"] == 24
    assert found["flow"][0]["rows"] == 24
    assert {"stage", "reason", "rows", "stars", "examples"} == set(found["left_out"][0])


def test_check_is_0_or_1(prepared):
    shown = drcnet("check", prepared)
    assert shown.exit_code == 0
    assert "whole" in shown.stdout
    shard_path(prepared, "blue", "mask", 1).write_bytes(b"")
    shown = drcnet("check", prepared, "--json")
    assert shown.exit_code == 1
    assert "blue/mask" in json.loads(shown.stdout)["faults"][0]


def test_merge_and_subset_write_stores(prepared, tmp_path):
    assert drcnet("merge", prepared, prepared, "-o", tmp_path / "both").exit_code == 0
    assert len(open_store(tmp_path / "both").index) == 24
    shown = drcnet("subset", prepared, "-o", tmp_path / "few", "--rows", "0-7", "--json")
    assert json.loads(shown.stdout)["rows"] == 8
    shown = drcnet("merge", prepared, prepared, "-o", tmp_path / "both")
    assert isinstance(shown.exception, StoreError)


@pytest.mark.parametrize("words", [("merge", "a", "-o", "x"), ("subset", "a", "-o", "x")])
def test_too_few_words_are_exit_code_2(words):
    assert drcnet(*words).exit_code == 2


@pytest.mark.parametrize("command", ["info", "check", "merge", "subset"])
def test_every_command_explains_itself_in_80_columns(command):
    shown = drcnet(command, "--help")
    assert shown.exit_code == 0
    assert max(map(len, shown.stdout.splitlines())) <= 80


def test_prepare_without_a_catalogue_needs_the_word(fakes, toy_night, tmp_path):
    from drcnet.cli import app as whole
    from drcnet.config import Settings, settings_toml
    from drcnet.errors import CatalogError

    (toy_night / "catalog.csv").unlink()
    config = tmp_path / "toy.toml"
    config.write_text(settings_toml(Settings(prepare=fakes.make_settings(toy_night))))
    words = ["prepare", str(toy_night), str(tmp_path / "work"), "-c", str(config)]
    refused = CliRunner().invoke(whole, words)
    assert isinstance(refused.exception, CatalogError)
    assert "--unlabelled" in str(refused.exception)
    shown = CliRunner().invoke(whole, [*words, "--unlabelled", "--json"])
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["usable"] == 0
    found = json.loads(drcnet("info", tmp_path / "work", "--json").stdout)
    assert found["pools"] == {"labelled": 0, "unlabelled": 15, "sky": 6, "rejected": 3}
    assert drcnet("info", tmp_path / "work").exit_code == 0
    assert drcnet("check", tmp_path / "work").exit_code == 0
