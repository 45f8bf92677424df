import numpy as np
import pytest

from drcnet.frames.recognise import recognise
from drcnet.instruments import load_instrument

from .conftest import OBJECT


def test_by_name_alone(tmp_path):
    assert recognise(tmp_path / "sdR-r2-00123456.fit") == "boss"


@pytest.mark.parametrize("ending", [".fit", ".fit.gz", ".fits.fz"])
def test_by_shape_where_the_name_says_nothing(write, ending):
    shape = load_instrument("kast").shape
    assert recognise(write(np.ones(shape, np.uint16), "image" + ending)) == "kast"


def test_neither(write, raw, tmp_path):
    assert recognise(write(raw.counts, "image.fit")) is None
    assert recognise(tmp_path / "gone.fit") is None
    assert recognise(tmp_path / OBJECT) == "lamost-lrs"
