"""How well Teff, log g, [Fe/H] and velocity are measured beside the class: all folds, by S/N.

    python benchmarks/estimates.py FGK RUNS [RUNS ...] --line hornenet-full-noise \
        --page docs/results/estimates.md

FGK is the benchmark set, RUNS folders of sweeps over its folds (configs/sweeps/flagship.toml).
Every star is measured by its own fold's run, which has not seen it. Nothing is trained here.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import polars as pl

from drcnet.checkpoint import load_classifier
from drcnet.dataset.loader import load_part
from drcnet.dataset.profiles import stored_instrument
from drcnet.dataset.split import read_split
from drcnet.dataset.store import open_store
from drcnet.evaluate.runs import INTERVALS
from drcnet.evaluate.tables import to_markdown
from drcnet.frames.velocity import topocentric_velocity
from drcnet.provenance import atomic_write
from folds import find_folds

MAD_TO_SIGMA = 1.4826
NAMES = {
    "teff": ("Teff", "K", 0),
    "logg": ("log g", "dex", 2),
    "feh": ("[Fe/H]", "dex", 2),
    "rv_topo": ("Radial velocity", "km/s as seen from the ground", 1),
}

PAGE = """# Teff, log g, [Fe/H] and radial velocity beside the class

    python benchmarks/estimates.py FGK RUNS ... --line {line} \\
        --page docs/results/estimates.md

writes this page. `{line}` (configs/sweeps/flagship.toml) on `fgk`'s paper split, {folds} folds
together: {stars} stars, each measured by a network that has not seen it; literature's values of
stars of S/N > 30 were learnt from, their spectra shown fainter too. *scatter*: 1.4826 times the
median absolute difference to the literature; *offset*: the median difference; 95% intervals are
from a bootstrap over stars (seed {seed}).

Baselines: *always the median* of the training stars, and *told the class*, the median of the
training stars of the star's true class, which no spectrum was needed for.

{tables}

{verdict}

What a reader would misread: the literature's values come from several libraries and have errors of
their own, of the order of 100 K, 0.1 to 0.2 dex in log g and 0.1 dex in [Fe/H]; they are in these
scatters. Stars without a literature value are left out. {velocity}
"""

VELOCITY = """Velocities are the simulator's, {spread:.0f} km/s
from star to star, where a pixel is some 45 km/s. The truth is the catalogue's at the star's best
visit, 2 km/s off; that, the arc's errors and those of the libraries' own rest frames are in the
scatter."""

BLIND = """The stars were shown their wavelengths as
the pixels they fall on, a few of them off from fibre to fibre: radial velocities cannot be
measured from that, and are not."""


def measure(store, paths):
    """Literature's and measured values of the test rows of all folds."""
    parts = []
    profile = stored_instrument(store)
    best = pl.col("rv").sort_by("snrr").last().over("star")  # a faint visit's is off by 30 km/s
    index = store.index.with_columns(rv=best)
    index = index.with_columns(pl.Series("rv_topo", topocentric_velocity(index, profile)))
    for path in paths:
        classifier = load_classifier(path)
        name = path.name.partition("-paper-")[2].partition("-")[0]
        split = read_split(store.work / f"splits/paper-{name}.parquet")
        card = classifier.card
        samples = load_part(store, split, "test", view=card.view, classes=card.classes)
        found = classifier.estimates(samples.x.numpy())
        rows = pl.DataFrame({"row": samples.row} | {f"our_{k}": v for k, v in found.items()})
        seen = split.filter(pl.col("part") == "train").select("row")
        known = index.select("row", "star", "class", *NAMES)
        train = seen.join(known, on="row").unique("star")
        rows = rows.join(known, on="row", how="left", maintain_order="left")
        middle = train.select(pl.col(*NAMES).drop_nans().median().name.prefix("median_"))
        of_class = train.group_by("class").agg(
            pl.col(*NAMES).drop_nans().median().name.prefix("class_")
        )
        rows = rows.join(middle, how="cross").join(of_class, on="class", how="left")
        parts.append(rows.join(split.select("row", "interval"), on="row", how="left"))
    return pl.concat(parts)


def robust(values):
    """Scatter and offset."""
    return MAD_TO_SIGMA * float(np.median(np.abs(values))), float(np.median(values))


def bounded(rows, name, guess, digits, args):
    """Scatter of a guess and its upper bound; scatter and offset with their intervals, as text."""
    known = rows.filter(pl.col(name).is_finite() & pl.col(guess).is_finite())
    apart = (known[guess] - known[name]).to_numpy()
    names, star = np.unique(known["star"].to_numpy(), return_inverse=True)
    draws = np.random.default_rng(args.seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=args.bootstrap
    )
    values = np.array([robust(np.repeat(apart, times[star])) for times in draws])
    (low, bias_low), (high, bias_high) = np.percentile(values, [2.5, 97.5], axis=0)
    scatter, offset = robust(apart)
    return (
        scatter,
        high,
        (
            f"{scatter:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]",
            f"{offset:+.{digits}f} [{bias_low:+.{digits}f}, {bias_high:+.{digits}f}]",
        ),
    )


def tables(rows, args):
    """One table a parameter, and a sentence on where no more is known than a baseline knows."""
    guesses = {
        "always the median": "median_{}",
        "told the class": "class_{}",
        f"`{args.line}`": "our_{}",
    }
    parts, lost = [], []
    for name, (title, unit, digits) in NAMES.items():
        if f"our_{name}" not in rows.columns:
            continue
        lines = {who: {"what": f"{who}, scatter"} for who in guesses}
        bias = {"what": f"`{args.line}`, offset"}
        for interval in INTERVALS:
            here, best = rows.filter(pl.col("interval") == interval), np.inf
            for who, column in guesses.items():
                scatter, high, text = bounded(here, name, column.format(name), digits, args)
                lines[who][interval] = text[0]
                if column.startswith("our"):
                    bias[interval] = text[1]
                    lost += [f"{title} at S/N {interval}"] if high >= best else []
                best = min(best, scatter)
        count = rows.filter(pl.col(name).is_finite())["star"].n_unique()
        table = to_markdown(pl.DataFrame([*lines.values(), bias]))
        parts += [f"## {title} ({unit}), {count} stars", table]
    verdict = (
        f"Not surely better than the better baseline: {', '.join(lost)}."
        if lost
        else "Surely better than both baselines everywhere."
    )
    return "\n\n".join(part.strip("\n") for part in parts), verdict


def main():
    """Read the command line and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="the benchmark set")
    parser.add_argument("runs", type=Path, nargs="+", help="folders of sweeps over its folds")
    parser.add_argument("--line", default="hornenet-full-noise")
    parser.add_argument("--bootstrap", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--page", type=Path)
    args = parser.parse_args()
    paths = find_folds(args.runs).get(args.line)
    if not paths:
        print(f"no run of {args.line} under {', '.join(map(str, args.runs))}", file=sys.stderr)
        return 1
    rows = measure(open_store(args.work), [path for _, path in sorted(paths.items())])
    found, verdict = tables(rows, args)
    told = "our_rv_topo" in rows.columns
    text = PAGE.format(
        line=args.line,
        folds=len(paths),
        stars=rows["star"].n_unique(),
        seed=args.seed,
        tables=found,
        verdict=verdict,
        velocity=VELOCITY.format(spread=rows["rv_topo"].std()) if told else BLIND,
    )
    if args.page:
        with atomic_write(args.page) as path:
            path.write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
