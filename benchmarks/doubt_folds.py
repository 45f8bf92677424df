"""Do probabilities, prediction sets and refusals keep their promises? All folds together.

    python benchmarks/doubt_folds.py FGK RUNS [RUNS ...] --lines hornenet-full-noise \
        --page docs/results/doubt.md

FGK is the benchmark set, RUNS folders of a sweep over its folds (configs/sweeps/large.toml). Every
fold's run is calibrated on its own validation stars (`drcnet calibrate`: kept where it is done),
and judged on its own test stars. Nothing is trained here.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import polars as pl

from drcnet.calibrate.product import read_calibration
from drcnet.calibrate.run import calibrate
from drcnet.config import EvaluateSettings
from drcnet.evaluate.calibration import debiased_calibration_error, negative_log_likelihood
from drcnet.evaluate.doubt import calibrated_run
from drcnet.evaluate.metrics import bootstrap_sums
from drcnet.evaluate.runs import INTERVALS, probabilities, read_run
from drcnet.evaluate.tables import to_markdown
from drcnet.provenance import atomic_write
from folds import find_folds

KEPT = (1.0, 0.9, 0.8, 0.5)
TARGET = 0.02

STORY = """
`fgk`'s `{kind}` splits, all {folds} folds together: every star is judged once, by a model that has
not seen it, whose temperature and thresholds come from that fold's validation stars, faded. 95%
intervals are from a bootstrap over stars.

*ECE*: expected calibration error, before → after calibration: root mean square over {bins} bins of
equally many rows, freed of the bins' noise. The rows of one star are right or wrong together, so
that noise is that of {stars} stars, not of the rows. *perfect*: what a model whose probabilities
come true would show here in 95% of cases; no smaller error can be told from none. *covered*: share
of rows whose prediction set holds the true class; {promised:.0%} are promised.
"""


def calibrated(paths, work):
    """Every fold's run with its calibration, made where there is none."""
    runs, like = [], None
    for path in paths:
        if read_calibration(path) is None:
            print(f"calibrate {path.name}", flush=True)
            like = calibrate(path, work, like=like)
        runs.append(read_run(path))
    return runs


def judged(runs):
    """Rows of all folds: star, interval, truth, p before and after, and the sets."""
    star, interval, truth, before, after, inside = [], [], [], [], [], []
    for run in runs:
        rows = run.tested.sort("star", "row")
        one = calibrated_run(run).tested.sort("star", "row")
        p = probabilities(one, run.classes)
        star += rows["star"].to_list()
        interval += rows["interval"].to_list()
        truth += [run.classes.index(name) for name in rows["class"]]
        before.append(probabilities(rows, run.classes))
        after.append(p)
        inside.append(run.calibration.sets(p, rows["snrr"].to_numpy().astype(float)))
    whole = (np.concatenate(part) for part in (before, after, inside))
    return np.array(star), np.array(interval), np.array(truth), *whole


def perfect_error(p, star, bins, rng, draws=200):
    """95% point of the error of labels drawn from p itself, one number a star."""
    _, place = np.unique(star, return_inverse=True)
    ladder = np.cumsum(p, axis=1)
    found = []
    for _ in range(draws):
        chance = rng.random(place.max() + 1)[place]
        truth = np.minimum((chance[:, None] > ladder).sum(axis=1), p.shape[1] - 1)
        found.append(debiased_calibration_error(truth, p, bins, place))
    return float(np.percentile(found, 95))


def share_over_stars(held, star, settings, rng):
    """A share of rows, and its bounds over stars."""
    values = np.stack([held.astype(float), np.ones(len(held))], axis=1)
    drawn = bootstrap_sums(values, star, settings.bootstrap, rng)
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
    return float(held.mean()), float(low), float(high)


def promise_lines(line, found, settings):
    """One line of the table for each interval, and what of it keeps its promise."""
    star, interval, truth, before, after, inside = found
    rng = np.random.default_rng(settings.seed)
    bins, lines, kept = settings.reliability_bins, [], {}
    for name in (*INTERVALS, "all"):
        here = np.full(len(star), True) if name == "all" else interval == name
        was, now, sets, true = before[here], after[here], inside[here], truth[here]
        covered = sets[np.arange(len(true)), true]
        share, low, high = share_over_stars(covered, star[here], settings, rng)
        errors = [debiased_calibration_error(true, p, bins, star[here]) for p in (was, now)]
        limit = perfect_error(now, star[here], bins, rng)
        nll = [negative_log_likelihood(true, p) for p in (was, now)]
        kept[name] = (errors[1], limit, share, low, high)
        lines.append(
            {
                "line": f"`{line}`",
                "S/N": name,
                "rows": len(true),
                "NLL": f"{nll[0]:.3f} → {nll[1]:.3f}",
                "ECE": f"{errors[0]:.3f} → {errors[1]:.3f}",
                "perfect": f"{limit:.3f}",
                "covered": f"{share:.3f} [{low:.3f}, {high:.3f}]",
                "classes a set": f"{sets.sum(axis=1).mean():.2f}",
                "one class": f"{(sets.sum(axis=1) == 1).mean():.0%}",
            }
        )
    return lines, kept


