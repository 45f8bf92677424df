"""The words of docs/results/ladder.md on doubt, disturbances and misreadings."""

import re

import numpy as np
import polars as pl

from drcnet.evaluate.doubt import doubt_table
from drcnet.evaluate.metrics import bootstrap_sums
from drcnet.evaluate.tables import to_markdown
from drcnet.report.products import read_product
from drcnet.report.story import misreadings

DOUBT = """## Are the probabilities true?

Temperature by S/N and the thresholds of the prediction sets are learnt from validation stars
faded into each interval; nothing of a test star is used. *ECE*: distance of confidence from
truth, lower is better, before and after calibration; *covered*: how often the set holds the
true class.
"""
APART = """Where coverage falls below its promise or calibration makes ECE worse, look at the
deal of the stars first: above S/N 30 these runs are right for {mean:.1f} points fewer of the
{n_tested} test stars' spectra than of the {n_seen} validation stars' (largest gap `{name}`:
{seen:.1f}% of validation, {tested:.1f}% of test, difference {gap} [{low}, {high}] points). A
calibration can only be as true as its validation stars are like the stars it is used on; with
so few stars the promise holds on average over deals, not for each. (The validation stars also
chose the epoch kept of a network; the linear models did not use them, and show the gap all the
same.)
"""
FOLDS = """The same line in {n} folds, each calibrated on its own validation stars: together
{held:.3f} covered ({promised:.2f} promised), likelihood better after calibration in {better} of
{n}.
"""
REFUSED = """## Stars of other classes

The models know three classes only. A calibrated run refuses what is unlike all of them in
binned spectra ({error:.0%} of its own may be refused in error), or too faint. Stars 'test': its
own test stars, each refusal an error.
"""
DISTURBED = """## Disturbed

Frames disturbed before extraction, the same for all; nothing was trained on them.
"""
SIMULATED = """Light is simulated from spectra of real stars in libraries; labels are the
libraries' literature types, not LAMOST's. What holds here need not hold on LAMOST's frames, and
the published numbers stand beside ours for scale only."""
CLOSED = """A closed set: every test star is F, G or K. In a survey none of these accuracies
holds before other stars, galaxies, sky and dead fibres are refused."""
SEEDS = """One seed a run: the intervals are over test stars, not over trainings. How far
another seed would move a network is not in them."""
SMALL = """'Cannot be told here' does not mean 'equal': {n} test stars are too few for a
difference of that size."""
VIEWS = """Models that know the noise (`optimal-ivar`) or are given sky-subtracted optimal
spectra see better light than `box`: compare within a view to judge a network, across views to
judge an extraction."""
HARDER = """Everything here is fold 0, whose test stars happen to be {gap:.0f} points harder
than the other folds' above S/N 30 ({told}). Compare runs with each other here, never an
accuracy here with one elsewhere."""
BUDGET = """{n} networks were ended by their budget ({limit:.0f} s of {clock} time each, one
thread), after {least:.1f} (`{few}`) to {most:.1f} epochs (`{many}`); the paper trains up to
300. Equal time is not equal epochs: a 2-D network sees each star less often than a 1-D one. A
network's number here is no upper bound of what it can do."""


def percent(value):
    """Points with one decimal and a sign."""
    return "–" if value is None or not np.isfinite(value) else f"{100 * value:+.1f}"


def scored(row):
    """An accuracy with its bounds."""
    if row is None or not row["n_rows"]:
        return "–"
    return f"{row['accuracy']:.3f} [{row['accuracy_low']:.3f}, {row['accuracy_high']:.3f}]"


def shares(run, part, draws=1000):
    """Accuracy above S/N 30 of a part, with its bootstrap draws over stars."""
    rows = run.predictions.filter((pl.col("part") == part) & (pl.col("interval") == ">30"))
    rows = rows.sort("star", "row")
    right = (rows["class"] == rows["predicted"]).to_numpy().astype(float)
    values = np.stack([right, np.ones(len(right))], axis=1)
    drawn = bootstrap_sums(values, rows["star"], draws, np.random.default_rng(1))
    return right.mean(), drawn[:, 0] / drawn[:, 1], rows["star"].n_unique()


