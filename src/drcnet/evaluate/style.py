"""One look for all figures: colours that colour-blind readers and grey printers can tell apart."""

from typing import Any

__all__ = ["COLORS", "MARKERS", "PAPER_MARKERS", "RC", "color_of", "new_figure"]

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito (2008), darkest first; yellow is left out: it is not legible on white."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""A marker a run, so that colour is never alone in telling them apart."""

PAPER_MARKERS = {"DRC-Net": "*", "RC-Net": "p", "FFCNN": "h"}
"""Markers of the published values, drawn hollow."""

RC: Any = {
    "figure.dpi": 110,
    "savefig.dpi": 160,
    "savefig.bbox": "tight",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "image.origin": "lower",
    "image.interpolation": "nearest",
}


def color_of(number: int) -> str:
    """Choose the colour of a run.

    Parameters
    ----------
    number : int
        Its place among the runs.

    Returns
    -------
    str
        Hexadecimal; they repeat after seven, where markers differ no more either.
    """
    return COLORS[number % len(COLORS)]


def new_figure(size: tuple[float, float] = (5.5, 3.6), rows: int = 1, columns: int = 1) -> Any:
    """Make a figure that needs no display and leaves pyplot's state alone.

    Parameters
    ----------
    size : tuple of float
        Width and height in inches.
    rows, columns : int
        Panels.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure.
    axes : ndarray of Axes, shape (rows, columns)
        Its panels.
    """
    from matplotlib import rc_context  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    with rc_context(RC):
        figure = Figure(figsize=size, layout="constrained")
        return figure, figure.subplots(rows, columns, squeeze=False)
