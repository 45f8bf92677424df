"""How right one can be at low S/N: our models on all folds together, and the limits they meet.

    python benchmarks/low_snr.py FGK RUNS [RUNS ...] --page docs/results/low-snr.md

FGK is the benchmark set, RUNS folders of sweeps over its folds (configs/sweeps/linear-folds.toml,
configs/sweeps/flagship.toml): run folders LINE-paper-K. A line whose folds are not all there is
left out and named; where a line has several seeds, -sN follows. All of it follows from their
predictions and the set's index; nothing is trained here.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import polars as pl

from drcnet.config import EvaluateSettings
from drcnet.dataset.store import open_store
from drcnet.evaluate.metrics import bootstrap_sums, score_run
from drcnet.evaluate.pooled import pool_runs
from drcnet.evaluate.runs import INTERVALS, order_intervals
from drcnet.evaluate.subclasses import away_from_borders
from drcnet.evaluate.tables import to_markdown
from drcnet.evaluate.trials import HARMS, HELPS, compare_lines
from drcnet.provenance import atomic_write
from folds import BELOW, pooled_seeds
from low_snr_trials import CURVE, TRIALS

BRIGHT = 60.0  # S/N from which on noise takes nothing

STORY = """
Every number is of test stars of `fgk`'s paper split, all folds together, so that each star is
tested once, by a model that has not seen it. Labels of S/N > 30 only were learnt from. *-noise*:
the training stars were also shown fainter, by `--augment noise`. 95% intervals are from a
bootstrap over stars; ± is the standard deviation over seeds, which are averaged. Limits and noise
are those of the first seed.
"""

VISITS = """
## The second protocol

Surveys visit stars again. These lines also learnt from faint rows of their training stars,
labelled by the star's best visit (configs/sweeps/visits.toml): as many as bright ones. Tested on
the same rows; not to be compared with the paper's numbers.
"""

STRIPES = {
    "hornenet-stripe-noise": """the stripe, the sky and the wavelengths: profile and noise are
  taken from it""",
    "hornenet-noise": "the stripe and the sky alone: profile and noise are taken from it",
    "hornenet-flat-noise": "the stripe; the flat's profile and neighbours are believed",
    "hornenet-mended-noise": "the same, mended where the stripe plainly contradicts it",
}
"""Lines that look at the stripe itself."""

LINES = {
    "logreg-noise": "box sums, z-scored, the sky in them: 1-D as the paper has it, faded besides",
    "logreg-sky-noise": "the same on optimal spectra less the sky: what a pipeline hands on",
    "ppca-noise": "that light weighed by each pixel's noise, linear",
    "rcnet-sky-noise": "RC-Net on the light of `logreg-sky-noise` (configs/sweeps/rivals.toml)",
    "hornenet-untold-noise": """as `ppca`, with a small network, subclass and parameters on top,
  classes averaged over what noise leaves open""",
    "hornenet-full-noise": """told the sky and every pixel's wavelength besides: fibres on one
  grid, an error of the sky integrated over, classes averaged over what noise leaves open""",
    "hornenet-believed-noise": "as `hornenet-full-noise`, the sky believed",
    "hornenet-unaligned-noise": "as `hornenet-full-noise`, fibres left pixels apart",
    "hornenet-linear-noise": """as `hornenet-full-noise`, a linear map of the components, and
  nothing learnt beside the class""",
    "hornenet-mean-noise": """as `hornenet-full-noise`, classes read off the mean of what noise
  leaves open""",
    "hornenet-class-noise": "as `hornenet-full-noise`, its loss knows the class alone",
    "hornenet-mixed-noise": """as `hornenet-full-noise`, learning from stars between two stars of
  its fold that are next to each other on the sequence""",
    "hornenet-wide-noise": "as `hornenet-full-noise`, 40 components",
    "hornenet-plain": "as `hornenet-full-noise`, its training stars shown as they are only",
    **STRIPES,
}
"""What the lines are, in words."""

BESIDE = {
    "low-snr-trials.md": """seeds, their ensemble and its pupil, pretraining on built-in stars,
  exposures without labels, fewer stars; each with a verdict""",
    "limit.md": "the best possible classifier of built-in stars, and ours beside it",
    "collapse.md": """what an extraction must know of a faint stripe, and what a 2-D model is right
  about where the pipeline is wrong: traces, neighbours, cosmic rays""",
    "low-snr-stripes.md": "the stripe itself against its extraction, at an earlier commit",
    "estimates.md": "Teff, log g, [Fe/H] and radial velocity",
    "doubt.md": "probabilities, prediction sets and refusals, by S/N",
}
"""Pages that tell more, named where they lie beside this one."""

MISREAD = """
## What a reader would misread

