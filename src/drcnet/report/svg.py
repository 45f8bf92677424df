"""Small line charts as inline SVG: sharp in print, legible in the dark, each point with a title.

Colours and strokes are classes (`s0` to `s6`, `axis`, `grid`) that the page's style sheet
defines, so that one chart serves light, dark and print.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

__all__ = ["Axis", "Series", "line_chart"]

_WIDTH, _HEIGHT = 480.0, 300.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 60.0, 12.0, 12.0, 44.0
_SHAPES = (
    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0Z",  # circle
    "M-3.6,-3.6H3.6V3.6H-3.6Z",  # square
    "M0,-4.8L4.6,3.4H-4.6Z",  # triangle
    "M0,-5L5,0L0,5L-5,0Z",  # diamond
    "M0,4.8L4.6,-3.4H-4.6Z",  # triangle, pointing down
    "M-1.5,-4.5H1.5V-1.5H4.5V1.5H1.5V4.5H-1.5V1.5H-4.5V-1.5H-1.5Z",  # plus
    "M-4,-4L4,4M-4,4L4,-4",  # cross
)


@dataclass(frozen=True)
class Axis:
    """One axis of a chart.

    Parameters
    ----------
    label : str
        What it shows.
    low, high : float
        Its range.
    ticks : sequence of (float, str)
        Where to write what.
    """

    label: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]

    def share(self, value: float) -> float:
        """Place a value along the axis.

        Parameters
        ----------
        value : float
            In the axis' units.

        Returns
        -------
        float
            0 at `low`, 1 at `high`, held inside.
        """
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)


@dataclass(frozen=True)
class Series:
    """One line or set of points.

    Parameters
    ----------
    label : str
        Its name in the legend; an empty one stays out of it.
    style : str
        CSS class of the colour: 's0' to 's6', 'rest', 'majority', 'paper', 'guide'.
    x, y : sequence of float
        Points, finite.
    low, high : sequence of float
        Bounds: drawn as error bars, or as a band where there are no markers.
    titles : sequence of str
        What a point says when pointed at; may be empty.
    marker : int or None
        Which marker; None draws a line without markers.
    line : bool
        Whether to join the points.
    hint : str
        What the line as a whole says when pointed at.
    """

    label: str
    style: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    titles: Sequence[str] = field(default=())
    marker: int | None = None
    line: bool = True
    hint: str = ""


def line_chart(series: Sequence[Series], x: Axis, y: Axis, description: str) -> str:
    """Draw a chart.

    Parameters
    ----------
    series : sequence of Series
        Drawn in this order; legend included.
    x, y : Axis
        The axes.
    description : str
        What a reader who cannot see it is told.

    Returns
    -------
    str
        A `<figure>` element with an `<svg>` and a legend.
    """
    parts = [
        f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-label="{escape(description)}">'
    ]
    parts += _frame(x, y)
    for one in series:
        parts += _draw(one, x, y)
    parts.append("</svg>")
    legend = [_legend_entry(one) for one in series if one.label]
    return (
        '<div class="chart">' + "".join(parts) + f'<ul class="legend">{"".join(legend)}</ul></div>'
    )


def _frame(x: Axis, y: Axis) -> list[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    for value, text in y.ticks:
        v = _down(y, value)
        parts.append(f'<path class="grid" d="M{_LEFT},{v:.1f}H{right}"/>')
        parts.append(
            f'<text x="{_LEFT - 6}" y="{v + 4:.1f}" text-anchor="end">{escape(text)}</text>'
        )
    for value, text in x.ticks:
        u = _across(x, value)
        parts.append(f'<path class="axis" d="M{u:.1f},{bottom}v4"/>')
        parts.append(
            f'<text x="{u:.1f}" y="{bottom + 17}" text-anchor="middle">{escape(text)}</text>'
        )
    parts.append(f'<path class="axis" d="M{_LEFT},{_TOP}V{bottom}H{right}"/>')
    middle = (_LEFT + right) / 2
    parts.append(
        f'<text x="{middle}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(x.label)}</text>'
    )
    height = (_TOP + bottom) / 2
    parts.append(
        f'<text transform="translate(13,{height}) rotate(-90)" text-anchor="middle">'
        f"{escape(y.label)}</text>"
    )
    return parts


def _draw(one: Series, x: Axis, y: Axis) -> list[str]:
    points = [(_across(x, a), _down(y, b)) for a, b in zip(one.x, one.y, strict=True)]
    if not points:
        return []
    told = f"<title>{escape(one.hint)}</title>" if one.hint else ""
    parts = [f'<g class="{one.style}">{told}']
    if one.low and one.marker is None:
        parts.append(_band(one, x, y))
    elif one.low:
        parts += [
            f'<path class="bar" d="M{u:.1f},{_down(y, a):.1f}V{_down(y, b):.1f}"/>'
            for (u, _), a, b in zip(points, one.low, one.high, strict=True)
        ]
    if one.line and len(points) > 1:
        path = "L".join(f"{u:.1f},{v:.1f}" for u, v in points)
        parts.append(f'<path class="line" d="M{path}"/>')
    titles = one.titles or [""] * len(points)
    for (u, v), title in zip(points, titles, strict=True):
        mark = "" if one.marker is None else f'<path class="mark" d="{_shape(one.marker)}"/>'
        if not mark and not title:
            continue
        told = f"<title>{escape(title)}</title>" if title else ""
        target = '<circle class="target" r="9"/>' if title else ""
        parts.append(f'<g transform="translate({u:.1f},{v:.1f})">{told}{target}{mark}</g>')
    parts.append("</g>")
    return parts


def _band(one: Series, x: Axis, y: Axis) -> str:
    upper = [
        f"{_across(x, a):.1f},{_down(y, b):.1f}" for a, b in zip(one.x, one.high, strict=True)
    ]
    lower = [f"{_across(x, a):.1f},{_down(y, b):.1f}" for a, b in zip(one.x, one.low, strict=True)]
    return f'<path class="band" d="M{"L".join(upper + lower[::-1])}Z"/>'


def _legend_entry(one: Series) -> str:
    line = '<path class="line" d="M0,7H26"/>' if one.line else ""
    mark = ""
    if one.marker is not None:
        mark = f'<path class="mark" transform="translate(13,7)" d="{_shape(one.marker)}"/>'
    drawn = f'<g class="{one.style}">{line}{mark}</g>'
    icon = f'<svg viewBox="0 0 26 14" aria-hidden="true">{drawn}</svg>'
    return f"<li>{icon}{escape(one.label)}</li>"


def _shape(marker: int) -> str:
    return _SHAPES[marker % len(_SHAPES)]


def _across(x: Axis, value: float) -> float:
    return _LEFT + x.share(value) * (_WIDTH - _LEFT - _RIGHT)


def _down(y: Axis, value: float) -> float:
    return _HEIGHT - _BOTTOM - y.share(value) * (_HEIGHT - _TOP - _BOTTOM)
