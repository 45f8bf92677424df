"""Extraction against frames drawn by the tests' own Moffat renderer."""

import numpy as np
import pytest

from drcnet.stripes.calibration import calibrate_arm
from drcnet.stripes.cut import BAD, COSMIC, frame_pixels, make_windows
from drcnet.stripes.extract import (
    extract_stripes,
    make_rules,
    make_shapes,
)
from drcnet.stripes.extract_numpy import extract_stripes_numpy


@pytest.fixture(scope="module")
def calibration(scene):
    return calibrate_arm(scene.flat, None, scene.profile, scene.settings)


@pytest.fixture(scope="module")
def rows(scene):
    return slice(scene.settings.row_start, scene.settings.row_stop)


@pytest.fixture(scope="module")
def share(renderer, scene, rows):
    return renderer.window_share(scene.optics.fwhm)[:, rows]


def arguments(frame, calibration, settings):
    windows = make_windows(calibration.traces, settings)
    shapes = make_shapes(calibration.profile, calibration.traces, windows)
    return frame_pixels(frame), windows, shapes, make_rules(settings)


def extract(frame, calibration, settings):
    return extract_stripes(*arguments(frame, calibration, settings))


def add_cosmics(rng, image, number, charge=800.0):
    """Strike pixels at random; the image struck and where."""
    struck = image.copy()
    where = np.zeros(image.shape, dtype=bool)
    x = rng.integers(0, image.shape[0] - 1, number)
    y = rng.integers(0, image.shape[1], number)
    for step in (0, 1):  # two pixels long
        struck[x + step, y] += charge * rng.uniform(0.5, 3.0, number)
        where[x + step, y] = True
    return struck, where


def test_the_kernel_and_its_twin_agree(renderer, scene, calibration, rng):
    light = np.linspace(0.0, 3000.0, 16)[:, None] * np.ones(400)
    image = renderer.render_light(scene.profile, scene.optics, light)
    struck, _ = add_cosmics(rng, image, 300)
    frame = renderer.make_frame(scene.profile, struck, rng)
    mask = np.zeros(image.shape, dtype=bool)
    mask[::37, ::11] = True
    frame = renderer.with_counts(frame, frame.counts, mask)
    pixels, windows, shapes, rules = arguments(frame, calibration, scene.settings)
    glow = rng.uniform(-1.0, 5.0, (16, 6)).astype(np.float32)
    inputs = (pixels, windows, shapes._replace(glow=glow), rules)
    one, other = extract_stripes(*inputs), extract_stripes_numpy(*inputs)
    np.testing.assert_array_equal(one.mask, other.mask)
    np.testing.assert_array_equal(one.stripes, other.stripes)
    for name in ("box", "box_ivar", "optimal", "optimal_ivar", "spilt"):
        first, second = getattr(one, name), getattr(other, name)
        assert first.dtype == second.dtype == np.float32
        np.testing.assert_allclose(first, second, rtol=2e-5, atol=2e-3, err_msg=name)


@pytest.mark.parametrize("level", [30.0, 300.0, 3000.0])
def test_optimal_light_is_unbiased_and_its_errors_are_true(  # noqa: PLR0917
    renderer, scene, calibration, rows, share, level
):
    image = renderer.render_light(scene.profile, scene.optics, np.full((16, 400), level))
    ratio, chi2 = [], []
    for seed in range(3):
        frame = renderer.make_frame(scene.profile, image, np.random.default_rng(seed))
        found = extract(frame, calibration, scene.settings)
        away = found.optimal - level * share
        ratio.append(found.optimal / (level * share))
        chi2.append(away**2 * found.optimal_ivar)
    error = np.std(ratio) / np.sqrt(np.size(ratio))
    assert abs(np.mean(ratio) - 1.0) < 0.005 + 2.0 * error
    assert abs(np.mean(chi2) - 1.0) < 0.03 + 2.0 * np.sqrt(2.0 / np.size(chi2))


@pytest.fixture(scope="module")
def long_scene(renderer):
    """Enough pixels to tell one in a hundred thousand."""
    scene = renderer.make_scene(50, 2000, block=25)
    return scene, calibrate_arm(scene.flat, None, scene.profile, scene.settings)


