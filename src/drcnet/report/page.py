"""Run folders in, one self-contained HTML file out."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import polars as pl
import tomli_w

from drcnet import __version__
from drcnet.config import EvaluateSettings
from drcnet.dataset.store import Store, open_store
from drcnet.errors import RunError
from drcnet.evaluate.evaluate import Evaluation, assess, settings_of
from drcnet.evaluate.mistakes import worst_mistakes
from drcnet.evaluate.paper import check_consistency, published_accuracy
from drcnet.evaluate.runs import Run, order_intervals, read_run
from drcnet.instruments import load_instrument
from drcnet.provenance import atomic_write
from drcnet.report import charts, products, story
from drcnet.report.claims import claims_section

__all__ = ["report"]

_LIMIT = 10_000_000  # bytes: what a mail or a browser still takes gladly


@dataclass(frozen=True, eq=False)
class _Sources:
    """What the page is made from, beside the runs."""

    store: Store | None
    night: Path | None
    settings: EvaluateSettings

    @property
    def kind(self) -> str:
        """'simulated' or 'real' by the night's truth table; 'unknown' without a night."""
        night = self.night
        if night is None and self.store is not None and isinstance(self.store.work, Path):
            night = self.store.work / "night"  # a benchmark set brings its own, without frames
        if night is None or not night.is_dir():
            return "unknown"
        return "simulated" if (night / "truth").is_dir() else "real"


def report(
    runs: Sequence[Path],
    out: Path,
    *,
    work: Path | None = None,
    night: Path | None = None,
    title: str = "",
) -> Path:
    """Write one page about some runs.

    Parameters
    ----------
    runs : sequence of Path
        Run folders with predictions.
    out : Path
        The HTML file.
    work : Path, optional
        The work folder the runs were trained on: adds stripes, spectra and flags.
    night : Path, optional
        The night: adds a raw frame, and tells simulated from real light by its truth table.
    title : str
        Stands on top.

    Returns
    -------
    Path
        The HTML file: no request leaves it, and it is smaller than 10 MB.

    Raises
    ------
    RunError
        A run cannot be read, or the page became too large.
    StoreError, NightError, FrameError
        The work folder or the night is given and cannot be read.
    """
    settings = settings_of([Path(folder) for folder in runs])
    evaluation = assess([read_run(Path(folder)) for folder in runs], settings)
    store = open_store(Path(work)) if work is not None else None
    html = _render(evaluation, _Sources(store, Path(night) if night else None, settings), title)
    size = len(html.encode())
    if size > _LIMIT:
        raise RunError(out, "a page of less than 10 MB", f"{size / 1e6:.0f} MB; give fewer runs")
    with atomic_write(Path(out)) as path:
        path.write_text(html, encoding="utf-8")
    return Path(out)


def _render(evaluation: Evaluation, sources: _Sources, title: str) -> str:
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415
    from markupsafe import Markup  # noqa: PLC0415

    source = resources.files("drcnet.report").joinpath("template.html").read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    drawn = story.drawn_runs(evaluation)
    environment.filters |= {
        "number": _number,
        "signed": _signed,
        "pvalue": _p_value,
        "safe_html": Markup,
    }
    return environment.from_string(source).render(
        title=title or "Stars to classes, from two-dimensional spectra",
        version=__version__,
        kind=sources.kind,
        draws=sources.settings.bootstrap,
        coverage=sources.settings.confidence,
        many=len(evaluation.runs) > story.MANY,
        best_run=story.best_run(evaluation),
        sentences=story.summary_sentences(evaluation),
        pictures=_pictures(evaluation, sources),
        results=_results(evaluation),
        per_run=[_run_section(run, evaluation) for run in evaluation.runs],
        comparisons=_comparisons(evaluation),
        claims=claims_section(evaluation, sources.settings),
        accuracy_chart=charts.accuracy_chart(evaluation.scores, drawn),
        curve_chart=charts.curve_chart(evaluation.curves, drawn),
        notes=story.misreadings(evaluation),
        robustness=products.robustness_section(evaluation.runs),
        saliency=products.saliency_section(evaluation.runs),
        pooled=_pooled(evaluation),
        doubt=products.doubt_section(evaluation),
        flags=_flags(sources.store),
        cards=_cards(evaluation.runs),
        oddities=check_consistency(search=True).filter(~pl.col("consistent")).to_dicts(),
        provenance=_json(sources.store.provenance) if sources.store else "",
    )


