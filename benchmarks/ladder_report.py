"""Everything of docs/results/ladder from the set `fgk` and folders of finished runs.

    python benchmarks/ladder_report.py FGK RUNS... --scratch DIR [--out docs/results/ladder]
        [--folds RUNS] [--outsiders AFGKM] [--night NIGHT]

Runs are copied into DIR (of one name the first; a newer one of other weights replaces its copy)
and worked on there; RUNS are only read, so that a sweep may go on writing them. A stage that is
done is not done again: the same command goes on where it stopped, and takes in what has finished
since. In order:

- calibrate some runs (--calibrate), which costs minutes each;
- disturb the first of --robust with the others beside it, and look into those of --look;
- with --outsiders, show the set of A to M stars to the runs of --refuse;
- with --folds (the five folds of a linear sweep), calibrate one line in every fold;
- evaluate all; write the report, the paper's tables and figures, and the page OUT.md, whole.
"""

import argparse
import json
import shutil
from pathlib import Path

import polars as pl

from drcnet.calibrate.outsiders import judge_outsiders, judge_tested
from drcnet.calibrate.product import FILE, read_calibration
from drcnet.calibrate.run import calibrate
from drcnet.config import EvaluateSettings, RobustnessSettings, SaliencySettings
from drcnet.errors import CheckpointError
from drcnet.evaluate.evaluate import evaluate
from drcnet.evaluate.runs import read_run
from drcnet.evaluate.tables import write_ecsv
from drcnet.provenance import digest, file_digest
from drcnet.report.page import report
from drcnet.report.paper import write_paper
from drcnet.robustness.sheet import robustness
from drcnet.saliency.run import explain
from ladder_page import write_page

ORDER = (
    "ladder-box", "ladder-optimal", "ladder-weights", "ladder-reduction", "ladder-kernels",
    "drcnet", "rcnet", "rcnet-sky", "ffcnn", "tdscnet", "sscnn", "sharma", "racnet", "sgan",
    "logreg", "logreg-sky", "ppca", "hornenet", "mlp", "mlp-sky", "svm", "forest", "knn",
    "template", "template-sky",
)  # fmt: skip
CALIBRATED = "drcnet drcnet-noise rcnet rcnet-noise logreg-noise logreg-sky-noise ppca-noise"
LARGEST = 3_000_000  # bytes of a report that goes into the repository
KEPT = ("table-1", "table-3", "table-3-published", "table-4-5-published", "published-check",
        "claims")  # fmt: skip
DRAWN = ("figure-1", "figure-2", "figure-3", "figure-4", "figure-5", "figure-6", "figure-7")


def say(text):
    """Tell at once."""
    print(text, flush=True)


def place(name):
    """Order of a run on the page: the ladder first, noise after bright."""
    line = name.removesuffix("-noise")
    rank = ORDER.index(line) if line in ORDER else len(ORDER)
    return rank, line, name.endswith("-noise")


def collect(folders, scratch):
    """Copies of the finished runs of the split that most of them share, in the page's order."""
    found = {}
    for folder in folders:
        for card in sorted(folder.glob("*/card.json")):
            if (card.parent / "predictions.parquet").is_file():
                found.setdefault(card.parent.name, (card.parent, json.loads(card.read_text())))
    splits = [card["split"] for _, card in found.values()]
    common = max(set(splits), key=splits.count)
    copies = []
    for name, (run, card) in found.items():
        if card["split"] != common:
            say(f"left out: {name}, on another split")
            continue
        copies.append(copy(run, card, scratch / name))
    return sorted(copies, key=lambda run: place(run.name))


def copy(run, card, target):
    """Copy a run, unless the copy that is there has its weights."""
    known = target / "card.json"
    if known.is_file() and json.loads(known.read_text())["weights"] == card["weights"]:
        return target
    shutil.rmtree(target, ignore_errors=True)
    part = target.with_name(f".{target.name}")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(run, part, ignore=shutil.ignore_patterns("tensorboard", ".lock"))
    part.rename(target)
    say(f"copied: {target.name}")
    return target


def is_calibrated(run):
    """Whether a calibration of these weights is there."""
    weights = json.loads((run / "card.json").read_text())["weights"]
    try:
        return read_calibration(run, weights=weights)
    except CheckpointError:
        return None


def calibrate_all(runs, work):
    """Calibrate what is not; runs of one split share what does not depend on the model."""
    splits = {run: json.loads((run / "card.json").read_text())["split"] for run in runs}
    found = {run: is_calibrated(run) for run in runs}
    like = {splits[run]: one for run, one in found.items() if one is not None}
    for run in runs:
        if found[run] is None:
            say(f"calibrate: {run.name}")
            (run / FILE).unlink(missing_ok=True)
            like[splits[run]] = calibrate(run, work, like=like.get(splits[run]))


def made_of(path, runs, settings):
    """Whether a product is there, of these weights and settings."""
    if not path.is_file():
        return False
    origin = json.loads(pl.read_parquet_metadata(path).get("drcnet", "{}"))
    digests = {file_digest(run / "weights.safetensors") for run in runs}
    known = {value for key, value in origin.get("inputs", {}).items() if key.endswith("weights")}
    return digests == known and origin.get("settings") == settings.model_dump(mode="json")