@pytest.mark.slow
@pytest.mark.parametrize("level", [30.0, 1000.0, 3000.0, 10000.0])
def test_errors_and_masks_are_true_to_a_percent(renderer, long_scene, level):
    scene, calibration = long_scene
    rng = np.random.default_rng(11)
    image = renderer.render_light(scene.profile, scene.optics, np.full((50, 2000), level))
    frame = renderer.make_frame(scene.profile, image, rng)
    found = extract(frame, calibration, scene.settings)
    windows = make_windows(calibration.traces, scene.settings)
    kept = slice(scene.settings.row_start, scene.settings.row_stop)
    x = windows.first[:, None, :] + np.arange(11)[:, None]
    optics = scene.optics
    truth = level * renderer.moffat(
        x - optics.center[:, None, kept], optics.fwhm[:, None, kept]
    ).sum(axis=1)
    away = found.optimal - truth
    chi2 = away**2 * found.optimal_ivar
    assert abs(away.mean() / truth.mean()) < 0.005
    assert abs(chi2.mean() - 1.0) < 0.01 + 2.0 * np.sqrt(2.0 / chi2.size)
    assert (found.mask & COSMIC > 0).mean() < 1e-5
    struck, where = add_cosmics(rng, image, 2000, charge=600.0)
    hit = extract(renderer.make_frame(scene.profile, struck, rng), calibration, scene.settings)
    true = where[x, np.arange(scene.settings.row_start, scene.settings.row_stop)]
    assert (hit.mask & COSMIC > 0)[true].mean() > 0.95


def test_box_sums_all_light_in_the_window(renderer, scene, calibration, rows):
    light = np.full((16, 400), 500.0)
    frame = renderer.noiseless(scene, scene.optics, light)
    found = extract(frame, calibration, scene.settings)
    np.testing.assert_allclose(found.box, found.stripes.sum(axis=1), rtol=3e-3)


def test_cosmic_rays_are_found_and_little_else(renderer, scene, calibration, rng):
    light = np.full((16, 400), 400.0)
    image = renderer.render_light(scene.profile, scene.optics, light)
    struck, where = add_cosmics(rng, image, 250)
    settings = scene.settings
    windows = make_windows(calibration.traces, settings)
    x = windows.first[:, None, :] + np.arange(11)[:, None]
    truth = where[x, np.arange(settings.row_start, settings.row_stop)]
    clean = extract(renderer.make_frame(scene.profile, image, rng), calibration, settings)
    assert (clean.mask > 0).mean() < 1e-4
    found = extract(renderer.make_frame(scene.profile, struck, rng), calibration, settings)
    hit = found.mask & COSMIC > 0
    assert hit[truth].mean() > 0.95
    assert hit[~truth].mean() < 2e-4
    lit = found.optimal_ivar > 0
    assert np.abs(found.optimal - clean.optimal)[lit].mean() < 40.0  # a hit is 400 to 2400


def test_a_profile_of_another_width_is_not_taken_for_cosmic_rays(
    renderer, scene, calibration, rng
):
    image = renderer.render_light(scene.profile, scene.optics, np.full((16, 400), 40000.0))
    struck, where = add_cosmics(rng, image, 250)
    pixels, windows, shapes, rules = arguments(
        renderer.make_frame(scene.profile, struck, rng), calibration, scene.settings
    )
    narrow = shapes._replace(inverse=shapes.inverse * 1.05, norm=shapes.norm * 1.05)
    found = extract_stripes(pixels, windows, narrow, rules)
    x = windows.first[:, None, :] + np.arange(11)[:, None]
    truth = where[x, np.arange(scene.settings.row_start, scene.settings.row_stop)]
    hit = found.mask & COSMIC > 0
    assert hit[truth].mean() > 0.85
    assert hit[~truth].mean() < 5e-4
    assert (found.mask & BAD > 0).mean() < 1e-3


