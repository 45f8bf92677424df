"""How real is it? Simulated spectra, skies and chips beside real ones, as numbers.

`measure_realism` computes, `drcnet.experiments.realism_page` draws and writes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.benchmark import make_benchmark
from drcnet.config import BenchmarkSettings
from drcnet.dataset.store import Store, open_store
from drcnet.experiments.linear import fit_linear, star_interval
from drcnet.experiments.realism_light import ccd, compare_sky, snr_shape
from drcnet.experiments.rest_spectra import (
    JOINT,
    RestSpectra,
    common_grid,
    from_library,
    from_store,
)
from drcnet.simulate.library import read_library

__all__ = ["SUBCLASSES", "Realism", "measure_realism", "realism_sets"]

Progress = Callable[[str, int, int], None]

SUBCLASSES = ("F0", "F5", "G2", "G5", "G8")
"""Subclasses shown beside each other: those of which both sides have many. (The real spectra with
S/N > 50 hold only nine of class K.)"""

_LIBRARIES = ("miles", "pyhammer", "indo-us-sdss")
_ROWS = 512


@dataclass(frozen=True, eq=False)
class Realism:
    """What was measured.

    Parameters
    ----------
    classifier : DataFrame
        One row a way of training, tested on real LAMOST F and G spectra: trained_on, spectra,
        stars, accuracy, low, high, and the same away from the border (`_inner`: subclasses 2-7).
    spectra : DataFrame
        One row a subclass: how many spectra of each kind, and the rms difference of their median
        line spectra, all and in the blue.
    medians : dict
        (subclass, 'real' or 'simulated') to the median line spectrum on `common_grid`.
    snr_shape : DataFrame
        wavelength, real, simulated: S/N a 1e-4 dex relative to its median over 5500-7000.
    sky : DataFrame
        One row a line: equivalent width (angstrom of continuum) in UVES and in ours.
    sky_spectra : DataFrame
        wavelength, uves, simulated: photons relative to 5500-5540 angstrom.
    ccd : DataFrame
        One row a number of bias_stats: real median and range, simulated.
    """

    classifier: pl.DataFrame
    spectra: pl.DataFrame
    medians: dict[tuple[str, str], NDArray[np.float64]]
    snr_shape: pl.DataFrame
    sky: pl.DataFrame
    sky_spectra: pl.DataFrame
    ccd: pl.DataFrame


def realism_sets() -> dict[str, BenchmarkSettings]:
    """Settings of the two small simulated nights that are held against reality.

    Returns
    -------
    dict of str to BenchmarkSettings
        'libraries': every star of MILES, PyHammer and Indo-US once; 'lamost': every LAMOST F and
        G star once; both with S/N 30 to 120.
    """
    shared = "$DRCNET_SHARED_DATA/"
    common = {
        "source": "library",
        "spectrographs": (1,),
        "bias_frames": 3,
        "snr_shares": {"30-120": 1.0},
        "date": "2015-11-23",
        "balance_sources": True,
    }
    libraries = common | {
        "library": tuple(shared + name for name in _LIBRARIES),
        "seed": 11,
        "plates": 4,
        "class_shares": {"F": 1, "G": 1, "K": 1},
    }
    lamost = common | {
        "library": (shared + "lamost-lrs",),
        "seed": 12,
        "plates": 6,
        "class_shares": {"F": 1, "G": 1},
    }
    return {
        name: BenchmarkSettings.model_validate(
            {"title": f"realism: {name}", "simulate": one, "split": {"kind": "test"}}
        )
        for name, one in (("libraries", libraries), ("lamost", lamost))
    }


def measure_realism(
    shared: Path,
    scratch: Path,
    *,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Realism:
    """Simulate two small nights and hold them against real spectra, skies and chips.

    Parameters
    ----------
    shared : Path
        The folder of real data; $DRCNET_SHARED_DATA must name it too.
    scratch : Path
        Where the nights are made; what is finished there is not made again.
    progress : callable, optional
        Called as progress(stage, done, total).
    workers : int, optional
        Processes.

    Returns
    -------
    Realism
        Numbers and curves.

    Raises
    ------
    SpectrumError
        Real data are missing.
    """
    stores = {}
    for name, settings in realism_sets().items():
        make_benchmark(settings, scratch / name, progress=progress, workers=workers)
        stores[name] = open_store(scratch / name)
    lamost = [shared / "lamost-lrs"]
    real = from_library(read_library(lamost, classes=("F", "G", "K"), min_snr=50.0))
    libraries = from_library(read_library([shared / name for name in _LIBRARIES]))
    simulated = {name: _with_names(store, scratch / name) for name, store in stores.items()}
    two = pl.col("class").is_in(["F", "G"])
    classifier = _classifiers(
        real.take(two), {k: v.take(two) for k, v in simulated.items()}, libraries.take(two)
    )
    spectra, medians = _compare_subclasses(real, simulated)
    sky, sky_spectra = compare_sky(stores["libraries"], shared / "sky" / "specter-sky-uves.fits")
    return Realism(
        classifier=classifier,
        spectra=spectra,
        medians=medians,
        snr_shape=snr_shape(stores["lamost"], shared / "lamost-lrs" / "snr_shape.csv"),
        sky=sky,
        sky_spectra=sky_spectra,
        ccd=ccd(realism_sets()["libraries"].simulate, shared / "lamost-ccd"),
    )


def _with_names(store: Store, folder: Path) -> RestSpectra:
    """All usable rows of a store, under the library's names of the stars."""
    rows = store.index.filter("usable")["row"].to_numpy()
    parts = [from_store(store, rows[k : k + _ROWS]) for k in range(0, len(rows), _ROWS)]
    truth = pl.read_parquet(folder / "night" / "truth" / "stars.parquet").select(
        pl.col("designation").str.strip_prefix("LAMOST ").alias("star"), name="star"
    )
    table = pl.concat(part.table for part in parts)
    table = table.join(truth, on="star", how="left", maintain_order="left")
    table = table.with_columns(star="name").drop("name")
    return RestSpectra(np.concatenate([part.flux for part in parts]), table)


