"""Train, validation and test by star, so that no star stands on both sides.

Stars are dealt out first, rows follow: a star with at least one row of `train_above` or more goes
to train, validation or test; a star seen only below goes to test. Trained and validated on are
only rows of `train_above` or more. A fainter row of a training or validation star can be used
nowhere - not for training, which the paper does above its limit only, and not for testing, where
its star would be known already - and is 'unused'. Where `faint` is 'learn' it goes with its star
instead, whose best visit labels it: another protocol, for surveys that visit stars again.

Other kinds of split test one fold of stars (`drcnet.dataset.fold_split`), or everything.
"""

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import polars as pl

from drcnet.config import SplitSettings
from drcnet.dataset.fold_split import deal_homes, draw_counts
from drcnet.dataset.intervals import interval_names, interval_of
from drcnet.dataset.remote import RemotePath, locate, read_table
from drcnet.errors import ConfigError, StoreError
from drcnet.provenance import atomic_write, make_provenance

__all__ = [
    "PARTS",
    "check_split",
    "make_split",
    "read_split",
    "some_stars",
    "split_digest",
    "split_file",
    "table1",
    "write_split",
]

PARTS = ("train", "validation", "test", "unused")

_DEALT = PARTS[:3]
_COLUMNS = ("row", "star", "class", "snrr", "interval", "part")


def make_split(index: pl.DataFrame, settings: SplitSettings) -> pl.DataFrame:
    """Deal the stars of an index out to the parts.

    Parameters
    ----------
    index : DataFrame
        Columns row, star, class, snrr, usable; fold and source where known. Rows that are not
        usable are left out.
    settings : SplitSettings
        Kind, edges, limit, shares, folds and seed.

    Returns
    -------
    DataFrame
        Columns row, star, class, snrr, interval, part; sorted by row. It does not depend on the
        order of the index. Rows without an S/N are 'unused', with an empty interval.

    Raises
    ------
    ConfigError
        The shares are negative or do not add up to 1, or there is no such fold.
    StoreError
        The stars' folds do not fit, or there are fewer rows than shall be drawn.
    """
    _check_fractions(settings)
    known = [name for name in ("fold", "source") if name in index.columns]
    rows = (
        index.filter(pl.col("usable")).select("row", "star", "class", "snrr", *known).sort("row")
    )
    rows = rows.with_columns(interval_of(rows["snrr"].to_numpy(), settings.edges).fill_null(""))
    bright = (pl.col("snrr") >= settings.train_above) & pl.col("snrr").is_not_nan()
    stars = (
        rows.group_by("star")
        .agg(
            pl.col("class").sort_by("snrr", "row", nulls_last=False).last(),
            bright.sum().alias("bright"),
            pl.col(*known).first() if known else pl.lit("").alias("source"),
        )
        .sort("star")
    )
    if settings.kind == "single":
        dealt = _deal(stars.filter(pl.col("bright") > 0), settings)
    elif settings.kind == "test":
        dealt = stars.select("star", pl.lit("test").alias("home"))
    else:
        dealt = deal_homes(stars, settings)
    rows = rows.join(dealt, on="star", how="left", maintain_order="left")
    home = pl.col("home").fill_null("test")
    learnt = bright
    if settings.faint == "learn":
        learnt = bright.any().over("star")
    nowhere = (pl.col("interval") == "") | ((home != "test") & ~learnt)
    part = pl.when(nowhere).then(pl.lit("unused")).otherwise(home).alias("part")
    split = rows.with_columns(part).select(_COLUMNS)
    return draw_counts(split, settings) if settings.kind == "paper" else split


def _check_fractions(settings: SplitSettings) -> None:
    shares = settings.fractions
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
        raise ConfigError("split.fractions", "three shares >= 0 that add up to 1", str(shares))


def _deal(stars: pl.DataFrame, settings: SplitSettings) -> pl.DataFrame:
    """Give each star to the part that lacks most rows of its class, in random order."""
    names: list[str] = []
    homes: list[str] = []
    for (label,), group in stars.group_by("class", maintain_order=True):
        # The class's own stream: another class more or less changes nothing here.
        order = np.random.default_rng([settings.seed, _word(label)]).permutation(len(group))
        shuffled = group[order]
        counts = shuffled["bright"].to_numpy()
        lacking = np.asarray(settings.fractions) * counts.sum()
        for star, count in zip(shuffled["star"], counts, strict=True):
            part = int(np.argmax(lacking))
            lacking[part] -= count
            names.append(star)
            homes.append(_DEALT[part])
    return pl.DataFrame({"star": names, "home": homes}, schema={"star": str, "home": str})


def _word(label: object) -> int:
    """Turn a class into a number, for a stream of its own."""
    return int.from_bytes(hashlib.sha256(str(label).encode()).digest()[:8], "little")


