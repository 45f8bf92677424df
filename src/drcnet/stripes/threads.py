"""A kernel's rows shared among threads."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

__all__ = ["share_rows"]


def share_rows(work: Callable[[tuple[int, int]], object], rows: int, threads: int) -> None:
    """Share rows among threads.

    Parameters
    ----------
    work : callable
        Takes a half-open span of rows; a kernel that gives up the interpreter's lock.
    rows : int
        Rows in all.
    threads : int
        Threads, at least 1.
    """
    edges = [rows * i // threads for i in range(threads + 1)]
    if threads == 1:
        work((0, rows))
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, itertools.pairwise(edges)))
