"""The page of a benchmark set: everything that is known of it, read from the set alone."""

from pathlib import Path

import numpy as np
import polars as pl

from drcnet.benchmark.making import Making, read_makings
from drcnet.benchmark.tables import markdown, mix_text, pooled_text, splits_text
from drcnet.config import BenchmarkSettings, load_settings
from drcnet.dataset.info import StoreInfo, store_info
from drcnet.dataset.intervals import interval_names
from drcnet.dataset.split import read_split
from drcnet.dataset.table1 import describe_split
from drcnet.errors import StoreError

__all__ = ["page_name", "set_page"]

_TOML = "benchmark.toml"

_HEAD = """# The benchmark `{name}`

{title}. Made and written down by

```
drcnet benchmark make configs/benchmarks/{name}.toml --out {name}
drcnet benchmark page {name} --out docs/results
```

Every number on this page is read from the set, and S/N is `snrr` (docs/conventions.md). What the
set is for and why it is as hard as it is: [../benchmark.md](../benchmark.md).
"""

_SPLITS = """Rows / stars ({classes}); the digest names a split in every run made on it.
"""

_HISTOGRAM = """## S/N (the paper's Figure 3)

Usable rows by S/N.
"""

_FLOW = """## From fibres to parts (the paper's Figure 4)

Counts at each step; `lost` is what the step before had more. The parts are those of
`split.parquet`.
"""


def page_name(work: Path) -> str:
    """Give the name of a set: what its title begins with.

    Parameters
    ----------
    work : Path
        The set's folder.

    Returns
    -------
    str
        'fgk', ...

    Raises
    ------
    StoreError
        The folder is no benchmark set.
    """
    return _settings(work).title.partition(":")[0].strip()


def _settings(work: Path) -> BenchmarkSettings:
    path = Path(work) / _TOML
    if not path.is_file():
        wanted = f"a folder of 'drcnet benchmark make', with {_TOML} in it"
        raise StoreError(work, wanted, "none")
    return load_settings(path, BenchmarkSettings)


def set_page(work: Path) -> str:
    """Write a finished set down.

    Parameters
    ----------
    work : Path
        The set's folder.

    Returns
    -------
    str
        Markdown.

    Raises
    ------
    StoreError
        The folder is no benchmark set, or one that is not finished.
    """
    work = Path(work)
    settings = _settings(work)
    info = store_info(work)
    usable = pl.read_parquet(work / "index.parquet").filter("usable")
    if usable.is_empty():
        raise StoreError(work, "usable rows", f"none of {info.rows} (drcnet dataset info)")
    seen = usable.group_by("star").len()["len"].to_numpy()
    snrr = usable["snrr"].to_numpy()
    parts = [
        _HEAD.format(name=page_name(work), title=settings.title.partition(":")[2].strip()),
        (
            f"{len(usable)} usable rows of {info.rows}, {info.stars} stars, {info.exposures} "
            f"exposures. A star has {seen.min()} to {seen.max()} rows ({np.median(seen):.0f} in "
            f"the middle); `snrr` is {snrr.min():.1f} to {snrr.max():.1f}. "
            f"Rows by pool: {_pairs(info.pools)}.\n"
        ),
        _made(info, read_makings(work)),
        f"## Class by source\n\n{mix_text(usable)}\n\n{_balance(usable)}",
        f"{_HISTOGRAM}\n{markdown(info.histogram)}",
        f"{_FLOW}\n{markdown(info.flow)}",
        _left_out(info),
        _table1(work, settings),
    ]
    return "\n".join(parts)


def _pairs(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _made(info: StoreInfo, calls: tuple[Making, ...]) -> str:
    """Say what the set takes and took."""
    store = info.disk or 0
    lines = ["## Time and room", ""]
    lines.append(
        f"The finished set takes {store / 1e9:.2f} GB, {store / info.exposures / 1e6:.0f} MB an "
        f"exposure. Made with {', '.join(f'{k} {v}' for k, v in info.versions.items())}."
    )
    if calls:
        made, peak = sum(one.made for one in calls), max(one.peak_bytes for one in calls)
        seconds, busy = (sum(one.seconds for one in calls), sum(one.cpu_seconds for one in calls))
        workers = " or ".join(str(n) for n in sorted({one.workers for one in calls}))
        cores = " or ".join(str(n) for n in sorted({one.cores for one in calls}))
        lines.append(
            f"{made} exposures made in {seconds / 60:.1f} minutes with --workers {workers} on "
            f"{cores} cores ({len(calls)} call{'s'[: len(calls) > 1]}), {busy / made:.1f} s of "
            "processor an exposure, lamps and calibrations included."
        )
        if made < info.exposures:
            lines.append(f"The other {info.exposures - made} were made by calls that were killed.")
        if peak:
            lines.append(
                f"At most {peak / 1e9:.1f} GB of disk were taken on the way (lamp frames and "
                "calibrations go at the end, an exposure's raw frames at once)."
            )
    else:
        lines.append("How long it took to make is not known (no making.json).")
    return "\n".join(lines) + "\n"


def _balance(usable: pl.DataFrame) -> str:
    """Say how far the sources' shares differ between classes."""
    if usable["source"].n_unique() < 2:
        return "There is one source, so it says nothing about the class.\n"
    shares = (
        usable.group_by("class", "source")
        .len()
        .with_columns(share=pl.col("len") / pl.col("len").sum().over("class"))
        .pivot("class", index="source", values="share")
        .fill_null(0.0)
        .drop("source")
    )
    worst = max(max(row) - min(row) for row in shares.iter_rows())
    return (
        f"Between classes a source's share differs by at most {100 * worst:.2f} points "
        "(wanted: 2).\n"
    )


def _left_out(info: StoreInfo) -> str:
    if info.left_out.is_empty():
        return "Nothing was left out.\n"
    columns = ["stage", "reason", "rows", "stars"]
    table = markdown(info.left_out.select(columns))
    return f"What no part of `split.parquet` uses, and why:\n\n{table}"


def _table1(work: Path, settings: BenchmarkSettings) -> str:
    """Write every split's Table 1: the first of a kind as the paper prints it, then all folds."""
    names = interval_names(settings.split.edges)
    first = read_split(work / "split.parquet")
    classes = "/".join(sorted(set(first["class"])))
    text = ["## Table 1", "", _SPLITS.format(classes=classes)]
    text += [
        f"### `split.parquet` ({settings.split.kind})",
        "",
        describe_split(first, names),
        "",
    ]
    for kind in settings.splits:
        folds = {
            n: read_split(work / "splits" / f"{kind}-{n}.parquet")
            for n in range(settings.split.folds)
        }
        text += [f"### `{kind}`", "", "Fold 0, as the paper prints it:", ""]
        text += [describe_split(folds[0], names), "", "All folds:", ""]
        text += [splits_text(folds, names), ""]
        if kind == "large":
            text += ["Test rows, pooled over the folds (each star is tested in one fold):", ""]
            text += [pooled_text(folds.values(), names), ""]
    return "\n".join(text)
