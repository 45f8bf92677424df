"""Every table and figure of the paper from a set of runs: ECSV, LaTeX, Markdown; PNG, PDF."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from drcnet.checkpoint import load_classifier
from drcnet.config import EvaluateSettings, PrepareSettings
from drcnet.dataset.split import read_split, split_file
from drcnet.dataset.store import Store, open_store
from drcnet.evaluate import figures
from drcnet.evaluate.claims import claims_note
from drcnet.evaluate.evaluate import Evaluation, assess, settings_of
from drcnet.evaluate.judge import paper_claims
from drcnet.evaluate.paper import check_consistency, table_1, table_2, table_3, table_4_and_5
from drcnet.evaluate.runs import Run, order_intervals, read_run
from drcnet.evaluate.style import new_figure
from drcnet.evaluate.tables import precision_table, table_three, to_latex, to_markdown, write_ecsv
from drcnet.frames.night import scan_night
from drcnet.frames.read import read_frame
from drcnet.instruments import load_instrument
from drcnet.models import MODELS
from drcnet.provenance import atomic_write, file_digest, make_provenance
from drcnet.report.architecture import plot_architecture
from drcnet.report.pictures import prepared_with
from drcnet.report.story import drawn_runs

__all__ = ["write_paper"]

_PATCH = (15, 150)  # of the paper's Figure 2
_DRAWN = {"rcnet": 5, "drcnet": 6}
_RECIPE = {
    "Optimizer": "optimizer",
    "Batch size": "batch_size",
    "Total-train-epoch": "epochs",
    "Learning rate": "learning_rate",
    "Early-stop-patience": "patience",
}


def write_paper(
    runs: Sequence[Path], out: Path, *, work: Path | None = None, night: Path | None = None
) -> list[Path]:
    """Write the paper's tables and figures, ours beside the published values.

    Parameters
    ----------
    runs : sequence of Path
        Run folders.
    out : Path
        A folder; made if absent.
    work : Path, optional
        The work folder: Table 1, Figures 2, 3 and 4.
    night : Path, optional
        The night: Figure 1.

    Returns
    -------
    list of Path
        The files. Tables 2 to 5, the check of the published numbers and Figure 7 need the runs
        alone; `claims` runs of the models that the paper makes claims about; Figures 5 and 6 a
        run of that model.

    Raises
    ------
    RunError, StoreError, NightError, FrameError
        An input cannot be read.
    """
    settings = settings_of([Path(folder) for folder in runs])
    evaluation = assess([read_run(Path(folder)) for folder in runs], settings)
    inputs = {run.name: file_digest(run.folder / "predictions.parquet") for run in evaluation.runs}
    origin = make_provenance(settings.model_dump(mode="json"), inputs=inputs, seed=settings.seed)
    store = open_store(Path(work)) if work is not None else None
    tables = _tables(evaluation, store, settings)
    drawn = _run_figures(evaluation)
    if store is not None:
        drawn |= _store_figures(store, evaluation.runs[0])
    if night is not None:
        drawn["figure-1"] = _frame_figure(Path(night), store)
    written = []
    for name, (table, caption) in tables.items():
        written += _write_table(table, caption, Path(out) / name, origin)
    for name, figure in drawn.items():
        written += [
            figures.save_figure(figure, Path(out) / f"{name}.{end}") for end in ("png", "pdf")
        ]
    return written


def _tables(
    evaluation: Evaluation, store: Store | None, settings: EvaluateSettings
) -> dict[str, tuple[pl.DataFrame, str]]:
    scores, classes = evaluation.scores, evaluation.classes
    found = {"table-2": (_recipes(evaluation.runs), "Hyperparameters: the paper's, and ours.")}
    if store is not None:
        found["table-1"] = (
            _division(_own_split(store, evaluation.runs[0])),
            "Division of the data set: rows, ours and published.",
        )
    ours = table_three(scores, classes).with_columns(pl.lit("ours").alias("origin"))
    found["table-3"] = (ours, "Precision, recall and F1 by class above S/N 30; ours.")
    found["table-3-published"] = (table_3(), "The same as published (real LAMOST data, one run).")
    for run in evaluation.runs:
        number = {"rcnet": 4, "drcnet": 5}.get(run.model, 4)
        name = f"table-{number}-{run.name}"
        found[name] = (
            precision_table(scores, classes, run.name),
            f"Precision by class and accuracy of {run.name} by S/N interval; ours.",
        )
    found["table-4-5-published"] = (table_4_and_5(), "Tables 4 and 5 as published.")
    claims = paper_claims(evaluation.runs, settings)
    if len(claims):
        rule = claims_note(settings.confidence)
        found["claims"] = (claims, f"The paper's claims asked of these runs. {rule}")
    check = check_consistency(search=True)
    found["published-check"] = (check, "The published numbers checked against each other.")
    return found


def _own_split(store: Store, run: Run) -> pl.DataFrame:
    """The split that a run was trained on; the store's own where the run does not say."""
    asked = (run.card.get("provenance") or {}).get("settings", {}).get("split")
    if not isinstance(store.work, Path):
        return read_split(store.work / (asked or "split.parquet"))
    return read_split(split_file(store.work, asked))


