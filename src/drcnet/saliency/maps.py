"""Attributions of single stars onto common wavelengths, and averages of them.

Shapes: N stars, L wavelength pixels an arm, B wavelength bins of an arm.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import spearmanr

from drcnet.config import SaliencySettings
from drcnet.dataset.store import ARMS
from drcnet.evaluate.runs import order_intervals

__all__ = [
    "LINES",
    "average_maps",
    "bin_edges",
    "line_table",
    "rank_correlation",
    "wavelength_bins",
]

LINES = {
    "Ca K": (3934.8, "star"),
    "Ca H": (3969.6, "star"),
    "Hδ": (4102.9, "star"),
    "Ca I": (4227.9, "star"),
    "G band": (4305.6, "star"),
    "Hγ": (4341.7, "star"),
    "Hβ": (4862.7, "star"),
    "Mg b": (5176.6, "star"),
    "sky O I 5577": (5578.9, "sky"),
    "Na D": (5894.6, "star"),
    "sky O I 6300": (6302.0, "sky"),
    "Hα": (6564.6, "star"),
    "telluric B": (6884.0, "telluric"),
    "telluric A": (7620.0, "telluric"),
    "Ca T 8544": (8544.4, "star"),
    "Ca T 8664": (8664.5, "star"),
}
"""Name to vacuum angstrom (blends and bands at their middle), and whose it is. The sky shows lines
of its own near Na D and beyond 7200 angstrom besides."""


def bin_edges(wave: NDArray[np.floating], width: float) -> NDArray[np.float64]:
    """Cover the wavelengths of an arm with bins.

    Parameters
    ----------
    wave : ndarray
        Wavelengths, angstrom.
    width : float
        Of a bin, angstrom.

    Returns
    -------
    ndarray, shape (B + 1,)
        Edges, increasing.
    """
    low, high = wave.min(), wave.max()
    return np.arange(low, max(high, low + width) + width, width)


def wavelength_bins(
    values: NDArray[np.floating], wave: NDArray[np.floating], edges: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Add pixels up into wavelength bins.

    Parameters
    ----------
    values, wave : ndarray, shape (N, L)
        What is added, and each pixel's wavelength.
    edges : ndarray, shape (B + 1,)
        Bin edges, increasing.

    Returns
    -------
    ndarray, shape (N, B)
        Sums; pixels outside are left out.
    """
    n, count = len(values), len(edges) - 1
    place = np.searchsorted(edges, wave, side="right") - 1
    inside = (place >= 0) & (place < count)
    star = np.broadcast_to(np.arange(n)[:, None], wave.shape)
    out = np.zeros((n, count))
    np.add.at(out, (star[inside], place[inside]), values[inside])
    return out


def average_maps(
    binned: Sequence[NDArray[np.float64]],
    centres: Sequence[NDArray[np.float64]],
    rows: pl.DataFrame,
) -> pl.DataFrame:
    """Average maps over the stars of a class and an S/N interval.

    Parameters
    ----------
    binned : sequence of ndarray, shape (N, B)
        One an arm: each star's attribution to its own class.
    centres : sequence of ndarray, shape (B,)
        Bin centres, angstrom.
    rows : DataFrame
        `class` and `interval` of the stars.

    Returns
    -------
    DataFrame
        `interval` ('all' besides), `class` ('all' besides), `arm`, `wavelength`, `importance`
        (share of the absolute attribution: sums to 1 over both arms), `evidence` (average
        attribution to the class, logits), `n_rows`.
    """
    size = sum(np.abs(one).sum(axis=1) for one in binned)
    share = [np.abs(one) / np.maximum(size, 1e-30)[:, None] for one in binned]
    tables = []
    for interval in [*order_intervals(rows["interval"]), "all"]:
        for name in [*sorted(rows["class"].unique()), "all"]:
            here = np.ones(len(rows), bool)
            if interval != "all":
                here &= (rows["interval"] == interval).to_numpy()
            if name != "all":
                here &= (rows["class"] == name).to_numpy()
            if not here.any():
                continue
            for a, arm in enumerate(ARMS):
                columns: dict[str, Any] = {"wavelength": centres[a]}
                columns["importance"] = share[a][here].mean(axis=0)
                columns["evidence"] = binned[a][here].mean(axis=0)
                label = {"interval": interval, "class": name, "arm": arm}
                keys = [pl.lit(value).alias(key) for key, value in label.items()]
                count = pl.lit(int(here.sum())).alias("n_rows")
                tables.append(pl.DataFrame(columns).select(*keys, pl.all(), count))
    return pl.concat(tables)


def line_table(maps: pl.DataFrame, settings: SaliencySettings) -> pl.DataFrame:
    """How much of the importance falls on named lines.

    Parameters
    ----------
    maps : DataFrame
        From `average_maps`.
    settings : SaliencySettings
        Gives the half width of a line.

    Returns
    -------
    DataFrame
        `interval`, `class`, `line`, `whose` ('star', 'sky', 'telluric'), `wavelength`,
        `importance` (share), `times` (that, against an even spread over wavelength).
    """
    lines = []
    for (interval, name), part in maps.group_by(["interval", "class"], maintain_order=True):
        for line, (wave, whose) in LINES.items():
            near = part.filter((pl.col("wavelength") - wave).abs() <= settings.line)
            if near.is_empty():
                continue
            share = float(near["importance"].sum())
            even = len(near) / len(part)
            label = {"interval": interval, "class": name, "line": line, "whose": whose}
            lines.append(label | {"wavelength": wave, "importance": share, "times": share / even})
    return pl.DataFrame(lines)


def rank_correlation(maps: pl.DataFrame, other: pl.DataFrame, column: str) -> float:
    """Compare two maps of all stars, class by class.

    Parameters
    ----------
    maps, other : DataFrame
        From `average_maps`, of the same stars.
    column : str
        'evidence' or 'importance'.

    Returns
    -------
    float
        Spearman's rank correlation over the bins, averaged over the classes.
    """
    found = []
    for name in sorted(set(maps["class"].unique()) - {"all"}):
        here = (pl.col("interval") == "all") & (pl.col("class") == name)
        pair = [one.filter(here)[column].to_numpy() for one in (maps, other)]
        if np.ptp(pair[0]) > 0 and np.ptp(pair[1]) > 0:
            found.append(float(spearmanr(*pair).statistic))
    return float(np.mean(found)) if found else 0.0
