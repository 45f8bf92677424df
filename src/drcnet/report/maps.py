"""Wavelength maps for the page: what counts where, with the lines that an astronomer knows."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import polars as pl

from drcnet.report.svg import Axis, Series, line_chart
from drcnet.saliency.maps import LINES

__all__ = ["aperture_charts", "importance_maps", "weight_maps"]

_WIDTH, _HEIGHT = 900, 100
_APART = 26.0  # least distance of two names, in units of the width
_LAST = 0.95  # beyond it a name stands left of its line
_COLORS = 7


def importance_maps(table: pl.DataFrame, interval: str, *, join: int = 1) -> str:
    """Draw where each class is seen.

    Parameters
    ----------
    table : DataFrame
        As in `drcnet.saliency.maps.average_maps`.
    interval : str
        Which S/N interval.
    join : int
        Bins drawn as one.

    Returns
    -------
    str
        HTML: one strip a class over a common scale of wavelength.
    """
    here = table.filter((pl.col("interval") == interval) & (pl.col("class") != "all"))
    strips: dict[str, pl.DataFrame] = {}
    for name in here["class"].unique(maintain_order=True):
        rows = here.filter(pl.col("class") == name)
        count = rows["n_rows"][0]
        strips[f"{name} ({count} spectra)"] = _joined(rows, "importance", join)
    return _strips(strips, "share of what counts, by wavelength")


def weight_maps(table: pl.DataFrame) -> str:
    """Draw a linear model's weights, one strip a class.

    Parameters
    ----------
    table : DataFrame
        As in `weights.parquet`.

    Returns
    -------
    str
        HTML.
    """
    strips = {}
    for name in table.columns:
        if name.startswith("weight_"):
            rows = table.select("arm", "wavelength", pl.col(name).alias("importance"))
            strips[name.removeprefix("weight_")] = _joined(rows, "importance", 6)
    return _strips(strips, "weight, by wavelength")


def aperture_charts(table: pl.DataFrame) -> list[str]:
    """Draw what the reduction learned beside the profile of the light.

    Parameters
    ----------
    table : DataFrame
        As in `drcnet.saliency.aperture.learnt_aperture`.

    Returns
    -------
    list of str
        HTML, one an arm.
    """
    found = []
    for arm in table["arm"].unique(maintain_order=True):
        rows = table.filter(pl.col("arm") == arm)
        channels = rows["channel"].unique(maintain_order=True).to_list()
        first = rows.filter(pl.col("channel") == channels[0])
        pixel = first["pixel"].to_list()
        profile = first["profile"].to_list()
        series = [
            Series("no weight", "guide", [pixel[0], pixel[-1]], [0.0, 0.0]),
            Series("profile of the light", "s0", pixel, profile, marker=1,
                   titles=[f"pixel {p}: {v:.1%} of the light" for p, v in
                           zip(pixel, profile, strict=True)]),
        ]  # fmt: skip
        for number, channel in enumerate(channels):
            part = rows.filter(pl.col("channel") == channel)
            weight = part["weight"].to_list()
            titles = [f"pixel {p}: weight {v:+.3f}" for p, v in zip(pixel, weight, strict=True)]
            label = "learned" if len(channels) == 1 else f"learned, output {channel}"
            series.append(
                Series(label, f"s{1 + number % (_COLORS - 1)}", pixel, weight,
                       part["low"].to_list(), part["high"].to_list(), titles, marker=number)
            )  # fmt: skip
        values = [*rows["low"], *rows["high"], *profile]
        low, high = min(-0.1, *values), max(0.3, *values)
        step = 0.25 if high - low < 2 else 1.0
        marks = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
        y = Axis("share of the weight", low, high, [(float(v), f"{v:g}") for v in marks])
        x = Axis(f"pixel across the fibre, {arm} arm", pixel[0], pixel[-1],
                 [(float(p), str(p)) for p in pixel])  # fmt: skip
        found.append(line_chart(series, x, y, f"Learned aperture of the {arm} arm"))
    return found


def _joined(rows: pl.DataFrame, column: str, join: int) -> pl.DataFrame:
    """Average neighbouring bins of an arm."""
    number = pl.int_range(pl.len()).over("arm") // join
    rows = rows.sort("arm", "wavelength").with_columns(number.alias("_n"))
    return rows.group_by("arm", "_n", maintain_order=True).agg(
        pl.col("wavelength").mean(), pl.col(column).mean()
    )


def _strips(strips: Mapping[str, pl.DataFrame], what: str) -> str:
    if not strips:
        return ""
    every = pl.concat(list(strips.values()))
    low, high = float(every["wavelength"].min()), float(every["wavelength"].max())  # type: ignore[arg-type]
    marks = [(name, (wave - low) / (high - low), whose)
             for name, (wave, whose) in LINES.items() if low < wave < high]  # fmt: skip
    lines = "".join(
        f'<path class="mark of-{whose}" d="M{_WIDTH * place:.1f},0V{_HEIGHT}"/>'
        for _, place, whose in marks
    )
    parts = []
    for number, (name, rows) in enumerate(strips.items()):
        title = escape(f"{name}: {what}")
        parts.append(
            f'<p class="strip"><b>{escape(name)}</b></p>'
            f'<svg class="spectrum s{number % _COLORS}" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
            f'preserveAspectRatio="none" role="img" aria-label="{title}"><title>{title}</title>'
            f"{lines}{_paths(rows, low, high)}</svg>"
        )
    ends = f'<p class="scale"><span>{low:.0f} Å</span><span>{high:.0f} Å</span></p>'
    inner = f"{_names(marks)}{''.join(parts)}{ends}"
    return f'<div class="strips" tabindex="0" role="region" aria-label="{what}">{inner}</div>'


def _paths(rows: pl.DataFrame, low: float, high: float) -> str:
    """One path an arm, between the least (or zero) and the greatest value."""
    values = rows["importance"].to_numpy()
    bottom = min(0.0, float(values.min()))
    top = max(float(values.max()), bottom + 1e-12)
    parts = []
    for _, arm in rows.group_by("arm", maintain_order=True):
        across = (arm["wavelength"].to_numpy() - low) / (high - low) * _WIDTH
        down = (_HEIGHT - 1) * (1 - (arm["importance"].to_numpy() - bottom) / (top - bottom)) + 0.5
        points = "L".join(f"{u:.0f},{v:.1f}" for u, v in zip(across, down, strict=True))
        parts.append(f'<path class="line own" d="M{points}"/>')
    if bottom < 0:
        zero = (_HEIGHT - 1) * top / (top - bottom) + 0.5
        parts.append(f'<path class="zero" d="M0,{zero:.1f}H{_WIDTH}"/>')
    return "".join(parts)


def _names(marks: Sequence[tuple[str, float, str]]) -> str:
    """Names above the strips, in two rows where they would run into one another."""
    rows: list[float] = [-1e9, -1e9, -1e9]
    out = []
    for name, place, whose in marks:
        wide = _APART + 7.5 * len(name)
        at = _WIDTH * place
        row = next((r for r, end in enumerate(rows) if at - wide / 2 > end), len(rows) - 1)
        rows[row] = at + wide / 2
        side = ";transform:translateX(-100%)" if place > _LAST else ""
        out.append(
            f'<i class="of-{whose}" style="left:{100 * place:.1f}%;top:{1.15 * row:.2f}em{side}">'
            f"{escape(name)}</i>"
        )
    return f'<p class="names">{"".join(out)}</p>'