def _division(split: pl.DataFrame) -> pl.DataFrame:
    """Table 1: rows by part and interval, the published count beside ours."""
    split = split.filter(pl.col("part") != "unused")
    ours = split.group_by("part", "interval").agg(
        pl.len().alias("n_rows"), pl.col("star").n_unique().alias("n_stars")
    )
    paper = table_1().rename({"n_rows": "published"})
    names = order_intervals(split["interval"])
    order = pl.col("interval").replace_strict({n: k for k, n in enumerate(names)}, default=99)
    parts = pl.col("part").replace_strict({"train": 0, "validation": 1, "test": 2}, default=3)
    table = paper.join(ours, on=["part", "interval"], how="full", coalesce=True)
    filled = pl.col("n_rows", "n_stars").fill_null(0).cast(pl.Int64)
    return table.sort(parts, order).select("part", "interval", filled, "published")


def _recipes(runs: Sequence[Run]) -> pl.DataFrame:
    """Table 2: what was published, and what each run was trained with."""
    table = table_2()
    for run in runs:
        keys = [_RECIPE.get(name, "") for name in table["configuration"]]
        entry = MODELS.get(run.model)
        in_one_go = entry is not None and entry.kind == "classical"
        said = ["–" if in_one_go and key else str(run.settings.get(key, "")) for key in keys]
        table = table.with_columns(pl.Series(run.name, said))
    return table.rename({"value": "published"})


def _run_figures(evaluation: Evaluation) -> dict[str, Any]:
    found = {}
    found["figure-7"], axes = new_figure()
    drawn = evaluation.scores.filter(pl.col("run").is_in(drawn_runs(evaluation)))
    figures.plot_accuracy(axes[0, 0], drawn)
    for run in evaluation.runs:
        name = f"figure-{_DRAWN.get(run.model, 0)}"
        if run.model in _DRAWN and name not in found:
            classifier = load_classifier(run.folder, "cpu")
            found[name] = plot_architecture(classifier.model, classifier.input_shape, run.model)
    return found


def _store_figures(store: Store, run: Run) -> dict[str, Any]:
    """Figures 2 (a piece of a stripe), 3 (S/N) and 4 (how the set was made)."""
    found = {}
    bright = run.tested.sort("snrr", descending=True, nulls_last=True)
    row = np.array([int(bright["row"][len(bright) // 4])], dtype=np.int64)
    stripes = store.read("stripes", row)[0]
    middle = stripes.shape[-1] // 2
    found["figure-2"], axes = new_figure((6.5, 2.4), rows=2)
    piece = stripes[:, : _PATCH[0], middle : middle + _PATCH[1]]
    figures.plot_stripes(axes[:, 0], piece, "a piece of one star's stripes")
    found["figure-3"], axes = new_figure()
    known = store.index.filter(pl.col("usable"))["snrr"].cast(pl.Float64)
    figures.plot_snr_histogram(axes[0, 0], known.to_numpy())
    found["figure-4"] = _flowchart(store, _own_split(store, run))
    return found


def _flowchart(store: Store, split: pl.DataFrame) -> Any:
    """Figure 4 with our own counts in the boxes."""
    index = store.index
    count = dict(split.group_by("part").len().rows())
    parts = ", ".join(f"{name} {count.get(name, 0)}" for name in ("train", "validation", "test"))
    usable = int(index["usable"].sum())
    prepared: PrepareSettings = prepared_with(store)
    width = prepared.stripes.width
    steps = (
        f"{index['exposure'].n_unique()} exposures, two arms each",
        f"{len(index)} fibres: traced, cut to {width} pixels, extracted to 1-D beside",
        "joined with the catalogue: star, class, S/N",
        f"{usable} usable; {len(index) - usable} kept with a reason, not used",
        f"split by star: {parts}; unused {count.get('unused', 0)}",
        "normalised row by row, when read",
    )
    figure, axes = new_figure((6.0, 3.6))
    ax = axes[0, 0]
    ax.set_axis_off()
    ax.set(xlim=(0, 1), ylim=(len(steps) - 0.5, -0.5))
    style = {"boxstyle": "round,pad=0.4", "facecolor": "0.96", "edgecolor": "0.4"}
    for number, text in enumerate(steps):
        ax.text(0.5, number, text, ha="center", va="center", fontsize=8, bbox=style)
        if number:
            ax.annotate("", (0.5, number - 0.3), (0.5, number - 0.7),
                        arrowprops={"arrowstyle": "->", "color": "0.4"})  # fmt: skip
    return figure


def _frame_figure(night: Path, store: Store | None) -> Any:
    name = "lamost-lrs" if store is None else prepared_with(store).instrument
    profile = load_instrument(name)
    exposures = [one for one in scan_night(night, profile).exposures if one.blue]
    figure, axes = new_figure((5.0, 5.0))
    if exposures and exposures[0].blue is not None:
        path = exposures[0].blue.object
        figures.plot_frame(axes[0, 0], read_frame(path, profile).electrons, path.name)
    return figure


def _write_table(
    table: pl.DataFrame, caption: str, stem: Path, origin: Mapping[str, Any]
) -> list[Path]:
    texts = {".md": f"{caption}\n\n{to_markdown(table)}\n", ".tex": to_latex(table, caption)}
    written = [write_ecsv(table, stem.with_name(f"{stem.name}.ecsv"), origin)]
    for ending, text in texts.items():
        with atomic_write(stem.with_name(stem.name + ending)) as path:
            path.write_text(text, encoding="utf-8")
        written.append(stem.with_name(stem.name + ending))
    return written