def check_split(split: pl.DataFrame) -> None:
    """Make sure that no star and no row stands in two parts.

    Parameters
    ----------
    split : DataFrame
        Columns row, star, class, snrr, interval, part.

    Raises
    ------
    StoreError
        A column is missing, a part unknown, a row twice, or a star in two parts.
    """
    missing = [name for name in _COLUMNS if name not in split.columns]
    if missing:
        raise StoreError("split", f"the columns {list(_COLUMNS)}", f"none of {missing}")
    unknown = sorted(set(split["part"]) - set(PARTS))
    if unknown:
        raise StoreError("split", f"the parts {list(PARTS)}", f"{unknown}")
    twice = split.filter(pl.col("row").is_duplicated())["row"]
    if len(twice):
        raise StoreError("split", "every row once", f"row {twice[0]} twice")
    used = split.filter(pl.col("part") != "unused")
    parts = used.group_by("star").agg(pl.col("part").unique().sort())
    straddling = parts.filter(pl.col("part").list.len() > 1).sort("star")
    if len(straddling):
        star, where = straddling.row(0)
        raise StoreError(
            "split",
            "every star in one part",
            f"{len(straddling)} stars in several, as {star} in {' and '.join(where)}",
        )


def split_digest(split: pl.DataFrame) -> str:
    """Name a split by its content, whatever file holds it.

    Parameters
    ----------
    split : DataFrame
        Columns row, star, class, part (others do not count).

    Returns
    -------
    str
        The first 16 hexadecimal digits of a SHA-256 over the rows in their order.
    """
    text = split.sort("row").select("row", "star", "class", "part").write_csv()
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_split(path: Path, split: pl.DataFrame, settings: SplitSettings | None = None) -> None:
    """Check and write a split.

    Parameters
    ----------
    path : Path
        The Parquet file; it appears whole or not at all.
    split : DataFrame
        As `make_split` returns it.
    settings : SplitSettings, optional
        What made it; written into the file, with the split's digest.

    Raises
    ------
    StoreError
        A star stands in two parts.
    """
    check_split(split)
    metadata = {}
    if settings is not None:
        plain = settings.model_dump(mode="json")
        origin = make_provenance(plain, seed=settings.seed) | {"split_digest": split_digest(split)}
        metadata["drcnet"] = json.dumps(origin, sort_keys=True)
    with atomic_write(path) as partial:
        split.write_parquet(partial, metadata=metadata)


def read_split(path: Path | RemotePath) -> pl.DataFrame:
    """Read and check a split.

    Parameters
    ----------
    path : Path or RemotePath
        The Parquet file, or the work folder (no URL) that holds `split.parquet`.

    Returns
    -------
    DataFrame
        Columns row, star, class, snrr, interval, part.

    Raises
    ------
    StoreError
        It cannot be read, or a star stands in two parts.
    """
    path = locate(path)
    if isinstance(path, Path) and path.is_dir():
        path = path / "split.parquet"
    try:
        split = read_table(path)
    except (OSError, pl.exceptions.PolarsError) as err:
        raise StoreError(path, "a split written by prepare", str(err)) from err
    try:
        check_split(split)
    except StoreError as err:
        raise StoreError(path, err.wanted, err.came) from err
    return split


def split_file(work: Path, name: str | None = None) -> Path:
    """Find a split.

    Parameters
    ----------
    work : Path
        The work folder.
    name : str, optional
        A file, absolute or as named from inside the work folder, or from here; none: the work
        folder's split.parquet.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    StoreError
        There is none of that name.
    """
    work = Path(work)
    if name is None:
        return work / "split.parquet"
    for path in (work / name, Path(name)):
        if path.is_file():
            return path
    raise StoreError(work / name, "a split file ('drcnet dataset split' makes one)", "none there")


def some_stars(split: pl.DataFrame, share: float, seed: int) -> pl.DataFrame:
    """Keep a share of the training stars, with all their rows; the others become 'unused'.

    Parameters
    ----------
    split : DataFrame
        As `make_split` returns it.
    share : float
        Of the training stars of each class, rounded up.
    seed : int
        Which stars; those of a smaller share are among those of a larger one.

    Returns
    -------
    DataFrame
        The same rows in the same order.
    """
    stars = split.filter(pl.col("part") == "train").unique("star").sort("star")
    kept: list[str] = []
    for (label,), group in stars.group_by("class", maintain_order=True):
        order = np.random.default_rng([seed, _word(label)]).permutation(len(group))
        kept += group["star"][order[: math.ceil(share * len(group))]].to_list()
    left = (pl.col("part") == "train") & ~pl.col("star").is_in(kept)
    part = pl.when(left).then(pl.lit("unused")).otherwise("part")
    return split.with_columns(part.alias("part"))


def table1(split: pl.DataFrame, settings: SplitSettings) -> pl.DataFrame:
    """Count as the paper's Table 1 does, with the classes in every cell.

    Parameters
    ----------
    split : DataFrame
        As `make_split` returns it.
    settings : SplitSettings
        Gives the intervals and their order.

    Returns
    -------
    DataFrame
        Columns part, interval, rows, stars, then one a class; the highest interval first, as in
        the paper, and parts in the order of `PARTS`; only cells that hold rows.
    """
    classes = sorted(set(split["class"]))
    of_class = [(pl.col("class") == name).sum().alias(name) for name in classes]
    counts = split.group_by("part", "interval").agg(
        pl.len().alias("rows"), pl.col("star").n_unique().alias("stars"), *of_class
    )
    order = (*reversed(interval_names(settings.edges)), "")
    return counts.sort(
        pl.col("part").replace_strict(list(PARTS), range(len(PARTS))),
        pl.col("interval").replace_strict(list(order), range(len(order))),
    )
