"""A toy night, and stand-ins for the rooms before this one."""

import importlib.util
from pathlib import Path

import pytest


def load_fakes():
    path = Path(__file__).with_name("fake_frames.py")
    spec = importlib.util.spec_from_file_location("fake_frames", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fakes(monkeypatch):
    module = load_fakes()
    module.install(monkeypatch.setattr)
    return module


@pytest.fixture
def toy_night(fakes, tmp_path):
    return fakes.make_night(tmp_path / "night")
