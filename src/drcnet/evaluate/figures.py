"""Tables in, ink out: every figure takes tables and an `ax`, and computes nothing.

matplotlib is imported where it is used. The published values are real LAMOST data; they are
drawn hollow and say so in the legend.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.evaluate.paper import published_accuracy
from drcnet.evaluate.runs import Run, order_intervals
from drcnet.evaluate.style import MARKERS, PAPER_MARKERS, RC, color_of, new_figure
from drcnet.provenance import atomic_write

__all__ = [
    "plot_accuracy",
    "plot_confusion",
    "plot_frame",
    "plot_reliability",
    "plot_snr_histogram",
    "plot_stripes",
    "plot_training",
    "save_figure",
    "save_run_figures",
]


_INSIDE = 3  # runs whose names fit into the empty lower half of Figure 7


def plot_accuracy(ax: Any, scores: pl.DataFrame, *, paper: bool = True) -> None:
    """Draw accuracy against the S/N interval (the paper's Figure 7), several runs.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    scores : DataFrame
        As in `metrics.Scores`.
    paper : bool
        Whether to draw the published values beside.
    """
    names = order_intervals(set(scores["interval"]) - {"all"})[::-1]
    place = {name: i for i, name in enumerate(names)}
    runs = scores["run"].unique(maintain_order=True).to_list()
    for number, run in enumerate(runs):
        rows = scores.filter((pl.col("run") == run) & pl.col("interval").is_in(names))
        rows = rows.filter(pl.col("n_rows") > 0)
        x = np.array([place[i] for i in rows["interval"]]) + 0.09 * (number - (len(runs) - 1) / 2)
        y = rows["accuracy"].to_numpy()
        spread = np.abs(rows.select("accuracy_low", "accuracy_high").to_numpy().T - y)
        ax.errorbar(
            x, y, np.nan_to_num(spread), color=color_of(number), capsize=2, linewidth=1.2,
            marker=MARKERS[number % len(MARKERS)], markersize=5, label=run,
        )  # fmt: skip
    line = scores.filter(pl.col("interval").is_in(names)).unique("interval")
    middle = np.array([place[i] for i in line["interval"]])
    ax.hlines(
        line["majority"], middle - 0.4, middle + 0.4, color="0.45", linestyle="--",
        label="majority class",
    )  # fmt: skip
    if paper:
        _plot_paper(ax, place)
    ax.set_xticks(range(len(names)), names)
    ax.set(xlabel="S/N (catalogue, r band)", ylabel="accuracy", ylim=(0, 1.02))
    if len(runs) <= _INSIDE:
        ax.legend(frameon=False, fontsize=7, ncols=2, loc="lower right")
    else:  # under the axis, where it hides no line
        place_of = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.18), "borderaxespad": 0.0}
        ax.legend(frameon=False, fontsize=7, ncols=3, **place_of)


def plot_confusion(ax: Any, confusion: pl.DataFrame, title: str = "") -> None:
    """Draw one confusion matrix: shares of each true class, and counts.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    confusion : DataFrame
        `true`, `predicted`, `n_rows` of one run and interval.
    title : str
        Title.
    """
    rows = confusion["true"].unique(maintain_order=True).to_list()
    columns = confusion["predicted"].unique(maintain_order=True).to_list()
    counts = confusion["n_rows"].to_numpy().reshape(len(rows), len(columns))
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1, origin="upper", aspect="equal")
    for (i, j), value in np.ndenumerate(share):
        ink = "white" if value > 0.6 else "black"
        text = f"{value:.0%}\n{counts[i, j]}"
        ax.text(j, i, text, ha="center", va="center", color=ink, fontsize=7)
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.set(xlabel="predicted", ylabel="true", title=title)
    ax.grid(visible=False)


def plot_training(ax: Any, log: pl.DataFrame) -> None:
    """Draw a training's loss against epoch.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    log : DataFrame
        `log.csv` of a run: `epoch` and columns whose names hold 'loss'.
    """
    for number, name in enumerate(n for n in log.columns if "loss" in n):
        rows = log.select("epoch", name).drop_nulls()
        ax.plot(rows["epoch"], rows[name], color=color_of(number), label=name.replace("_", " "))
        if name.startswith("val") and len(rows):
            best = int(rows[name].arg_min() or 0)
            ax.plot(rows["epoch"][best], rows[name][best], "o", color=color_of(number),
                    label="lowest")  # fmt: skip
    ax.set(xlabel="epoch", ylabel="cross entropy")
    ax.legend(frameon=False, fontsize=7)


def plot_reliability(
    ax: Any, before: pl.DataFrame, after: pl.DataFrame | None = None, title: str = ""
) -> None:
    """Draw accuracy against confidence in one interval, before and after calibration.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    before, after : DataFrame
        As in `calibration.reliability_table`, one run and interval; bins of five rows or more
        are drawn, their bars are Wilson's 95%. After: none or empty where it is not calibrated.
    title : str
        Title.
    """
    ax.plot([0, 1], [0, 1], color="0.45", linestyle="--", linewidth=1)
    both = [(before, "before"), (after if after is not None else before.clear(), "calibrated")]
    for number, (table, label) in enumerate(both):
        rows = table.filter(pl.col("n_rows") >= 5) if len(table) else table
        if not len(rows):
            continue
        right = rows["accuracy"].to_numpy()
        bars = np.abs(rows.select("accuracy_low", "accuracy_high").to_numpy().T - right)
        ax.errorbar(
            rows["confidence"], right, bars, color=color_of(number), capsize=2, linewidth=1.1,
            elinewidth=0.7, marker=MARKERS[number], markersize=4, label=label,
            markerfacecolor="none" if number == 0 else color_of(number),
        )  # fmt: skip
    ax.set(xlabel="confidence", xlim=(0, 1), ylim=(0, 1.02), title=title)
    ax.set_aspect("equal")


def plot_snr_histogram(ax: Any, snrr: NDArray[np.floating], bins: int = 40) -> None:
    """Draw how many spectra there are by S/N (the paper's Figure 3).

    Parameters
    ----------
    ax : Axes
        Where to draw.
    snrr : ndarray, shape (n,)
        The catalogue's S/N; NaN and values <= 0 are left out.
    bins : int
        Bins, even in log S/N.
    """
    known = snrr[np.isfinite(snrr) & (snrr > 0)]
    if len(known):
        low, high = np.log10([known.min(), known.max()])
        edges = np.logspace(low, max(high, low + 0.01), bins + 1)
        ax.hist(known, edges, color=color_of(0))
        ax.set_xscale("log")
    for edge in (10, 20, 30):
        ax.axvline(edge, color="0.3", linestyle=":", linewidth=1)
    ax.set(xlabel="S/N (catalogue, r band)", ylabel="spectra")


def plot_frame(ax: Any, counts: NDArray[Any], title: str = "") -> None:
    """Draw a raw frame (the paper's Figure 1), reduced to about the pixels that can be seen.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    counts : ndarray, shape (n_spatial, n_wave)
        Turned counts, ADU.
    title : str
        Title.
    """
    step = max(1, min(counts.shape) // 1000)
    picture = np.asarray(counts[::step, ::step], dtype=float)
    low, high = np.percentile(picture, [1, 99.5])
    extent = (0, counts.shape[1], 0, counts.shape[0])
    ax.imshow(picture, cmap="gray", vmin=low, vmax=high, extent=extent, origin="lower")
    ax.set(xlabel="wavelength pixel", ylabel="spatial pixel", title=title)
    ax.grid(visible=False)


def plot_stripes(axes: Sequence[Any], stripes: NDArray[Any], title: str = "") -> None:
    """Draw a star's two stripes (the paper's Figure 2), blue above red.

    Parameters
    ----------
    axes : sequence of Axes
        Two.
    stripes : ndarray, shape (2, width, n_wave)
        Electrons; arms in the order blue, red.
    title : str
        Title of the upper panel.
    """
    for ax, stripe, arm in zip(axes, stripes, ("blue", "red"), strict=True):
        known = stripe[np.isfinite(stripe)]
        low, high = np.percentile(known, [1, 99]) if len(known) else (0.0, 1.0)
        ax.imshow(stripe, cmap="gray", vmin=low, vmax=high, aspect="auto", origin="lower")
        ax.set(ylabel=f"{arm}\npixel")
        ax.grid(visible=False)
    axes[0].set_title(title)
    axes[-1].set_xlabel("wavelength pixel of the stripe")


def save_figure(figure: Any, path: Path) -> Path:
    """Write a figure so that it appears whole; the ending names the format.

    Parameters
    ----------
    figure : Figure
        A matplotlib figure.
    path : Path
        A .png, .pdf or .svg file.

    Returns
    -------
    Path
        The file.
    """
    from matplotlib import rc_context  # noqa: PLC0415

    with rc_context(RC), atomic_write(path) as partial:
        figure.savefig(partial)
    return path


def save_run_figures(
    run: Run,
    scores: pl.DataFrame,
    confusion: pl.DataFrame,
    reliability: pl.DataFrame,
    calibrated: pl.DataFrame,
) -> list[Path]:
    """Draw a run's figures into its folder.

    Parameters
    ----------
    run : Run
        The run.
    scores, confusion, reliability, calibrated : DataFrame
        The run's own rows; reliability before and after calibration, the latter empty where
        there is none.

    Returns
    -------
    list of Path
        `figures/accuracy.png`, `confusion.png`, `snr.png` and, where there is something to
        draw, `reliability.png` and `training.png`.
    """
    figures = {}
    figures["accuracy"], axes = new_figure()
    plot_accuracy(axes[0, 0], scores)
    names = [i for i in scores.filter(pl.col("n_rows") > 0)["interval"] if i != "all"]
    figures["confusion"], axes = new_figure((2.4 * len(names), 2.7), columns=len(names))
    for ax, name in zip(axes[0], names, strict=True):
        plot_confusion(ax, confusion.filter(pl.col("interval") == name), f"S/N {name}")
    figures["snr"], axes = new_figure()
    plot_snr_histogram(axes[0, 0], run.predictions["snrr"].cast(pl.Float64).to_numpy())
    if len(reliability):
        figures["reliability"] = _reliability(reliability, calibrated)
    if "epoch" in run.log.columns and any("loss" in name for name in run.log.columns):
        figures["training"], axes = new_figure()
        plot_training(axes[0, 0], run.log)
    folder = run.folder / "figures"
    return [save_figure(figure, folder / f"{name}.png") for name, figure in figures.items()]


def _reliability(before: pl.DataFrame, after: pl.DataFrame) -> Any:
    """One panel an interval that has rows."""
    names = order_intervals(set(before["interval"]) - {"all"})
    names = [name for name in names if name in set(before["interval"])]
    figure, axes = new_figure((2.4 * len(names) + 0.4, 2.9), columns=len(names))
    for ax, name in zip(axes[0], names, strict=True):
        here = pl.col("interval") == name
        plot_reliability(
            ax, before.filter(here), after.filter(here) if len(after) else None, f"S/N {name}"
        )
    axes[0, 0].set_ylabel("share right")
    axes[0, 0].legend(frameon=False, fontsize=7, loc="upper left")
    return figure


def _plot_paper(ax: Any, place: dict[str, int]) -> None:
    """Stand the published values beside each interval's runs, not on top of them."""
    shown = published_accuracy().filter(pl.col("interval").is_in(list(place)))
    for number, (model, rows) in enumerate(shown.group_by("model", maintain_order=True)):
        ax.plot(
            [place[i] + 0.32 + 0.06 * number for i in rows["interval"]], rows["accuracy"],
            linestyle="none", marker=PAPER_MARKERS[str(model[0])], markerfacecolor="none",
            markersize=7, color="0.2", label=f"{model[0]}, paper (real data)",
        )  # fmt: skip
