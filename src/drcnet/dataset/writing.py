"""Writing into a work or run folder: one writer at a time, one clear error where it cannot be."""

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from drcnet.errors import StoreError
from drcnet.provenance import atomic_folder

__all__ = ["cannot_write", "locked", "new_folder"]


def cannot_write(where: Path, err: OSError) -> StoreError:
    """Turn a failed write into one clear error.

    Parameters
    ----------
    where : Path
        What was written.
    err : OSError
        What the system said.

    Returns
    -------
    StoreError
        To be raised from `err`; nothing half-written counts as finished.
    """
    if err.errno in (errno.ENOSPC, errno.EDQUOT):
        came = "a full disk; free some and run the same command again"
        return StoreError(where, "room on the disk", came)
    return StoreError(where, "a place that can be written", err.strerror or str(err))


@contextlib.contextmanager
def locked(work: Path) -> Iterator[None]:
    """Hold a work or run folder for this process.

    The system drops the lock of a process that dies, so a lock file left behind by a kill is
    seen to be stale: it holds a number but nobody holds it.

    Parameters
    ----------
    work : Path
        The folder; made if absent.

    Yields
    ------
    None
        While the folder is held.

    Raises
    ------
    StoreError
        Another process is writing there.
    """
    path = work / ".lock"
    try:
        work.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+")
    except OSError as err:
        raise cannot_write(path, err) from err
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            stream.seek(0)
            holder = stream.read().strip() or "another process"
            came = f"one that {holder} is writing; wait for it, or stop it"
            raise StoreError(work, "a folder that nobody else writes", came) from err
        if not _still_there(path, stream.fileno()):
            raise StoreError(work, "a folder that nobody else writes", "one just released")
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {os.uname().nodename}")
        stream.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """Fill a work folder that is made in one go: whole, or not there.

    Parameters
    ----------
    out : Path
        Where it shall be.
    overwrite : bool
        Replace a store that is there; a folder of something else is never replaced.

    Yields
    ------
    Path
        An empty folder beside it; renamed onto `out` on success, removed on any error.

    Raises
    ------
    StoreError
        Something is at `out`, or it cannot be written.
    """
    out = Path(out)
    there = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    if out.is_file() or (there and "dataset.zarr" not in there):
        came = ", ".join(there[:3]) or "a file"
        raise StoreError(out, "an empty folder, or the place of a store", came)
    if there and not overwrite:
        raise StoreError(out, "no store there yet", "one (overwrite replaces it)")
    # A killed process leaves its half-filled folder behind; nobody else has a use for it.
    for left in out.parent.glob(f".partial.{out.name}.*"):
        shutil.rmtree(left, ignore_errors=True)
    try:
        with atomic_folder(out) as folder:
            yield folder
    except OSError as err:
        raise cannot_write(out, err) from err


def _still_there(path: Path, descriptor: int) -> bool:
    """False where the file was unlinked by its last holder between opening and locking it."""
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False
