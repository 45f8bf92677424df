"""What more seeds, other stars and teachers are worth at low S/N: trials, each with a verdict.

    python benchmarks/low_snr_trials.py FGK FGK_BUILTIN RUNS --page docs/results/low-snr-trials.md

FGK and FGK_BUILTIN are the benchmark sets. Trains what configs/sweeps/trials.toml plans, fold by
fold, so that each fold is read once: the seeds, then what rests on them. Then come the ensembles
and the page. The same command goes on where it was stopped; the page is written when all is there.
"""

import argparse
import sys
from pathlib import Path, PurePath

import polars as pl

from drcnet.config import EvaluateSettings, SweepLine, SweepSettings, load_settings
from drcnet.evaluate.ensemble import ensemble
from drcnet.evaluate.metrics import score_run
from drcnet.evaluate.pooled import pool_runs
from drcnet.evaluate.runs import INTERVALS, read_run
from drcnet.evaluate.tables import to_markdown
from drcnet.evaluate.trials import CANNOT_TELL, HARMS, HELPS, NOTHING, compare_lines
from drcnet.provenance import atomic_write
from drcnet.sweep import plan
from drcnet.train import Parts, train
from folds import pool

CONFIG = Path(__file__).parents[1] / "configs" / "sweeps" / "trials.toml"
BASE = "hornenet-1d-noise"
BUILTIN = "builtin"  # folder in RUNS of what `pretrained` begins from
KEPT = 2 * 10**9  # bytes of stars kept between the runs of a fold
MARGIN = 0.01
COLUMNS = (*INTERVALS, "all")
FAINT = INTERVALS[-1]

STORY = """
The network is HorneNet on the pipeline's extraction (`{base}`; docs/results/low-snr-stripes.md),
on `fgk`'s paper split, {folds} folds together: each star is tested once, by a model that has not
seen it, nor did any run that it begins from or learns from. Labels of S/N > 30 only were learnt
from.
"""

READING = """
Percentage points against the mean of `{base}`'s {seeds} seeds, paired by star. 95% intervals hold
two kinds of luck: which stars are tested (bootstrap over stars) and which seeds were drawn (the
spread of `{base}`, over the number of seeds on either side). A trial *helps* or *harms* where
the interval leaves out 0; it *does nothing* where the interval holds 0 and lies within
{margin:.0f} point; else it *cannot be told*. No correction is made for the number of trials.
"""

TRIALS = {
    "ensemble": "The mean of the probabilities of {seeds} seeds, at {seeds} times the cost",
    "distilled-noise": "One network of the same cost, taught by the {seeds} seeds besides labels",
    "pretrained-noise": "Begun from the same network trained on built-in stars",
    "unlabelled-noise": "Components learnt from all exposures, the faint ones without their label",
}
CURVE = ("stars-25-noise", "stars-50-noise", "stars-75-noise")

MISREAD = """
## What a reader would misread

- Trials other than the seeds are one seed each: their own luck is taken from the seeds' spread.
- The seeds' spread is of the network's small corrections and the order of its stars: it begins
  from statistics of the same training stars every time, so its seeds are more alike than others'.
- The learning curve draws its stars once a share, and a smaller share lies within a larger: its
  steps hold that draw's luck, which no interval here shows.
- Built-in stars are made up (docs/results/builtin-stars.md): what they teach is the simulator's.
"""


def fold_of(run):
    """Name of a planned run's split, as folders carry it."""
    return PurePath(run.settings.split).stem


def planned(settings, folds):
    """Plan the runs of some folds, fold after fold; the lines keep their order in each."""
    found = [(settings.splits.index(run.settings.split), run) for run in plan(settings)]
    kept = [one for one in found if one[0] < folds]
    return [run for _, run in sorted(kept, key=lambda one: one[0])]


def pretraining(settings):
    """Plan the run on built-in stars: the same recipe, one split, one seed."""
    line = SweepLine(model=settings.recipe.model)
    changes = {"splits": settings.splits[:1], "lines": {"hornenet-1d": line}}
    return plan(settings.model_copy(update=changes))


