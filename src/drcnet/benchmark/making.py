"""What making a benchmark set took: the one file of a set that holds a clock's numbers.

It lies beside the set's products and is none of them: the set is the same bytes wherever and
however fast it is made, this file is not.
"""

import json
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from drcnet.provenance import atomic_write

__all__ = ["MAKING", "Making", "folder_bytes", "read_makings", "timed_making"]

MAKING = "making.json"
"""Name of the file, in the set's folder."""


@dataclass
class Making:
    """One call of `make_benchmark`, finished or interrupted.

    Parameters
    ----------
    made : int
        Exposures made by it.
    seconds, cpu_seconds : float
        By the clock, and of all processes that ended in it.
    workers, cores : int
        Processes asked for; cores of the machine.
    peak_bytes : int
        Disk taken when all exposures stood and nothing was tidied yet; 0 where it was
        interrupted before.
    """

    made: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    cores: int = field(default_factory=lambda: os.cpu_count() or 1)
    peak_bytes: int = 0


@contextmanager
def timed_making(out: Path, workers: int | None) -> Iterator[Making]:
    """Time a call, and write it down however it ends, if any exposure was made.

    Parameters
    ----------
    out : Path
        The set's folder.
    workers : int, optional
        Processes asked for; none: one a core.

    Yields
    ------
    Making
        To be filled with `made` and `peak_bytes`.
    """
    making = Making()
    making.workers = workers or making.cores
    t_start, cpu_start = time.perf_counter(), _cpu_seconds()
    before = _parts(out)
    try:
        yield making
    finally:
        making.made = _parts(out) - before
        making.seconds = round(time.perf_counter() - t_start, 1)
        making.cpu_seconds = round(_cpu_seconds() - cpu_start, 1)
        if making.made > 0:
            with atomic_write(out / MAKING) as path:
                known = [asdict(one) for one in (*read_makings(out), making)]
                path.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def read_makings(out: Path) -> tuple[Making, ...]:
    """Read what making a set took.

    Parameters
    ----------
    out : Path
        The set's folder.

    Returns
    -------
    tuple of Making
        One a call that made something; none where the file is not there.
    """
    path = out / MAKING
    if not path.is_file():
        return ()
    return tuple(Making(**one) for one in json.loads(path.read_text(encoding="utf-8")))


def folder_bytes(folder: Path) -> int:
    """Count the bytes of all files in a folder.

    Parameters
    ----------
    folder : Path
        Any; one that is not there has none.

    Returns
    -------
    int
        Bytes.
    """
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _parts(out: Path) -> int:
    return sum(1 for _ in (out / "parts").glob("*.parquet"))


def _cpu_seconds() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)