- The intervals of S/N hold the same stars, seen fainter: a model that is wrong about a star's
  type when it is bright stays so when it is faint. What noise takes is the table *What noise
  takes*, not the difference to 100%.
- Rows at S/N 2 and at S/N 9 share the interval 0-10; {faint:.0%} of its rows lie below 5.
- The stars are real spectra of libraries put through a simulated instrument; sky, neighbours,
  cosmic rays, traces and their errors are the simulator's (docs/results/realism.md).
- The set is closed: every star is an F, G or K star. What is none is refused, not classified
  (`drcnet calibrate`).
"""


def accuracy_table(lines, settings):
    """Accuracy by interval, away from the borders, and log-likelihood; seeds averaged."""
    rows = []
    for line, runs in lines.items():
        row = {"line": f"`{line}`", "seeds": str(len(runs))}
        for cell in pool_runs(runs, line, settings, INTERVALS).iter_rows(named=True):
            low, high = cell["accuracy_low"], cell["accuracy_high"]
            spread = "" if cell["spread"] is None else f" ±{cell['spread']:.3f}"
            row[cell["interval"]] = f"{cell['accuracy']:.3f} [{low:.3f}, {high:.3f}]{spread}"
        every = [score_run(run, settings, INTERVALS).scores.row(-1, named=True) for run in runs]
        row["subclasses 2-7"] = f"{np.mean([cell['core_accuracy'] for cell in every]):.3f}"
        row["log-likelihood"] = f"{-np.mean([cell['nll'] for cell in every]):.3f}"
        rows.append(row)
    return pl.DataFrame(rows)


def lead_table(first, lines, settings):
    """By how much one line leads each other, paired by star; in percentage points."""
    rows = []
    for line, runs in lines.items():
        row = {"against": f"`{line}`"}
        for cell in compare_lines(first, runs, settings).iter_rows(named=True):
            ends = [100 * cell[f"difference{end}"] for end in ("", "_low", "_high")]
            mark = "*" if cell["verdict"] in (HELPS, HARMS) else ""
            row[cell["interval"]] = "{:+.1f} [{:+.1f}, {:+.1f}]{}".format(*ends, mark)
        rows.append(row)
    return pl.DataFrame(rows)


def parameter_limit(index):
    """How often Teff, log g and [Fe/H] of the literature give the type: by fold, by a logit."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    stars = index.filter("usable").unique("star", maintain_order=True)
    known = [pl.col(name).is_finite() for name in ("teff", "logg", "feh")]
    stars = stars.filter(pl.all_horizontal(known))
    values = [5040 / stars["teff"], stars["logg"], stars["feh"]]
    seen = np.stack([value.to_numpy() for value in values], axis=1)
    label, fold = stars["class"].to_numpy(), stars["fold"].to_numpy()
    right = np.zeros(len(stars), dtype=bool)
    for number in np.unique(fold):
        test = fold == number
        learner = make_pipeline(
            StandardScaler(), PolynomialFeatures(2), LogisticRegression(C=10, max_iter=5000)
        )
        learner.fit(seen[~test], label[~test])
        right[test] = learner.predict(seen[test]) == label[test]
    return right, stars["star"].to_list()


def interval_of(right, stars, settings):
    """Mean and bounds of a share over stars, as text and as number."""
    values = np.stack([np.asarray(right, float), np.ones(len(right))], axis=1)
    sums = bootstrap_sums(values, stars, settings.bootstrap, np.random.default_rng(settings.seed))
    share = sums[:, 0] / np.maximum(sums[:, 1], 1)
    low, high = np.percentile(share, [2.5, 97.5])
    mean = float(np.mean(right))
    return mean, f"{mean:.3f} [{low:.3f}, {high:.3f}]"


def border_words(run):
    """Where the errors of bright stars are."""
    bright = run.tested.filter(pl.col("snrr") >= BRIGHT)
    inner = away_from_borders(bright["subclass"])
    wrong = (bright["class"] != bright["predicted"]).to_numpy()
    return (
        f"Of the errors of `{run.name}` at S/N >= {BRIGHT:.0f}, {1 - inner[wrong].mean():.0%} lie "
        f"within two subclasses of a border, where {1 - inner.mean():.0%} of the rows are and "
        "where the literature's types of one star differ by as much."
    )


