"""The page's charts: tables in, inline SVG out."""

import math
from collections.abc import Sequence

import polars as pl

from drcnet.evaluate.paper import published_accuracy
from drcnet.evaluate.runs import Run, order_intervals
from drcnet.report.svg import Axis, Series, line_chart

__all__ = [
    "accuracy_chart",
    "before_after_chart",
    "curve_chart",
    "level_chart",
    "reliability_chart",
    "risk_chart",
    "training_chart",
]

_COLORS = 7
_PERCENT = tuple((v / 10, f"{v / 10:.1f}") for v in range(0, 11, 2))


def accuracy_chart(scores: pl.DataFrame, drawn: Sequence[str] | None = None) -> str:
    """Draw accuracy by S/N interval: runs, majority line, published values.

    Parameters
    ----------
    scores : DataFrame
        As in `evaluate.Evaluation`.
    drawn : sequence of str, optional
        Runs that get a colour, at most seven of them; the others are thin lines, named where they
        are pointed at. All of them if not given.

    Returns
    -------
    str
        HTML.
    """
    names = order_intervals(set(scores["interval"]) - {"all"})[::-1]
    place = {name: float(i) for i, name in enumerate(names)}
    tested = scores.filter(pl.col("interval").is_in(names) & (pl.col("n_rows") > 0))
    runs, rest = _split(scores, drawn)
    gap = min(0.1, 0.5 / max(len(runs), 1))
    thin = ((run, tested.filter(pl.col("run") == run)) for run in rest)
    series = _rest([(r, [place[i] for i in t["interval"]], t["accuracy"]) for r, t in thin])
    series.append(_majority(tested, place))
    for number, run in enumerate(runs):
        rows = tested.filter(pl.col("run") == run).to_dicts()[::-1]
        shift = gap * (number - (len(runs) - 1) / 2)
        series.append(
            Series(
                run,
                f"s{number % _COLORS}",
                [place[r["interval"]] + shift for r in rows],
                [r["accuracy"] for r in rows],
                [_or(r["accuracy_low"], r["accuracy"]) for r in rows],
                [_or(r["accuracy_high"], r["accuracy"]) for r in rows],
                [_spell(run, r) for r in rows],
                marker=number,
            )
        )
    series += _published(place)
    lowest = min([r["accuracy"] for r in tested.to_dicts()] + [0.4])
    floor = max(0.0, math.floor(lowest * 5 - 0.5) / 5)
    ticks = [(v, text) for v, text in _PERCENT if v >= floor]
    x = Axis("S/N (snrr)", -0.4, len(names) - 0.45, [(place[n], n) for n in names])
    return line_chart(series, x, Axis("accuracy", floor, 1.0, ticks), "Accuracy by S/N interval")


def curve_chart(curves: pl.DataFrame, drawn: Sequence[str] | None = None) -> str:
    """Draw accuracy as a smooth curve against S/N.

    Parameters
    ----------
    curves : DataFrame
        As in `comparison.accuracy_curve`, several runs.
    drawn : sequence of str, optional
        As for `accuracy_chart`.

    Returns
    -------
    str
        HTML; empty where there is no curve.
    """
    if curves.is_empty():
        return ""
    runs, rest = _split(curves, drawn)
    thin = ((run, curves.filter(pl.col("run") == run)) for run in rest)
    series = _rest([(r, t["snrr"].log10().to_list(), t["accuracy"]) for r, t in thin])
    for number, run in enumerate(runs):
        rows = curves.filter(pl.col("run") == run)
        place = [math.log10(v) for v in rows["snrr"]]
        titles = [
            f"{run}: {a:.3f} [{b:.3f}, {c:.3f}] at S/N {s:.0f}"
            for s, a, b, c in rows.select(
                "snrr", "accuracy", "accuracy_low", "accuracy_high"
            ).rows()
        ]
        series.append(
            Series(
                run,
                f"s{number % _COLORS}",
                place,
                rows["accuracy"].to_list(),
                rows["accuracy_low"].to_list(),
                rows["accuracy_high"].to_list(),
                titles,
            )
        )
    every = [value for one in series for value in one.x]
    low, high = float(min(every)), float(max(every))
    steps = (2, 3, 5, 10, 20, 30, 50, 100, 200, 500, 1000)
    ticks = [(math.log10(s), str(s)) for s in steps if low <= math.log10(s) <= high]
    x = Axis("S/N (snrr), logarithmic", low, max(high, low + 0.01), ticks)
    return line_chart(series, x, Axis("accuracy", 0.0, 1.0, _PERCENT), "Accuracy against S/N")


