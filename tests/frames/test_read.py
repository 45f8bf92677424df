import dataclasses
import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drcnet.errors import FrameError
from drcnet.frames.fitsfile import read_header
from drcnet.frames.read import parse_name, read_frame, read_name, turn
from drcnet.instruments import load_instrument

from .conftest import BIAS, N_SPATIAL, N_WAVE, OBJECT, draw, tiny


def test_parse_name_of_lamost():
    name = parse_name("rb-16r-20150923234527-10000-82496145.fit.gz", load_instrument("lamost-lrs"))
    assert (name.kind, name.spid, name.arm) == ("bias", 16, "red")
    assert (name.lmjm, name.time, name.lmjd) == (82496145, "20150923234527", 57289)


@pytest.mark.parametrize("ending", [".fit", ".fit.gz", ".fits", ".fits.gz", ".fits.fz"])
def test_read_frame_of_every_ending(raw, write, profile, ending):
    path = write(raw.counts, OBJECT.replace(".fit", ending), checksum=True)
    frame = read_frame(path, profile)
    assert frame.counts.dtype == np.uint16
    np.testing.assert_array_equal(frame.counts, raw.counts[:, :N_SPATIAL].T)
    assert frame.pedestal.mean(axis=1) == pytest.approx(BIAS, abs=0.3)


def test_counts_are_a_view_and_the_amplifier_map_is_broadcast(raw, write, profile):
    frame = read_frame(write(raw.counts), profile)
    assert frame.counts.base is not None
    assert frame.amplifier.strides == (1, 0)
    assert frame.amplifier[:, 0].tolist() == [0] * 32 + [1] * 32


def test_electrons_have_bias_and_gain_taken_out(raw, write, profile):
    frame = read_frame(write(raw.counts), profile)
    gain = np.where(np.arange(N_SPATIAL) < 32, 1.0, 2.0)[:, None]
    residual = frame.electrons - raw.light.T * gain
    assert abs(residual[:32].mean()) < 0.3
    assert residual[:32].std() == pytest.approx(4.0, abs=0.4)
    assert residual[32:].std() == pytest.approx(8.0, abs=0.8)


def test_overscan_follows_each_row_and_ignores_cosmic_rays(rng, write, profile):
    drift = np.round(20 * np.sin(np.arange(N_WAVE) / 9)).astype(int)[:, None]
    counts = (draw(rng, level=0, noise=0).counts.astype(int) + drift).astype(np.uint16)
    hit = counts.copy()
    hit[::3, 70] = 9000
    for data in (counts, hit):
        frame = read_frame(write(data, OBJECT.replace("82496145", str(data.sum()))), profile)
        np.testing.assert_allclose(frame.pedestal[0], BIAS[0] + drift[:, 0], atol=1e-3)
        np.testing.assert_allclose(frame.electrons, 0, atol=1e-3)


def test_variance_is_read_noise_and_poisson(raw, write, profile):
    frame = read_frame(write(raw.counts), profile)
    np.testing.assert_allclose(frame.variance, 16 + np.maximum(frame.electrons, 0), rtol=1e-6)


def test_master_bias_and_bad_pixels_are_carried(raw, write, profile):
    shape = (N_SPATIAL, N_WAVE)
    bad = np.zeros(shape, bool)
    bad[3, 4] = True
    path = write(raw.counts)
    plain = read_frame(path, profile)
    frame = read_frame(path, profile, master_bias=np.full(shape, 7, np.float32), bad_pixels=bad)
    np.testing.assert_allclose(plain.electrons[:32] - frame.electrons[:32], 7, atol=1e-3)
    assert frame.bad.sum() == 1


def test_saturated_pixels_are_bad(raw, write):
    raw.counts[50, 9] = 65535
    frame = read_frame(write(raw.counts), tiny())
    assert np.argwhere(frame.bad).tolist() == [[9, 50]]


def test_float32_and_uint16_agree(raw, write, profile):
    whole = read_frame(write(raw.counts), profile)
    real = read_frame(write(raw.counts.astype(np.float32), OBJECT.replace("45.", "46.")), profile)
    assert real.counts.dtype == np.float32
    np.testing.assert_array_equal(whole.electrons, real.electrons)
    np.testing.assert_array_equal(whole.variance, real.variance)


def test_read_header_gives_the_shape_without_the_pixels(raw, write):
    for name in (OBJECT, OBJECT + ".gz", OBJECT.replace(".fit", ".fits.fz")):
        header = read_header(write(raw.counts, name, cards=[("SPID", 16)]))
        assert (header["NAXIS2"], header["NAXIS1"], header["SPID"]) == (*raw.counts.shape, 16)


def test_frame_refuses_a_bias_of_another_shape(raw, write, profile):
    with pytest.raises(FrameError, match=re.escape("bias of shape (64, 120), got (2, 2)")):
        read_frame(write(raw.counts), profile, master_bias=np.zeros((2, 2), np.float32))