def train_all(planned, work, runs, say):
    """Train run after run; what is finished is left as it is."""
    parts = Parts(KEPT)
    for number, run in enumerate(planned, start=1):
        summary = train(work, runs / run.name, run.settings, parts=parts)
        say(f"{number}/{len(planned)} {run.name}: {summary.describe()}")


def make_ensembles(planned, runs):
    """Make one ensemble of the seeds a fold; gives their folders."""
    members = {}
    for run in planned:
        if run.line == BASE:
            members.setdefault(fold_of(run), []).append(runs / run.name)
    return [ensemble(paths, runs / f"ensemble-{fold}") for fold, paths in members.items()]


def read_lines(planned, ensembles, runs):
    """Each line as one run a seed, all folds together."""
    found = {}
    for run in planned:
        seeds = found.setdefault(run.line, {})
        seeds.setdefault(run.settings.seed, []).append(read_run(runs / run.name))
    lines = {
        line: [pool(line, parts) for _, parts in sorted(seeds.items())]
        for line, seeds in found.items()
    }
    return lines | {"ensemble": [pool("ensemble", [read_run(path) for path in ensembles])]}


def cost_of(runs):
    """Parameters and operations of one star, and seconds of the processor to train a fold."""
    seen = runs[0].card["training"]
    values = [f"{seen['parameters']:.0f}", f"{seen['operations'] / 1e6:.1f}"]
    return [*values, f"{seen['cpu_seconds']:.0f}"]


def accuracy_table(lines, settings):
    """Accuracy by interval, seeds averaged, with their spread, and what a line costs."""
    rows = []
    for line, runs in lines.items():
        row = {"line": f"`{line}`", "seeds": str(len(runs))}
        for cell in pool_runs(runs, line, settings, INTERVALS).iter_rows(named=True):
            text = "{:.3f} [{:.3f}, {:.3f}]".format(
                *(cell[f"accuracy{end}"] for end in ("", "_low", "_high"))
            )
            spread = "" if cell["spread"] is None else f" ±{cell['spread']:.3f}"
            row[cell["interval"]] = text + spread
        nll = [
            score_run(one, settings, INTERVALS).scores.row(-1, named=True)["nll"] for one in runs
        ]
        row["log-likelihood"] = f"{-sum(nll) / len(nll):.3f}"
        names = ("parameters", "million operations", "seconds of a core to train")
        rows.append(row | dict(zip(names, cost_of(runs), strict=True)))
    return pl.DataFrame(rows)


def points(cell):
    """A difference and its interval, in percentage points."""
    ends = [100 * cell[f"difference{end}"] for end in ("", "_low", "_high")]
    return "{:+.1f} [{:+.1f}, {:+.1f}]".format(*ends)


def compare_all(lines, settings):
    """Cells of every line against the base: {line: {interval: cell}}."""
    base = lines[BASE]
    found = {}
    for line, runs in lines.items():
        if line != BASE:
            seeds = len(base) if line == "ensemble" else None
            table = compare_lines(runs, base, settings, seeds=seeds, margin=MARGIN)
            found[line] = {cell["interval"]: cell for cell in table.iter_rows(named=True)}
    return found


def lead_table(cells, names):
    """Differences by interval, marked where the interval leaves out 0."""
    rows = []
    for line in names:
        row = {"trial": f"`{line}`"}
        for name in COLUMNS:
            cell = cells[line][name]
            row[name] = points(cell) + ("*" if cell["verdict"] in (HELPS, HARMS) else "")
        rows.append(row)
    return pl.DataFrame(rows)


def verdict_of(line, what, cells):
    """One sentence on a trial: over all S/N, and where it is faint."""
    words = {
        HELPS: "helps",
        HARMS: "harms",
        NOTHING: "does nothing",
        CANNOT_TELL: "cannot be told to help or to harm",
    }
    every, faint = cells["all"], cells[FAINT]
    return (
        f"- **{what}** (`{line}`): it {words[every['verdict']]} over all S/N, {points(every)} "
        f"points; at S/N {FAINT} it {words[faint['verdict']]}, {points(faint)}."
    )


