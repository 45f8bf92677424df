"""How fast stars come out of a store: whole, shard by shard, and beside a NumPy memory map.

    python benchmarks/loading.py                 # 2,000 rows, half a minute
    python benchmarks/loading.py --rows 8000     # the paper's set: 2.1 GB as stripes
    python benchmarks/loading.py --store WORK    # a store of your own
    python benchmarks/loading.py --rows 8000 --page docs/results/loading.md

Without --store a store of random numbers is made: Poisson light with the range of LAMOST's, so
that it compresses as real stripes do. Rates are stars a second over one whole epoch; 'working'
stands for a device that takes so long over each batch. The page cache is warm.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import torch

from drcnet.config import PrepareSettings
from drcnet.dataset.batches import open_batches
from drcnet.dataset.loader import load_part, normalize_rows
from drcnet.dataset.reading import Reading, part_bytes
from drcnet.dataset.shards import ARMS
from drcnet.dataset.split import write_split
from drcnet.dataset.store import create_store, open_store, write_exposure
from drcnet.provenance import make_provenance

CLASSES = ("F", "G", "K")
FIBERS, WIDTH, WAVES = 250, 11, 3000


def make_store(work, n_rows, seed=1):
    """Write a store of random light, one exposure after the other."""
    rng = np.random.default_rng(seed)
    n_exposure = -(-n_rows // FIBERS)
    settings = PrepareSettings()
    create_store(
        work,
        exposures=[f"{k}-01" for k in range(n_exposure)],
        profile=SimpleNamespace(name="lamost-lrs", fibers=SimpleNamespace(count=FIBERS)),
        settings=settings,
        provenance=make_provenance({"prepare": settings.model_dump(mode="json")}),
    )
    across = np.exp(-0.5 * ((np.arange(WIDTH) - 5) / 3) ** 2)[:, None]
    for number in range(n_exposure):
        for arm in ARMS:
            light = rng.lognormal(5, 1.5, (FIBERS, 1, 1)) * across + 60
            stripes = light + np.sqrt(light + 16) * rng.standard_normal(
                (FIBERS, WIDTH, WAVES), dtype=np.float32
            )
            write_exposure(work, number, arm, _arrays(stripes))
    n_rows = n_exposure * FIBERS
    label = rng.integers(0, 3, n_rows)
    index = pl.DataFrame(
        {
            "row": np.arange(n_rows),
            "star": [f"star {k}" for k in range(n_rows)],
            "class": [CLASSES[k] for k in label],
            "snrr": np.full(n_rows, 40.0),
        }
    )
    index.write_parquet(work / "index.parquet")
    write_split(
        work / "split.parquet",
        index.with_columns(interval=pl.lit(">30"), part=pl.lit("train")),
    )


def _arrays(stripes):
    box = stripes.sum(axis=1)
    flat = np.ones_like(box)
    return {
        "stripes": stripes,
        "mask": np.zeros(stripes.shape, np.uint8),
        "box": box,
        "box_ivar": flat,
        "optimal": box,
        "optimal_ivar": flat,
        "sky": flat,
        "wavelength": np.zeros((FIBERS, 5)),
        "offset": flat,
    }


def timed(function):
    """Seconds that a call takes, and what it returns."""
    t_start = time.perf_counter()
    result = function()
    return time.perf_counter() - t_start, result


def rate(batches, epoch, working):
    """Stars a second over one epoch, with `working` seconds spent on each batch."""
    seen, t_start = 0, time.perf_counter()
    for batch in batches.batches(epoch):
        seen += len(batch.label)
        float(batch.x.flatten()[0])
        if working:
            time.sleep(working)
    return seen / (time.perf_counter() - t_start)


def memory_map(store, split, view, folder, batch_size):
    """Stars a second from a NumPy memory map of the same rows, in random order."""
    rows = split["row"].to_numpy()
    path = folder / "rows.npy"
    first = store.read(view, rows[:1])
    mapped = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.float32, shape=(len(rows), *first.shape[1:])
    )
    for start in range(0, len(rows), FIBERS):
        mapped[start : start + FIBERS] = store.read(view, rows[start : start + FIBERS])
    mapped.flush()
    mapped = np.load(path, mmap_mode="r")
    order = np.random.default_rng(1).permutation(len(rows))

    def epoch():
        for start in range(0, len(order), batch_size):
            x = torch.from_numpy(mapped[order[start : start + batch_size]])
            normalize_rows(x, "zscore", x)

    seconds, _ = timed(epoch)
    return len(rows) / seconds, path.stat().st_size


PAGE = """# From the store to batches

    {command}

