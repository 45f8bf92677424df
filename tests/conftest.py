"""Fixtures that every test may use."""

import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(20231025)


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real spectra and frames, or a skip that says so."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("DRCNET_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"real data not present ({folder}); set DRCNET_SHARED_DATA")
    return folder