def _results(evaluation: Evaluation) -> dict[str, Any]:
    """The main table: a row a run, a column an interval, then the published rows."""
    scores = evaluation.scores
    names = [*order_intervals(set(scores["interval"]) - {"all"}), "all"]
    cells = {(r["run"], r["interval"]): r for r in scores.to_dicts()}
    runs = [run.name for run in evaluation.runs]
    best = {name: _best(evaluation, name) for name in names}
    rows = [
        {
            "name": run.name,
            "model": run.model,
            "cells": [_cell(cells[run.name, name], run.name, best[name]) for name in names],
        }
        for run in evaluation.runs
    ]
    paper = published_accuracy()
    published = [
        {"name": str(model[0]), "cells": [dict(group.select("interval", "accuracy").rows()).get(n)
                                         for n in names]}
        for model, group in paper.group_by("model", maintain_order=True)
    ]  # fmt: skip
    first = [cells[runs[0], name] for name in names]
    return {
        "intervals": names,
        "counts": first,
        "rows": rows,
        "published": published,
        "paper_counts": [dict(paper.select("interval", "n_rows").rows()).get(n) for n in names],
        "same_rows": scores.group_by("interval").agg(pl.col("n_rows").n_unique())["n_rows"].max()
        == 1,
    }


def _best(evaluation: Evaluation, name: str) -> tuple[str, set[str]]:
    """The best run of an interval, and those that cannot be told from it."""
    tested = evaluation.scores.filter((pl.col("interval") == name) & (pl.col("n_rows") > 0))
    if tested.is_empty():
        return "", set()
    best = story.best_run(evaluation, name)
    pairs = evaluation.comparisons
    if pairs.is_empty():
        return best, set()
    mine = pairs.filter(
        (pl.col("interval") == name)
        & ((pl.col("first") == best) | (pl.col("second") == best))
        & (pl.col("better") == "")
    )
    return best, {*mine["first"], *mine["second"]} - {best}


def _cell(row: dict[str, Any], run: str, best: tuple[str, set[str]]) -> dict[str, Any]:
    return row | {"best": run == best[0], "tied": run in best[1]}


def _run_section(run: Run, evaluation: Evaluation) -> dict[str, Any]:
    """Everything about one run."""
    mine = pl.col("run") == run.name
    scores = evaluation.scores.filter(mine & (pl.col("n_rows") > 0))
    confusion = evaluation.confusion.filter(mine)
    names = scores["interval"].to_list()
    return {
        "name": run.name,
        "model": run.model,
        "settings": tomli_w.dumps(dict(run.settings)) if run.settings else "",
        "provenance": _json(run.card.get("provenance", {})) if run.card else "",
        "scores": scores.to_dicts(),
        "classes": run.classes,
        "accuracy": scores.row(-1, named=True)["accuracy"],
        "class_lines": _class_lines(evaluation.classes.filter(mine), names),
        "matrices": [_matrix(confusion, name) for name in names if name != "all"],
        "training": charts.training_chart(run),
        "reliability": charts.reliability_chart(evaluation.reliability.filter(mine)),
    }


def _matrix(confusion: pl.DataFrame, name: str) -> dict[str, Any]:
    table = confusion.filter(pl.col("interval") == name)
    columns = table["predicted"].unique(maintain_order=True).to_list()
    rows = []
    for true in table["true"].unique(maintain_order=True):
        counts = table.filter(pl.col("true") == true)["n_rows"].to_list()
        total = sum(counts)
        cells = [{"n": n, "share": n / total if total else 0.0} for n in counts]
        rows.append({"true": true, "cells": cells})
    return {"interval": name, "columns": columns, "rows": rows}


