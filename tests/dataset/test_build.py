import errno
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from drcnet.config import SplitSettings
from drcnet.dataset import build, tasks
from drcnet.dataset.build import prepare
from drcnet.dataset.split import read_split, split_digest
from drcnet.dataset.store import ARMS, open_store, shard_path
from drcnet.dataset.writing import locked
from drcnet.errors import CatalogError, StoreError
from drcnet.stripes.flags import FiberFlag


def snapshot(folder):
    """Every file's content, by its place."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def note(fakes, night, frame, text):
    kind, arm, minutes = frame
    fakes.write_frame(night / "raw" / fakes.frame_name(kind, 1, arm, fakes.LMJM + minutes), text)


def test_a_night_becomes_a_store(fakes, toy_night, tmp_path):
    calls = []
    summary = prepare(
        toy_night,
        tmp_path / "work",
        settings=fakes.make_settings(toy_night),
        progress=lambda *call: calls.append(call),
    )
    store = open_store(tmp_path / "work")
    assert (summary.exposures, summary.done, summary.rows, summary.refused) == (3, 3, 24, 0)
    assert store.exposures == tuple(f"{fakes.LMJM + 40 * k}-01" for k in range(3))
    assert store.index["row"].to_list() == list(range(24))
    assert store.index["fiberid"].to_list() == [*range(1, 9)] * 3
    assert calls[-1] == ("prepare", 3, 3)
    assert ("calibrate", 2, 2) in calls
    assert sorted(p.name for p in (tmp_path / "work" / "traces").glob("*.fits")) == [
        f"01-{arm}-{fakes.LMJM - 20}.fits" for arm in ARMS
    ]
    assert not (tmp_path / "work" / ".lock").exists()
    assert not (tmp_path / "work" / "scratch").exists()


def test_rows_hold_what_frames_and_catalogue_say(fakes, toy_night, tmp_path):
    prepare(toy_night, tmp_path / "work", settings=fakes.make_settings(toy_night))
    store = open_store(tmp_path / "work")
    first = store.index.filter(pl.col("exposure") == store.exposures[0])
    assert first["class"].to_list() == ["G", "K", "F", "G", "K", "F", "", ""]
    assert first["snrr"].to_list()[:6] == [10, 20, 30, 40, 50, 60]
    assert first["usable"].to_list() == [True, False, True, True, True, True, False, False]
    flags = [FiberFlag(value) for value in first["flags"]]
    assert flags[1] == FiberFlag.DEAD
    assert flags[2] == 0, "a star of the catalogue is not sky"
    assert flags[6] == FiberFlag.NO_CATALOG
    assert flags[3] == 0, "bright in one arm is bright"
    assert flags[7] == FiberFlag.SKY_FIBER | FiberFlag.NO_SIGNAL
    assert first["reason"].to_list()[1] == "no light on the lamp flat"
    assert first["reason"].to_list()[0] == ""
    # The arrays are those of the same exposure and fibre, blue first.
    frame = fakes.SimpleNamespace(
        name=fakes.SimpleNamespace(lmjm=fakes.LMJM + 40, spid=1, arm="red")
    )
    red = fakes.measure_arm(frame, None, None)
    np.testing.assert_array_equal(store.read("box", np.array([8 + 3]))[0, 1], red.box[3])
    np.testing.assert_allclose(
        store.read("stripes", np.array([8 + 3]))[0, 1], red.stripes[3], atol=0.125
    )


def test_the_split_is_by_star_and_named(fakes, toy_night, tmp_path):
    split = SplitSettings(train_above=20.0, edges=(0, 20))
    summary = prepare(
        toy_night, tmp_path / "work", settings=fakes.make_settings(toy_night), split=split
    )
    written = read_split(tmp_path / "work")
    assert summary.split == split_digest(written)
    assert set(written["row"]) == set(open_store(tmp_path / "work").index.filter("usable")["row"])
    provenance = open_store(tmp_path / "work").provenance
    assert provenance["split_digest"] == summary.split
    assert len(provenance["inputs"]) == 6


def test_a_second_prepare_finds_everything_finished(fakes, toy_night, tmp_path):
    settings = fakes.make_settings(toy_night)
    prepare(toy_night, tmp_path / "work", settings=settings)
    before = snapshot(tmp_path / "work")
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "work").rglob("c/*/*")}
    summary = prepare(toy_night, tmp_path / "work", settings=settings)
    assert (summary.done, summary.continued) == (0, 3)
    assert snapshot(tmp_path / "work") == before
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps


@pytest.mark.parametrize("moment", range(7))
def test_stopped_anywhere_and_continued_gives_the_same_bytes(fakes, tmp_path, monkeypatch, moment):
    """Stop at each of the moments at which something is about to be written."""
    night = fakes.make_night(tmp_path / "night", exposures=2)
    settings = fakes.make_settings(night)
    prepare(night, tmp_path / "undisturbed", settings=settings)
    left = [moment]

    def stopping(function):
        def wrapped(*args, **kwargs):
            if left[0] == 0:
                left[0] = -1
                raise KeyboardInterrupt
            left[0] -= 1
            return function(*args, **kwargs)

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr(tasks, "write_exposure", stopping(tasks.write_exposure))
        patch.setattr(tasks, "index_rows", stopping(tasks.index_rows))
        patch.setattr(build, "write_split", stopping(build.write_split))
        with pytest.raises(KeyboardInterrupt):
            prepare(night, tmp_path / "work", settings=settings)
    prepare(night, tmp_path / "work", settings=settings)
    assert snapshot(tmp_path / "work") == snapshot(tmp_path / "undisturbed")


SCRIPT = """
import sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
import fake_frames
from drcnet.dataset import exposure
from drcnet.dataset.build import prepare
fake_frames.install()
measure = exposure.measure_arm
def slowly(*args, **kwargs):
    time.sleep(0.02)
    return measure(*args, **kwargs)
