"""The command line: its words, its exit codes, and how fast it answers."""

import json
import os
import subprocess
import sys

import pytest

from drcnet import __version__

COMMANDS = (
    *("simulate", "check", "prepare", "train", "sweep", "calibrate", "evaluate", "compare"),
    *(
        "ensemble",
        "robustness",
        "saliency",
        "paper",
        "report",
        "classify",
        "extract",
        "models",
        "demo",
    ),
)
HEAVY = (
    *("torch", "astropy", "numba", "polars", "pydantic"),
    *("matplotlib", "scipy", "zarr", "numpy"),
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


def test_version():
    assert drcnet("--version").stdout.strip() == f"drcnet {__version__}"


def test_help_names_every_command_and_the_exit_codes():
    shown = drcnet("--help")
    assert shown.returncode == 0
    assert all(command in shown.stdout for command in COMMANDS)
    assert "130" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_in_80_columns(command):
    shown = drcnet(command, "--help")
    assert shown.returncode == 0, shown.stderr
    assert "Usage" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from drcnet.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert shown.stdout.splitlines()[-1] == "[]"


def test_every_command_is_a_function_of_the_same_name():
    from drcnet import api

    assert set(COMMANDS) - {"models"} == set(api.__all__)
    assert all(callable(getattr(api, name)) for name in api.__all__)


@pytest.mark.parametrize(
    "words",
    [("nonsense",), ("simulate",), ("classify", "x"), ("simulate", "night", "--plates", "0")],
)
def test_wrong_words_are_exit_code_2(words, tmp_path):
    assert drcnet(*words, cwd=tmp_path).returncode == 2


def test_an_error_is_one_line_that_names_the_file(tmp_path):
    (tmp_path / "wrong.toml").write_text("[simulate]\nseeed = 1\n")
    shown = drcnet("simulate", "night", "--config", "wrong.toml", cwd=tmp_path)
    assert shown.returncode == 1
    assert "wrong.toml" in shown.stderr
    assert "simulate.seeed" in shown.stderr
    assert "Traceback" not in shown.stderr
    assert not (tmp_path / "night").exists()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("check", "nowhere"), "nowhere"),
        (("prepare", "nowhere", "work"), "nowhere"),
        (("train", "nowhere", "runs", "--model", "logreg"), "nowhere"),
        (("evaluate", "nowhere"), "nowhere"),
        (("dataset", "info", "nowhere"), "nowhere"),
        (("dataset", "check", "nowhere"), "nowhere"),
        (("dataset", "merge", "nowhere", "elsewhere", "-o", "out"), "nowhere"),
        (("dataset", "subset", "nowhere", "-o", "out", "--part", "test"), "nowhere"),
        (("report", "nowhere"), "nowhere"),
        (("extract", "nowhere", "--out", "spectra"), "nowhere"),
        (("classify", "nowhere", "--checkpoint", "norun"), "no"),
    ],
)
def test_absent_input_is_one_line_and_exit_code_1(words, named, tmp_path):
    shown = drcnet(*words, cwd=tmp_path)
    assert shown.returncode == 1, shown.stderr
    assert named in shown.stderr
    assert "wanted" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_models_as_json():
    shown = drcnet("models", "--json")
    models = {row["model"]: row for row in json.loads(shown.stdout)["models"]}
    assert {"drcnet", "rcnet", "logreg"} <= set(models)
    assert models["drcnet"]["parameters"] > 0
    assert models["drcnet"]["operations"] == 170_085_248
    assert models["logreg"]["operations"] is None