def _cards(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """One line a fact, one value a run; '–' where a run's card does not say."""
    known = [_card_lines(run) for run in runs]
    names = dict.fromkeys(name for card in known for name in card)
    return [{"name": n, "values": [card.get(n, "–") for card in known]} for n in names]


def _card_lines(run: Run) -> dict[str, str]:
    """What the card says, flat and short."""
    names = ("model", "view", "normalize", "split", "seed", "epochs", "best_epoch", "stopped")
    lines = {name.replace("_", " "): str(run.card[name]) for name in names if name in run.card}
    for name, value in (run.card.get("training") or {}).items():
        lines[name.replace("_", " ")] = _plain(value)
    for name, value in (run.card.get("options") or {}).items():
        lines[f"option {name}"] = _plain(value)
    return lines


def _comparisons(evaluation: Evaluation) -> dict[str, Any] | None:
    """One row a pair, one column an interval; of many runs the best one less each other."""
    table = evaluation.comparisons
    if table.is_empty():
        return None
    if len(evaluation.runs) > story.MANY:
        best = story.best_run(evaluation)
        table = table.filter((pl.col("first") == best) | (pl.col("second") == best))
        table = table.with_columns(**_turned(pl.col("first") != best))
    names = table["interval"].unique(maintain_order=True).to_list()
    pairs = []
    for (first, second), rows in table.group_by(["first", "second"], maintain_order=True):
        found = {r["interval"]: r for r in rows.to_dicts() if r["n_rows"]}
        cells = [found.get(name) for name in names]
        pairs.append({"first": first, "second": second, "cells": cells})
    return {"intervals": names, "pairs": pairs}


def _turned(which: pl.Expr) -> dict[str, pl.Expr]:
    """Columns of a comparison, its second run first where `which` says so."""
    swaps = (("first", "second"), ("only_first", "only_second"))
    mirrored = (("difference", "difference"), ("difference_low", "difference_high"))
    found = {}
    for pairs, sign in ((swaps, 1), (mirrored, -1)):
        for a, b in pairs:
            for own, other in ((a, b), (b, a)):
                value = pl.col(other) if sign == 1 else -pl.col(other)
                found[own] = pl.when(which).then(value).otherwise(own)
    return found


def _pooled(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One row a recipe that several seeds were given, one cell an interval."""
    if evaluation.pooled.is_empty():
        return []
    return [
        {"name": line, "n_runs": rows["n_runs"][0], "cells": rows.to_dicts()}
        for (line,), rows in evaluation.pooled.group_by("line", maintain_order=True)
    ]


def _class_lines(classes: pl.DataFrame, names: Sequence[str]) -> list[dict[str, Any]]:
    """One row an interval, one group of columns a class."""
    return [
        {"interval": name, "cells": classes.filter(pl.col("interval") == name).to_dicts()}
        for name in names
    ]


def _pictures(evaluation: Evaluation, sources: _Sources) -> dict[str, Any]:
    """The example star and the worst mistakes of the best run, with pixels where there are any."""
    name = story.best_run(evaluation)
    run = next(r for r in evaluation.runs if r.name == name)
    example = _example(run)
    mistakes, looked = worst_mistakes(run), products.looked_at(run)
    if sources.store is not None:
        _check_rows(run, sources.store)
    return {
        "run": name,
        "classes": run.classes,
        "frame": _frame(sources, example),
        "example": _with_pixels(example, sources.store) if example else None,
        "mistakes": [_with_pixels(row, sources.store, looked) for row in mistakes],
        "n_wrong": int((run.tested["class"] != run.tested["predicted"]).sum()),
    }


def _check_rows(run: Run, store: Store) -> None:
    """Refuse a work folder that the predictions were not made from."""
    both = run.tested.select("row", "star").join(
        store.index.select(pl.col("row").cast(run.tested["row"].dtype), "star"),
        on="row", how="inner", suffix="_store",
    )  # fmt: skip
    same = int((both["star"] == both["star_store"]).sum())
    if same != len(run.tested):
        came = f"{len(run.tested) - same} rows of another star or none"
        raise RunError(store.work, f"the store that {run.name} was tested on", came)


def _example(run: Run) -> dict[str, Any] | None:
    """A right answer at high S/N, of the middle subclass rather than the border."""
    right = run.tested.filter(pl.col("class") == pl.col("predicted"))
    right = right.with_columns(
        (pl.col("snrr").fill_nan(None) - 60).abs().alias("_far"),
        pl.col("subclass").str.contains("[3-6]").fill_null(value=False).alias("_middle"),
    )
    right = right.sort("_middle", "_far", descending=[True, False], nulls_last=True)
    return right.drop("_far", "_middle").row(0, named=True) if len(right) else None


def _with_pixels(
    row: dict[str, Any], store: Store | None, looked: pl.DataFrame | None = None
) -> dict[str, Any]:
    if store is None:
        return row | {"arms": [], "flags": "", "where": ""}
    from drcnet.report.pictures import star_picture  # noqa: PLC0415
    from drcnet.stripes.flags import flag_names  # noqa: PLC0415

    entry = store.index.row(int(row["row"]), named=True)
    return row | {
        "arms": star_picture(store, int(row["row"]), looked),
        "flags": flag_names(int(entry["flags"])).replace("|", ", ").replace("_", " "),
        "where": f"exposure {entry['exposure']}, fibre {entry['fiberid']}",
    }


def _frame(sources: _Sources, example: dict[str, Any] | None) -> Any:
    if sources.night is None:
        return None
    from drcnet.report.pictures import frame_picture, prepared_with  # noqa: PLC0415

    name, exposure = "lamost-lrs", None
    if sources.store is not None:
        name = prepared_with(sources.store).instrument
        if example is not None:
            exposure = sources.store.index.row(int(example["row"]), named=True)["exposure"]
    return frame_picture(sources.night, load_instrument(name), exposure)


def _flags(store: Store | None) -> dict[str, Any] | None:
    if store is None:
        return None
    index = store.index
    reasons = index.filter(pl.col("reason").fill_null("") != "")
    top = reasons["reason"].value_counts(sort=True).head(8).rows()
    return {
        "n_rows": len(index),
        "usable": int(index["usable"].sum()),
        "flags": story.flag_counts(index),
        "reasons": top,
    }


def _number(value: float | None, digits: int = 3) -> str:
    missing = value is None or not math.isfinite(value)
    return "–" if missing or value is None else f"{value:.{digits}f}"


def _signed(value: float, digits: int = 3) -> str:
    return f"{value:+.{digits}f}".replace("-", "−") if math.isfinite(value) else "–"


def _p_value(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, default=str)
