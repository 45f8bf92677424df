"""Every fenced command of the README but the make targets runs, in order, in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks():
    return BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))


def commands(block):
    lines = [line.strip() for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith(("#", "make "))]


def test_readme_has_commands_of_both_kinds():
    assert {kind for kind, _ in blocks()} == {"bash", "python"}
    words = {
        line.split()[1] for kind, text in blocks() if kind == "bash" for line in commands(text)
    }
    assert words >= {"simulate", "check", "prepare", "train", "evaluate", "report", "classify"}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_readme_commands_run_in_an_empty_folder(tmp_path):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for kind, text in blocks():
        runs = commands(text) if kind == "bash" else [[sys.executable, "-c", text]]
        for run in runs:
            shown = subprocess.run(
                run,
                shell=isinstance(run, str),
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
                env=os.environ | {"PATH": path, "COLUMNS": "80"},
            )
            assert shown.returncode == 0, f"{run}\n{shown.stdout[-1500:]}\n{shown.stderr[-1500:]}"
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert (tmp_path / "classes.fits").exists()
