import numpy as np
import pytest

from drcnet.errors import FrameError
from drcnet.stripes.bands import average_bands, band_step
from drcnet.stripes.shift import shift_traces
from drcnet.stripes.trace import trace_flat


def errors(scene, traces, optics=None):
    rows = np.arange(scene.profile.n_wave)
    live = np.flatnonzero(scene.throughput > 0)
    return traces.centers(rows) - (optics or scene.optics).center[live]


def test_curved_and_tilted_traces_are_found_to_a_hundredth_of_a_pixel(scene):
    traces = trace_flat(scene.flat, scene.settings)
    assert len(traces) == 16
    assert errors(scene, traces).std() < 0.012
    widths = traces.widths(np.arange(scene.profile.n_wave))
    np.testing.assert_allclose(widths, scene.optics.fwhm, rtol=0.03)


def test_dead_fibers_cosmic_rays_and_a_hot_column_do_not_move_traces(renderer):
    scene = renderer.make_scene(dead=(4, 9), seed=8)
    rng = np.random.default_rng(1)
    counts = scene.flat.counts.copy()
    hits = rng.integers(0, counts.size, 400)
    np.ravel(counts, order="K")[hits] = 60000
    counts[31] = 50000  # a hot column, 9 px from the first fibre
    spoiled = renderer.with_counts(scene.flat, counts)
    traces = trace_flat(spoiled, scene.settings)
    assert len(traces) == 14
    error = errors(scene, traces)
    assert np.median(error.std(axis=1)) < 0.02
    assert np.abs(error[1:]).max() < 0.15  # the fibre beside the hot column aside


def test_a_dark_frame_is_no_flat(renderer, scene):
    dark = renderer.make_frame(
        scene.profile, np.zeros((scene.profile.n_spatial, 400)), np.random.default_rng(2)
    )
    with pytest.raises(FrameError, match="lamp flat"):
        trace_flat(dark, scene.settings)


def test_moving_the_frame_by_a_pixel_moves_the_traces_by_a_pixel(renderer, scene):
    light = scene.throughput[:, None] * np.full(400, 20000.0)
    here = renderer.noiseless(scene, scene.optics, light)
    there = renderer.noiseless(scene, scene.optics.moved(1.0), light)
    moved = trace_flat(there, scene.settings).center - trace_flat(here, scene.settings).center
    np.testing.assert_allclose(moved[:, 0], 1.0, atol=2e-3)
    np.testing.assert_allclose(moved[:, 1:], 0.0, atol=2e-3)


@pytest.mark.parametrize(("shift", "stretch"), [(0.4, 0.0), (-1.3, 1e-3), (2.6, -5e-4)])
def test_shift_and_stretch_are_measured_on_the_exposure(renderer, scene, shift, stretch):
    traces = trace_flat(scene.flat, scene.settings)
    optics = scene.optics.moved(shift, stretch)
    light = np.full((16, 400), 60.0)  # sky alone
    image = renderer.render_light(scene.profile, optics, light)
    frame = renderer.make_frame(scene.profile, image, np.random.default_rng(3))
    moved, found = shift_traces(traces, frame, scene.settings)
    assert found["shift_error"] < 0.05
    assert np.abs(errors(scene, moved, optics)).mean() < 0.05


def test_traces_stay_where_no_shift_is_wanted_or_no_light_is_seen(renderer, scene):
    traces = trace_flat(scene.flat, scene.settings)
    still = scene.settings.model_copy(update={"shift_to_exposure": False})
    assert shift_traces(traces, scene.flat, still)[0] is traces
    image = np.zeros((scene.profile.n_spatial, 400))
    dark = renderer.make_frame(scene.profile, image, np.random.default_rng(4))
    moved, found = shift_traces(traces, dark, scene.settings)
    assert found["shift_error"] == np.inf
    np.testing.assert_array_equal(moved.center, traces.center)


def test_bands_are_means_of_electrons(renderer, scene):
    image = np.outer(np.arange(scene.profile.n_spatial), np.ones(400)) * 3.0
    frame = renderer.make_frame(scene.profile, image)
    bands = average_bands(frame, band_step(400))
    assert bands.step == 25
    np.testing.assert_allclose(bands.light, np.tile(image[:, 0], (16, 1)), atol=2e-2)
    np.testing.assert_allclose(bands.rows, 12.0 + 25 * np.arange(16))


@pytest.mark.slow
def test_traces_of_a_whole_lamost_flat_to_a_hundredth_of_a_pixel(renderer):
    """Moffat profiles, curved, tilted and broadened; three dead fibres; cosmic rays."""
    scene = renderer.make_scene(250, 4136, dead=(40, 41, 200), edge=45.0, block=25, seed=12)
    rng = np.random.default_rng(2)
    counts = scene.flat.counts.copy(order="K")
    np.ravel(counts, order="K")[rng.integers(0, counts.size, 4000)] = 60000
    traces = trace_flat(renderer.with_counts(scene.flat, counts), scene.settings)
    assert len(traces) == 247
    error = errors(scene, traces)
    assert np.sqrt((error**2).mean()) < 0.01
    widths = traces.widths(np.arange(4136)) / scene.optics.fwhm[scene.throughput > 0]
    np.testing.assert_allclose(widths, 1.0, atol=0.03)