def reliability_chart(reliability: pl.DataFrame) -> str:
    """Draw accuracy against confidence for one run, a line an interval.

    Parameters
    ----------
    reliability : DataFrame
        As in `calibration.reliability_table`, one run.

    Returns
    -------
    str
        HTML; empty where the run has no probabilities.
    """
    if reliability.is_empty():
        return ""
    series = [Series("calibrated", "guide", [0, 1], [0, 1])]
    for number, name in enumerate(order_intervals(set(reliability["interval"]) - {"all"})):
        rows = reliability.filter((pl.col("interval") == name) & (pl.col("n_rows") >= 5))
        if rows.is_empty():
            continue
        titles = [
            f"S/N {name}: {r['n_rows']} spectra, confidence {r['confidence']:.2f}, "
            f"right {r['accuracy']:.2f}"
            for r in rows.to_dicts()
        ]
        confidence, right = rows["confidence"].to_list(), rows["accuracy"].to_list()
        series.append(
            Series(f"S/N {name}", f"s{number % _COLORS}", confidence, right, titles=titles,
                   marker=number)
        )  # fmt: skip
    x = Axis("confidence (highest probability)", 0.0, 1.0, _PERCENT)
    return line_chart(series, x, Axis("share right", 0.0, 1.0, _PERCENT), "Reliability diagram")


def before_after_chart(before: pl.DataFrame, after: pl.DataFrame, interval: str) -> str:
    """Draw accuracy against confidence of one run and interval, before and after calibration.

    Parameters
    ----------
    before, after : DataFrame
        As in `calibration.reliability_table`, one run.
    interval : str
        Which S/N interval.

    Returns
    -------
    str
        HTML; empty where the interval has no bin of five spectra.
    """
    series = [Series("true", "guide", [0, 1], [0, 1])]
    for number, (label, table) in enumerate((("before", before), ("calibrated", after))):
        rows = table.filter((pl.col("interval") == interval) & (pl.col("n_rows") >= 5))
        if rows.is_empty():
            continue
        titles = [
            f"{label}: {r['n_rows']} spectra, confidence {r['confidence']:.2f}, "
            f"right {r['accuracy']:.2f} [{r['accuracy_low']:.2f}, {r['accuracy_high']:.2f}]"
            for r in rows.to_dicts()
        ]
        columns = ("confidence", "accuracy", "accuracy_low", "accuracy_high")
        x, y, low, high = (rows[name].to_list() for name in columns)
        mark = f"s{1 - number}"
        series.append(Series(label, mark, x, y, low, high, titles, marker=number))
    if len(series) == 1:
        return ""
    x_axis = Axis(f"confidence, S/N {interval}", 0.0, 1.0, _PERCENT)
    title = f"Reliability at S/N {interval}"
    return line_chart(series, x_axis, Axis("share right", 0.0, 1.0, _PERCENT), title)


def training_chart(run: Run) -> str:
    """Draw the losses of a training.

    Parameters
    ----------
    run : Run
        The run.

    Returns
    -------
    str
        HTML; empty where the log has fewer than two epochs or no loss.
    """
    log = run.log
    names = [name for name in log.columns if "loss" in name]
    if len(log) < 2 or "epoch" not in log.columns or not names:
        return ""
    series = []
    for number, name in enumerate(names):
        rows = log.select("epoch", pl.col(name).cast(pl.Float64)).drop_nulls().drop_nans()
        titles = [f"epoch {e}: {name.replace('_', ' ')} {v:.4f}" for e, v in rows.rows()]
        series.append(
            Series(name.replace("_", " "), f"s{number}", rows["epoch"].to_list(),
                   rows[name].to_list(), titles=titles)
        )  # fmt: skip
    best = run.card.get("best_epoch")
    values = [v for s in series for v in s.y]
    top = max(values) * 1.05
    if best:
        series.append(Series(f"kept: epoch {best}", "guide", [best, best], [0.0, top]))
    first, last = float(log["epoch"][0]), float(log["epoch"][-1])
    x = Axis("epoch", first, last, _round_ticks(first, last))
    y = Axis("cross entropy", 0.0, top, _round_ticks(0.0, top))
    return line_chart(series, x, y, f"Training and validation loss of {run.name} by epoch")


def level_chart(table: pl.DataFrame, kind: str, runs: Sequence[str]) -> str:
    """Draw accuracy against the level of one disturbance.

    Parameters
    ----------
    table : DataFrame
        As in `drcnet.robustness.score.score_answers`, one interval.
    kind : str
        Which disturbance.
    runs : sequence of str
        Which runs, in the order of their colours.

    Returns
    -------
    str
        HTML.
    """
    named = kind in ("missing arm", "position")
    series, texts, unit = [], [""], ""
    for number, run in enumerate(runs):
        mine = table.filter(pl.col("run") == run)
        start = mine.filter(pl.col("disturbance") == ("none" if kind != "position" else ""))
        rows = [*start.to_dicts(), *mine.filter(pl.col("disturbance") == kind).to_dicts()]
        texts = [r["text"] if r["disturbance"] == kind else "none" for r in rows]
        unit = next((r["unit"] for r in rows if r["disturbance"] == kind), "")
        shift = 0.08 * (number - (len(runs) - 1) / 2)
        if number == 0:
            idle = [r["idle"] for r in rows]
            series.append(Series("majority class", "majority", [*range(len(rows))], idle))
        series.append(
            Series(
                run,
                f"s{number % _COLORS}",
                [k + shift for k in range(len(rows))],
                [r["accuracy"] for r in rows],
                [_or(r["accuracy_low"], r["accuracy"]) for r in rows],
                [_or(r["accuracy_high"], r["accuracy"]) for r in rows],
                [
                    f"{run}, {kind} {t}: {r['accuracy']:.3f} "
                    f"[{r['accuracy_low']:.3f}, {r['accuracy_high']:.3f}]"
                    for t, r in zip(texts, rows, strict=True)
                ],
                marker=number,
                line=not named,
            )
        )
    label = f"{kind}: {unit}" if unit else kind
    x = Axis(label, -0.4, len(texts) - 0.6, [(k, text) for k, text in enumerate(texts)])
    return line_chart(series, x, Axis("accuracy", 0.0, 1.0, _PERCENT), f"Accuracy under {label}")


