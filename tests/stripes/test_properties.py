"""What must hold for any frame, tried on frames that hypothesis draws."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drcnet.stripes.calibration import calibrate_arm
from drcnet.stripes.cut import frame_pixels, make_windows
from drcnet.stripes.extract import extract_stripes, make_rules, make_shapes
from drcnet.stripes.trace import trace_flat

N = 10
FEW = settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
LIGHT = st.lists(st.floats(20.0, 5000.0), min_size=N, max_size=N)


@pytest.fixture(scope="module")
def small(renderer):
    """Ten fibres on a short chip, and their calibration."""
    scene = renderer.make_scene(N, 160, block=5)
    return scene, calibrate_arm(scene.flat, None, scene.profile, scene.settings)


def extract(frame, small):
    scene, calibration = small
    windows = make_windows(calibration.traces, scene.settings)
    shapes = make_shapes(calibration.profile, calibration.traces, windows)
    return extract_stripes(frame_pixels(frame), windows, shapes, make_rules(scene.settings))


def frame_of(renderer, small, light, seed=None):
    scene, _ = small
    image = renderer.render_light(
        scene.profile, scene.optics, np.asarray(light)[:, None] * np.ones(160)
    )
    rng = None if seed is None else np.random.default_rng(seed)
    return renderer.make_frame(scene.profile, image, rng)


@FEW
@given(pixels=st.integers(-3, 3))
def test_moving_the_frame_moves_the_traces(small, pixels):
    scene, _ = small
    flat = scene.flat
    moved = replace(flat, counts=np.asfortranarray(np.roll(flat.counts, pixels, axis=0)))
    rows = np.arange(10, 150)
    here = trace_flat(flat, scene.settings).centers(rows)
    there = trace_flat(moved, scene.settings).centers(rows)
    # The amplifiers' border stays where it is: their pedestals differ by an ADU.
    np.testing.assert_allclose(there - here, pixels, atol=0.02)


@FEW
@given(light=LIGHT, factor=st.floats(1.1, 8.0))
def test_more_light_is_more_flux_in_proportion(renderer, small, light, factor):
    one = extract(frame_of(renderer, small, light), small)
    more = extract(frame_of(renderer, small, np.multiply(light, factor)), small)
    np.testing.assert_allclose(more.box.mean(axis=1), factor * one.box.mean(axis=1), rtol=1e-3)
    # Weights change with the light, so that where the profile is a little off the optimal
    # extraction changes a little.
    np.testing.assert_allclose(
        more.optimal.mean(axis=1), factor * one.optimal.mean(axis=1), rtol=0.01, atol=2.0
    )


@FEW
@given(light=st.lists(st.floats(300.0, 900.0), min_size=N, max_size=N), seed=st.integers(0, 99))
def test_permuting_the_light_permutes_the_rows(renderer, small, light, seed):
    order = np.random.default_rng(seed).permutation(N)
    one = extract(frame_of(renderer, small, light), small).optimal.mean(axis=1)
    other = extract(frame_of(renderer, small, np.array(light)[order]), small).optimal.mean(axis=1)
    np.testing.assert_allclose(other, one[order], rtol=0.02)


@FEW
@given(light=LIGHT, seed=st.integers(0, 99))
def test_pixels_outside_all_windows_do_not_matter(renderer, small, light, seed):
    scene, calibration = small
    frame = frame_of(renderer, small, light, seed)
    windows = make_windows(calibration.traces, scene.settings)
    outside = np.ones(frame.counts.shape, dtype=bool)
    x = windows.first[:, None, :] + np.arange(windows.width)[:, None]
    outside[x, np.arange(scene.settings.row_start, scene.settings.row_stop)] = False
    some = np.random.default_rng(seed).random(outside.shape) < 0.5
    masked = replace(frame, mask=outside & some)
    for first, second in zip(extract(frame, small), extract(masked, small), strict=True):
        np.testing.assert_array_equal(first, second)


@FEW
@given(light=LIGHT, seed=st.integers(0, 99))
def test_integers_and_floats_give_the_same(renderer, small, light, seed):
    frame = frame_of(renderer, small, light, seed)
    assert frame.counts.dtype == np.uint16
    floats = replace(frame, counts=np.asfortranarray(frame.counts.astype(np.float32)))
    for first, second in zip(extract(frame, small), extract(floats, small), strict=True):
        np.testing.assert_array_equal(first, second)
