"""Real raw frames of a long-slit spectrograph, through its own profile."""

import numpy as np
import pytest

from drcnet.errors import FrameError
from drcnet.frames.calibrate import bad_pixels, master_bias
from drcnet.frames.night import scan_night
from drcnet.frames.read import read_frame, read_name
from drcnet.instruments import load_instrument

pytestmark = pytest.mark.shared
KAST = load_instrument("kast")


@pytest.fixture
def kast(shared_data):
    return {p.name.split(".")[0]: p for p in (shared_data / "kast-raw").glob("*.fits.gz")}


@pytest.mark.parametrize(
    ("name", "kind", "time"),
    [
        ("kast-b1", "arc", "20150519173527"),
        ("kast-b11", "flat", "20150519175327"),
        ("kast-b21", "bias", "20150519194404"),
        ("kast-b24", "object", "20150519201216"),
        ("kast-b27", "object", "20150519203733"),
    ],
)
def test_kind_and_time_stand_in_the_header(kast, name, kind, time):
    found = read_name(kast[name], KAST)
    assert (found.kind, found.time, found.arm, found.lmjd) == (kind, time, "blue", 57162)


def test_the_night_is_put_together(kast):
    found = scan_night(list(kast.values()), KAST)
    assert [e.blue.object.name[:8] for e in found.exposures] == ["kast-b24", "kast-b27"]
    assert found.exposures[0].blue.flat == kast["kast-b11"]
    assert found.exposures[0].blue.arc == kast["kast-b1"]
    assert found.exposures[0].blue.biases == (kast["kast-b21"],)
    assert found.problems == ()


def test_a_long_slit_needs_no_flat(kast):
    found = scan_night([p for n, p in kast.items() if n != "kast-b11"], KAST)
    assert found.problems == ()
    files = found.exposures[0].blue
    assert (files.flat, files.flats) == (None, ())
    with pytest.raises(FrameError, match="a flat beside it"):
        files.lamp  # noqa: B018


def test_overscan_takes_the_level_out_of_the_bias(kast):
    frame = read_frame(kast["kast-b21"], KAST)
    assert abs(frame.pedestal[:, 0] - [943.8, 964.8]).max() < 1
    for half in (slice(0, 1024), slice(1024, 2048)):
        part = frame.electrons[:, half]
        assert abs(np.median(part)) < 3
        assert 1.4826 * np.median(abs(part - np.median(part))) == pytest.approx(3.7, rel=0.25)


def test_a_faint_star_stands_on_its_trace_and_its_variance_is_that_of_its_sky(kast):
    bias = master_bias([kast["kast-b21"]], KAST)
    bad = bad_pixels(bias, KAST, "blue")
    assert bad.mean() < 0.01
    frame = read_frame(kast["kast-b27"], KAST, master_bias=bias, bad_pixels=bad)
    across = np.median(frame.electrons, axis=1)
    assert abs(int(np.argmax(across)) - 174) <= 2
    # Neighbouring sky rows differ by noise alone: twice the model's variance, but for the bias
    # frame's own noise, which is a second read noise.
    sky = slice(250, 300)
    difference = frame.electrons[sky][1:] - frame.electrons[sky][:-1]
    measured = (1.4826 * np.median(abs(difference - np.median(difference)))) ** 2 / 2
    modelled = np.median(frame.variance[sky]) + 3.7**2
    assert measured == pytest.approx(modelled, rel=0.15)