def test_reading_warns_of_nothing(raw, write, profile):
    path = write(raw.counts, checksum=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_frame(path, profile)
    assert caught == []


def directions(profile, axis, wave, fiber):
    arm = profile.arms["blue"].model_copy(update={"direction": wave, "fiber_direction": fiber})
    changes = {"dispersion_axis": axis, "arms": profile.arms | {"blue": arm}}
    return profile.model_copy(update=changes)


@settings(max_examples=30, deadline=None)
@given(
    axis=st.sampled_from([0, 1]),
    wave=st.sampled_from([1, -1]),
    fiber=st.sampled_from([1, -1]),
    y=st.integers(0, N_WAVE - 1),
    x=st.integers(0, N_SPATIAL - 1),
)
def test_turning_puts_every_pixel_where_its_wavelength_and_fibre_are(axis, wave, fiber, y, x):
    profile = directions(tiny(), axis, wave, fiber)
    raw = np.zeros(profile.shape, np.uint16)
    raw[y, x] = 1
    turned = turn(raw, profile, "blue")
    assert turned.shape == (profile.n_spatial, profile.n_wave)
    along, across = (y, x) if axis == 0 else (x, y)
    row = along if wave == 1 else profile.n_wave - 1 - along
    fibre = across if fiber == 1 else profile.n_spatial - 1 - across
    assert np.argwhere(turned).tolist() == [[fibre, row]]
    assert np.shares_memory(turned, raw)


@settings(max_examples=20, deadline=None)
@given(
    axis=st.sampled_from([0, 1]),
    wave=st.sampled_from([1, -1]),
    fiber=st.sampled_from([1, -1]),
    seed=st.integers(0, 2**31),
)
def test_overscan_is_gone_whatever_the_directions(tmp_path_factory, axis, wave, fiber, seed):
    from astropy.io import fits

    rng = np.random.default_rng(seed)
    profile = directions(tiny(), axis, wave, fiber)
    rows = rng.integers(-30, 30, N_WAVE)[:, None]
    counts = (draw(rng, level=0, noise=0).counts.astype(int) + rows).astype(np.uint16)
    path = tmp_path_factory.mktemp("turned") / OBJECT
    fits.PrimaryHDU(counts).writeto(path)
    np.testing.assert_allclose(read_frame(path, profile).electrons, 0, atol=1e-3)


def test_four_quadrants_have_their_own_levels(tmp_path, rng):
    """Amplifiers that share a wavelength row or a column, as on SDSS."""
    from astropy.io import fits

    data = [((0, 32), (0, 60)), ((32, 64), (0, 60)), ((0, 32), (60, 120)), ((32, 64), (60, 120))]
    amps = [
        {
            "data_x": x,
            "data_y": y,
            "overscan_x": (64, 80) if x[0] == 0 else (80, 96),
            "overscan_y": y,
            "gain": 1.0 + n,
            "read_noise": 3.0,
        }
        for n, (x, y) in enumerate(data)
    ]
    profile = tiny(amplifiers=amps)
    counts = np.empty(profile.shape, np.uint16)
    for n, amp in enumerate(amps):
        for x in (amp["data_x"], amp["overscan_x"]):
            counts[slice(*amp["data_y"]), slice(*x)] = 500 + 50 * n
    counts[:N_WAVE, :N_SPATIAL] += 10
    path = tmp_path / OBJECT
    fits.PrimaryHDU(counts).writeto(path)
    frame = read_frame(path, profile)
    corners = frame.electrons[[0, 63, 0, 63], [0, 0, 119, 119]]
    np.testing.assert_allclose(corners, [10, 20, 30, 40], atol=1e-3)
    assert frame.amplifier[[0, 63, 0, 63], [0, 0, 119, 119]].tolist() == [0, 1, 2, 3]


def test_name_without_kind_and_time_takes_them_from_the_header(raw, write):
    profile = tiny(
        file_pattern=r"^(?P<arm>[br])(?P<run>\d+)\.fits$",
        header_kinds={"flat": "flat", "": "object"},
        header_keys={"kind": "OBJECT", "time": "DATE-OBS"},
        utc_offset_hours=-8,
    )
    cards = [("OBJECT", "Dome Flat"), ("DATE-OBS", "2015-05-20T01:53:27.99")]
    path = write(raw.counts, "b11.fits", cards=cards)
    name = read_name(path, profile)
    assert (name.kind, name.arm, name.time, name.spid) == ("flat", "blue", "20150519175327", 1)
    assert name.lmjm == 57161 * 1440 + 17 * 60 + 53
    assert read_frame(path, profile).name == name
    with pytest.raises(FrameError, match="UTC time in the header's DATE-OBS, got None"):
        read_frame(write(raw.counts, "b12.fits", cards=cards[:1]), profile)


def test_frame_is_frozen(raw, write, profile):
    frame = read_frame(write(raw.counts), profile)
    with pytest.raises(dataclasses.FrozenInstanceError):
        frame.bias = None