def faint_share(run):
    """Share of the faintest interval's rows that are fainter than S/N 5."""
    faint = run.tested.filter(pl.col("interval") == INTERVALS[-1])["snrr"]
    return float((faint < 5).mean())


def noise_table(runs, settings):
    """How often a faint row is given the class that the same model gave the bright star."""
    rows = []
    for run in runs:
        tested = run.tested
        bright = (
            tested.filter(pl.col("snrr") >= BRIGHT)
            .sort("snrr", descending=True)
            .unique("star", keep="first", maintain_order=True)
            .select("star", own="predicted")
        )
        both = tested.join(bright, on="star", how="inner")
        row = {"line": f"`{run.name}`"}
        for name in order_intervals(both["interval"].unique()):
            part = both.filter((pl.col("interval") == name) & (pl.col("snrr") < BRIGHT))
            if len(part):
                same = (part["predicted"] == part["own"]).to_numpy()
                row[name] = interval_of(same, part["star"].to_list(), settings)[1]
        rows.append(row)
    return pl.DataFrame(rows)


def ceilings(runs, index, settings):
    """Lines of the table of limits, and the highest of them."""
    best = max(runs, key=lambda run: score_run(run, settings, INTERVALS).scores["accuracy"][-1])
    bright = best.tested.filter(pl.col("snrr") >= BRIGHT)
    right = (bright["class"] == bright["predicted"]).to_numpy()
    mean, text = interval_of(right, bright["star"].to_list(), settings)
    lines = [(f"`{best.name}` at S/N >= {BRIGHT:.0f}, where noise takes nothing", text)]
    told, stars = parameter_limit(index)
    share, words = interval_of(told, stars, settings)
    lines.append(
        ("Teff, log g and [Fe/H] of the literature (quadratic logit, by fold): no noise", words)
    )
    same = bright.filter(pl.col("star").is_in(stars))
    own = interval_of((same["class"] == same["predicted"]).to_numpy(), same["star"], settings)[1]
    lines.append((f"`{best.name}` on the same stars, S/N >= {BRIGHT:.0f}", own))
    return pl.DataFrame(lines, schema=["limit", "accuracy"], orient="row"), max(mean, share)


def accuracies(run, settings):
    """Accuracy by interval, over all, and over what is fainter than S/N 20."""
    scores = score_run(run, settings, INTERVALS).scores
    faint = run.tested.filter(pl.col("snrr") < 20)
    right = float((faint["class"] == faint["predicted"]).mean())
    return dict(scores.select("interval", "accuracy").rows()) | {BELOW: right}


def gap_table(runs, bar, ceiling, settings):
    """Which share of the gap between the bar and the ceiling each line closes."""
    base, rows = accuracies(bar, settings), []
    for run in runs:
        own = accuracies(run, settings)
        if own["all"] <= base["all"]:
            continue
        row = {"line": f"`{run.name}`"}
        for name in (*INTERVALS, BELOW):
            gap = ceiling - base[name]
            row[name] = f"{(own[name] - base[name]) / gap:.0%}" if gap > 0 else "no gap"
        rows.append(row)
    return pl.DataFrame(rows)


def stripe_parts(lines, flagship, settings):
    """What looking at the stripe itself is worth beside its extraction."""
    here = {line: lines[line] for line in STRIPES if line in lines}
    if not here or flagship in here:
        return []
    told = [f"- `{line}`: {STRIPES[line]}." for line in here]
    each = [
        lead_table(runs, {flagship: lines[flagship]}, settings).select(
            pl.lit(f"`{line}`").alias("line"), pl.exclude("against")
        )
        for line, runs in here.items()
    ]
    return [
        (
            f"## Does the stripe know more than its spectrum?\n\nPoints by which a network that "
            f"looks at the stripe leads the same network on its extraction, `{flagship}`:"
        ),
        to_markdown(pl.concat(each)),
        "\n".join(told),
    ]


def beside_parts(page):
    """Name the pages that tell more, those that are there."""
    there = {
        name: what for name, what in BESIDE.items() if page and (page.parent / name).is_file()
    }
    lines = [f"- [{name}]({name}): {what}." for name, what in there.items()]
    return ["## More of it", "\n".join(lines)] if lines else []


