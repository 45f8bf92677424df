"""Join 8,000 fibres with a catalogue of ten million rows: drcnet, pandas and astropy.table.

Each case runs in a process of its own, so that its peak memory is its own; the catalogue is a
Parquet file as `drcnet catalog convert` writes it. Times are given as ratios to drcnet's join by
exposure, memory in megabytes above what the process held before it began (its imports).

    python benchmarks/catalog_join.py --pandas PYTHON --page docs/results/catalog-join.md
    python benchmarks/catalog_join.py [--rows 10000000] [--file CATALOG.parquet]

--pandas names an interpreter that has pandas and pyarrow, where this one has not: pandas is no
part of this project.
"""

import argparse
import importlib
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PLATES = 16  # a night's plates, two spectrographs each: 32 x 250 = 8,000 fibres
FIBERS = 250
CHUNK = 250_000
NIGHT = 57289
KEYS = ["lmjd", "planid", "spid", "fiberid"]


def write_catalog(path: Path, rows: int, seed: int = 1) -> None:
    """Write a catalogue of many nights, ordered by night, without holding it whole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(seed)
    per_night = 16 * 16 * FIBERS
    nights = -(-rows // per_night)
    writer = None
    for start in range(0, rows, CHUNK):
        k = np.arange(start, min(start + CHUNK, rows))
        lmjd = NIGHT - nights // 2 + k // per_night
        plate = k % per_night // (16 * FIBERS)
        kind = rng.choice(["F5", "G2", "K3", "M1"], len(k))
        ra = rng.uniform(0, 360, len(k)).round(7)
        dec = np.degrees(np.arcsin(rng.uniform(-0.17, 0.87, len(k)))).round(7)
        table = pa.table(
            {
                "obsid": k,
                "designation": [f"J{a:.5f}{d:+.5f}" for a, d in zip(ra, dec, strict=True)],
                "lmjd": lmjd,
                "planid": np.char.add("P", plate.astype(str)),
                "spid": k % (16 * FIBERS) // FIBERS + 1,
                "fiberid": k % FIBERS + 1,
                "ra": ra,
                "dec": dec,
                "snrr": rng.lognormal(3, 1, len(k)).round(2),
                "class": np.full(len(k), "STAR"),
                "subclass": kind,
            }
        )
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
    if writer is not None:
        writer.close()


def wanted_fibers() -> list[tuple[str, int]]:
    """Plates and spectrographs of one night whose fibres are looked for."""
    return [(f"P{plate}", spid) for plate in range(PLATES) for spid in (3, 11)]


def join_drcnet(path: Path) -> int:
    """By night, plate, spectrograph and fibre."""
    from drcnet.frames.catalog import join_fibers, read_catalog

    table = read_catalog(path, nights={NIGHT})
    lmjm = NIGHT * 1440 - 300
    found = 0
    for planid, spid in wanted_fibers():
        rows = join_fibers(table, spid=spid, lmjm=lmjm, n_fiber=FIBERS, planid=planid)
        found += int(rows["in_catalog"].sum())
    return found


def join_sky(path: Path) -> int:
    """By position: the same 8,000 stars, half an arcsecond off."""
    import polars as pl

    from drcnet.frames.positions import join_positions

    found = join_positions(path, pl.read_parquet(path.with_suffix(".fibers.parquet")))
    return int(found.table["in_catalog"].sum()) + len(found.refused)


def join_pandas(path: Path) -> int:
    """What one writes at first: read, then merge."""
    import pandas as pd

    keys = pd.DataFrame(_keys())
    return len(keys.merge(pd.read_parquet(path), on=KEYS, how="inner"))


def join_astropy(path: Path) -> int:
    """What one writes at first: read, then join."""
    import pyarrow.parquet as pq
    from astropy.table import Table, join

    read = pq.read_table(path)  # Table.read needs pandas for this format
    table = Table({name: read[name].to_numpy() for name in read.column_names})
    for name in ("designation", "planid", "class", "subclass"):
        table[name] = table[name].astype(str)
    keys = Table(_keys())
    return len(join(keys, table, keys=KEYS, join_type="inner"))


def _keys() -> dict[str, np.ndarray]:
    pairs = wanted_fibers()
    return {
        "lmjd": np.full(len(pairs) * FIBERS, NIGHT),
        "planid": np.repeat([plate for plate, _ in pairs], FIBERS),
        "spid": np.repeat([spid for _, spid in pairs], FIBERS),
        "fiberid": np.tile(np.arange(1, FIBERS + 1), len(pairs)),
    }


# Name: what runs, the package whose import is not counted, and how the page calls it.
CASES = {
    "drcnet, by exposure": (
        join_drcnet,
        "drcnet.frames.catalog",
        "drcnet, by night, plate, spectrograph and fibre",
    ),
    "drcnet, by position": (
        join_sky,
        "drcnet.frames.positions",
        "drcnet, by position (0.5 arcsec off)",
    ),
    "pandas": (join_pandas, "pandas", "pandas, read whole and merged on the same keys"),
    "astropy.table": (
        join_astropy,
        "astropy.table",
        "astropy.table, read whole and joined on the same keys",
    ),
}

PAGE = """# Joining 8,000 fibres with ten million catalogue rows

    POLARS_MAX_THREADS={threads} python benchmarks/catalog_join.py --pandas PYTHON --page {page}

