"""Pictures of one extracted frame, as data URIs."""

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drcnet.extract.product import ArmProduct
from drcnet.stripes.flags import FiberFlag

__all__ = ["draw_figures"]

_BLUE, _RED, _GREEN, _GREY = "#0072B2", "#D55E00", "#009E73", "0.6"
_RC: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.92",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "image.interpolation": "nearest",
    "image.origin": "lower",
}
_WIDE = 9.2  # inches
_DPI = 110
_FAINTEST = 0.1  # S/N at which what is fainter is drawn
_PIXELS = 900  # a whole frame is averaged down to about so many pixels a side


def draw_figures(product: ArmProduct) -> list[dict[str, str]]:
    """Draw all pictures of a frame.

    Parameters
    ----------
    product : ArmProduct
        What was measured.

    Returns
    -------
    list of dict
        Title, caption and uri of each.
    """
    fibers = [
        ("Traces", "Rms of the measured centres about each trace, and its width.", 1, _traces),
        (
            "Throughput and signal",
            "Light of each fibre on the flat relative to the typical fibre, and its S/N.",
            2,
            _signal,
        ),
        ("Wavelength residuals", "Rms of the arc's lines about each fibre's solution.", 1, _arc),
    ]
    many = len(product.traces) > 1
    plans = [
        (
            "The frame, with its traces",
            "Electrons, inverse hyperbolic sine scale: the whole chip, and its middle in full.",
            2,
            _frame,
        ),
        *(fibers if many else []),
        ("Sky", "The sky that is taken off, median over the fibres.", 1, _sky),
        (
            "Spectra",
            "Sky taken off; masked pixels left out; grey is one standard deviation.",
            3 if many else 1,
            _spectra,
        ),
    ]
    return [
        {"title": title, "caption": caption, "uri": _draw(product, panels, draw)}
        for title, caption, panels, draw in plans
    ]


