"""A thin parallel shell around pure functions: one task, one call, results as they come."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from drcnet.dataset.store import Progress
from drcnet.errors import StoreError

__all__ = ["run_tasks"]

Task = TypeVar("Task")
Result = TypeVar("Result")


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    stage: str,
    workers: int | None = None,
    progress: Progress | None = None,
    client: Any = None,
) -> Iterator[tuple[int, Result]]:
    """Call a function on every task, in processes of this machine or on a Dask cluster.

    Parameters
    ----------
    function : callable
        Takes a task; importable by name, as it is sent to other processes.
    tasks : sequence
        What to call it with.
    stage : str
        Name for `progress`.
    workers : int, optional
        Processes; none: one a core. With one, or one task, everything runs here. New processes
        import the calling script: it needs the usual ``if __name__ == "__main__":``.
    progress : callable, optional
        Called as progress(stage, done, total).
    client : dask.distributed.Client, optional
        Runs the tasks there instead; a worker lost costs its own task, which is run again.

    Yields
    ------
    (int, result)
        Position of the task, and what the function returned; in the order of finishing.

    Raises
    ------
    StoreError
        A process was killed from outside.
    """
    count = min(workers or os.cpu_count() or 1, len(tasks))
    if client is not None:
        results = _on_dask(function, tasks, client)
    elif count <= 1:
        results = ((number, function(task)) for number, task in enumerate(tasks))
    else:
        results = _in_processes(function, tasks, count)
    done = 0
    if progress is not None:
        progress(stage, done, len(tasks))
    for numbered in results:
        done += 1
        if progress is not None:
            progress(stage, done, len(tasks))
        yield numbered


def _in_processes(
    function: Callable[[Task], Result], tasks: Sequence[Task], count: int
) -> Iterator[tuple[int, Result]]:
    # Not fork: a forked process inherits locks of threads that do not exist in it.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context)
    try:
        futures = {pool.submit(function, task): number for number, task in enumerate(tasks)}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as err:
        came = "one that was killed (out of memory?); run the same command again to go on"
        raise StoreError("a worker process", "one that lives", came) from err
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _on_dask(
    function: Callable[[Task], Result], tasks: Sequence[Task], client: Any
) -> Iterator[tuple[int, Result]]:
    from dask.distributed import as_completed as dask_completed  # noqa: PLC0415

    futures = client.map(function, tasks, pure=False)
    number_of = {future.key: number for number, future in enumerate(futures)}
    for future, result in dask_completed(futures, with_results=True):
        yield number_of[future.key], result
