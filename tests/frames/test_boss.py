"""A drawn frame in the format that SDSS publishes; no real one has been met."""

import numpy as np
import pytest
from astropy.io import fits

from drcnet.frames.read import read_frame
from drcnet.instruments import load_instrument

BOSS = load_instrument("boss")


@pytest.fixture(scope="module")
def red(tmp_path_factory):
    """Four levels, 20 ADU of light everywhere, one bright pixel."""
    raw = np.full(BOSS.shape, 900, np.uint16)
    for number, amp in enumerate(BOSS.amplifiers):
        level = 1000 + 100 * number
        raw[slice(*amp.overscan_y), slice(*amp.overscan_x)] = level
        raw[slice(*amp.data_y), slice(*amp.data_x)] = level + 20
    raw[56 + 3000, 128 + 50] += 500
    path = tmp_path_factory.mktemp("boss") / "sdR-r1-00103239.fit"
    image = fits.PrimaryHDU(raw)
    image.header["FLAVOR"] = "science"
    image.header["TAI-BEG"] = 4760000000.0
    image.writeto(path)
    return read_frame(path, BOSS)


def test_name_and_header_say_what_it_is(red):
    assert (red.name.kind, red.name.arm, red.name.spid) == ("object", "red", 1)
    assert red.name.lmjm == int(4760000000 / 60) - 7 * 60


def test_every_quadrant_has_its_own_overscan_and_gain(red):
    corners = red.electrons[[0, 4095, 0, 4095], [0, 0, 4111, 4111]]
    np.testing.assert_allclose(corners, 20 * BOSS.gains("red"), rtol=1e-5)
    assert red.electrons[50, 3000] == pytest.approx(520 * BOSS.gains("red")[2], rel=1e-5)


def test_read_noise_is_the_arms_own(red):
    wanted = 20 * BOSS.gains("red")[0] + BOSS.read_noises("red")[0] ** 2
    assert red.variance[0, 0] == pytest.approx(wanted, rel=1e-5)