def _draw(product: ArmProduct, panels: int, draw: Callable[[Any, ArmProduct], None]) -> str:
    from matplotlib import rc_context  # noqa: PLC0415 - half a second, only for pages
    from matplotlib.figure import Figure  # noqa: PLC0415

    with rc_context(_RC):
        side = draw is _frame
        height = 5.2 if side else 2.1 * max(panels, 1.15)
        figure = Figure(figsize=(_WIDE, height), layout="constrained", dpi=_DPI)
        if side:
            axes = figure.subplots(1, panels)
        else:
            axes = figure.subplots(panels, 1, squeeze=False)[:, 0]
        draw(axes, product)
        stream = io.BytesIO()
        figure.savefig(stream, format="png")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _frame(axes: Any, product: ArmProduct) -> None:
    light = product.frame.electrons
    n_spatial, n_wave = light.shape
    step_x, step_y = max(1, n_wave // _PIXELS), max(1, n_spatial // _PIXELS)
    kept = light[: n_spatial // step_y * step_y, : n_wave // step_x * step_x]
    small = kept.reshape(n_spatial // step_y, step_y, n_wave // step_x, step_x).mean(axis=(1, 3))
    rows = np.linspace(0, n_wave - 1, 60)
    centers = product.traces.centers(rows)
    spread = _stretch(small)
    extent = (-0.5, kept.shape[1] - 0.5, -0.5, kept.shape[0] - 0.5)
    axes[0].imshow(spread, extent=extent, aspect="auto", cmap="gray")
    every = max(1, len(centers) // 25)
    for number in range(0, len(centers), every):
        dead = not product.traces.alive[number]
        axes[0].plot(rows, centers[number], color=_RED if dead else "#56B4E9", lw=0.7)
    told = f"every {every}th trace" if every > 1 else "all traces"
    told = told if len(centers) > 1 else "the trace"
    axes[0].set(xlabel="row along wavelength", ylabel="spatial pixel", title=told)
    axes[0].grid(visible=False)
    _detail(axes[1], product, light)


def _detail(axis: Any, product: ArmProduct, light: NDArray[np.float32]) -> None:
    """Some fibres in the middle, at full resolution."""
    n_spatial, n_wave = light.shape
    row, half = n_wave // 2, product.settings.half_width + 0.5
    centers = product.traces.centers(np.array([row]))[:, 0]
    middle = int(centers[len(centers) // 2])
    low, high = max(0, middle - 70), min(n_spatial, middle + 70)
    left, right = row - 100, min(row + 100, n_wave)
    extent = (left - 0.5, right - 0.5, low - 0.5, high - 0.5)
    axis.imshow(_stretch(light[low:high, left:right]), extent=extent, aspect="auto", cmap="gray")
    rows = np.linspace(left, right - 1, 30)
    for line, fiber in zip(product.traces.centers(rows), product.traces.fiber_id, strict=True):
        if low < line[15] < high:
            axis.plot(rows, line, color="#56B4E9", lw=0.9)
            for edge in (-half, half):
                axis.plot(rows, line + edge, color="#E69F00", lw=0.7)
            if len(centers) > 1:
                axis.text(right + 2, line[-1], str(fiber), va="center", fontsize=7)
    axis.set(xlim=(left, right), ylim=(low, high), xlabel="row along wavelength")
    axis.set_title("the middle: centres, and the stripes' edges")
    axis.grid(visible=False)


def _stretch(light: NDArray[Any]) -> NDArray[Any]:
    """Inverse hyperbolic sine about the sky, from black to the brightest half percent."""
    floor, top = np.percentile(light, (2, 99.5))
    scale = max((top - floor) / 30, 1.0)
    return np.asarray(np.arcsinh(np.clip(light - floor, 0, top - floor) / scale))


def _traces(axes: Any, product: ArmProduct) -> None:
    axis, traces = axes[0], product.traces
    axis.plot(traces.fiber_id, traces.rms, ".", color=_BLUE, ms=4, label="rms")
    axis.set(xlabel="fibre", ylabel="rms, pixels", ylim=(0, None))
    _mark_dead(axis, product)
    other = axis.twinx()
    other.grid(visible=False)
    other.spines["right"].set_visible(True)
    seen = traces.alive
    other.plot(traces.fiber_id[seen], product.stripes.fwhm[seen], "-", color=_RED, lw=1)
    other.set_ylabel("FWHM, pixels", color=_RED)
    axis.yaxis.label.set_color(_BLUE)


def _signal(axes: Any, product: ArmProduct) -> None:
    fiber, stripes = product.traces.fiber_id, product.stripes
    axes[0].plot(fiber, product.throughput, ".", color=_GREEN, ms=4)
    axes[0].set(ylabel="relative throughput", ylim=(0, None))
    snr = np.where(product.traces.alive, np.maximum(stripes.snr, _FAINTEST), np.nan)
    sky = (stripes.flags & int(FiberFlag.SKY_FIBER)) != 0
    axes[1].semilogy(fiber[~sky], snr[~sky], ".", color=_BLUE, ms=4, label="star")
    axes[1].semilogy(fiber[sky], snr[sky], "o", mfc="none", color=_RED, ms=4, label="sky fibre")
    axes[1].set(xlabel="fibre", ylabel="S/N a pixel")
    axes[1].legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
    _mark_dead(axes[0], product)


def _mark_dead(axis: Any, product: ArmProduct) -> None:
    for fiber in product.traces.fiber_id[~product.traces.alive]:
        axis.axvline(fiber, color=_GREY, lw=1, ls=":")
        axis.text(fiber, 1.0, "dead", transform=axis.get_xaxis_transform(), fontsize=7,
                  ha="center", va="bottom", color="0.4")  # fmt: skip


def _arc(axes: Any, product: ArmProduct) -> None:
    axis = axes[0]
    if np.isfinite(product.arc_rms).any():
        axis.plot(product.traces.fiber_id, product.arc_rms, ".", color=_BLUE, ms=4)
        axis.set(xlabel="fibre", ylabel="rms, pixels", ylim=(0, None))
        _mark_dead(axis, product)
    else:
        _say(axis, "no arc: nominal wavelengths")


def _sky(axes: Any, product: ArmProduct) -> None:
    axis = axes[0]
    known = np.isfinite(product.stripes.sky).any(axis=1)
    if not known.any():
        _say(axis, "no sky was measured")
        return
    sky = np.where(np.isfinite(product.stripes.sky), product.stripes.sky, np.nan)
    fiber = np.flatnonzero(known)[known.sum() // 2]
    line = np.median(sky[known], axis=0)
    axis.plot(product.wavelength[fiber], line, color=_BLUE, lw=0.8)
    low, high = np.percentile(line, (0.5, 99.8))
    axis.set(xlabel="vacuum wavelength, angstrom", ylabel="electrons a row")
    axis.set_ylim(min(0.0, low), 1.1 * high)
    axis.margins(x=0)


def _spectra(axes: Any, product: ArmProduct) -> None:
    stripes = product.stripes
    shown = _typical(product, len(axes))
    for axis, k in zip(axes, shown, strict=False):
        known = stripes.optimal_ivar[k] > 0
        wave = product.wavelength[k]
        flux = np.where(known, product.flux[k], np.nan)
        sigma = 1 / np.sqrt(np.where(known, stripes.optimal_ivar[k], np.nan))
        axis.fill_between(wave, flux - sigma, flux + sigma, color="0.8", lw=0)
        axis.plot(wave, flux, color=_BLUE, lw=0.6)
        low, high = np.nanpercentile(flux, (0.3, 99.7))
        axis.set_ylim(low - 0.1 * (high - low), high + 0.15 * (high - low))
        axis.margins(x=0)
        axis.set_ylabel("electrons a row")
        what = "star" if product.frame.profile.long_slit else f"fibre {k + 1}"
        axis.set_title(f"{what}, S/N {stripes.snr[k]:.1f}", loc="left", fontsize=9)
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    axes[-1].set_xlabel("vacuum wavelength, angstrom")


def _typical(product: ArmProduct, count: int) -> list[int]:
    """Fibres with light of high, middle and low S/N that are not flagged as sky or dead."""
    stripes = product.stripes
    blocked = int(FiberFlag.SKY_FIBER | FiberFlag.DEAD | FiberFlag.OFF_CHIP)
    usable = product.traces.alive & ((stripes.flags & blocked) == 0)
    usable &= (stripes.optimal_ivar > 0).mean(axis=1) > 0.5
    order = np.flatnonzero(usable)
    order = order[np.argsort(-stripes.snr[order], kind="stable")]
    places = np.linspace(0.1, 0.9, count) * (len(order) - 1) if count > 1 else np.zeros(1)
    return [int(order[round(place)]) for place in places] if len(order) else []


def _say(axis: Any, text: str) -> None:
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", color="0.4")
    axis.set(xticks=[], yticks=[])