{rows} rows of `{view}`: {size:.2f} GB as float32, {disk:.2f} GB on disk ({what}); batches of
{batch}; {cores} cores, load {load:.1f} as it began; the page cache is warm.

**Whole-store load: {seconds:.1f} s** ({busy:.1f} s of processor), {speed:.2f} GB/s.

| way | stars/s | over the memory map | share of the time without a batch |
|---|---|---|---|
{table}

Stars a second over one epoch, normalised, in random order. "While the device works" gives every
batch {working:g} s of work; the share of its time in which it had no batch is then what a training
waits, the first window of an epoch included. A resident set is never waited for.
"""


def measure(work, options):
    """Print every rate, and its ratio to the memory map's."""
    load = os.getloadavg()[0]
    store = open_store(work)
    split = pl.read_parquet(work / "split.parquet")
    known = split.filter(pl.col("part") == options.part)
    size = part_bytes(store, len(known), options.view)
    before = time.process_time()
    seconds, _ = timed(
        lambda: load_part(store, split, options.part, view=options.view, classes=CLASSES)
    )
    busy = time.process_time() - before
    disk = sum(p.stat().st_size for arm in ARMS for p in _files(work, arm, options.view))
    print(f"{len(known)} rows of {options.view}: {size / 1e9:.2f} GB, {disk / 1e9:.2f} GB on disk")
    speed = size / 1e9 / seconds
    print(f"whole-store load: {seconds:.1f} s ({busy:.1f} s of processor), {speed:.2f} GB/s")
    lines = _ways(store, split, known, options)
    if options.page is None:
        return
    made = options.store is None
    source = f" --rows {options.rows}" if made else " --store WORK"
    text = PAGE.format(
        command=f"python benchmarks/loading.py{source} --page {options.page}",
        what="random light that compresses as stripes do" if made else "a store of stripes",
        rows=len(known),
        view=options.view,
        size=size / 1e9,
        disk=disk / 1e9,
        batch=options.batch,
        cores=os.cpu_count(),
        load=load,
        seconds=seconds,
        busy=busy,
        speed=speed,
        working=options.working,
        table="\n".join(lines),
    )
    options.page.write_text(text, encoding="utf-8")


def _ways(store, split, known, options):
    """Rate of every way; printed, and as lines of Markdown."""
    size = part_bytes(store, len(known), options.view)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        base, _ = memory_map(store, known, options.view, Path(folder), options.batch)
    lines = []

    def tell(name, found, waiting):
        print(f"{name:<34} {found:9.0f} {found / base:6.2f} {waiting:>8}")
        lines.append(f"| {name.strip()} | {found:.0f} | {found / base:.2f} | {waiting} |")

    print(f"{'way':<34} {'stars/s':>9} {'ratio':>6} {'waiting':>8}")
    tell("NumPy memory map, random rows", base, "-")
    a_shard = size / len(known) * store.n_fiber
    ways = {
        "resident, float32": {"memory": 2 * size},
        "resident, bfloat16": {"memory": 2 * size, "dtype": "bfloat16"},
        "shuffled by shard, window 1": {"memory": 4 * a_shard},
        "shuffled by shard, window 4": {"memory": 16 * a_shard},
    }
    for name, wanted in ways.items():
        wanted["memory"] = int(wanted["memory"])
        if name.startswith("shuffled") and wanted["memory"] >= size:
            print(f"{name:<34} {'too few rows for so large a window':>24}")
            continue
        reading = Reading(options.view, CLASSES, batch_size=options.batch, **wanted)
        batches = open_batches(store, split, options.part, reading)
        found = rate(batches, 1, 0)
        tell(name, found, f"{batches.waiting:.0%}")
        if name.startswith("shuffled"):
            found = rate(batches, 2, options.working)
            tell(f"  {name}, while the device works", found, f"{batches.waiting:.0%}")
    return lines


def _files(work, arm, view):
    return (p for p in (work / "dataset.zarr" / arm / view).rglob("*") if p.is_file())


def main():
    """Make a store if none is given, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--store", type=Path, help="a work folder instead of random numbers")
    parser.add_argument("--part", default="train")
    parser.add_argument("--view", default="stripes", choices=["stripes", "box", "optimal"])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--working", type=float, default=0.1, help="seconds a batch")
    parser.add_argument("--folder", type=Path, help="where to put what is only measured")
    parser.add_argument("--page", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    if options.store is not None:
        measure(options.store, options)
        return
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        work = Path(folder) / "work"
        seconds, _ = timed(lambda: make_store(work, options.rows))
        print(f"made a store of {options.rows} rows in {seconds:.1f} s")
        measure(work, options)


if __name__ == "__main__":
    main()
