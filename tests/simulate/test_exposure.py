from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from drcnet.errors import NightError
from drcnet.simulate.exposure import (
    FrameTask,
    frame_digest,
    frame_optics,
    make_frame,
    throughput,
    write_frame,
)
from drcnet.simulate.plan import make_schedule


@pytest.fixture
def tasks(tiny_settings, tiny_profile, tmp_path):
    calibrations, _ = make_schedule(tiny_settings)

    def task(kind, arm="blue", **change):
        exposure = next(e for e in calibrations if e.kind == kind)
        settings = tiny_settings.model_copy(update=change)
        path = tmp_path / f"{kind}-{arm}.fit"
        return FrameTask(path, exposure, 1, arm, settings, tiny_profile, "d1", dead=(2,))

    return task


def test_throughput_is_a_pattern_of_the_spectrograph(tiny_settings, tiny_profile):
    many = tiny_profile.model_copy(
        update={"fibers": tiny_profile.fibers.model_copy(update={"count": 2000})}
    )
    first = throughput(tiny_settings, many, 1, (3, 7))
    np.testing.assert_array_equal(np.flatnonzero(first == 0), [3, 7])
    assert first.std() == pytest.approx(0.2, rel=0.1)
    np.testing.assert_array_equal(first, throughput(tiny_settings, many, 1, (3, 7)))
    assert not np.allclose(first, throughput(tiny_settings, many, 2, (3, 7)))


def test_repeated_biases_scatter_by_their_read_noise(tasks, tiny_profile):
    from dataclasses import replace

    bias = tasks("bias", cosmic_rays=0.0)
    frames = []
    for run in range(1, 13):
        again = replace(bias, exposure=replace(bias.exposure, run=run))
        raw = make_frame(again).astype(float)
        for amp in tiny_profile.amplifiers:  # overscan, row by row
            over = raw[slice(*amp.overscan_y), slice(*amp.overscan_x)].mean(axis=1)
            raw[slice(*amp.data_y), slice(*amp.data_x)] -= over[:, None]
        frames.append(raw)
    scatter = np.std(frames, axis=0, ddof=1)
    for amp in tiny_profile.amplifiers:
        one = np.hypot(amp.read_noise / amp.gain, 12**-0.5)
        width = amp.overscan_x[1] - amp.overscan_x[0]
        wanted = one * np.sqrt(1 + 1 / width)
        measured = np.sqrt((scatter[slice(*amp.data_y), slice(*amp.data_x)] ** 2).mean())
        assert measured == pytest.approx(wanted, rel=0.03)


def test_repeated_lamp_frames_scatter_by_their_photons(tasks, tiny_profile):
    """Arcs do not move, so from frame to frame the variance is light / gain + noise^2 (ADU)."""
    from dataclasses import replace

    arc = tasks("arc", cosmic_rays=0.0)
    frames = np.array(
        [
            make_frame(replace(arc, exposure=replace(arc.exposure, run=run))).astype(float)
            for run in range(1, 17)
        ]
    )
    for number, amp in enumerate(tiny_profile.amplifiers):
        over = frames[:, :, slice(*amp.overscan_x)].mean(axis=2, keepdims=True)
        data = frames[:, :, slice(*amp.data_x)] - over
        mean, variance = data.mean(axis=0), data.var(axis=0, ddof=1)
        for low, high in ((60, 800), (800, 50_000)):
            lit = (mean > low) & (mean < high)
            assert lit.sum() > 50, number
            wanted = mean[lit] / amp.gain + (amp.read_noise / amp.gain) ** 2
            assert (variance[lit] / wanted).mean() == pytest.approx(1.0, abs=0.06)


def test_flats_move_a_little(tasks, tiny_profile):
    task = tasks("flat")
    shift = frame_optics(task.settings, tiny_profile, 1, "blue", task.exposure).shift
    assert 0 < np.hypot(*shift) < 0.6


def test_arcs_and_biases_do_not_move(tasks, tiny_profile):
    for kind in ("arc", "bias"):
        task = tasks(kind)
        assert frame_optics(task.settings, tiny_profile, 1, "red", task.exposure).shift == (0, 0)


def test_a_dead_fibre_is_dark_on_the_flat(tasks, tiny_profile):
    task = tasks("flat", wing_fraction=0.0, scattered_light=0.0)
    raw = make_frame(task).astype(float)
    traces = frame_optics(task.settings, tiny_profile, 1, "blue", task.exposure).traces()
    row = raw[128] - np.repeat([np.median(raw[128, 160:176]), np.median(raw[128, 176:])], 96)
    peaks = row[np.round(traces.centers[:, 128]).astype(int)]
    assert abs(peaks[2]) < 40
    assert np.delete(peaks, 2).min() > 1000


def test_header_says_what_the_frame_is(tasks):
    path = write_frame(tasks("arc", "red"))
    header = fits.getheader(path)
    assert (header["OBS_TYPE"], header["CCDARM"], header["SIMSEED"]) == ("arc", "red", 7)
    assert header["DATE-OBS"].endswith(header["DATE-LOC"][13:])
    assert "no photon" in str(header["COMMENT"])
    assert frame_digest(path) == "d1"


def test_digest_of_what_is_no_frame_of_ours(tmp_path):
    assert frame_digest(tmp_path / "absent.fit") is None
    (tmp_path / "text.fit").write_text("not a FITS file")
    assert frame_digest(tmp_path / "text.fit") is None
    fits.PrimaryHDU(np.zeros((2, 2), np.uint16)).writeto(tmp_path / "other.fit")
    assert frame_digest(tmp_path / "other.fit") is None


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tasks, monkeypatch):
    def full(path, raw, header):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("drcnet.simulate.exposure._write_fits", full)
    task = tasks("bias")
    with pytest.raises(NightError, match="room to write a frame, got No space left on device"):
        write_frame(task)
    assert list(task.path.parent.iterdir()) == []
