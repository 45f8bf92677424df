"""Pixels for the page: frames, stripes and spectra of single stars, as data URIs and SVG."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.config import PrepareSettings
from drcnet.dataset.store import Store
from drcnet.errors import StoreError
from drcnet.frames.night import scan_night
from drcnet.frames.read import read_frame
from drcnet.instruments import InstrumentProfile, load_instrument
from drcnet.stripes.polynomial import chebyshev_basis

__all__ = [
    "FramePicture",
    "StarPicture",
    "frame_picture",
    "png_uri",
    "prepared_with",
    "star_picture",
]

_LINES = {"Ca HK": 3952.0, "Hβ": 4862.7, "Mg b": 5176.6, "Na D": 5894.6, "Hα": 6564.6}
"""Vacuum angstrom (blends at their middle): marks for the eye."""
_SPECTRUM_WIDTH, _SPECTRUM_HEIGHT = 750, 90
_EVIDENCE_HEIGHT = 60


@dataclass(frozen=True)
class FramePicture:
    """A raw frame to look at.

    Parameters
    ----------
    name : str
        The file's name.
    whole : str
        Data URI of the frame less its overscan level, block-averaged.
    detail : str
        Data URI of some fibres at full resolution.
    shape : tuple of int
        Of the frame: spatial, wavelength.
    """

    name: str
    whole: str
    detail: str
    shape: tuple[int, int]


@dataclass(frozen=True)
class StarPicture:
    """One star in one arm: its stripe and the spectrum summed from it.

    Parameters
    ----------
    arm : str
        'blue' or 'red'.
    span : str
        Its wavelengths; empty where they are not known.
    stripe : str
        Data URI; rows are spatial pixels.
    spectrum : str
        Inline SVG.
    evidence : str
        Inline SVG: what speaks for the class given (above) and for the true one (below), over
        the same pixels; empty where nobody looked.
    evidence_stripe : str
        Data URI of the same pixel by pixel; empty of spectra.
    """

    arm: str
    span: str
    stripe: str
    spectrum: str
    evidence: str = ""
    evidence_stripe: str = ""


def png_uri(pixels: NDArray[Any], *, percentiles: tuple[float, float] = (1.0, 99.5)) -> str:
    """Turn an array into a grey picture that a page can hold.

    Parameters
    ----------
    pixels : ndarray, shape (n_down, n_across)
        Row 0 is drawn at the bottom; NaN is drawn black.
    percentiles : tuple of float
        Drawn black and white.

    Returns
    -------
    str
        A data URI of a PNG.
    """
    from matplotlib.image import imsave  # noqa: PLC0415

    known = pixels[np.isfinite(pixels)]
    low, high = np.percentile(known, percentiles) if len(known) else (0.0, 1.0)
    shown = np.clip((np.nan_to_num(pixels, nan=low) - low) / max(high - low, 1e-9), 0, 1)
    stream = io.BytesIO()
    # A square root lifts faint fibres beside bright ones; the page says so.
    imsave(stream, np.sqrt(shown), cmap="gray", vmin=0, vmax=1, format="png", origin="lower")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def star_picture(store: Store, row: int, looked: pl.DataFrame | None = None) -> list[StarPicture]:
    """Picture a row of the store, blue and red.

    Parameters
    ----------
    store : Store
        An open store.
    row : int
        The row.
    looked : DataFrame, optional
        `saliency_stars.parquet` of a run; drawn where this row is in it.

    Returns
    -------
    list of StarPicture
        Two.
    """
    rows = np.array([row], dtype=np.int64)
    stripes, box = (store.read(name, rows)[0] for name in ("stripes", "box"))
    coefficients = store.read("wavelength", rows)[0]
    basis = _basis(store, coefficients.shape[-1])
    pictures = []
    for i, arm in enumerate(("blue", "red")):
        scale = coefficients[i] @ basis
        known = bool(np.isfinite(scale).all())
        span = f"{scale[0]:.0f} to {scale[-1]:.0f} Å" if known else ""
        stripe = png_uri(_block_mean(stripes[i], 1, 4), percentiles=(1.0, 99.0))
        spectrum = _spectrum(box[i], _inside(scale) if known else [], f"{arm} spectrum, {span}")
        seen = None if looked is None else _evidence(looked, row, arm)
        evidence = _evidence_pictures(seen, scale) if known and seen is not None else ("", "")
        pictures.append(StarPicture(arm, span, stripe, spectrum, *evidence))
    return pictures


def frame_picture(
    night: Path, profile: InstrumentProfile, exposure: str | None = None
) -> FramePicture | None:
    """Picture a blue science frame of a night.

    Parameters
    ----------
    night : Path
        The night's folder, with or without `raw/`.
    profile : InstrumentProfile
        The instrument.
    exposure : str, optional
        'LMJM-SPID' of the exposure; the first one if not given or not there.

    Returns
    -------
    FramePicture or None
        None where the night has no usable blue frame.
    """
    blue = {e.key: e.blue.object for e in scan_night(night, profile).exposures if e.blue}
    if not blue:
        return None
    path = blue.get(exposure or "", next(iter(blue.values())))
    frame = read_frame(path, profile)
    # The amplifiers' levels differ by more than the light of most fibres: they are taken off.
    counts = frame.electrons
    step = max(1, min(counts.shape) // 700)
    down, across = (n // 2 for n in counts.shape)
    detail = counts[down : down + 90, across : across + 300]
    return FramePicture(
        path.name,
        png_uri(_block_mean(counts, step, step)),
        png_uri(detail),
        (counts.shape[0], counts.shape[1]),
    )


def prepared_with(store: Store) -> PrepareSettings:
    """Look up the settings that made a store.

    Parameters
    ----------
    store : Store
        An open store.

    Returns
    -------
    PrepareSettings
        As its provenance has them.

    Raises
    ------
    StoreError
        The provenance does not have them.
    """
    try:
        return PrepareSettings.model_validate(store.provenance["settings"]["prepare"])
    except (KeyError, TypeError, ValueError) as err:
        came = f"none that this version knows ({' '.join(str(err).split())[:120]})"
        where = store.work / "provenance.json"
        raise StoreError(where, "the settings of prepare that made the store", came) from err


def _basis(store: Store, count: int) -> NDArray[np.float64]:
    """Polynomials of the wavelength at a stripe's rows; (count, n_row)."""
    prepared = prepared_with(store)
    n_wave = load_instrument(prepared.instrument).n_wave
    rows = np.arange(prepared.stripes.row_start, prepared.stripes.row_stop)
    return chebyshev_basis(rows, n_wave, count - 1)


