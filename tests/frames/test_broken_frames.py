"""A corpus of broken frames: each has its own exact complaint, and none passes silently."""

import os
import re

import numpy as np
import pytest

from drcnet.errors import FrameError
from drcnet.frames.read import read_frame

from .broken_frames import CASES, edited, put
from .conftest import N_SPATIAL, OBJECT, draw, tiny


@pytest.mark.parametrize("case", CASES)
def test_a_broken_frame_is_one_clear_error(tmp_path, rng, case):
    build, wanted, came = CASES[case]
    path = build(tmp_path, draw(rng).counts)
    with pytest.raises(FrameError) as caught:
        read_frame(path, tiny())
    assert caught.value.where == str(path)
    assert wanted in caught.value.wanted
    assert came in caught.value.came
    assert re.fullmatch(r"[^\n]+: wanted [^\n]+, got [^\n]+", str(caught.value))


def test_unreadable(tmp_path, rng, monkeypatch):
    """By permission; as root everything can be read, so the refusal is acted."""
    path = put(tmp_path, draw(rng).counts)
    path.chmod(0)
    if os.access(path, os.R_OK):
        monkeypatch.setattr(type(path), "read_bytes", _denied)
    with pytest.raises(FrameError, match="wanted a readable file, got permission denied"):
        read_frame(path, tiny())


def _denied(path):
    raise PermissionError(13, "Permission denied", str(path))


def test_vanishing_while_read(tmp_path, rng, monkeypatch):
    path = put(tmp_path, draw(rng).counts)
    whole = type(path).read_bytes

    def vanish(self):
        self.unlink()
        return whole(self)

    monkeypatch.setattr(type(path), "read_bytes", vanish)
    with pytest.raises(FrameError, match="wanted a readable file, got no such file"):
        read_frame(path, tiny())


@pytest.mark.parametrize("length", range(0, 26000, 1537))
def test_truncation_anywhere_is_noticed(tmp_path, rng, length):
    path = put(tmp_path, draw(rng).counts)
    whole = path.read_bytes()
    assert length < 2880 + draw(rng).counts.nbytes
    path.write_bytes(whole[:length])
    with pytest.raises(FrameError, match="cut short|an empty file"):
        read_frame(path, tiny())


def test_every_flipped_bit_is_noticed_where_there_is_a_checksum(tmp_path, rng):
    path = put(tmp_path, draw(rng).counts, checksum=True)
    whole = path.read_bytes()
    for position in rng.integers(0, len(whole), 60):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(0, 8))
        path.write_bytes(damaged)
        with pytest.raises(FrameError):
            read_frame(path, tiny())


@pytest.mark.parametrize("ending", [".fit", ".fit.gz", ".fits.fz"])
def test_whatever_is_done_to_a_file_only_our_error_comes_out(tmp_path, rng, ending):
    """Bits flipped, bytes lost, digits put into headers: a frame, or a FrameError."""
    path = put(tmp_path, draw(rng).counts, OBJECT.replace(".fit", ending), cards=[("SPID", 16)])
    whole = path.read_bytes()
    refused = 0
    for _ in range(120):
        damaged = bytearray(whole)
        reach = len(whole) if rng.random() < 0.3 else min(len(whole), 8640)
        start = int(rng.integers(0, reach))
        match rng.integers(0, 4):
            case 0:
                damaged[start] ^= 1 << int(rng.integers(0, 8))
            case 1:
                damaged[start] = int(rng.integers(32, 127))
            case 2:
                del damaged[start : start + int(rng.integers(1, 100))]
            case 3:
                damaged[start : start + 20] = b"9" * 20
        path.write_bytes(damaged)
        try:
            read_frame(path, tiny())
        except FrameError:
            refused += 1
    assert refused >= 20


def test_a_header_that_would_exhaust_the_memory_is_refused(tmp_path, rng):
    path = put(tmp_path, draw(rng).counts, OBJECT.replace(".fit", ".fits.fz"))
    lie = (b"ZNAXIS1 =                   96", b"ZNAXIS1 =           9999999999")
    edited(path, lambda b: b.replace(*lie))
    with pytest.raises(FrameError, match="wanted a whole compressed image, got a damaged one"):
        read_frame(path, tiny())


def test_a_card_that_nobody_needs_may_be_odd(tmp_path, rng):
    path = put(tmp_path, draw(rng).counts, cards=[("ODD", 1), ("SPID", 16)])
    edited(
        path,
        lambda b: b.replace(b"ODD     =                    1", b"ODD     = 1 0 'x  'yy        z"),
    )
    frame = read_frame(path, tiny())
    assert frame.header["SPID"] == 16
    assert str(frame.header["ODD"]).startswith("1 0")


def test_an_overscan_row_of_two_values_far_apart_gives_their_median(tmp_path, rng):
    raw = draw(rng).counts
    raw[40, N_SPATIAL : N_SPATIAL + 16 : 2] += 400
    frame = read_frame(put(tmp_path, raw), tiny())
    assert np.isfinite(frame.pedestal).all()
    assert frame.pedestal[0, 40] == pytest.approx(1200, abs=10)


def test_the_frames_are_good_before_they_are_broken(tmp_path, rng):
    assert read_frame(put(tmp_path, draw(rng).counts, checksum=True), tiny()).name.spid == 16
