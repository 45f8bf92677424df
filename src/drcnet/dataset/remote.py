"""Places of stores: a folder, or a URL that fsspec can read ('s3://', 'https://', 'memory://').

A store at a URL is only read. Its credentials are those that fsspec finds for the protocol.
"""

import io
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import polars as pl

from drcnet.errors import StoreError

__all__ = ["RemotePath", "locate", "read_bytes", "read_table", "zarr_place"]


class RemotePath(str):
    """A URL that is joined as paths are."""

    __slots__ = ()

    def __truediv__(self, name: str) -> "RemotePath":
        """Name something inside.

        Parameters
        ----------
        name : str
            With '/' between its parts.

        Returns
        -------
        RemotePath
            The URL of it.
        """
        return RemotePath(f"{self.rstrip('/')}/{name}")


def locate(place: Path | str) -> Path | RemotePath:
    """Tell a folder from a URL.

    Parameters
    ----------
    place : Path or str
        A path, or 'PROTOCOL://...'; 'file://' is a path.

    Returns
    -------
    Path or RemotePath
        What it is.
    """
    text = str(place)
    if isinstance(place, Path) or "://" not in text:
        return Path(place)
    if text.startswith("file://"):
        return Path(url2pathname(urlsplit(text).path))
    return RemotePath(text.rstrip("/"))


def read_bytes(place: Path | RemotePath) -> bytes:
    """Read a whole file.

    Parameters
    ----------
    place : Path or RemotePath
        The file.

    Returns
    -------
    bytes
        Its content.

    Raises
    ------
    StoreError
        It is a URL that cannot be read.
    OSError
        It is a path that cannot be read.
    """
    if isinstance(place, Path):
        return place.read_bytes()
    fsspec = _fsspec(place)
    try:
        with fsspec.open(str(place), "rb") as stream:
            return bytes(stream.read())
    except Exception as err:  # each protocol raises its own kinds
        came = f"{type(err).__name__}: {err}"
        raise StoreError(place, "a URL that can be read", came) from err


def read_table(place: Path | RemotePath) -> pl.DataFrame:
    """Read a Parquet file.

    Parameters
    ----------
    place : Path or RemotePath
        The file.

    Returns
    -------
    DataFrame
        All of it.

    Raises
    ------
    StoreError
        It is a URL that cannot be read.
    OSError, polars.exceptions.PolarsError
        It is no table.
    """
    source = place if isinstance(place, Path) else io.BytesIO(read_bytes(place))
    return pl.read_parquet(source)


def zarr_place(place: Path | RemotePath) -> Any:
    """Give what zarr opens.

    Parameters
    ----------
    place : Path or RemotePath
        The folder of the arrays.

    Returns
    -------
    Path or zarr.storage.FsspecStore
        For a URL a store that only reads.
    """
    if isinstance(place, Path):
        return place
    _fsspec(place)
    from zarr.storage import FsspecStore  # noqa: PLC0415 - needs fsspec

    return FsspecStore.from_url(str(place), read_only=True)


def _fsspec(place: RemotePath) -> ModuleType:
    try:
        import fsspec  # noqa: PLC0415 - an extra
    except ImportError as err:
        came = "no fsspec; pip install 'drcnet[cloud]'"
        raise StoreError(place, "the package that reads URLs", came) from err
    return fsspec  # type: ignore[no-any-return]