def visits_parts(visits, lines, settings):
    """Tables of the second protocol, and what each line gains over its own of the first."""
    if not visits:
        return []
    gains = []
    for name, runs in visits.items():
        line = name.removeprefix("visits-")
        for other in dict.fromkeys((line, f"{line.removesuffix('-noise')}-noise")):
            if other in lines:
                gains.append(lead_table(runs, {other: lines[other]}, settings))
                gains[-1].insert_column(0, pl.Series("line", [f"`{name}`"]))
    parts = [VISITS, to_markdown(accuracy_table(visits, settings))]
    if gains:
        parts += ["Percentage points that they lead:", to_markdown(pl.concat(gains))]
    return parts


def page(args, lines, short, settings):
    """Write everything down."""
    index = open_store(args.work).index
    runs = [seeds[0] for seeds in lines.values()]
    flagship, bar = lines[args.flagship][0], lines[args.bar][0]
    others = {line: seeds for line, seeds in lines.items() if line != args.flagship}
    limits, ceiling = ceilings(runs, index, settings)
    command = (
        f"python benchmarks/low_snr.py FGK RUNS ... --flagship {args.flagship} "
        f"--bar {args.bar} \\\n        --page docs/results/low-snr.md"
    )
    left = ", ".join(f"`{line}` ({count} folds)" for line, count in short.items())
    parts = [
        "# Right at low S/N",
        (
            f"    {command}\n\nwrites this page, prose and all, from runs of "
            "`drcnet sweep` with configs/sweeps/linear-folds.toml, flagship.toml, rivals.toml and "
            "visits.toml."
        ),
        STORY,
        "## All folds together",
        to_markdown(accuracy_table(lines, settings)),
        "\n".join(f"- `{line}`: {LINES[line]}." for line in lines if line in LINES),
        f"Not all folds there, so left out: {left}." if left else "",
        (
            f"## How far `{args.flagship}` leads\n\nPercentage points, paired by star; the 95% "
            "interval holds the luck of the stars and, where a line has several seeds, that of "
            "the seeds; * where it excludes 0."
        ),
        to_markdown(lead_table(lines[args.flagship], others, settings)),
        *stripe_parts(lines, args.flagship, settings),
        "## How good can anyone be?",
        border_words(flagship),
        to_markdown(limits),
        (
            f"Share of the gap between `{bar.name}` and the highest of these, {ceiling:.3f}, that "
            "each better line closes. It is a limit without noise, which nobody reaches below S/N "
            "10; the limit with noise is known of built-in stars only ([limit.md](limit.md)):"
        ),
        to_markdown(gap_table([run for run in runs if run is not bar], bar, ceiling, settings)),
        (
            "## What noise takes\n\nHow often a fainter row of a star is given the class that the "
            f"same model gives the star at S/N >= {BRIGHT:.0f}: no label has a part in it."
        ),
        to_markdown(noise_table(runs, settings)),
        *visits_parts(pooled_seeds(args.runs, args.folds, ("visits",))[0], lines, settings),
        *beside_parts(args.page),
        MISREAD.format(faint=faint_share(flagship)),
    ]
    text = "\n\n".join(part.strip("\n") for part in parts if part) + "\n"
    if args.page:
        with atomic_write(args.page) as path:
            path.write_text(text, encoding="utf-8")
    print(text)


def main():
    """Read the command line and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="the benchmark set")
    parser.add_argument("runs", type=Path, nargs="+", help="folders of sweeps over its folds")
    parser.add_argument("--flagship", default="hornenet-full-noise")
    parser.add_argument("--bar", default="logreg-sky-noise")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--bootstrap", type=int, default=2000)
    parser.add_argument("--page", type=Path)
    args = parser.parse_args()
    lines, short = pooled_seeds(args.runs, args.folds, ("paper",))
    for trial in {*TRIALS, *CURVE} - {args.flagship, args.bar}:  # they have a page of their own
        lines.pop(trial, None)
        short.pop(trial, None)
    missing = {args.flagship, args.bar} - set(lines)
    if missing:
        print(f"no {args.folds} folds of {', '.join(sorted(missing))} under RUNS", file=sys.stderr)
        return 1
    page(args, lines, short, EvaluateSettings(bootstrap=args.bootstrap))
    return 0


if __name__ == "__main__":
    sys.exit(main())
