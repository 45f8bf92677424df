"""Bad pixels, pixel flats and combined flats: what is known of a chip before the night."""

import numpy as np
import pytest

from drcnet.config import StripeSettings
from drcnet.errors import FrameError
from drcnet.frames.calibrate import write_bad_pixels
from drcnet.frames.detector import (
    ccd_path,
    combine_flats,
    correct_frame,
    detector_files,
    divide_pixels,
    measure_pixel_flat,
    read_pixel_flat,
    write_pixel_flat,
)
from drcnet.frames.read import read_frame

from .conftest import N_SPATIAL, N_WAVE, OBJECT, draw

FLAT = OBJECT.replace("ro-", "rf-")
SHAPE = (N_SPATIAL, N_WAVE)


@pytest.fixture
def frame(profile, raw, write):
    return read_frame(write(raw.counts), profile)


def test_without_settings_a_frame_stays_the_very_same(frame):
    assert correct_frame(frame, StripeSettings()) is frame
    assert detector_files(StripeSettings(), 16, "blue") == []


def test_a_path_names_its_ccd(monkeypatch):
    monkeypatch.setenv("MASKS", "/m")
    assert ccd_path("$MASKS/{spid}-{arm}.fits", 3, "red").as_posix() == "/m/03-red.fits"
    assert ccd_path("one.fits", 3, "red").as_posix() == "one.fits"


def test_bad_pixels_are_masked_beside_those_known(frame, tmp_path):
    bad = np.zeros(SHAPE, bool)
    bad[5, 7] = True
    write_bad_pixels(tmp_path / "16-blue.fits", bad, {})
    settings = StripeSettings(bad_pixels=str(tmp_path / "{spid}-{arm}.fits"))
    assert detector_files(settings, 16, "blue") == [tmp_path / "16-blue.fits"]
    corrected = correct_frame(frame, settings)
    np.testing.assert_array_equal(corrected.mask, bad)
    assert corrected.counts is frame.counts


def test_light_is_divided_by_the_response(frame, tmp_path, rng):
    response = rng.uniform(0.9, 1.1, SHAPE).astype(np.float32)
    response[3, 4] = 0
    write_pixel_flat(tmp_path / "flat.fits", response, {"a": 1})
    corrected = correct_frame(frame, StripeSettings(pixel_flat=str(tmp_path / "flat.fits")))
    expected = frame.electrons / np.where(response > 0, response, 1)
    np.testing.assert_allclose(corrected.electrons, expected, atol=2e-3)
    assert np.argwhere(corrected.bad).tolist() == [[3, 4]]


def test_saturation_is_remembered_when_counts_change(profile, raw, write):
    counts = raw.counts.copy()
    counts[10, 20] = 65535
    frame = read_frame(write(counts), profile)
    halved = divide_pixels(frame, np.full(SHAPE, 2, np.float32))
    np.testing.assert_array_equal(halved.bad, frame.saturated)
    assert frame.saturated.sum() == 1


def test_a_response_is_found_again(profile, rng, write):
    """One pixel in a thousand at 80% stands out; the lamp's slope and the traces do not."""
    light = draw(rng, level=3000.0, noise=0.0)
    counts = light.counts.astype(np.float64)
    counts[60, 9] -= 0.2 * light.light[60, 9]
    frame = read_frame(write(counts.round().astype(np.uint16), FLAT), profile)
    response = measure_pixel_flat(frame, n_frames=20)
    dim = np.argwhere(abs(response - 1) > 0.1)
    assert dim.tolist() == [[9, 60]]
    assert response[9, 60] == pytest.approx(0.8, abs=0.01)
    assert (response[30] == 1).all()  # too little light to say


def test_flats_combine_into_one_with_less_noise(profile, write):
    paths = []
    for k in range(9):
        rng = np.random.default_rng(k)
        counts = draw(rng, level=400.0, noise=4.0).counts
        if k == 4:
            counts[50, 40] += 5000  # a cosmic ray
        paths.append(write(counts, FLAT.replace("82496145", str(82496145 + k))))
    one, many = read_frame(paths[4], profile), combine_flats(paths, profile)
    assert many.name == read_frame(paths[0], profile).name
    # The traces run along the second axis: neighbours there differ by noise alone.
    noise = [np.diff(frame.electrons[28:36], axis=1).std() for frame in (one, many)]
    assert noise[1] < 0.5 * noise[0]
    assert one.electrons[40, 50] > 4000
    assert many.electrons[40, 50] == pytest.approx(many.electrons[40, 49], abs=200)
    np.testing.assert_allclose(many.read_noise, one.read_noise * 1.25 / 3, rtol=1e-6)
    assert combine_flats(paths[:1], profile).electrons.shape == SHAPE


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (None, "a pixel flat"),
        (np.ones((4, 4), np.float32), "a pixel flat of shape"),
        (np.full(SHAPE, 3000, np.float32), "relative responses about 1"),
    ],
)
def test_what_is_no_pixel_flat_is_refused(profile, tmp_path, content, wanted):
    path = tmp_path / "flat.fits"
    if content is not None:
        write_pixel_flat(path, content, {})
    with pytest.raises(FrameError, match=wanted):
        read_pixel_flat(path, profile)
