"""Maps, apertures and weights as ink."""

from typing import Any

import numpy as np
import polars as pl

from drcnet.evaluate.style import color_of, new_figure
from drcnet.saliency.maps import LINES

__all__ = ["plot_aperture", "plot_maps", "plot_weights"]

_INK = {"star": "0.35", "sky": "#D55E00", "telluric": "#CC79A7"}


def plot_maps(maps: pl.DataFrame, interval: str = "all") -> Any:
    """Draw the average map of each class.

    Parameters
    ----------
    maps : DataFrame
        As in `maps.average_maps`.
    interval : str
        Which S/N interval.

    Returns
    -------
    Figure
        One panel a class, importance against wavelength; sky lines and telluric bands coloured.
    """
    shown = maps.filter((pl.col("interval") == interval) & (pl.col("class") != "all"))
    names = shown["class"].unique(maintain_order=True).to_list()
    figure, axes = new_figure((9.5, 1.9 * len(names)), rows=len(names))
    for number, name in enumerate(names):
        ax = axes[number, 0]
        for arm, rows in shown.filter(pl.col("class") == name).group_by("arm"):
            del arm
            rows = rows.sort("wavelength")  # noqa: PLW2901
            ax.plot(rows["wavelength"], 100 * rows["importance"], color=color_of(number), lw=0.9)
        _mark_lines(ax, shown, labels=number == 0)
        ax.set_ylabel(f"{name}: % of importance")
        ax.set_ylim(bottom=0)
    axes[-1, 0].set_xlabel("vacuum wavelength (Å)")
    return figure


def plot_aperture(table: pl.DataFrame) -> Any:
    """Draw what the reduction learned beside the profile of the light.

    Parameters
    ----------
    table : DataFrame
        As in `aperture.learnt_aperture`, not empty.

    Returns
    -------
    Figure
        One panel an arm.
    """
    arms = table["arm"].unique(maintain_order=True).to_list()
    figure, axes = new_figure((7.5, 2.9), columns=len(arms))
    for ax, arm in zip(axes[0], arms, strict=True):
        rows = table.filter(pl.col("arm") == arm)
        first = rows.filter(pl.col("channel") == rows["channel"][0])
        ax.bar(first["pixel"], first["profile"], color="0.85", label="profile of the light")
        for channel, part in rows.group_by("channel", maintain_order=True):
            number = int(str(channel[0]))
            ax.fill_between(part["pixel"], part["low"], part["high"], color=color_of(number),
                            alpha=0.2)  # fmt: skip
            ax.plot(part["pixel"], part["weight"], "o-", color=color_of(number), ms=4,
                    label=f"learned, output {number}")  # fmt: skip
        ax.axhline(0, color="0.4", lw=0.8)
        ax.set(xlabel="pixel across the fibre", title=arm)
    axes[0, 0].set_ylabel("weight (share)")
    axes[0, 0].legend(frameon=False, fontsize=7)
    return figure


def plot_weights(table: pl.DataFrame) -> Any:
    """Draw a linear model's weights along wavelength.

    Parameters
    ----------
    table : DataFrame
        As in `aperture.linear_weights`, its columns renamed by class; not empty.

    Returns
    -------
    Figure
        One panel a class.
    """
    names = [name for name in table.columns if name.startswith("weight_")]
    figure, axes = new_figure((9.5, 1.8 * len(names)), rows=len(names))
    for number, name in enumerate(names):
        ax = axes[number, 0]
        for arm in table["arm"].unique(maintain_order=True):
            rows = table.filter(pl.col("arm") == arm)
            values = np.convolve(rows[name].to_numpy(), np.ones(5) / 5, mode="same")
            ax.plot(rows["wavelength"], values, color=color_of(number), lw=0.8)
        _mark_lines(ax, table, labels=number == 0)
        ax.set_ylabel(f"weight for {name.removeprefix('weight_')}")
    axes[-1, 0].set_xlabel("vacuum wavelength (Å)")
    return figure


def _mark_lines(ax: Any, shown: pl.DataFrame, *, labels: bool) -> None:
    low, high = shown["wavelength"].min(), shown["wavelength"].max()
    for name, (wave, whose) in LINES.items():
        if low <= wave <= high:  # type: ignore[operator]
            ax.axvline(wave, color=_INK[whose], lw=0.6, ls=":")
            if labels:
                ax.annotate(name, (wave, 1.01), xycoords=("data", "axes fraction"), rotation=90,
                            fontsize=6, ha="center", va="bottom", color=_INK[whose])  # fmt: skip