def test_a_bright_neighbor_hardly_changes_a_faint_fiber(renderer, scene, calibration):
    faint = np.full((16, 400), 500.0)
    bright = faint.copy()
    bright[10] = 50000.0
    alone = extract(renderer.noiseless(scene, scene.optics, faint), calibration, scene.settings)
    frame = renderer.noiseless(scene, scene.optics, bright)
    solved = extract(frame, calibration, scene.settings)
    for fiber in (9, 11):
        spilt = solved.box[fiber].mean() / alone.box[fiber].mean() - 1.0
        change = solved.optimal[fiber].mean() / alone.optimal[fiber].mean() - 1.0
        assert spilt > 0.3
        assert abs(change) < 0.01


@pytest.mark.parametrize("seed", [31, 32, 33])
def test_bright_neighbors_change_faint_fibers_by_less_than_a_percent(renderer, seed):
    scene = renderer.make_scene(32, 400, seed=seed)
    calibration = calibrate_arm(scene.flat, None, scene.profile, scene.settings)
    faint = np.full((32, 400), 500.0)
    bright = np.arange(4, 28, 6)
    light = faint.copy()
    light[bright] *= 100.0
    alone, seen = (
        extract(renderer.noiseless(scene, scene.optics, one), calibration, scene.settings)
        for one in (faint, light)
    )
    near = np.concatenate([bright - 1, bright + 1])
    change = seen.optimal[near].mean(axis=1) / alone.optimal[near].mean(axis=1) - 1.0
    spilt = seen.box[near].mean(axis=1) / alone.box[near].mean(axis=1) - 1.0
    assert np.median(spilt) > 0.4
    assert np.abs(change).max() < 0.01


def test_doubling_the_light_doubles_the_flux(renderer, scene, calibration):
    light = np.outer(np.linspace(100, 2000, 16), np.ones(400))
    one = extract(renderer.noiseless(scene, scene.optics, light), calibration, scene.settings)
    two = extract(renderer.noiseless(scene, scene.optics, 2 * light), calibration, scene.settings)
    np.testing.assert_allclose(two.box, 2 * one.box, rtol=1e-4)
    np.testing.assert_allclose(two.optimal, 2 * one.optimal, rtol=5e-3)


def test_permuting_spectra_permutes_rows(renderer, scene, calibration, rng):
    light = np.outer(rng.uniform(500, 1000, 16), np.ones(400))
    order = rng.permutation(16)
    one = extract(renderer.noiseless(scene, scene.optics, light), calibration, scene.settings)
    other = extract(
        renderer.noiseless(scene, scene.optics, light[order]), calibration, scene.settings
    )
    ratio = other.optimal / one.optimal[order]
    np.testing.assert_allclose(ratio.mean(axis=1), 1.0, atol=0.02)


def test_masking_a_pixel_outside_all_apertures_changes_nothing(renderer, scene, calibration):
    windows = make_windows(calibration.traces, scene.settings)
    covered = np.zeros(scene.flat.counts.shape, dtype=bool)
    x = windows.first[:, None, :] + np.arange(11)[:, None]
    covered[x, np.arange(scene.settings.row_start, scene.settings.row_stop)] = True
    masked = renderer.with_counts(scene.flat, scene.flat.counts, ~covered)
    for one, other in zip(
        extract(scene.flat, calibration, scene.settings),
        extract(masked, calibration, scene.settings),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_integers_and_floats_agree(renderer, scene, calibration):
    floats = renderer.with_counts(scene.flat, scene.flat.counts.astype(np.float32))
    for one, other in zip(
        extract(scene.flat, calibration, scene.settings),
        extract(floats, calibration, scene.settings),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_a_row_without_good_pixels_has_no_weight(renderer, scene, calibration):
    mask = np.zeros(scene.flat.counts.shape, dtype=bool)
    mask[:, 200] = True
    frame = renderer.with_counts(scene.flat, scene.flat.counts, mask)
    found = extract(frame, calibration, scene.settings)
    at = 200 - scene.settings.row_start
    assert (found.mask[:, :, at] == BAD).all()
    assert (found.optimal_ivar[:, at] == 0).all()
    assert (found.box_ivar[:, at] == 0).all()
    assert (found.optimal_ivar[:, at + 1] > 0).all()
