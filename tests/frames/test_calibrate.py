import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from drcnet.errors import FrameError
from drcnet.frames.calibrate import (
    bad_pixels,
    clipped_median,
    master_bias,
    master_flat,
    read_bad_pixels,
    write_bad_pixels,
)

from .conftest import N_SPATIAL, N_WAVE, OBJECT, draw

BIAS_NAME = OBJECT.replace("ro", "rb")


@pytest.fixture
def biases(rng, write):
    """Five biases with a structure of 0 to 6 ADU along the chip, and a cosmic ray in one."""
    structure = np.arange(N_SPATIAL) // 10
    paths = []
    for number in range(5):
        counts = draw(rng, level=0, noise=2).counts.astype(float)
        counts[:, :N_SPATIAL] += structure
        counts[60, 20] += 5000 if number == 2 else 0
        name = BIAS_NAME.replace("10000", f"{number:05d}")
        paths.append(write(counts.round().astype(np.uint16), name))
    return paths, structure


def test_master_bias_is_the_structure(biases, profile):
    paths, structure = biases
    bias = master_bias(paths, profile)
    assert bias.shape == (N_SPATIAL, N_WAVE)
    assert bias.dtype == np.float32
    assert np.abs(bias.mean(axis=1) - structure).max() < 0.5
    assert (bias - structure[:, None]).std() == pytest.approx(2 * 1.2 / np.sqrt(5), rel=0.15)
    assert abs(bias[20, 60] - structure[20]) < 5


def test_master_bias_is_the_same_from_a_temporary_file(biases, profile):
    paths, _ = biases
    np.testing.assert_array_equal(
        master_bias(paths, profile), master_bias(paths, profile, memory_mb=0)
    )


def test_one_bias_is_itself(biases, profile):
    paths, structure = biases
    bias = master_bias(paths[:1], profile)
    assert np.abs(bias.mean(axis=1) - structure).max() < 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (OBJECT, "wanted a bias frame, got one of kind object"),
        (BIAS_NAME.replace("16b", "15b"), "wanted a frame of 16 blue, as the first, got 15 blue"),
        (BIAS_NAME.replace("16b", "16r"), "wanted a frame of 16 blue, as the first, got 16 red"),
    ],
)
def test_a_frame_that_does_not_belong_is_refused(biases, profile, write, name, message):
    wrong = write(draw(np.random.default_rng(3)).counts, name)
    with pytest.raises(FrameError, match=re.escape(message)):
        master_bias([*biases[0], wrong], profile)


def test_no_frames_is_an_error(profile):
    with pytest.raises(FrameError, match="wanted one or more bias frames, got none"):
        master_bias([], profile)


def test_master_flat_takes_out_the_lamps_brightness_and_cosmic_rays(rng, write, profile):
    paths = []
    for number, level in enumerate((1000, 1500, 700)):
        flat = draw(rng, level=level)
        counts = flat.counts.copy()
        counts[30, 50] += 20000 if number == 1 else 0
        name = OBJECT.replace("ro", "rf").replace("10000", f"{number:05d}")
        paths.append(write(counts, name))
    flat = master_flat(paths, profile)
    gain = np.where(np.arange(N_SPATIAL) < 32, 1.0, 2.0)[:, None]
    wanted = draw(rng, level=1000).light.T * gain
    bright = wanted > 300
    assert np.abs(flat / np.where(bright, wanted, 1) - 1)[bright].max() < 0.1
    assert np.median((flat / np.where(bright, wanted, 1))[bright]) == pytest.approx(1, abs=0.01)


def test_a_flat_without_light_is_refused(rng, write, profile):
    counts = draw(rng, level=0, noise=0).counts
    counts[:, :N_SPATIAL] -= 5
    with pytest.raises(FrameError, match="wanted a lamp flat, got a frame without light"):
        master_flat([write(counts, OBJECT.replace("ro", "rf"))], profile)


def stacks(size):
    return arrays(
        np.float32, st.tuples(st.integers(1, size), st.just(7)), elements=st.integers(-9, 9)
    )


@settings(max_examples=80, deadline=None)
@given(stacks(20))
def test_clipped_median_without_outliers_is_the_median(stack):
    wanted = np.median(stack, axis=0)
    np.testing.assert_array_equal(clipped_median(stack.copy(), 100.0), wanted)


@settings(max_examples=80, deadline=None)
@given(stacks(20), st.integers(3, 20))
def test_clipped_median_is_that_of_the_values_kept(stack, clip):
    centre = np.median(stack, axis=0)
    keep = np.abs(stack - centre) <= clip
    if len(stack) < 3:
        keep[:] = True  # of two, nobody knows which is wrong
    wanted = [
        np.median(column[k]) if k.any() else middle
        for column, k, middle in zip(stack.T, keep.T, centre, strict=True)
    ]
    np.testing.assert_array_equal(clipped_median(stack.copy(), 1.0, clip), wanted)


def test_two_halves_far_apart_give_their_median():
    stack = np.array([[0], [0], [9], [9]], np.float32)
    assert clipped_median(stack, 1.0, 3).tolist() == [4.5]


def test_bad_pixels_are_hot_ones_and_dead_ones(rng, profile):
    bias = rng.normal(0, 1, (N_SPATIAL, N_WAVE)).astype(np.float32)
    flat = np.full((N_SPATIAL, N_WAVE), 5000, np.float32)
    bias[10, 20], bias[40, :] = 500, 90
    flat[50, 70] = 1000
    bad = bad_pixels(bias, profile, "blue", flat=flat, n_frames=5)
    wanted = np.zeros(bad.shape, bool)
    wanted[10, 20] = wanted[40, :] = wanted[50, 70] = True
    np.testing.assert_array_equal(bad, wanted)
    assert not bad_pixels(bias * 0, profile, "blue").any()


def test_a_bad_pixel_mask_is_kept(tmp_path, rng, profile):
    bad = rng.random((N_SPATIAL, N_WAVE)) < 0.01
    path = tmp_path / "bad.fits"
    write_bad_pixels(path, bad, {"settings_digest": "abc", "inputs": {"a.fit": "1" * 300}})
    np.testing.assert_array_equal(read_bad_pixels(path, profile), bad)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "wanted a bad-pixel mask \\(FITS\\), got"),
        (np.zeros((3, 4), np.uint8), "mask of shape \\(64, 120\\), got \\(3, 4\\)"),
    ],
)
def test_a_bad_bad_pixel_mask_is_refused(tmp_path, profile, data, message):
    path = tmp_path / "bad.fits"
    if data is None:
        path.write_text("no FITS")
    else:
        write_bad_pixels(path, data, {})
    with pytest.raises(FrameError, match=message):
        read_bad_pixels(path, profile)