def refusal_lines(line, found, settings):
    """Accuracy where only the surest are answered."""
    star, interval, truth, _, after, _ = found
    rng = np.random.default_rng(settings.seed)
    lines = []
    for name in (*INTERVALS, "all"):
        here = np.full(len(star), True) if name == "all" else interval == name
        p, true, who = after[here], truth[here], star[here]
        order = np.argsort(-p.max(axis=1), kind="stable")
        row = {"line": f"`{line}`", "S/N": name}
        for share in KEPT:
            few = order[: max(1, round(share * len(order)))]
            right = p[few].argmax(axis=1) == true[few]
            value, low, high = share_over_stars(right, who[few], settings, rng)
            row[f"{share:.0%} answered"] = f"{value:.3f} [{low:.3f}, {high:.3f}]"
        lines.append(row)
    return lines


def verdict(line, kept, promised):
    """In words: which promises hold."""
    of_bins = {name: row for name, row in kept.items() if name != "all"}
    off = [f"{n} ({r[0]:.3f})" for n, r in of_bins.items() if r[0] >= TARGET]
    beyond = [n for n, r in of_bins.items() if r[0] > r[1]]
    missed = [f"{n} ({r[2]:.3f})" for n, r in of_bins.items() if not r[3] <= promised <= r[4]]
    words = [f"- `{line}`: the calibration error is "]
    words.append(f"at or above 2% at S/N {', '.join(off)}" if off else "under 2% at every S/N")
    told = f", and larger than a perfect model's at S/N {', '.join(beyond)}" if beyond else ""
    words.append(told or ", and nowhere larger than a perfect model may show here")
    words.append(". The interval of the measured coverage holds what was promised ")
    words.append(f"everywhere but at S/N {', '.join(missed)}." if missed else "at every S/N.")
    return "".join(words)


def page(args, lines):
    """Judge every line, and write it all down."""
    settings = EvaluateSettings(bootstrap=args.bootstrap)
    table, answers, words, stars, promised = [], [], [], 0, 0.0
    for line, paths in lines.items():
        runs = calibrated([path for _, path in sorted(paths.items())], args.work)
        found = judged(runs)
        stars, promised = len(set(found[0])), runs[0].calibration.coverage
        some, kept = promise_lines(line, found, settings)
        table += some
        answers += refusal_lines(line, found, settings)
        words.append(verdict(line, kept, promised))
    command = f"python benchmarks/doubt_folds.py FGK RUNS --lines {' '.join(lines)}"
    if args.kind != "large":
        command += f" --kind {args.kind}"
    bins = settings.reliability_bins
    story = STORY.format(
        kind=args.kind, folds=args.folds, stars=stars, promised=promised, bins=bins
    )
    parts = [
        "# Do probabilities keep their promises?",
        f"    {command} --page docs/results/doubt.md\n\nwrites this page, prose and all.",
        story,
        "\n".join(words),
        "## Probabilities and sets",
        to_markdown(pl.DataFrame(table)),
        "## The right to say nothing\n\nAccuracy where only the surest are given a class:",
        to_markdown(pl.DataFrame(answers)),
    ]
    text = "\n\n".join(part.strip("\n") for part in parts) + "\n"
    if args.page:
        with atomic_write(args.page) as path:
            path.write_text(text, encoding="utf-8")
    print(text)


def main():
    """Read the command line and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="the benchmark set")
    parser.add_argument("runs", type=Path, nargs="+", help="folders of sweeps over its folds")
    parser.add_argument("--lines", nargs="+", default=["hornenet-full-noise"])
    parser.add_argument("--kind", choices=("large", "paper"), default="large")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--bootstrap", type=int, default=1000)
    parser.add_argument("--page", type=Path)
    args = parser.parse_args()
    found = find_folds(args.runs, (args.kind,))
    lacking = [line for line in args.lines if len(found.get(line, {})) < args.folds]
    if lacking:
        said = ", ".join(f"{line} ({len(found.get(line, {}))})" for line in lacking)
        print(f"fewer than {args.folds} folds of {args.kind} under RUNS: {said}", file=sys.stderr)
        return 1
    page(args, {line: found[line] for line in args.lines})
    return 0


if __name__ == "__main__":
    sys.exit(main())