def probabilities(runs, settings, folds):
    """Calibration before and after, coverage of the sets, and why it falls short."""
    known = [run for run in runs.values() if run.calibration is not None]
    if not known:
        return ""
    lines = [
        doubt_line(f"`{run.name}`", row["interval"], row)
        for run in known
        for row in doubt_table(run, settings).to_dicts()
        if row["interval"] in ("all", ">30", "0-10")
    ]
    table = to_markdown(pl.DataFrame(lines))
    return "\n".join([DOUBT, table, *apart(known), *by_fold(folds, settings)])


def doubt_line(name, where, row):
    """One line of a table of calibrations."""
    covered = {f"accuracy{end}": row[f"coverage{end}"] for end in ("", "_low", "_high")}
    return {
        "run": name,
        "S/N": where,
        "NLL": f"{row['nll']:.3f} → {row['nll_calibrated']:.3f}",
        "ECE": f"{row['ece']:.3f} → {row['ece_calibrated']:.3f}",
        "promised": f"{row['promised']:.2f}",
        "covered": scored({"n_rows": row["n_rows"]} | covered),
        "set size": f"{row['set_size']:.2f}",
        "one class": f"{row['single']:.2f}",
    }


def apart(known):
    """How much harder the test stars are than the validation stars."""
    gaps = []
    for run in known:
        if not len(run.predictions.filter(pl.col("part") == "validation")):
            continue
        (seen, first, n_seen), (tested, second, n_tested) = (
            shares(run, part) for part in ("validation", "test")
        )
        low, high = np.percentile(second - first, [2.5, 97.5])
        gaps.append((run.name, seen, tested, low, high, n_seen, n_tested))
    if not gaps:
        return []
    name, seen, tested, low, high, n_seen, n_tested = max(gaps, key=lambda g: g[1] - g[2])
    mean = 100 * np.mean([g[1] - g[2] for g in gaps])
    text = APART.format(
        mean=mean, n_tested=n_tested, n_seen=n_seen, name=name, seen=100 * seen,
        tested=100 * tested, gap=percent(tested - seen), low=percent(low), high=percent(high),
    )  # fmt: skip
    return [text]


def by_fold(folds, settings):
    """The same line calibrated in every fold."""
    known = [run for run in folds if run.calibration is not None]
    if len(known) < 2:
        return []
    lines, held, total = [], 0.0, 0
    better = []
    for run in known:
        row = doubt_table(run, settings).filter(pl.col("interval") == "all").row(0, named=True)
        lines.append(doubt_line(f"`{run.name}`", "all", row))
        held, total = held + row["coverage"] * row["n_rows"], total + row["n_rows"]
        better.append(row["nll_calibrated"] < row["nll"])
    promised = known[0].calibration.coverage
    text = FOLDS.format(n=len(known), held=held / total, promised=promised, better=sum(better))
    return [text, to_markdown(pl.DataFrame(lines))]


def refusals(runs):
    """What calibrated runs make of stars of other classes."""
    found = []
    for run in runs.values():
        table = read_product(run.folder / "outsiders.ecsv", "rejected")
        if table is None:
            continue
        whole = table.group_by("stars", "group", maintain_order=True).agg(
            pl.col("n_rows").sum(),
            *((pl.col(c) * pl.col("n_rows")).sum() / pl.col("n_rows").sum()
              for c in ("rejected", "too_faint", "unlike", "no_light")),
            pl.col("called").mode().sort().first(),
        )  # fmt: skip
        found += [f"### `{run.name}`", "", to_markdown(whole)]
    if not found:
        return ""
    error = max(r.calibration.false_rejection for r in runs.values() if r.calibration is not None)
    return "\n".join([REFUSED.format(error=error), *found])


