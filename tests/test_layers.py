"""Imports point right to left only: a later room may use an earlier one, never the reverse."""

import ast
from pathlib import Path

import drcnet

ROOT = Path(drcnet.__file__).parent

# Rooms in the order in which light passes; equal numbers may not import each other, except within.
ORDER = {
    "errors": 0,
    "provenance": 1,
    "config": 2,
    "instruments": 3,
    "frames": 4,
    "stripes": 5,
    "dataset": 6,
    "checkpoint": 7,
    "train": 8,
    "calibrate": 8,
    "classify_tables": 7,
    "classify": 9,
    "extract": 8,
    "evaluate": 9,
    "robustness": 10,
    "saliency": 11,
    "sweep": 10,
    "report": 12,
    "simulate": 13,
    "benchmark": 14,
    "experiments": 15,
    "cli": 16,
    "api": 17,
    "__main__": 18,
}
ONLY_FRONT_ROOMS = {"simulate": {"simulate", "benchmark", "experiments", "api", "cli"}}


def room_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names = [
                f"{node.module}.{a.name}" if node.module == "drcnet" else node.module
                for a in node.names
            ]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "drcnet" and len(parts) > 1 and not parts[1].startswith("__"):
                yield parts[1]


def edges():
    for path in sorted(ROOT.rglob("*.py")):
        if path != ROOT / "__init__.py":
            for room in imported_rooms(path):
                yield path, room_of(path), room


def test_every_room_has_a_place():
    rooms = {room_of(p) for p in ROOT.rglob("*.py")} - {"__init__"}
    assert rooms <= set(ORDER) | {"models"}


def test_imports_point_right_to_left():
    wrong = [
        f"{path.relative_to(ROOT)} imports {used}"
        for path, room, used in edges()
        if used not in (room, "models") and room != "models" and ORDER[used] >= ORDER[room]
    ]
    assert wrong == []


def test_models_import_nothing_of_ours():
    assert [str(p) for p, room, used in edges() if room == "models" and used != "models"] == []


def test_only_front_rooms_import_the_simulator():
    wrong = [
        f"{path.relative_to(ROOT)} imports {used}"
        for path, room, used in edges()
        if used in ONLY_FRONT_ROOMS and room not in ONLY_FRONT_ROOMS[used]
    ]
    assert wrong == []
