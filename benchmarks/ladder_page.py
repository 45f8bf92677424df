"""The words and tables of docs/results/ladder.md; `ladder_report.py` has the numbers made.

Every number on the page is computed here from the runs, and every verdict by the rules of
`drcnet.evaluate.claims`.
"""

import numpy as np
import polars as pl

from drcnet.evaluate.claims import FALLS, OPEN, STANDS, Claim, claims_note
from drcnet.evaluate.comparison import compare_runs
from drcnet.evaluate.judge import judge_claim, paper_claims, training_of
from drcnet.evaluate.runs import INTERVALS
from drcnet.evaluate.tables import to_markdown
from drcnet.report.story import summary_sentences
from ladder_doubts import looks, misread, percent, probabilities, refusals, robust, scored

RUNGS = {
    "ladder-box": "box sum over the 11 pixels",
    "ladder-optimal": "optimal extraction",
    "ladder-weights": "11 learned weights",
    "ladder-reduction": "the paper's reduction (8, 8, 1 channels)",
    "ladder-kernels": "true 2-D kernels",
}
QUESTIONS = (
    ("The paper's reduction beats the box sum", "ladder-reduction", "ladder-box"),
    ("The paper's reduction beats optimal extraction", "ladder-reduction", "ladder-optimal"),
    ("11 learned weights beat the box sum", "ladder-weights", "ladder-box"),
    ("The reduction beats 11 learned weights", "ladder-reduction", "ladder-weights"),
    ("True 2-D kernels beat the reduction", "ladder-kernels", "ladder-reduction"),
    ("Optimal extraction beats the box sum", "ladder-optimal", "ladder-box"),
    ("DRC-Net beats RC-Net on sky-subtracted optimal spectra", "drcnet", "rcnet-sky"),
    ("DRC-Net beats logistic regression on box sums", "drcnet", "logreg"),
    ("DRC-Net beats the linear model that knows its noise", "drcnet", "ppca"),
    ("RC-Net beats logistic regression, both on box sums", "rcnet", "logreg"),
)
HELPED = ("drcnet", "rcnet", "ladder-box", "ladder-reduction", "logreg", "logreg-sky", "ppca")
HEAD = """# The ladder on `fgk`: what stands of the paper's claims

    {command}

writes this page and [its folder](ladder), whole; no number was typed. Set `fgk` (spectra of real
stars through simulated LAMOST spectrographs, [benchmark-fgk.md](benchmark-fgk.md)), split `paper`,
fold 0: {n_runs} runs, {n_rows} test spectra of {n_stars} stars by S/N interval of the catalogue
(`snrr`). Intervals: {confidence:.0%}, {draws} bootstrap draws over stars. {report}

{sentences}

**The paper's claims: {verdicts}.** The paper trains on bright stars only.
"""
LADDER = """## The ladder

One backbone (RC-Net's, two branches), one recipe, one budget; what differs is how 11 pixels
become one. Below each rung its difference to the box sum of the same training, in points, on the
same test rows.
"""
CLAIMS = """## The paper's claims

{rule} Published: the paper's difference in points, one run on real LAMOST data, without an
interval; ≠ where it lies outside ours. {asked} questions: about {lucky:.1f} verdicts would come by
luck alone.
"""
ALL = """## All runs

*core*: accuracy over all S/N on subclasses 2 to 7, away from the class borders. *epochs*: of
networks; (clock): ended by its budget of time, not by its loss.
"""


def write_page(options, evaluation, settings, folds, has_report):
    """Write the page beside its folder."""
    runs = {run.name: run for run in evaluation.runs}
    claims = paper_claims(evaluation.runs, settings)
    parts = [
        head(options, evaluation, settings, claims, has_report),
        rungs(runs, settings, evaluation),
        paper(claims, settings),
        questions(runs, settings),
        everything(evaluation),
        probabilities(runs, settings, folds),
        refusals(runs),
        robust(runs),
        looks(runs),
        misread(evaluation, runs, folds),
    ]
    target = options.out.with_suffix(".md")
    target.write_text("\n".join(part for part in parts if part), encoding="utf-8")
    return target