def disturb(runs, work, rows):
    """Put the first run and its baselines through the robustness sheet."""
    settings = RobustnessSettings(rows=rows, bootstrap=300)
    if len(runs) > 1 and not made_of(runs[0] / "robustness.parquet", runs, settings):
        say(f"disturb: {', '.join(run.name for run in runs)}")
        robustness(runs[0], work, settings, baselines=runs[1:])


def look(runs, work, rows):
    """Find where some runs look."""
    settings = SaliencySettings(rows=rows, random=2)
    for run in runs:
        if not made_of(run / "saliency.parquet", [run], settings):
            say(f"look into: {run.name}")
            explain(run, work, settings)


def refuse(runs, work, outsiders):
    """Show stars of other classes to calibrated runs."""
    for run in runs:
        found, target = is_calibrated(run), run / "outsiders.ecsv"
        if found is None or (target.is_file() and newer(target, run / FILE)):
            continue
        say(f"show outsiders to: {run.name}")
        table = pl.concat([judge_tested(run, work), judge_outsiders(run, outsiders)])
        origin = {"work": outsiders.name, "calibration": digest(dict(found.provenance))}
        write_ecsv(table, target, origin)


def newer(path, other):
    """Whether one file was written after another."""
    return path.stat().st_mtime > other.stat().st_mtime


def keep(paper, out):
    """Keep the tables and figures that matter; figures as PNG only."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    names = [*KEPT, *(p.stem for p in sorted(paper.glob("table-[45]-*.md")) if is_the_paper_s(p))]
    for name in dict.fromkeys(names):
        for ending in ("md", "ecsv", "tex"):
            if (paper / f"{name}.{ending}").is_file():
                shutil.copy(paper / f"{name}.{ending}", out)
    for name in DRAWN:
        if (paper / f"{name}.png").is_file():
            shutil.copy(paper / f"{name}.png", out)


def is_the_paper_s(path):
    """Whether a table is of a model that the paper has."""
    name = path.stem.split("-", 2)[2]
    return name.removesuffix("-noise") in ("drcnet", "rcnet", "ffcnn", "rcnet-sky")


def options_of(arguments=None):
    """What was asked."""
    shown = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shown)
    parser.add_argument("work", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/results/ladder"))
    parser.add_argument("--folds", type=Path, help="runs of a linear sweep over folds")
    parser.add_argument("--fold-line", default="logreg-noise", help="its line to calibrate")
    parser.add_argument("--outsiders", type=Path, help="a set with other classes")
    parser.add_argument("--night", type=Path, help="raw frames, for Figure 1 and the report")
    parser.add_argument("--calibrate", nargs="*", default=CALIBRATED.split())
    parser.add_argument("--refuse", nargs="*", default=["ppca-noise"])
    robust = ["drcnet-noise", "rcnet-noise", "logreg-sky-noise", "ppca-noise"]
    parser.add_argument("--robust", nargs="*", default=robust)
    look_into = ["drcnet-noise", "rcnet-noise", "logreg-sky-noise"]
    parser.add_argument("--look", nargs="*", default=look_into)
    parser.add_argument("--robust-rows", type=int, default=120)
    parser.add_argument("--look-rows", type=int, default=60)
    parser.add_argument("--bootstrap", type=int, default=1000)
    return parser.parse_args(arguments)


def main():
    """Go through the stages."""
    options = options_of()
    work = options.work
    options.scratch.mkdir(parents=True, exist_ok=True)
    runs = collect(options.runs, options.scratch)
    by_name = {run.name: run for run in runs}
    chosen = {
        name: [by_name[one] for one in getattr(options, name) if one in by_name]
        for name in ("calibrate", "refuse", "robust", "look")
    }
    calibrate_all(chosen["calibrate"], work)
    disturb(chosen["robust"], work, options.robust_rows)
    look(chosen["look"], work, options.look_rows)
    if options.outsiders is not None:
        refuse(chosen["refuse"], work, options.outsiders)
    folds = []
    if options.folds is not None:
        lines = sorted(options.folds.glob("*-paper-[0-9]/card.json"))
        lines = [one.parent for one in lines if (one.parent / "predictions.parquet").is_file()]
        (options.scratch / "folds").mkdir(exist_ok=True)
        folds = [
            copy(one, json.loads((one / "card.json").read_text()),
                 options.scratch / "folds" / one.name)
            for one in lines
        ]  # fmt: skip
        calibrate_all([f for f in folds if f.name.startswith(f"{options.fold_line}-paper")], work)
    say(f"evaluate: {len(runs)} runs")
    settings = EvaluateSettings(bootstrap=options.bootstrap, figures=False)
    evaluation = evaluate(runs, settings)
    paper = options.scratch / "paper"
    shutil.rmtree(paper, ignore_errors=True)
    say("write: tables, figures, report, page")
    write_paper(runs, paper, work=work, night=options.night)
    page = report(runs, options.scratch / "report.html", work=work, night=options.night,
                  title="The ladder on fgk's paper split")  # fmt: skip
    keep(paper, options.out)  # last, so that a kill leaves the old folder whole
    size = page.stat().st_size
    if size < LARGEST:
        shutil.copy(page, options.out / "report.html")
    say(f"report: {page}, {size / 1e6:.1f} MB")
    target = write_page(
        options, evaluation, settings, [read_run(run) for run in folds], size < LARGEST
    )
    say(f"page: {target}")


if __name__ == "__main__":
    main()
