"""`provenance.json` of a work folder: what made the store."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drcnet.dataset.remote import RemotePath, read_bytes
from drcnet.errors import StoreError
from drcnet.provenance import atomic_write

__all__ = ["read_provenance", "write_provenance"]


def write_provenance(work: Path, provenance: Mapping[str, Any]) -> None:
    """Write `provenance.json`.

    Parameters
    ----------
    work : Path
        The work folder.
    provenance : Mapping
        JSON-able.
    """
    with atomic_write(work / "provenance.json") as path:
        text = json.dumps(provenance, indent=2, sort_keys=True, default=str)
        path.write_text(text + "\n", encoding="utf-8")


def read_provenance(work: Path | RemotePath) -> dict[str, Any]:
    """Read `provenance.json`.

    Parameters
    ----------
    work : Path or RemotePath
        The work folder, or its URL.

    Returns
    -------
    dict
        What `write_provenance` wrote.

    Raises
    ------
    StoreError
        It cannot be read.
    """
    path = work / "provenance.json"
    try:
        return dict(json.loads(read_bytes(path)))
    except (OSError, ValueError) as err:
        raise StoreError(path, "what made the store, as JSON", str(err)) from err