def counted(claims, trained):
    """How many claims came to which verdict, of runs trained in one way on the paper's views."""
    asked = claims.filter(pl.col("trained") == trained)
    words = {STANDS: "stand", FALLS: "fall", OPEN: "cannot be told here"}
    count = [f"{len(asked.filter(pl.col('verdict') == v))} {text}" for v, text in words.items()]
    return f"trained {'on ' if trained.startswith('bright') else ''}{trained}, {', '.join(count)}"


def interval(row, name="difference"):
    """Value and bounds in points."""
    if not np.isfinite(row[name]):
        return "–"
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{percent(row[name])} [{percent(low)}, {percent(high)}]"


def verdict_text(row):
    """A verdict, and what to hold against it."""
    bold = row["verdict"] if row["verdict"] == OPEN else f"**{row['verdict']}**"
    return f"{bold} ({row['remark']})" if row["remark"] else bold


def head(options, evaluation, settings, claims, has_report):
    """What this is, and the outcome in a few sentences."""
    row = evaluation.scores.filter(pl.col("interval") == "all").row(0, named=True)
    given = f"python benchmarks/ladder_report.py FGK {' '.join('RUNS' for _ in options.runs)}"
    extra = [f"--{n} {n.upper()}" for n in ("folds", "outsiders", "night") if getattr(options, n)]
    told = "; ".join(counted(claims, how) for how in ("bright stars only", "with faded copies"))
    shown = "[The report](ladder/report.html) is one page that works offline."
    return HEAD.format(
        command=" ".join([given, "--scratch DIR", *extra]),
        n_runs=len(evaluation.runs),
        n_rows=row["n_rows"],
        n_stars=row["n_stars"],
        confidence=settings.confidence,
        draws=settings.bootstrap,
        report=shown if has_report else "The report is too large to keep here.",
        sentences="\n".join(f"- {one}" for one in summary_sentences(evaluation)),
        verdicts=told,
    )


def rungs(runs, settings, evaluation):
    """The ladder's rungs side by side."""
    cells = {(r["run"], r["interval"]): r for r in evaluation.scores.to_dicts()}
    text = [LADDER]
    for noise in ("", "-noise"):
        there = [name for name in RUNGS if f"{name}{noise}" in runs]
        if not there:
            continue
        text += [f"### {'Trained with faded copies' if noise else 'Trained on bright stars only'}"]
        lines = []
        for name in there:
            run = f"{name}{noise}"
            line = {"rung": RUNGS[name], "run": f"`{run}`", "epochs": epochs(runs[run])}
            line |= {i: scored(cells.get((run, i))) for i in (*INTERVALS, "all")}
            lines.append(line)
            base = f"ladder-box{noise}"
            if name != "ladder-box" and base in runs:
                table = compare_runs(runs[run], runs[base], settings)
                found = {r["interval"]: r for r in table.to_dicts()}
                line = {"rung": "– less the box sum", "run": "", "epochs": ""}
                lines.append(line | {i: interval(found[i]) for i in (*INTERVALS, "all")})
        text += ["", to_markdown(pl.DataFrame(lines))]
        absent = [f"`{name}{noise}`" for name in RUNGS if name not in there]
        text += [f"Not finished: {', '.join(absent)}.", ""] if absent else []
    return "\n".join(text) if len(text) > 1 else ""


def epochs(run):
    """Epochs of a network, with a mark where the clock ended it; blank for others."""
    seen = (run.card.get("training") or {}).get("epochs")
    if run.card.get("stopped") == "fitted" or seen is None:
        return ""
    return f"{seen:.1f}{' (clock)' if run.card.get('stopped') == 'time' else ''}"