def _labels(spectra: RestSpectra) -> NDArray[np.str_]:
    return spectra.table["class"].to_numpy().astype(str)


def _classifiers(
    real: RestSpectra, simulated: dict[str, RestSpectra], libraries: RestSpectra
) -> pl.DataFrame:
    """F against G on real LAMOST spectra, by what the classifier was trained on."""
    ways = {
        "real LAMOST (other folds)": real,
        "simulated, of the LAMOST stars (other folds)": simulated["lamost"],
        "simulated, of MILES, PyHammer and Indo-US": simulated["libraries"],
        "MILES, PyHammer and Indo-US as they are": libraries,
    }
    fold_of = dict(zip(real.table["star"], real.table["fold"], strict=True))
    fold = real.table["fold"].to_numpy()
    wanted = _labels(real)
    lines = []
    for name, trained in ways.items():
        own = np.array([fold_of.get(star, -1) for star in trained.table["star"]])
        said = np.empty(len(wanted), dtype=object)
        for k in np.unique(fold):
            keep = own != k
            model = fit_linear(trained.flux[keep], _labels(trained)[keep])
            said[fold == k] = model.predict(real.flux[fold == k])
        lines.append(_score(name, trained, said == wanted, real.table))
    return pl.DataFrame(lines)


def _score(
    name: str, trained: RestSpectra, right: NDArray[np.bool_], table: pl.DataFrame
) -> dict[str, Any]:
    digit = table["subclass"].str.slice(1, 1)
    inner = digit.is_in(list("234567")).to_numpy()
    whole = star_interval(right, table["star"])
    within = star_interval(right[inner], table["star"].filter(pl.Series(inner)))
    keys = ("accuracy", "low", "high")
    return (
        {"trained_on": name, "spectra": len(trained.table)}
        | {"stars": trained.table["star"].n_unique()}
        | dict(zip(keys, whole, strict=True))
        | dict(zip((f"{key}_inner" for key in keys), within, strict=True))
    )


def _compare_subclasses(
    real: RestSpectra, simulated: dict[str, RestSpectra]
) -> tuple[pl.DataFrame, dict[tuple[str, str], NDArray[np.float64]]]:
    """Median line spectra of a subclass: simulated library stars beside real LAMOST ones."""
    grid = common_grid()
    known = (grid < JOINT[0]) | (grid > JOINT[1])
    blue = grid < JOINT[0]
    medians: dict[tuple[str, str], NDArray[np.float64]] = {}
    lines = []
    for name in SUBCLASSES:
        pair = {"real": real, "simulated": simulated["libraries"]}
        some = {kind: one.take(pl.col("subclass") == name) for kind, one in pair.items()}
        for kind, one in some.items():
            medians[name, kind] = np.median(one.flux, axis=0).astype(np.float64)
        apart = medians[name, "simulated"] - medians[name, "real"]
        lines.append(
            {
                "subclass": name,
                "real": len(some["real"].table),
                "simulated": len(some["simulated"].table),
                "rms": float(np.sqrt((apart[known] ** 2).mean())),
                "rms_blue": float(np.sqrt((apart[blue] ** 2).mean())),
                "line_rms": float(np.std(medians[name, "real"][known])),
            }
        )
    return pl.DataFrame(lines), medians