Every case starts from the same Parquet file ({rows:,} rows, {size:.0f} MB, as `drcnet catalog
convert` orders it; the page cache is warm) in a process of its own, on {cores} cores (load
{load:.1f} as it began); memory is what it took beyond its imports.

| case | version | fibres | time / drcnet | seconds | peak MB |
|---|---|---|---|---|---|
{table}

A converted catalogue is ordered by night, so that a join by exposure reads a few blocks only; a
join by position looks at every row once, in cells of the sky of 0.1 degree.
"""


def measure(name: str, path: Path) -> None:
    """Run one case in this process and print what it took, as JSON."""
    function, module, _ = CASES[name]
    importlib.import_module(module)
    version = getattr(sys.modules[module.split(".")[0]], "__version__", "")
    before = _peak_mb()
    start = time.perf_counter()
    found = function(path)
    seconds = time.perf_counter() - start
    peak = _peak_mb() - before
    told = {"found": found, "seconds": seconds, "peak_mb": peak, "version": version}
    print(json.dumps(told))


def _peak_mb() -> float:
    """Highest memory of this process; what a child inherits as ru_maxrss is its parent's."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    line = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def compare(path: Path, pandas: str | None) -> list[str]:
    """Run every case that is installed; print the table, and give it as Markdown."""
    base, lines = None, []
    print(f"{'case':22} {'fibres':>7} {'time / drcnet':>14} {'seconds':>8} {'peak MB':>8}")
    for name, (_, module, title) in CASES.items():
        elsewhere = pandas if name == "pandas" else None
        if elsewhere is None and importlib.util.find_spec(module.split(".")[0]) is None:
            print(f"{name:22} not installed")
            lines.append(f"| {title} | not installed | | | | |")
            continue
        words = [elsewhere or sys.executable, __file__, "--case", name, "--file", str(path)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            came = (done.stderr.strip().splitlines() or ["killed"])[-1]
            print(f"{name:22} failed: {came}")
            lines.append(f"| {title} | failed: {came} | | | | |")
            continue
        got = json.loads(done.stdout.splitlines()[-1])
        base = base or got["seconds"]
        ratio = got["seconds"] / base
        print(
            f"{name:22} {got['found']:7d} {ratio:14.1f} {got['seconds']:8.2f} "
            f"{got['peak_mb']:8.0f}"
        )
        lines.append(
            f"| {title} | {got['version']} | {got['found']} | {ratio:.3g} | {got['seconds']:.2f} "
            f"| {got['peak_mb']:.0f} |"
        )
    return lines


def main() -> None:
    """Make the catalogue where there is none, then compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--pandas", help="an interpreter that has pandas and pyarrow")
    parser.add_argument("--page", type=Path, help="Markdown file to write")
    given = parser.parse_args()
    if given.case is not None:
        measure(given.case, given.file)
        return
    import polars as pl

    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        path = given.file or Path(folder) / "catalog.parquet"
        if not path.exists():
            write_catalog(path, given.rows)
        rows = pl.scan_parquet(path)
        size, count = path.stat().st_size / 1e6, rows.select(pl.len()).collect().item()
        print(f"{count:,} rows, {size:.0f} MB of Parquet")
        mine = rows.filter((pl.col("lmjd") == NIGHT) & pl.col("spid").is_in([3, 11])).collect()
        fibers = mine.select(
            pl.int_range(1, pl.len() + 1).alias("fiberid"), "ra", pl.col("dec") + 0.5 / 3600
        )
        fibers.write_parquet(path.with_suffix(".fibers.parquet"))
        lines = compare(path, given.pandas)
    if given.page is not None:
        text = PAGE.format(
            threads=pl.thread_pool_size(),
            page=given.page,
            rows=count,
            size=size,
            cores=os.cpu_count(),
            load=load,
            table="\n".join(lines),
        )
        given.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
