from dataclasses import replace

import numpy as np
import pytest

from drcnet.errors import FrameError
from drcnet.stripes import calibration as calibration_module
from drcnet.stripes import identify
from drcnet.stripes.calibration import calibrate_arm, read_calibration, write_calibration
from drcnet.stripes.flags import FiberFlag
from drcnet.stripes.trace import trace_flat


@pytest.fixture(scope="module")
def broken(renderer):
    return renderer.make_scene(dead=(4,), seed=6)


@pytest.fixture(scope="module")
def calibration(broken):
    return calibrate_arm(broken.flat, None, broken.profile, broken.settings)


def test_every_fiber_has_a_row_and_dead_ones_say_so(broken, calibration):
    np.testing.assert_array_equal(calibration.traces.fiber_id, np.arange(1, 17))
    dead = calibration.flags & FiberFlag.DEAD > 0
    np.testing.assert_array_equal(np.flatnonzero(dead), [4])
    assert (calibration.flags & FiberFlag.TRACE_LOST == 0).all()
    assert (calibration.flags & FiberFlag.LOW_IDENTITY == 0).all()
    rows = np.arange(broken.profile.n_wave)
    error = np.abs(calibration.traces.centers(rows) - broken.optics.center)
    assert error[~dead].max() < 0.1
    assert error[4].max() < 1.0


def test_a_lit_fiber_whose_trace_failed_is_not_called_dead(renderer, broken, monkeypatch):
    """Fibre 11 is bright, but the tracing does not give it; fibre 5 is dead."""

    def forgetful(frame, settings):
        seen = trace_flat(frame, settings)
        keep = np.abs(seen.centers(middle)[:, 0] - lost) > 2
        return replace(seen, **{f: getattr(seen, f)[keep] for f in names})

    names = ("fiber_id", "center", "fwhm", "alive", "rms", "level")
    middle = np.array([(broken.profile.n_wave - 1) / 2])
    lost = broken.optics.center[10, broken.profile.n_wave // 2]
    monkeypatch.setattr(calibration_module, "trace_flat", forgetful)
    found = calibrate_arm(broken.flat, None, broken.profile, broken.settings)
    assert np.flatnonzero(~found.traces.alive).tolist() == [4, 10]
    assert np.flatnonzero(found.flags & FiberFlag.DEAD).tolist() == [4]
    assert np.flatnonzero(found.flags & FiberFlag.TRACE_LOST).tolist() == [10]
    assert found.notes["traces_lost"] == 1


def test_throughput_is_that_of_the_fibers(broken, calibration):
    alive = calibration.traces.alive
    assert np.isnan(calibration.throughput[~alive]).all()
    typical = np.median(broken.throughput[alive])
    wanted = broken.throughput[alive] / typical
    np.testing.assert_allclose(calibration.throughput[alive].mean(axis=1), wanted, rtol=0.02)
    pattern = calibration.traces.level[alive] / np.median(calibration.traces.level[alive])
    np.testing.assert_allclose(pattern, wanted, rtol=0.03)


def test_without_an_arc_wavelengths_are_nominal_and_flagged(calibration):
    assert calibration.wavelengths.source == "nominal"
    assert (calibration.flags & FiberFlag.NOMINAL_WAVELENGTH > 0).all()


def test_the_profile_is_that_of_the_renderer(renderer, broken, calibration):
    grid = np.linspace(-1.5, 1.5, 61)
    table = calibration.profile.table.mean(axis=(0, 1))
    u = 0.02 * (np.arange(len(table)) - len(table) // 2)
    wanted = renderer.moffat(grid * 7.3, 7.3) * 7.3
    np.testing.assert_allclose(np.interp(grid, u, table), wanted, atol=0.015)


def test_a_calibration_survives_its_file(calibration, tmp_path):
    path = tmp_path / "traces" / "01-blue-1.fits"
    write_calibration(path, calibration)
    again = read_calibration(path)
    assert again.flat == calibration.flat
    assert again.arc is None
    assert again.confidence == calibration.confidence
    assert again.notes == calibration.notes
    for part in ("center", "fwhm", "alive", "rms", "level", "fiber_id"):
        np.testing.assert_array_equal(
            getattr(again.traces, part), getattr(calibration.traces, part)
        )
    np.testing.assert_array_equal(again.wavelengths.coef, calibration.wavelengths.coef)
    np.testing.assert_array_equal(again.profile.table, calibration.profile.table)
    np.testing.assert_array_equal(again.throughput, calibration.throughput)
    np.testing.assert_array_equal(again.flags, calibration.flags)
    assert again.flags.dtype == np.uint32


def test_equal_calibrations_give_equal_bytes(calibration, tmp_path):
    for name in ("a.fits", "b.fits"):
        write_calibration(tmp_path / name, calibration)
    assert (tmp_path / "a.fits").read_bytes() == (tmp_path / "b.fits").read_bytes()


def test_another_file_is_no_calibration(tmp_path):
    path = tmp_path / "text.fits"
    path.write_text("nothing")
    with pytest.raises(FrameError, match=r"text\.fits: wanted a calibration"):
        read_calibration(path)


def test_a_chip_too_short_is_refused(broken):
    longer = broken.settings.model_copy(update={"row_stop": 500})
    with pytest.raises(FrameError, match="row_stop"):
        calibrate_arm(broken.flat, None, broken.profile, longer)


def test_fibers_that_cannot_be_told_apart_are_refused(broken):
    strict = broken.settings.model_copy(update={"min_identity": 0.99})
    with pytest.raises(FrameError, match="15 traces"):
        calibrate_arm(broken.flat, None, broken.profile, strict)


def test_identities_that_could_be_surer_are_flagged(broken, monkeypatch):
    sure = identify.identify_fibers

    def unsure(*args, **kwargs):
        return replace(sure(*args, **kwargs), confidence=0.85)

    monkeypatch.setattr(calibration_module, "identify_fibers", unsure)
    found = calibrate_arm(broken.flat, None, broken.profile, broken.settings)
    assert (found.flags & FiberFlag.LOW_IDENTITY > 0).all()
