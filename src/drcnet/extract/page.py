"""One page a frame, to see at a glance whether its extraction can be trusted."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment

from drcnet.extract.figures import draw_figures
from drcnet.extract.product import ArmProduct
from drcnet.provenance import atomic_write
from drcnet.stripes.cut import COSMIC
from drcnet.stripes.flags import MEANINGS, FiberFlag

__all__ = ["write_page"]

_LISTED = 24  # fibres named for a flag


def write_page(path: Path, product: ArmProduct) -> None:
    """Write the page of one frame: self-contained HTML.

    Parameters
    ----------
    path : Path
        The file.
    product : ArmProduct
        What was measured.
    """
    template = resources.files("drcnet.extract").joinpath("page.html").read_text("utf-8")
    name, profile = product.frame.name, product.frame.profile
    text = (
        Environment(autoescape=True, trim_blocks=True)
        .from_string(template)
        .render(
            title=f"{product.frame.path.name}",
            subtitle=f"{profile.title}, spectrograph {name.spid:02d}, {name.arm} arm, "
            f"minute {name.lmjm}, started {_clock(name.time)} local time",
            warnings=_warnings(product),
            facts=_facts(product),
            figures=draw_figures(product),
            flags=_flags(product),
            origin=json.dumps(
                {"notes": dict(product.notes), **product.provenance},
                indent=1,
                sort_keys=True,
                default=str,
            ),
        )
    )
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _clock(time: str) -> str:
    if len(time) != 14:
        return time
    return f"{time[:4]}-{time[4:6]}-{time[6:8]} {time[8:10]}:{time[10:12]}:{time[12:]}"


def _warnings(product: ArmProduct) -> list[str]:
    lines = []
    if not product.frame.profile.tested:
        lines.append("This instrument's profile has met no real frame.")
    if not product.has_sky:
        lines.append("No sky was measured: no fibres agree that they look at blank sky.")
    if product.notes.get("wavelengths") == "nominal":
        why = product.notes.get("wavelengths_why", "no arc")
        lines.append(f"Wavelengths are the instrument's nominal ones ({why}).")
    if str(product.notes.get("slit_ends", "")).startswith("no flat"):
        lines.append(f"The slit's ends: {product.notes['slit_ends']}.")
    if product.notes.get("identity_referenced") is False:
        lines.append(
            "Fibres were told apart by the gaps between blocks alone; a throughput pattern "
            "('drcnet instrument learn') makes sure of them."
        )
    return lines


def _facts(product: ArmProduct) -> list[dict[str, str]]:
    stripes, traces, notes = product.stripes, product.traces, product.notes
    alive = traces.alive
    slit = product.frame.profile.long_slit
    found = {
        ("stars on the slit" if slit else "fibres with light"): f"{alive.sum()} of {len(traces)}",
        "median S/N a pixel (snr_frame)": _number(np.median(stripes.snr[alive]), 1),
        "trace residuals, median rms": _number(np.nanmedian(traces.rms), 4, " px"),
        "spatial FWHM, median": _number(np.median(stripes.fwhm[alive]), 2, " px"),
        "pixels hit by cosmic rays": _number(100 * np.mean(stripes.mask & COSMIC > 0), 2, " %"),
        "wavelength residuals, median rms": _number(_middle(product.arc_rms), 3, " px"),
        "wavelengths from": str(notes.get("wavelengths", "–")),
        "sky from": "the slit" if slit else str(notes.get("sky_fibers", "–")),
    }
    if not slit:
        found["identity: confidence"] = _number(product.confidence, 3)
        found["identity: lead over the next best"] = _number(notes.get("identity_lead"), 1)
        found["identity: shift from nominal"] = _number(notes.get("identity_shift"), 2, " px")
        found["moved from flat to exposure"] = _number(notes.get("shift"), 3, " px")
        found["sky fibres"] = str(notes.get("sky_count", "–"))
    return [{"name": name, "value": value} for name, value in found.items()]


def _middle(values: Any) -> float:
    return float(np.nanmedian(values)) if np.isfinite(values).any() else float("nan")


def _number(value: Any, digits: int, unit: str = "") -> str:
    if value is None or not np.isfinite(value):
        return "–"
    return f"{value:.{digits}f}{unit}".replace("-", "−")


def _flags(product: ArmProduct) -> list[dict[str, Any]]:
    bits = product.stripes.flags.astype(np.int64)
    lines = []
    for flag in FiberFlag:
        which = product.traces.fiber_id[(bits & int(flag)) != 0]
        if len(which):
            listed = ", ".join(str(fiber) for fiber in which[:_LISTED])
            lines.append(
                {
                    "name": str(flag.name).lower().replace("_", " "),
                    "count": len(which),
                    "meaning": MEANINGS[flag],
                    "which": listed + (", …" if len(which) > _LISTED else ""),
                }
            )
    return lines
