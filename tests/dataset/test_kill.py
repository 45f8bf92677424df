"""Prepare on real pixels, killed at any moment: the same bytes as if nothing had happened.

`test_build.py` does the like with stand-ins for frames and stripes, moment by moment.
"""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from drcnet.config import PrepareSettings, SimulateSettings
from drcnet.dataset.build import prepare
from drcnet.dataset.parallel import run_tasks
from drcnet.dataset.store import open_store
from drcnet.dataset.writing import locked
from drcnet.errors import StoreError
from drcnet.simulate.survey import simulate

NARROW = str(Path(__file__).parents[1] / "narrow.toml")
SETTINGS = PrepareSettings(instrument=NARROW, workers=1)
SCRIPT = """
from pathlib import Path
from drcnet.config import PrepareSettings
from drcnet.dataset.build import prepare
prepare(Path({night!r}), Path({work!r}),
        settings=PrepareSettings(instrument={narrow!r}, workers=1))
"""


def snapshot(folder):
    """Every file's content, by its place."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def night(tmp_path_factory, toy_stars):
    settings = SimulateSettings(
        instrument=NARROW,
        seed=11,
        exposures=3,
        sky_fibers=2,
        dead_fibers=1,
        bias_frames=2,
        workers=1,
    )
    return simulate(settings, tmp_path_factory.mktemp("killed") / "night", stars=toy_stars)


@pytest.fixture(scope="module")
def undisturbed(night, tmp_path_factory):
    work = tmp_path_factory.mktemp("whole") / "work"
    summary = prepare(night, work, settings=SETTINGS)
    assert (summary.exposures, summary.refused) == (3, 0)
    return work


def start(night, work):
    script = SCRIPT.format(night=str(night), work=str(work), narrow=NARROW)
    return subprocess.Popen([sys.executable, "-c", script])


def written(work):
    """How far a prepare has come: files in its folder, also half-written ones."""
    return sum(len(files) for _, _, files in os.walk(work))  # a folder may vanish meanwhile


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_random_on_real_pixels_gives_the_same_bytes(night, undisturbed, tmp_path, seed):
    work = tmp_path / "work"
    total = written(undisturbed)
    rng = np.random.default_rng(seed)
    kills = 0
    for wanted in np.sort(rng.integers(1, total - 3, 4)):
        with start(night, work) as process:
            deadline = time.monotonic() + 300
            while written(work) < wanted and process.poll() is None:
                assert time.monotonic() < deadline, "prepare does not get on"
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 0.05))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
    assert kills >= 3, "the kills came too late to test anything"
    prepare(night, work, settings=SETTINGS)
    assert snapshot(work) == snapshot(undisturbed)


@pytest.mark.slow
def test_a_second_process_is_refused_and_the_first_goes_on(night, undisturbed, tmp_path):
    work = tmp_path / "work"
    with start(night, work) as process:
        while not (work / ".lock").exists() and process.poll() is None:
            time.sleep(0.002)
        while process.poll() is None:  # the file may stand a moment before it is locked
            try:
                with locked(work):
                    pass
            except StoreError:
                break
        with pytest.raises(StoreError, match=f"process {process.pid} on .* is writing"):
            prepare(night, work, settings=SETTINGS)
        assert process.wait(300) == 0
    assert snapshot(work) == snapshot(undisturbed)


def square_or_die(task):
    """Square a number; the first time the fatal one is met, die as if killed for memory."""
    folder, number = task
    with (Path(folder) / "calls.txt").open("a") as stream:
        stream.write(f"{number}\n")
    if number == 3 and not (Path(folder) / "died").exists():
        (Path(folder) / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


@pytest.fixture
def cluster():
    distributed = pytest.importorskip("dask.distributed")
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            silence_logs=50,
        ) as made,
        distributed.Client(made) as client,
    ):
        yield client


@pytest.mark.slow
def test_a_dask_worker_lost_costs_only_its_own_task(cluster, tmp_path):
    cloudpickle = pytest.importorskip("cloudpickle")

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test
    tasks = [(str(tmp_path), number) for number in range(8)]
    results = dict(run_tasks(square_or_die, tasks, stage="square", client=cluster))
    assert results == {number: number**2 for number in range(8)}
    calls = (tmp_path / "calls.txt").read_text().split()
    assert calls.count("3") == 2
    again = [number for number in set(calls) - {"3"} if calls.count(number) > 1]
    assert len(again) <= 4, "tasks of the living worker were done again"


@pytest.mark.slow
def test_a_dask_worker_killed_while_preparing_leaves_the_same_store(
    night, undisturbed, cluster, tmp_path
):
    work = tmp_path / "work"
    pids = list(cluster.run(os.getpid).values())
    killed = []

    def kill_one(stage, done, total):
        if stage == "prepare" and done == 1 and not killed:
            killed.append(pids[0])
            os.kill(pids[0], signal.SIGKILL)

    summary = prepare(night, work, settings=SETTINGS, client=cluster, progress=kill_one)
    assert killed
    assert (summary.exposures, summary.refused) == (3, 0)
    assert open_store(work).index.equals(open_store(undisturbed).index)
    assert snapshot(work) == snapshot(undisturbed)