def robust(runs):
    """Accuracy under the strongest of each disturbance."""
    text = []
    for run in runs.values():
        table = read_product(run.folder / "robustness.parquet", "disturbance")
        if table is None:
            continue
        whole = table.filter((pl.col("interval") == "all") & (pl.col("disturbance") != "repeats"))
        names = [run.name, *(n for n in whole["run"].unique(maintain_order=True) if n != run.name)]
        lines = []
        for (kind, text_, unit), rows in whole.group_by(
            "disturbance", "text", "unit", maintain_order=True
        ):
            if kind == "position":
                continue
            value = {r["run"]: r for r in rows.to_dicts()}
            label = kind if kind == "none" else f"{kind} {text_} {unit}".strip()
            lines.append(
                {"disturbance": label}
                | {f"`{n}`": scored(value[n]) if n in value else "–" for n in names}
            )
        text += [f"{int(whole['n_rows'].max())} test spectra, all S/N.", ""]
        text += [to_markdown(pl.DataFrame(lines))]
    if not text:
        return ""
    return "\n".join([DISTURBED, *text])


def looks(runs):
    """Named lines that count most."""
    lines = []
    for run in runs.values():
        table = read_product(run.folder / "saliency_lines.ecsv", "times")
        check = read_product(run.folder / "saliency_check.ecsv", "evidence")
        if table is None or check is None:
            continue
        whole = table.filter((pl.col("interval") == "all") & (pl.col("class") == "all"))
        top = whole.sort("times", descending=True).head(4).to_dicts()
        sky = whole.filter(pl.col("whose") != "star").sort("times", descending=True).head(1)
        lines.append(
            {
                "run": f"`{run.name}`",
                "lines that count most (times an even spread)": ", ".join(
                    f"{r['line']} {r['times']:.1f}" for r in top
                ),
                "most of sky and air": ", ".join(
                    f"{r['line']} {r['times']:.1f}" for r in sky.to_dicts()
                ),
                "map of random weights (rank correlation)": f"{check['evidence'].abs().max():.2f}",
            }
        )
    if not lines:
        return ""
    return f"## Where they look\n\n{to_markdown(pl.DataFrame(lines))}"


def misread(evaluation, runs, folds):
    """What a hurried reader would take from all this, with numbers."""
    notes = [*fold_notes(folds), *budget_notes(runs), *size_notes(runs)]
    notes += misreadings(evaluation)
    small = SMALL.format(n=evaluation.scores["n_stars"].max())
    notes += [SIMULATED, CLOSED, SEEDS, small, VIEWS]
    return "\n".join(["## What a reader would misread", "", *(f"- {note}" for note in notes), ""])


def fold_notes(folds):
    """How much harder fold 0 is, where runs of all folds are at hand."""
    by_line = {}
    for run in folds:
        found = re.fullmatch(r"(.+)-paper-(\d)", run.name)
        if found:
            by_line.setdefault(found[1], {})[int(found[2])] = shares(run, "test", draws=100)[0]
    gaps = {
        line: (v[0], np.mean([a for k, a in v.items() if k]), len(v))
        for line, v in by_line.items() if 0 in v and len(v) >= 4
    }  # fmt: skip
    if not gaps:
        return []
    told = "; ".join(
        f"`{line}` {100 * a:.1f}% on fold 0, {100 * b:.1f}% on the {n - 1} others"
        for line, (a, b, n) in sorted(gaps.items())
    )
    mean = np.mean([b - a for a, b, _ in gaps.values()])
    return [HARDER.format(gap=100 * mean, told=told)]


def budget_notes(runs):
    """Networks that the clock stopped."""
    seen = {
        name: run.card["training"]["epochs"]
        for name, run in runs.items()
        if run.card.get("stopped") == "time"
    }
    if not seen:
        return []
    few, many = min(seen, key=seen.get), max(seen, key=seen.get)
    limit = runs[few].settings.get("max_seconds")
    clock = "processor" if runs[few].settings.get("clock") == "processor" else "wall"
    counts = {"n": len(seen), "few": few, "many": many, "least": seen[few], "most": seen[many]}
    return [BUDGET.format(limit=limit, clock=clock, **counts)]


def size_notes(runs):
    """Rows against stars in training."""
    stars = next((r.card["training"].get("stars") for r in runs.values() if r.card), None)
    if stars is None:
        return []
    run = next(iter(runs.values()))
    distinct = run.predictions.filter(pl.col("part") == "train")["star"].n_unique()
    if not distinct:
        return []
    return [
        f"{stars} training spectra are of {distinct} stars: stars, not spectra, are scarce here."
    ]
