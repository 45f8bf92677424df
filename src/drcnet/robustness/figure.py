"""The sheet as ink: one panel a disturbance, one line a run."""

from typing import Any

import numpy as np
import polars as pl

from drcnet.evaluate.style import MARKERS, color_of, new_figure

__all__ = ["plot_robustness"]

_APART = ("missing arm", "position", "repeats")  # points that no line should join


def plot_robustness(table: pl.DataFrame, interval: str = "all") -> Any:
    """Draw accuracy against the level of each disturbance.

    Parameters
    ----------
    table : DataFrame
        As in `score.score_answers`.
    interval : str
        Which S/N interval.

    Returns
    -------
    Figure
        Points with 95% bars; the dashed line is the accuracy of always giving one class.
    """
    shown = table.filter(pl.col("interval") == interval)
    names = [n for n in shown["disturbance"].unique(maintain_order=True) if n != "none"]
    columns = 4
    lines = -(-len(names) // columns)
    figure, axes = new_figure((10.5, 2.4 * lines), rows=lines, columns=columns)
    for ax, name in zip(axes.flat, names, strict=False):
        _panel(ax, shown, name)
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    for ax in axes[:, 0]:
        ax.set_ylabel("accuracy")
    axes.flat[0].legend(frameon=False, fontsize=7)
    return figure


def _panel(ax: Any, shown: pl.DataFrame, name: str) -> None:
    runs = shown["run"].unique(maintain_order=True).to_list()
    texts: list[str] = []
    for number, run in enumerate(runs):
        rows = shown.filter(pl.col("run") == run)
        if name not in ("position", "repeats"):
            start = rows.filter(pl.col("disturbance") == "none")
            start = start.with_columns(
                pl.lit("neither" if name == "missing arm" else "0").alias("text")
            )
            rows = pl.concat([start, rows.filter(pl.col("disturbance") == name)])
        else:
            rows = rows.filter(pl.col("disturbance") == name)
        texts = rows["text"].to_list()
        place = np.arange(len(rows)) + 0.12 * (number - (len(runs) - 1) / 2)
        value = rows["accuracy"].to_numpy()
        spread = np.abs(rows.select("accuracy_low", "accuracy_high").to_numpy().T - value)
        ax.errorbar(
            place, value, np.nan_to_num(spread), color=color_of(number), capsize=2, label=run,
            marker=MARKERS[number % len(MARKERS)], markersize=4, elinewidth=1.1,
            linestyle="none" if name in _APART else "-", linewidth=1.1,
        )  # fmt: skip
        if number == 0:
            ax.plot(np.arange(len(rows)), rows["idle"], color="0.45", linestyle="--", linewidth=1,
                    marker="_", markersize=12)  # fmt: skip
    unit = shown.filter(pl.col("disturbance") == name)["unit"][0]
    ax.set_xticks(range(len(texts)), texts, fontsize=7)
    ax.set_title(f"{name} ({unit})" if unit else name, fontsize=8)
    ax.set_ylim(0, 1.02)
