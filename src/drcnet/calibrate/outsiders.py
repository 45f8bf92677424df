"""What a calibrated run makes of things that are none of its classes: a table of refusals."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from drcnet.calibrate.product import Calibration, read_calibration
from drcnet.checkpoint import Classifier, load_classifier
from drcnet.dataset.intervals import interval_of
from drcnet.dataset.loader import see
from drcnet.dataset.profiles import row_reader
from drcnet.dataset.split import read_split, split_file
from drcnet.dataset.store import Store, open_store
from drcnet.errors import CheckpointError, StoreError
from drcnet.stripes.flags import FiberFlag

__all__ = ["judge_outsiders", "judge_tested"]

_SCHEMA = {
    "stars": pl.String,
    "group": pl.String,
    "interval": pl.String,
    "n_rows": pl.Int64,
    "n_stars": pl.Int64,
    "rejected": pl.Float64,
    "too_faint": pl.Float64,
    "unlike": pl.Float64,
    "no_light": pl.Float64,
    "sure": pl.Float64,
    "called": pl.String,
}
_NO_STAR = ("sky", "dead")


def judge_outsiders(run: Path, work: Path) -> pl.DataFrame:
    """Show a calibrated run everything in a store, and count what it refuses.

    Parameters
    ----------
    run : Path
        Run folder with a `calibration.json`.
    work : Path
        A work folder with stars of other classes too; none of its stars should be the run's.

    Returns
    -------
    DataFrame
        One row a group and S/N interval: `stars` (the work folder's name), `group` (the letter
        of the spectral type, 'sky' or 'dead'; that of the run's own classes gives the false
        refusals), `interval` (of the catalogue's S/N; '' for sky and dead fibres), n_rows,
        n_stars, `rejected` (share), split into `too_faint`, `unlike` and `no_light`; of those
        not rejected `sure` (share whose prediction set is one class; null where none is left)
        and `called` (the class most often given).

    Raises
    ------
    CheckpointError
        The run is not finished or not calibrated.
    StoreError
        The store cannot be read.
    """
    classifier, calibration = _load(run)
    store = open_store(work)
    rows = _groups(store, calibration)
    if rows.is_empty():
        raise StoreError(store.work, "stars, sky or dead fibres", "none")
    return _table(classifier, calibration, store, rows, Path(work).name)


def judge_tested(run: Path, work: Path) -> pl.DataFrame:
    """Count what a calibrated run refuses of its own test stars: all of it in error.

    Parameters
    ----------
    run : Path
        Run folder with a `calibration.json`.
    work : Path
        The work folder that it was trained on.

    Returns
    -------
    DataFrame
        As `judge_outsiders`, `stars` being 'test'.

    Raises
    ------
    CheckpointError
        The run is not finished or not calibrated.
    StoreError
        The store or the split cannot be read.
    """
    classifier, calibration = _load(run)
    store = open_store(work)
    split = read_split(split_file(Path(work), classifier.card.provenance["settings"].get("split")))
    tested = split.filter(pl.col("part") == "test").select(pl.col("row").cast(pl.Int64))
    rows = _groups(store, calibration).join(tested, on="row", how="semi").sort("row")
    return _table(classifier, calibration, store, rows, "test")


def _load(run: Path) -> tuple[Classifier, Calibration]:
    classifier = load_classifier(Path(run))
    calibration = read_calibration(Path(run), weights=classifier.card.weights)
    if calibration is None:
        raise CheckpointError(run, "a calibrated run", "one without calibration.json")
    return classifier, calibration


def _table(
    classifier: Classifier, calibration: Calibration, store: Store, rows: pl.DataFrame, name: str
) -> pl.DataFrame:
    pieces = [_judge(classifier, calibration, store, part) for part in _pieces(rows)]
    table = _count(pl.concat(pieces)).with_columns(pl.lit(name).alias("stars"))
    return table.select(pl.col(name).cast(dtype) for name, dtype in _SCHEMA.items())


def _groups(store: Store, calibration: Calibration) -> pl.DataFrame:
    """Rows that can be judged, each with its group, its interval and its measured S/N."""
    flags = pl.col("flags")
    dead = (flags & int(FiberFlag.DEAD)) != 0
    sky = (flags & int(FiberFlag.SKY_FIBER)) != 0
    gone = (flags & int(FiberFlag.ARM_MISSING | FiberFlag.FRAME_REFUSED)) != 0
    letter = pl.col("subclass").fill_null("").str.extract(r"^(?:sd|[dg])?([OBAFGKM])\d", 1)
    group = pl.when(dead).then(pl.lit("dead")).when(sky).then(pl.lit("sky")).otherwise(letter)
    rows = store.index.filter(~gone).with_columns(group.alias("group")).drop_nulls("group")
    edges = sorted(float(name.strip(">").split("-")[0]) for name in calibration.thresholds)
    interval = interval_of(rows["snrr"].cast(pl.Float64).fill_null(np.nan).to_numpy(), edges)
    star = pl.col("group").is_in(_NO_STAR)
    return (
        rows.with_columns(interval.alias("interval"))
        .with_columns(
            pl.when(star).then(pl.lit("")).otherwise(pl.col("interval")).alias("interval"),
            pl.Series("seen", calibration.snrr(rows["snr_red"].to_numpy())),
        )
        .drop_nulls("interval")
        .select(pl.col("row").cast(pl.Int64), "star", "group", "interval", "seen")
        .sort("row")
    )


def _pieces(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    size = 1024  # stripes of so many rows are 270 MB
    for start in range(0, len(rows), size):
        yield rows.slice(start, size)


def _judge(
    classifier: Classifier, calibration: Calibration, store: Store, rows: pl.DataFrame
) -> pl.DataFrame:
    """What comes of some rows: why refused (or ''), the class, and how many are in its set."""
    number = rows["row"].to_numpy().astype(np.int64)
    seen = rows["seen"].to_numpy()

    get = row_reader(store, number)
    p = classifier.probabilities(see(classifier.card.view, get))
    p = calibration.probabilities(p, seen)
    known = np.isfinite(p).all(axis=1)
    why = np.array(calibration.reject(see("optimal-sky", get), seen), dtype=object)
    dead = (rows["group"] == "dead").to_numpy()  # known from the lamp flat
    why[~known | dead] = "no light"
    names = np.array(classifier.card.classes)[np.nan_to_num(p).argmax(axis=1)]
    return rows.with_columns(
        pl.Series("why", why.tolist(), dtype=pl.String),
        pl.Series("called", names.tolist(), dtype=pl.String),
        pl.Series("single", calibration.sets(p, seen).sum(axis=1) == 1),
    )


def _count(rows: pl.DataFrame) -> pl.DataFrame:
    why, kept = pl.col("why"), pl.col("why") == ""
    table = rows.group_by("group", "interval", maintain_order=True).agg(
        n_rows=pl.len(),
        n_stars=pl.when(pl.col("group").is_in(_NO_STAR)).then(None).otherwise("star").n_unique(),
        rejected=(~kept).mean(),
        too_faint=why.str.starts_with("fainter").mean(),
        unlike=why.str.starts_with("unlike").mean(),
        no_light=(why == "no light").mean(),
        sure=pl.col("single").filter(kept).mean(),
        called=pl.col("called").filter(kept).mode().sort().first(),
    )
    order = {name: k for k, name in enumerate("OBAFGKM")} | {"sky": 7, "dead": 8}
    table = table.with_columns(
        place=pl.col("group").replace_strict(order, return_dtype=pl.Int64),
        low=pl.col("interval").str.extract(r"(\d+)").cast(pl.Float64),
    ).sort("place", "low", descending=[False, True])
    return table.drop("place", "low")
