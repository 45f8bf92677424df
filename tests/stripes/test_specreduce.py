"""Sums and optimal extraction beside those of specreduce; skipped where it is absent."""

import numpy as np
import pytest

from drcnet.stripes.calibration import calibrate_arm
from drcnet.stripes.cut import cut_stripes, frame_pixels, make_windows
from drcnet.stripes.extract import extract_stripes, make_rules, make_shapes

REASON = "specreduce is not installed: pip install specreduce to compare with it"


def test_box_sums_are_specreduce_s(renderer):
    extract = pytest.importorskip("specreduce.extract", reason=REASON)
    tracing = pytest.importorskip("specreduce.tracing", reason=REASON)
    scene = renderer.make_scene(10, 160, block=5)
    settings = scene.settings.model_copy(update={"follow_trace": False})
    calibration = calibrate_arm(scene.flat, None, scene.profile, settings)
    windows = make_windows(calibration.traces, settings)
    box = cut_stripes(frame_pixels(scene.flat), windows)[0].sum(axis=1)
    flat = scene.flat
    rows = slice(settings.row_start, settings.row_stop)
    level = flat.pedestal[flat.amplifier, np.arange(flat.counts.shape[1])]
    image = ((flat.counts - level) * flat.gain[flat.amplifier])[:, rows]
    for fiber, first in enumerate(windows.first[:, 0]):
        trace = tracing.FlatTrace(image, float(first + 5))
        wanted = extract.BoxcarExtract(image, trace, width=11).spectrum.flux.value
        np.testing.assert_allclose(box[fiber], wanted, rtol=1e-4)


@pytest.mark.filterwarnings("ignore")  # specreduce's own
@pytest.mark.parametrize("level", [100.0, 3000.0])
def test_optimal_light_is_specreduce_s_horne(renderer, rng, level):
    """Straight, lonely traces and one variance: the spectra differ by a scale at most."""
    extract = pytest.importorskip("specreduce.extract", reason=REASON)
    tracing = pytest.importorskip("specreduce.tracing", reason=REASON)
    scene = renderer.straight_scene(rng)
    settings, optics = scene.settings, scene.optics
    calibration = calibrate_arm(scene.flat, None, scene.profile, settings)
    rows = np.arange(settings.row_start, settings.row_stop)
    light = np.zeros((16, 400))
    light[[3, 12]] = level * (1 + 0.5 * np.sin(np.arange(400) / 9.0))
    image = renderer.render_light(scene.profile, optics, light)
    frame = renderer.make_frame(scene.profile, image, rng)
    windows = make_windows(calibration.traces, settings)
    shapes = make_shapes(calibration.profile, calibration.traces, windows)
    rules = make_rules(settings)._replace(sigma=50.0, separate=False)
    ours = extract_stripes(frame_pixels(frame), windows, shapes, rules)
    for fiber, noise in ((3, frame.read_noise[0]), (12, frame.read_noise[1])):
        x = windows.first[fiber] + np.arange(11)[:, None]
        model = light[fiber, rows] * renderer.moffat(
            x - optics.center[fiber, rows], optics.fwhm[fiber, rows]
        )
        place = float(optics.center[fiber, 0] - windows.first[fiber, 0])
        stripe = ours.stripes[fiber].astype(float)
        for profile in ("gaussian", {"name": "interpolated_profile"}):
            theirs = extract.HorneExtract(
                stripe,
                tracing.FlatTrace(stripe, place),
                variance=model + noise**2,
                mask=np.zeros(stripe.shape, dtype=bool),
                bkgrd_prof=None,
                spatial_profile=profile,
            ).spectrum.flux.value
            scale = ours.optimal[fiber].sum() / theirs.sum()  # theirs has no norm of its own
            away = (ours.optimal[fiber] - scale * theirs) * np.sqrt(ours.optimal_ivar[fiber])
            assert np.sqrt((away**2).mean()) < 0.15  # of one standard deviation