def risk_chart(risk: pl.DataFrame, drawn: Sequence[str] | None = None) -> str:
    """Draw accuracy against the share of spectra that are given a class.

    Parameters
    ----------
    risk : DataFrame
        As in `evaluate.doubt.risk_table`, several runs; its rows of all S/N are drawn.
    drawn : sequence of str, optional
        As for `accuracy_chart`.

    Returns
    -------
    str
        HTML.
    """
    whole = risk.filter(pl.col("interval") == "all").drop_nulls("accuracy")
    runs, rest = _split(whole, drawn)
    thin = ((run, whole.filter(pl.col("run") == run)) for run in rest)
    series = _rest([(r, t["kept"].to_list(), t["accuracy"]) for r, t in thin])
    for number, run in enumerate(runs):
        rows = whole.filter(pl.col("run") == run)
        titles = [
            f"{run}: {r['accuracy']:.3f} of the surest {r['kept']:.0%} "
            f"(confidence at least {r['confidence']:.2f})"
            for r in rows.to_dicts()
        ]
        kept, right = rows["kept"].to_list(), rows["accuracy"].to_list()
        series.append(Series(run, f"s{number % _COLORS}", kept, right, titles=titles))
    floor = min([0.6, *(math.floor(10 * min(s.y)) / 10 for s in series if len(s.y))])
    ticks = [(v, text) for v, text in _PERCENT if v >= floor]
    x = Axis("share of spectra given a class", 0.0, 1.0, _PERCENT)
    return line_chart(series, x, Axis("accuracy of those", floor, 1.0, ticks), "Reject option")


def _split(table: pl.DataFrame, drawn: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Runs that get a colour, in the order asked for, and the others."""
    runs = table["run"].unique(maintain_order=True).to_list()
    shown = runs if drawn is None else [name for name in drawn if name in runs]
    return shown, [name for name in runs if name not in shown]


def _rest(lines: Sequence[tuple[str, Sequence[float], pl.Series]]) -> list[Series]:
    """Runs without a colour: thin lines, and one entry of the legend for all of them."""
    found = [Series("", "rest", x, y.to_list(), hint=run) for run, x, y in lines]
    name = f"{len(found)} other runs (point at a line)"
    return [*found, Series(name, "rest", [], [])] if found else []


def _majority(tested: pl.DataFrame, place: dict[str, float]) -> Series:
    rows = tested.unique("interval", keep="first", maintain_order=True).to_dicts()[::-1]
    return Series(
        "majority class",
        "majority",
        [place[r["interval"]] for r in rows],
        [r["majority"] for r in rows],
        titles=[f"always {r['majority_class']}: {r['majority']:.3f}" for r in rows],
    )


def _published(place: dict[str, float]) -> list[Series]:
    shown = published_accuracy().filter(pl.col("interval").is_in(list(place)))
    series = []
    for number, (model, rows) in enumerate(shown.group_by("model", maintain_order=True)):
        titles = [
            f"{model[0]}, published, real LAMOST data: {r['accuracy']:.3f} of {r['n_rows']}"
            for r in rows.to_dicts()
        ]
        where = [place[name] + 0.34 + 0.06 * number for name in rows["interval"]]
        label = f"{model[0]}, paper (real data)"
        values = rows["accuracy"].to_list()
        series.append(
            Series(label, "paper", where, values, titles=titles, marker=number, line=False)
        )
    return series


def _spell(run: str, row: dict[str, float]) -> str:
    bounds = f"[{row['accuracy_low']:.3f}, {row['accuracy_high']:.3f}]"
    count = f"{row['n_rows']} spectra of {row['n_stars']} stars"
    return f"{run}, S/N {row['interval']}: {row['accuracy']:.3f} {bounds}, {count}"


def _or(value: float, otherwise: float) -> float:
    return value if math.isfinite(value) else otherwise


def _round_ticks(low: float, high: float, wanted: int = 5) -> list[tuple[float, str]]:
    """Round numbers between two bounds."""
    span = max(high - low, 1e-9)
    raw = span / wanted
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * m for m in (1, 2, 2.5, 5, 10) if size * m >= raw)
    first = math.ceil(low / step - 1e-9)
    count = int((high - first * step) / step + 1e-9) + 1
    return [((first + i) * step, f"{(first + i) * step:g}") for i in range(count)]
