"""Maps, apertures and weights as ink."""

from typing import Any

import numpy as np
import polars as pl

from drcnet.evaluate.style import color_of, new_figure
from drcnet.saliency.maps import LINES

__all__ = ["plot_aperture", "plot_maps", "plot_star", "plot_weights"]

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


def plot_star(table: pl.DataFrame) -> Any:
    """Draw what speaks for and against the class that a star was given.

    Parameters
    ----------
    table : DataFrame
        As in `stars.star_maps`, one star.

    Returns
    -------
    Figure
        A column an arm: the light, the evidence along wavelength and, of stripes, pixel by pixel.
    """
    star, true, said = table.row(0)[1:4]
    across = table["pixel"].null_count() == 0
    figure, axes = new_figure((10, 4.6 if across else 3.6), rows=3 if across else 2, columns=2)
    wrong = true != said
    value = pl.col("evidence") - (pl.col("evidence_true") if wrong else 0)
    table = table.with_columns(value.alias("shown"))
    for column, arm in enumerate(table["arm"].unique(maintain_order=True)):
        rows = table.filter(pl.col("arm") == arm)
        total = rows.group_by("wavelength").agg(pl.col("light").mean(), pl.col("shown").sum())
        total = total.sort("wavelength")
        light, along = axes[0, column], axes[1, column]
        light.plot(total["wavelength"], total["light"], color="0.2", lw=0.8)
        _mark_lines(light, total, labels=True)
        along.axhline(0, color="0.4", lw=0.8)
        along.plot(total["wavelength"], total["shown"], color=color_of(0), lw=0.9)
        _mark_lines(along, total, labels=False)
        along.sharex(light)
        if column:
            along.sharey(axes[1, 0])
        if across:
            _stripe_map(axes[2, column], rows)
            axes[2, column].sharex(light)
        axes[-1, column].set_xlabel(f"vacuum wavelength, {arm} (Å)")
    axes[0, 0].set_ylabel("light (normalised)")
    axes[1, 0].set_ylabel(f"for {said}" + (f", not {true}" if wrong else "") + " (logits)")
    figure.suptitle(f"{star}: {true}, called {said}" if wrong else f"{star}: {said}", fontsize=9)
    return figure


def _stripe_map(ax: Any, rows: pl.DataFrame) -> None:
    pixels, waves = (rows[name].unique().sort() for name in ("pixel", "wavelength"))
    picture = rows.sort("pixel", "wavelength")["shown"].to_numpy().reshape(len(pixels), len(waves))
    top = float(np.percentile(np.abs(picture), 99.5)) or 1.0
    extent = (float(waves[0]), float(waves[-1]), pixels[0] - 0.5, pixels[-1] + 0.5)
    ax.imshow(picture, cmap="RdBu", vmin=-top, vmax=top, extent=extent, aspect="auto",
              origin="lower", interpolation="nearest")  # fmt: skip
    ax.set_ylabel("pixel across")
    ax.grid(visible=False)


def _mark_lines(ax: Any, shown: pl.DataFrame, *, labels: bool) -> None:
    low, high = shown["wavelength"].min(), shown["wavelength"].max()
    for name, (wave, whose) in LINES.items():
        if low <= wave <= high:  # type: ignore[operator]
            ax.axvline(wave, color=_INK[whose], lw=0.6, ls=":")
            if labels:
                ax.annotate(name, (wave, 1.01), xycoords=("data", "axes fraction"), rotation=90,
                            fontsize=6, ha="center", va="bottom", color=_INK[whose])  # fmt: skip