def paper(claims, settings):
    """The paper's claims one by one."""
    if claims.is_empty():
        return "## The paper's claims\n\nNo run of `drcnet` or `rcnet` has finished.\n"
    lines = []
    for row in claims.to_dicts():
        pair = f"`{row['first']}`" + (f" − `{row['second']}`" if row["second"] else "")
        published = "–" if row["published"] is None else percent(row["published"])
        mark = "" if row["published_inside"] in (None, True) else " ≠"
        lines.append(
            {
                "claim": f"{row['text']} ({row['source']})",
                "runs": f"{pair}, {row['trained']}",
                "ours, points": interval(row),
                "published": published + mark,
                "verdict": verdict_text(row),
            }
        )
    lucky = (1 - settings.confidence) * len(claims)
    rule = claims_note(settings.confidence)
    text = CLAIMS.format(rule=rule, asked=len(claims), lucky=lucky)
    return "\n".join([text, to_markdown(pl.DataFrame(lines)), *story(claims)])


def story(claims):
    """The two claims that the paper is about, in words."""
    found = [
        f'- "{row["text"]}" {row["verdict"]}, {row["trained"]}: `{row["first"]}` '
        f"{100 * row['value_first']:.1f}%, `{row['second']}` "
        f"{100 * row['value_second']:.1f}%, difference {interval(row)} points "
        f"(published {percent(row['published'])}{excluded(row)})"
        f"{': ' + row['remark'] if row['remark'] else ''}."
        for name in ("2-D below 10", "2-D above 30")
        for row in claims.filter(pl.col("claim") == name).to_dicts()
    ]
    return ["In words, the two that the paper is about:", "", *found, ""]


def excluded(row):
    """Whether the published difference lies outside the interval."""
    return ", which this interval leaves out" if row["published_inside"] is False else ""


def questions(runs, settings):
    """What the ladder was built to answer, and what noise in training does."""
    asked = [
        (text, f"{a}{noise}", f"{b}{noise}", name)
        for text, a, b in QUESTIONS
        for noise in ("", "-noise")
        for name in (">30", "0-10")
    ]
    asked += [
        (f"Faded copies in training help `{a}`", f"{a}-noise", a, name)
        for a in HELPED
        for name in (">30", "0-10")
    ]
    lines = []
    for text, a, b, name in asked:
        if a not in runs or b not in runs:
            continue
        row = judge_claim(Claim(text, text, a, b, (name,)), runs[a], runs[b], settings)
        if row is not None:
            lines.append(
                {
                    "statement": text,
                    "S/N": name,
                    "runs": f"`{a}` − `{b}`",
                    "points": interval(row),
                    "verdict": verdict_text(row),
                }
            )
    if not lines:
        return ""
    lucky = (1 - settings.confidence) * len(lines)
    note = f"{len(lines)} questions, by the same rule; about {lucky:.1f} verdicts by luck alone."
    return f"## Our own questions\n\n{note}\n\n{to_markdown(pl.DataFrame(lines))}"


def everything(evaluation):
    """All runs, a row each."""
    cells = {(r["run"], r["interval"]): r for r in evaluation.scores.to_dicts()}
    first = evaluation.runs[0].name
    idle = {i: f"{cells[first, i]['majority']:.3f}" for i in (*INTERVALS, "all")}
    lines = [{"run": "*majority*", "trained": "", "view": "", "epochs": "", **idle, "core": ""}]
    for run in evaluation.runs:
        whole = cells[run.name, "all"]
        lines.append(
            {
                "run": f"`{run.name}`",
                "trained": training_of(run),
                "view": str(run.card.get("view", "")),
                "epochs": epochs(run),
                **{i: scored(cells[run.name, i]) for i in (*INTERVALS, "all")},
                "core": f"{whole['core_accuracy']:.3f}",
            }
        )
    return f"{ALL}\n{to_markdown(pl.DataFrame(lines))}"