def _block_mean(pixels: NDArray[Any], down: int, across: int) -> NDArray[np.float32]:
    """Average blocks; what does not fill the last block is left out."""
    n, m = pixels.shape[0] // down, pixels.shape[1] // across
    blocks = np.asarray(pixels[: n * down, : m * across]).reshape(n, down, m, across)
    return blocks.mean(axis=(1, 3), dtype=np.float64).astype(np.float32)


def _spectrum(flux: NDArray[Any], lines: list[tuple[str, float]], description: str) -> str:
    """Draw a spectrum over the stripe's own pixels, with a few lines marked."""
    step = max(1, len(flux) // _SPECTRUM_WIDTH)
    mean = _block_mean(np.asarray(flux, dtype=float)[None], 1, step)[0]
    known = mean[np.isfinite(mean)]
    if not len(known):
        return '<p class="note">no light in this arm</p>'
    low, high = np.percentile(known, [0.5, 99.5])
    low = min(low, 0.0)
    down = _SPECTRUM_HEIGHT * (1 - np.clip((mean - low) / max(high - low, 1e-9), 0, 1))
    across = np.arange(len(mean)) * _SPECTRUM_WIDTH / len(mean)
    shown = zip(across[np.isfinite(mean)], down[np.isfinite(mean)], strict=True)
    points = "L".join(f"{u:.0f},{v:.1f}" for u, v in shown)
    box = f"0 0 {_SPECTRUM_WIDTH} {_SPECTRUM_HEIGHT + 4}"
    marks = "".join(
        f'<path class="mark" d="M{_SPECTRUM_WIDTH * place:.1f},0V{_SPECTRUM_HEIGHT + 4}"/>'
        for _, place in lines
    )
    names = "".join(f'<i style="left:{100 * place:.1f}%">{name}</i>' for name, place in lines)
    return (
        f'<svg class="spectrum" viewBox="{box}" preserveAspectRatio="none" role="img" '
        f'aria-label="{description}">{marks}<path class="line" d="M{points}"/></svg>'
        f'<p class="ends">{names}</p>'
    )


def _evidence(looked: pl.DataFrame, row: int, arm: str) -> pl.DataFrame | None:
    """A star's evidence in an arm, for the class given less that for the true one.

    In units of the greatest along wavelength in either arm: the arms can be compared.
    """
    rows = looked.filter(pl.col("row") == row)
    wrong = pl.col("class") != pl.col("predicted")
    value = pl.col("evidence") - pl.when(wrong).then("evidence_true").otherwise(0.0)
    rows = rows.with_columns(value.cast(pl.Float64).alias("shown"))
    along = rows.group_by("arm", "wavelength").agg(pl.col("shown").sum())["shown"]
    top = max(float(along.abs().max() or 0), 1e-12)  # type: ignore[arg-type]
    rows = rows.filter(pl.col("arm") == arm).with_columns(pl.col("shown") / top)
    return rows.sort("pixel", "wavelength") if len(rows) else None


def _evidence_pictures(rows: pl.DataFrame, scale: NDArray[Any]) -> tuple[str, str]:
    """Evidence along the stripe as SVG, and pixel by pixel as a data URI ('' of spectra)."""
    said, true = rows["predicted"][0], rows["class"][0]
    along = rows.group_by("wavelength").agg(pl.col("shown").sum()).sort("wavelength")
    value = along["shown"].to_numpy().astype(float)
    pixel = np.arange(len(scale)) / (len(scale) - 1)
    place = np.atleast_1d(np.interp(along["wavelength"].to_numpy(), scale, pixel))
    down = _EVIDENCE_HEIGHT / 2 * (1 - value)
    points = "L".join(
        f"{u:.0f},{v:.1f}" for u, v in zip(place * _SPECTRUM_WIDTH, down, strict=True)
    )
    middle = _EVIDENCE_HEIGHT / 2
    start, end = _SPECTRUM_WIDTH * place[0], _SPECTRUM_WIDTH * place[-1]
    area = f"M{start:.0f},{middle:.1f}L{points}L{end:.0f},{middle:.1f}Z"
    title = f"evidence: above the line for {said}" + (
        f", below for {true}" if said != true else ""
    )
    svg = (
        f'<svg class="spectrum evidence s0" viewBox="0 0 {_SPECTRUM_WIDTH} {_EVIDENCE_HEIGHT}" '
        f'preserveAspectRatio="none" role="img" aria-label="{title}"><title>{title}</title>'
        f'<path class="area" d="{area}"/>'
        f'<path class="zero" d="M0,{middle:.1f}H{_SPECTRUM_WIDTH}"/></svg>'
    )
    if rows["pixel"].null_count():
        return svg, ""
    across = rows["pixel"].n_unique()
    picture = rows["shown"].to_numpy().astype(float).reshape(across, -1)
    return svg, _diverging_uri(picture)


def _diverging_uri(pixels: NDArray[Any]) -> str:
    """A picture of values about zero: blue for, red against, as in the figures."""
    from matplotlib.image import imsave  # noqa: PLC0415

    top = float(np.percentile(np.abs(pixels), 99.5)) or 1.0
    stream = io.BytesIO()
    imsave(stream, pixels, cmap="RdBu", vmin=-top, vmax=top, format="png", origin="lower")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _inside(scale: NDArray[Any]) -> list[tuple[str, float]]:
    """Lines inside the spectrum, and where along it, 0 to 1."""
    pixel = np.arange(len(scale)) / (len(scale) - 1)
    return [
        (name, float(np.interp(line, scale, pixel)))
        for name, line in _LINES.items()
        if scale[0] < line < scale[-1]
    ]
