"""Aperture sums beside those of specreduce, on straight traces; skipped where it is absent."""

import numpy as np
import pytest

from drcnet.stripes.calibration import calibrate_arm
from drcnet.stripes.cut import cut_stripes, frame_pixels, make_windows


def test_box_sums_are_specreduce_s(renderer):
    reason = "specreduce is not installed: pip install specreduce to compare with it"
    extract = pytest.importorskip("specreduce.extract", reason=reason)
    tracing = pytest.importorskip("specreduce.tracing", reason=reason)
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