exposure.measure_arm = slowly
night = Path({night!r})
prepare(night, Path({work!r}), settings=fake_frames.make_settings(night))
"""


def test_killed_at_random_and_continued_gives_the_same_bytes(fakes, tmp_path):
    night = fakes.make_night(tmp_path / "night", exposures=12)
    settings = fakes.make_settings(night)
    prepare(night, tmp_path / "undisturbed", settings=settings)
    work = tmp_path / "work"
    here = str(Path(__file__).parent)
    script = SCRIPT.format(here=here, night=str(night), work=str(work))
    rng = np.random.default_rng(5)
    for finished in (0, 3, 8):
        with subprocess.Popen([sys.executable, "-c", script]) as process:
            while len(list(work.glob("parts/*.parquet"))) < finished + 1:
                assert process.poll() is None, "it ended before it could be killed"
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 0.04))
            process.send_signal(signal.SIGKILL)
    assert not (work / "index.parquet").exists(), "the kills came too late to test anything"
    prepare(night, work, settings=settings)
    assert snapshot(work) == snapshot(tmp_path / "undisturbed")


def test_two_prepares_into_one_store_are_refused(fakes, toy_night, tmp_path):
    with (
        locked(tmp_path / "work"),
        pytest.raises(StoreError, match=f"process {os.getpid()} on .* is writing"),
    ):
        prepare(toy_night, tmp_path / "work", settings=fakes.make_settings(toy_night))


def test_a_lock_left_by_a_dead_process_does_not_hold(fakes, toy_night, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / ".lock").write_text("process 1 on elsewhere")
    prepare(toy_night, tmp_path / "work", settings=fakes.make_settings(toy_night))


def test_a_refused_frame_is_rows_with_the_reason(fakes, toy_night, tmp_path):
    note(fakes, toy_night, ("o", "r", 40), "broken")
    summary = prepare(toy_night, tmp_path / "work", settings=fakes.make_settings(toy_night))
    store = open_store(tmp_path / "work")
    hurt = store.index.filter(pl.col("exposure") == store.exposures[1])
    name = fakes.frame_name("o", 1, "r", fakes.LMJM + 40)
    assert summary.refused == 1
    assert set(hurt["reason"]) == {
        f"red: {name}: wanted a whole FITS file, got one cut short by 100 bytes"
    }
    assert not hurt["usable"].any()
    assert (hurt["flags"] & int(FiberFlag.ARM_MISSING) != 0).all()
    arrays = store.read("box", hurt["row"].to_numpy())
    assert np.isfinite(arrays[:, 0]).all()
    assert np.isnan(arrays[:, 1]).all()
    assert (store.read("mask", hurt["row"].to_numpy())[:, 1] == 1).all()
    assert store.index.filter(pl.col("exposure") == store.exposures[0])["usable"].any()


def test_an_unexpected_error_in_one_frame_stops_no_batch(fakes, toy_night, tmp_path):
    note(fakes, toy_night, ("o", "b", 0), "bug")
    summary = prepare(toy_night, tmp_path / "work", settings=fakes.make_settings(toy_night))
    assert summary.reasons == (
        f"{fakes.LMJM}-01: blue: unexpected ZeroDivisionError: division by zero",
    )


def test_a_refused_flat_costs_its_arm_everywhere(fakes, toy_night, tmp_path):
    note(fakes, toy_night, ("f", "b", -20), "dark")
    summary = prepare(toy_night, tmp_path / "work", settings=fakes.make_settings(toy_night))
    assert summary.refused == 3
    assert summary.reasons[0].endswith("blue: flat.fit: wanted light of 8 fibres, got none")


def test_a_refused_bias_is_left_out_and_named(fakes, toy_night, tmp_path):
    extra = fakes.frame_name("b", 1, "b", fakes.LMJM - 29)
    fakes.write_frame(toy_night / "raw" / extra, "broken")
    settings = fakes.make_settings(toy_night)
    said = f"bias left out: {extra}: wanted a whole FITS file, got one cut short by 100 bytes"
    summary = prepare(toy_night, tmp_path / "work", settings=settings)
    assert summary.refused == 0
    assert summary.problems == (said,)
    assert prepare(toy_night, tmp_path / "work", settings=settings).problems == (said,)


def test_no_usable_bias_costs_the_arm(fakes, toy_night, tmp_path):
    note(fakes, toy_night, ("b", "b", -30), "broken")
    summary = prepare(toy_night, tmp_path / "work", settings=fakes.make_settings(toy_night))
    assert summary.refused == 3


def test_a_missing_arm_is_rows_with_the_reason(fakes, toy_night, tmp_path):
    for arm in "br":
        (toy_night / "raw" / fakes.frame_name("o", 1, arm, fakes.LMJM)).unlink()
    (toy_night / "raw" / fakes.frame_name("o", 1, "b", fakes.LMJM + 40)).unlink()
    summary = prepare(toy_night, tmp_path / "work", settings=fakes.make_settings(toy_night))
    assert (summary.exposures, summary.refused) == (2, 1)
    assert "wanted a blue frame" in summary.reasons[0]


def test_a_mended_frame_is_made_anew(fakes, toy_night, tmp_path):
    settings = fakes.make_settings(toy_night)
    prepare(toy_night, tmp_path / "undisturbed", settings=settings)
    note(fakes, toy_night, ("o", "r", 0), "broken")
    prepare(toy_night, tmp_path / "work", settings=settings)
    assert not shard_path(tmp_path / "work", "red", "box", 0).exists()
    note(fakes, toy_night, ("o", "r", 0), "good")
    summary = prepare(toy_night, tmp_path / "work", settings=settings)
    assert (summary.done, summary.continued, summary.refused) == (1, 2, 0)
    assert snapshot(tmp_path / "work") == snapshot(tmp_path / "undisturbed")


def test_a_frame_that_breaks_later_loses_its_old_stripes(fakes, toy_night, tmp_path):
    settings = fakes.make_settings(toy_night)
    prepare(toy_night, tmp_path / "work", settings=settings)
    note(fakes, toy_night, ("o", "r", 0), "broken")
    prepare(toy_night, tmp_path / "work", settings=settings)
    assert np.isnan(open_store(tmp_path / "work").read("box", np.arange(8))[:, 1]).all()


def test_other_settings_need_overwrite(fakes, toy_night, tmp_path):
    prepare(toy_night, tmp_path / "work", settings=fakes.make_settings(toy_night))
    other = fakes.make_settings(toy_night, classes=("F", "G"))
    with pytest.raises(StoreError, match="a store of other prepare"):
        prepare(toy_night, tmp_path / "work", settings=other)
    prepare(toy_night, tmp_path / "work", settings=other, overwrite=True)
    assert set(open_store(tmp_path / "work").index["class"]) == {"F", "G", ""}


def test_another_split_needs_overwrite_and_keeps_the_rest(fakes, toy_night, tmp_path):
    settings = fakes.make_settings(toy_night)
    prepare(toy_night, tmp_path / "work", settings=settings)
    with pytest.raises(StoreError, match="a store of other split"):
        prepare(toy_night, tmp_path / "work", settings=settings, split=SplitSettings(seed=2))
    summary = prepare(
        toy_night,
        tmp_path / "work",
        settings=settings,
        split=SplitSettings(seed=2),
        overwrite=True,
    )
    assert (summary.done, summary.continued) == (0, 3)


def test_the_number_of_workers_is_no_other_setting(fakes, toy_night, tmp_path):
    prepare(toy_night, tmp_path / "work", settings=fakes.make_settings(toy_night))
    before = snapshot(tmp_path / "work")
    monkey = fakes.make_settings(toy_night, workers=2)
    summary = prepare(toy_night, tmp_path / "work", settings=monkey)
    assert summary.continued == 3
    assert snapshot(tmp_path / "work") == before


def test_a_stranger_s_folder_is_not_emptied(fakes, toy_night, tmp_path):
    (tmp_path / "work" / "traces").mkdir(parents=True)
    (tmp_path / "work" / "traces" / "mine.txt").write_text("mine")
    with pytest.raises(StoreError, match="traces of unknown origin"):
        prepare(toy_night, tmp_path / "work", settings=fakes.make_settings(toy_night))
    assert (tmp_path / "work" / "traces" / "mine.txt").read_text() == "mine"


def test_no_catalogue_is_refused_before_any_work(fakes, toy_night, tmp_path):
    (toy_night / "catalog.csv").unlink()
    with pytest.raises(CatalogError, match="a catalogue"):
        prepare(toy_night, tmp_path / "work", settings=fakes.make_settings(toy_night))
    assert not (tmp_path / "work").exists()


def test_a_full_disk_is_one_clear_error_and_nothing_half_done(
    fakes, toy_night, tmp_path, monkeypatch
):
    settings = fakes.make_settings(toy_night)
    prepare(toy_night, tmp_path / "undisturbed", settings=settings)
    put = "zarr.storage._local._put"
    import zarr.storage._local as local

    real, calls = local._put, [0]

    def full(path, value, **kwargs):
        if "/c/" in str(path):
            calls[0] += 1
        if calls[0] > 30:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, value, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(put, full)
        with pytest.raises(StoreError, match="a full disk; free some and run the same"):
            prepare(toy_night, tmp_path / "work", settings=settings)
    assert len(list((tmp_path / "work" / "parts").iterdir())) == 1
    with pytest.raises(StoreError, match="run prepare again to finish"):
        open_store(tmp_path / "work")
    prepare(toy_night, tmp_path / "work", settings=settings)
    assert snapshot(tmp_path / "work") == snapshot(tmp_path / "undisturbed")
