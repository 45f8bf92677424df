import math
import os

import pytest

from drcnet.dataset.build import prepare
from drcnet.dataset.parallel import run_tasks
from drcnet.dataset.store import open_store
from drcnet.errors import StoreError


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_comes_back_with_its_number(workers):
    calls = []
    results = dict(
        run_tasks(
            math.sqrt,
            [4.0, 9.0, 16.0],
            stage="root",
            workers=workers,
            progress=lambda *call: calls.append(call),
        )
    )
    assert results == {0: 2.0, 1: 3.0, 2: 4.0}
    assert calls == [("root", done, 3) for done in range(4)]


def test_no_tasks_are_no_results():
    assert list(run_tasks(math.sqrt, [], stage="root")) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_task_is_raised_here(workers):
    with pytest.raises(ValueError, match="math domain|nonnegative"):
        dict(run_tasks(math.sqrt, [1.0, -1.0], stage="root", workers=workers))


def test_a_killed_process_is_a_clear_error():
    with pytest.raises(StoreError, match="one that was killed"):
        dict(run_tasks(os._exit, [1, 1], stage="die", workers=2))


@pytest.mark.slow
def test_dask_gives_the_same_store(fakes, toy_night, tmp_path):
    distributed = pytest.importorskip("dask.distributed")
    settings = fakes.make_settings(toy_night)
    prepare(toy_night, tmp_path / "here", settings=settings)
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        prepare(toy_night, tmp_path / "there", settings=settings, client=client)
    assert open_store(tmp_path / "there").index.equals(open_store(tmp_path / "here").index)