def seeds_words(lines, settings):
    """How far the seeds lie apart, and how often they agree."""
    base = lines[BASE]
    table = pool_runs(base, BASE, settings, INTERVALS)
    spread = dict(table.select("interval", "spread").iter_rows())
    answers = [run.tested.sort("row")["predicted"].to_numpy() for run in base]
    alike = [len(set(given)) == 1 for given in zip(*answers, strict=True)]
    share = sum(alike) / len(alike)
    apart = ", ".join(f"{100 * spread[name]:.2f} at {name}" for name in INTERVALS)
    return (
        f"The accuracies of the {len(base)} seeds have a standard deviation of "
        f"{100 * spread['all']:.2f} points over all S/N ({apart}); all seeds give a row the same "
        f"class in {share:.1%} of the cases."
    )


def curve_words(cells, lines):
    """What the last stars were worth."""
    known = [line for line in CURVE if line in cells]
    if not known:
        return ""
    losses = ", ".join(
        f"{100 * lines[line][0].settings['stars_share']:.0f}%: {points(cells[line]['all'])}"
        for line in known
    )
    half = cells["stars-50-noise"]["all"]
    last = {
        HARMS: "the second half of the stars still helped, and more would likely help on",
        NOTHING: "half the stars do as well as all of them: more of the same would hardly help",
    }.get(half["verdict"], "whether the second half of the stars adds anything cannot be told")
    return f"Against all training stars, points over all S/N, by share: {losses}. So {last}."


def page(args, lines):
    """Write everything down."""
    evaluate = EvaluateSettings(bootstrap=args.bootstrap)
    cells = compare_all(lines, evaluate)
    seeds = len(lines[BASE])
    trials = {line: text.format(seeds=seeds) for line, text in TRIALS.items() if line in cells}
    story = STORY.format(base=BASE, folds=args.folds)
    reading = READING.format(base=BASE, seeds=seeds, margin=100 * MARGIN)
    machines = {run.card["training"].get("machine", "?") for run in lines[BASE]}
    verdicts = [verdict_of(line, text, cells[line]) for line, text in trials.items()]
    parts = [
        "# Trials: seeds, teachers, other stars",
        (
            "    python benchmarks/low_snr_trials.py FGK FGK_BUILTIN RUNS \\\n"
            "        --page docs/results/low-snr-trials.md\n\ntrains what "
            "configs/sweeps/trials.toml plans, makes the ensembles and writes this page, prose "
            f"and all. Machine: {', '.join(sorted(machines))}."
        ),
        story,
        "## Verdicts",
        "\n".join(verdicts),
        reading,
        to_markdown(lead_table(cells, trials)),
        f"## Seeds\n\n{seeds_words(lines, evaluate)}",
        f"## Learning curve\n\n{curve_words(cells, lines)}",
        to_markdown(lead_table(cells, [line for line in CURVE if line in cells])),
        (
            "## All lines\n\nSeeds averaged; ± is their standard deviation, the bracket a "
            "bootstrap over stars."
        ),
        to_markdown(accuracy_table(lines, evaluate)),
        MISREAD,
    ]
    text = "\n\n".join(part.strip("\n") for part in parts if part) + "\n"
    if args.page:
        with atomic_write(args.page) as path:
            path.write_text(text, encoding="utf-8")
    print(text)


def main():
    """Read the command line, train what is missing, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="the benchmark set fgk")
    parser.add_argument("builtin", type=Path, help="the benchmark set fgk-builtin")
    parser.add_argument("runs", type=Path, help="folder of runs")
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--folds", type=int, default=5, help="only the first so many")
    parser.add_argument("--bootstrap", type=int, default=2000)
    parser.add_argument("--page", type=Path)
    args = parser.parse_args()
    settings = load_settings(args.config, SweepSettings)

    def say(text):
        print(text, file=sys.stderr, flush=True)

    runs = planned(settings, args.folds)
    train_all(pretraining(settings), args.builtin, args.runs / BUILTIN, say)
    train_all(runs, args.work, args.runs, say)
    ensembles = make_ensembles(runs, args.runs)
    page(args, read_lines(runs, ensembles, args.runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
