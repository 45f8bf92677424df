"""What a store holds, in tables and a few lines."""

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from drcnet.config import SplitSettings
from drcnet.dataset.flow import flag_table, flow_table, paper_table1, snr_histogram
from drcnet.dataset.labels import left_out
from drcnet.dataset.pools import POOLS
from drcnet.dataset.remote import RemotePath
from drcnet.dataset.split import read_split, split_digest
from drcnet.dataset.store import Store, open_store

__all__ = ["StoreInfo", "store_info"]

_LINE = 79


@dataclass(frozen=True, eq=False)
class StoreInfo:
    """What a store holds.

    Parameters
    ----------
    work : str
        The work folder or its URL.
    instrument : str
        The instrument's profile.
    exposures, rows, stars : int
        Exposures; rows of the index; named stars of usable rows.
    classes, pools : dict of str to int
        Usable rows by label; all rows by pool.
    split : str
        The split's digest.
    disk : int or None
        Bytes of all files; None at a URL.
    versions : dict of str to str
        What made it.
    flow, table1, histogram, flags, left_out : DataFrame
        See `drcnet.dataset.flow` and `drcnet.dataset.labels`.
    """

    work: str
    instrument: str
    exposures: int
    rows: int
    stars: int
    classes: dict[str, int]
    pools: dict[str, int]
    split: str
    disk: int | None
    versions: dict[str, str]
    flow: pl.DataFrame
    table1: pl.DataFrame
    histogram: pl.DataFrame
    flags: pl.DataFrame
    left_out: pl.DataFrame

    def as_dict(self) -> dict[str, Any]:
        """Give everything as plain values.

        Returns
        -------
        dict
            JSON-able; tables are lists of rows.
        """
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {k: v.to_dicts() if isinstance(v, pl.DataFrame) else v for k, v in values.items()}

    def describe(self) -> str:
        """Say the main numbers in a few lines.

        Returns
        -------
        str
            Text for a terminal.
        """
        shares = ", ".join(f"{name} {n}" for name, n in self.classes.items()) or "no class"
        pools = ", ".join(f"{name} {n}" for name, n in self.pools.items())
        disk = "" if self.disk is None else f", {self.disk / 1e6:.1f} MB"
        versions = textwrap.fill(
            "made with " + ", ".join(f"{name} {number}" for name, number in self.versions.items()),
            width=_LINE,
        )
        return "\n".join(
            [
                f"{self.work}: {self.exposures} exposures of {self.instrument}{disk}",
                f"{self.rows} rows ({pools})",
                f"{self.stars} stars with a label; rows: {shares}",
                f"split {self.split}",
                versions,
            ]
        )


def store_info(work: Path | str) -> StoreInfo:
    """Look into a finished store; only the index and the split are read.

    Parameters
    ----------
    work : Path or str
        A work folder, or its URL.

    Returns
    -------
    StoreInfo
        Counts and tables.

    Raises
    ------
    StoreError
        There is no finished store, or one whose index lacks columns.
    """
    store = open_store(work)
    split = read_split(store.work / "split.parquet")
    index = _complete(store)
    usable = index.filter("usable")
    settings = store.provenance.get("settings", {})
    dealt = SplitSettings.model_validate(settings.get("split", {}))
    pools = dict(index["pool"].value_counts().iter_rows())
    return StoreInfo(
        work=str(work),
        instrument=str(settings.get("prepare", {}).get("instrument", "unknown")),
        exposures=len(store.exposures),
        rows=len(index),
        stars=usable["star"].n_unique(),
        classes=dict(usable["class"].value_counts().sort("class").iter_rows()),
        pools={name: pools.get(name, 0) for name in POOLS},
        split=split_digest(split),
        disk=None if isinstance(store.work, RemotePath) else _bytes(store.work),
        versions=dict(store.provenance.get("versions", {})),
        flow=flow_table(index, split),
        table1=paper_table1(split, dealt),
        histogram=snr_histogram(index),
        flags=flag_table(index),
        left_out=left_out(index, split),
    )


def _complete(store: Store) -> pl.DataFrame:
    """The index, where a store of schema 1 does not say why a row has no label."""
    absent = [name for name in ("unlabelled", "luminosity") if name not in store.index.columns]
    return store.index.with_columns(pl.lit("").alias(name) for name in absent)


def _bytes(work: Path) -> int:
    return sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
