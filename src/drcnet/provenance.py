"""What made this file: settings, inputs, versions, seed; and files that appear whole.

No wall clock is written into stores, so that the same inputs give the same bytes.
"""

import contextlib
import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from drcnet import __version__

__all__ = ["atomic_folder", "atomic_write", "digest", "file_digest", "make_provenance"]

_VERSIONED = ("astropy", "numpy", "polars", "torch", "zarr")


def digest(value: Any) -> str:
    """Name a JSON-able value by its content.

    Parameters
    ----------
    value : Any
        Nested dicts, lists, numbers and strings; key order does not matter.

    Returns
    -------
    str
        The first 16 hexadecimal digits of a SHA-256.

    Examples
    --------
    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Name a file by its content.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    str
        The first 16 hexadecimal digits of the SHA-256 of its bytes.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def make_provenance(
    settings: Mapping[str, Any],
    *,
    inputs: Mapping[str, str] | None = None,
    seed: int | None = None,
) -> dict[str, Any]:
    """Collect what a product must say of its origin.

    Parameters
    ----------
    settings : Mapping
        The settings that made the product, as plain values.
    inputs : Mapping of str to str, optional
        Input name to content digest.
    seed : int, optional
        The seed, where randomness was used.

    Returns
    -------
    dict
        JSON-able; equal for equal inputs on one installation.
    """
    versions = {"drcnet": __version__, "python": platform.python_version()}
    for package in _VERSIONED:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {
        "settings": dict(settings),
        "settings_digest": digest(settings),
        "inputs": dict(inputs or {}),
        "seed": seed,
        "versions": versions,
    }


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write a file so that it appears whole or not at all.

    Parameters
    ----------
    path : Path
        Where the file shall be; its folder is made.

    Yields
    ------
    Path
        A temporary path in the same folder, with the same ending, to write to. On success it is
        renamed onto `path`; on any error it is removed and an older `path` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}.partial.{path.name}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Fill a folder so that it appears whole or not at all.

    Parameters
    ----------
    path : Path
        Where the folder shall be; an older one is replaced on success.

    Yields
    ------
    Path
        A temporary folder beside it to fill.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".partial.{path.name}.", dir=path.parent))
    try:
        yield partial
        if path.exists():
            shutil.rmtree(path)
        partial.chmod(0o755)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
