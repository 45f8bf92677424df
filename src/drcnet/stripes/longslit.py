"""A star on a long slit: its one trace, the sky beside it, both extractions.

Nothing is taken from a lamp but the slit's ends: the trace and the profile are the star's own,
as a star need not stand where another stood.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, median_filter

from drcnet.config import StripeSettings
from drcnet.errors import FrameError
from drcnet.frames.frame import Frame
from drcnet.stripes.arc import fit_arc
from drcnet.stripes.cut import BAD, COSMIC, OFF_CHIP
from drcnet.stripes.flags import FiberFlag
from drcnet.stripes.measure import ArmStripes
from drcnet.stripes.polynomial import robust_chebyshev
from drcnet.stripes.slitarc import sharpen_arc
from drcnet.stripes.trace import TraceSet
from drcnet.stripes.wavelength import WavelengthSet, nominal_wavelengths

__all__ = ["SlitStar", "measure_slit"]

_STEP = 64  # columns a band: enough light of a faint star to see its centre
_DETECT = 5.0  # standard deviations of the brightest place on the slit
_LIT = 0.5  # share of the flat's light, or the sky's, from which a pixel is on the slit
_SEEN = 10.0  # standard deviations of a sky that shows the slit's ends
_PROFILE_ERROR = 0.03  # least one: with fibres' 0.01, six cores of a real bright star are hits
_NEAR, _FAR = 2.5, 10.0  # FWHM from the star between which the sky is measured
_SIGMA_FWHM = 2.3548200450309493
_CLIP = 3.5
_WIDEST = 25.0  # pixels
_MEDIAN_NOISE = 1.2533  # of a median over that of a mean
_BINS = np.arange(-3.0, 3.0001, 0.125)  # of the profile, FWHM
_MIN_SHARE = 0.3  # of the profile on good pixels, for an estimate


@dataclass(frozen=True, eq=False)
class SlitStar:
    """What `measure_slit` finds.

    Parameters
    ----------
    stripes : ArmStripes
        One row: `optimal` and `box` hold star and sky, `sky` the sky within the same window.
    traces : TraceSet
        One trace, of the star itself.
    wavelengths : WavelengthSet
        One solution.
    reason : str
        Why the wavelengths are nominal; empty where they are not.
    """

    stripes: ArmStripes
    traces: TraceSet
    wavelengths: WavelengthSet
    reason: str = ""


def measure_slit(
    frame: Frame, flat: Frame | None, arc: Frame | None, settings: StripeSettings
) -> SlitStar:
    """Extract the brightest star of a long-slit frame.

    Parameters
    ----------
    frame : Frame
        Science frame.
    flat : Frame or None
        Lamp flat of the same slit, which shows its ends; None: the frame's own sky does, and
        where that is too faint the whole chip is taken for slit. `notes` say which.
    arc : Frame or None
        Arc; None: nominal wavelengths, flagged.
    settings : StripeSettings
        `half_width`, `row_start`, `row_stop`, `trace_degree`, `wavelength_degree`,
        `cosmic_sigma`, `profile_error` (at least 0.03: one star's profile, found in its own
        light, is known less well than a fibre's).

    Returns
    -------
    SlitStar
        Its stripe, spectra and sky.

    Raises
    ------
    FrameError
        No star stands out of the sky, or the rows wanted are beyond the frame.
    """
    n_wave = frame.counts.shape[1]
    if settings.row_stop > n_wave:
        raise FrameError(frame.path, f"at least {settings.row_stop} rows", f"{n_wave} rows")
    lit, ends = _slit(frame, flat)
    traces = _trace(frame, lit, settings)
    sky = _sky_planes(frame, traces, lit, settings)
    table = _profile(frame, traces, sky)
    found = _extract(frame, traces, sky, table, settings)
    wavelengths, reason = _wavelengths(frame, arc, traces, settings)
    stripes = _stripes(frame, found, traces, wavelengths, settings)
    stripes = replace(stripes, notes={**stripes.notes, "slit_ends": ends})
    return SlitStar(stripes, traces, wavelengths, reason)


def _slit(frame: Frame, flat: Frame | None) -> tuple[NDArray[np.bool_], str]:
    """Pixels on the slit, a few from its ends, and what showed them."""
    across = np.median((frame if flat is None else flat).electrons, axis=1)
    ends, level = "from the flat", np.percentile(across, 80)
    if flat is None:
        ends, level = "no flat: from the sky's own light", np.median(across)  # a star is narrow
        noise = _MEDIAN_NOISE * float(frame.read_noise.max()) / np.sqrt(frame.counts.shape[1])
        if level < _SEEN * noise:
            whole = "no flat, and too faint a sky: the whole chip is taken for slit"
            return np.ones(len(across), bool), whole
    lit = across > _LIT * level
    inside = np.flatnonzero(lit)
    lit[: inside[0] + 3] = lit[inside[-1] - 2 :] = False
    return np.asarray(lit), ends


def _bands(frame: Frame, lit: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Medians over bands of columns less the sky, (n_band, n_spatial), and their middles."""
    light = np.where(frame.bad, np.nan, frame.electrons)
    n_band = light.shape[1] // _STEP
    cube = light[:, : n_band * _STEP].reshape(len(light), n_band, _STEP)
    missing = np.isnan(cube).all(axis=2)
    cube[missing] = 0.0
    bands = np.nanmedian(cube, axis=2).T
    bands -= np.stack([_smooth(band, lit) for band in bands])
    bands[:, ~lit] = 0.0
    return bands, _STEP * np.arange(n_band) + (_STEP - 1) / 2.0


def _smooth(band: NDArray[Any], lit: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Clipped parabola along the slit: its sky, as uneven as slits are lit."""
    place = np.linspace(-1, 1, len(band))
    kept = lit.copy()
    for _ in range(4):
        coef = np.polynomial.polynomial.polyfit(place[kept], band[kept], 2)
        away = band - np.polynomial.polynomial.polyval(place, coef)
        kept = lit & (np.abs(away) < 3 * 1.4826 * np.median(np.abs(away[kept])) + 1e-6)
    return np.asarray(np.polynomial.polynomial.polyval(place, coef))


def _trace(frame: Frame, lit: NDArray[np.bool_], settings: StripeSettings) -> TraceSet:
    """Centre and FWHM of the brightest star by Gaussian-weighted moments in bands."""
    bands, rows = _bands(frame, lit)
    scale = 1.4826 * np.median(np.abs(bands[:, lit]), axis=1) + 1e-6
    across = gaussian_filter1d((bands / scale[:, None]).sum(axis=0), 2.0)
    spread = 1.4826 * float(np.median(np.abs(across[lit] - np.median(across[lit]))))
    peak = int(np.argmax(np.where(lit, across, -np.inf)))
    height = (across[peak] - np.median(across[lit])) / max(spread, 1e-6)
    if height < _DETECT:
        wanted = f"a star {_DETECT:g} standard deviations above the sky of its slit"
        raise FrameError(frame.path, wanted, f"nothing above {height:.1f}")
    center, width = np.full(len(rows), float(peak)), np.full(len(rows), 3.0)
    pixel = np.arange(bands.shape[1])
    for _ in range(12):
        away = pixel - center[:, None]
        weight = np.exp(-0.5 * (away / width[:, None]) ** 2)
        total = (weight * bands).sum(axis=1)
        safe = np.where(total > 0, total, np.inf)
        # Matched weights halve the moments of a Gaussian: doubled, the turns settle on it.
        center = center + np.clip(2 * (weight * bands * away).sum(axis=1) / safe, -2, 2)
        second = (weight * bands * away**2).sum(axis=1) / safe
        width = np.clip(np.sqrt(np.maximum(2 * second, 0.5)), 1.0, _WIDEST / _SIGMA_FWHM)
    noise = scale * np.sqrt(2 * np.sqrt(np.pi) * width)
    good = (total > 3 * noise) & (center > 0) & (center < len(pixel) - 1)
    if good.sum() < 3:
        raise FrameError(frame.path, "a trace seen in three bands or more", f"{good.sum()}")
    n_wave = frame.counts.shape[1]
    degree = min(settings.trace_degree, max(1, int(good.sum()) // 4))
    coef, rms, _ = robust_chebyshev(rows, center[None], good[None], n_wave, degree)
    fwhm, _, _ = robust_chebyshev(rows, _SIGMA_FWHM * width[None], good[None], n_wave, 1)
    return TraceSet(
        fiber_id=np.ones(1, np.int64),
        center=coef,
        fwhm=fwhm,
        alive=np.ones(1, bool),
        rms=rms,
        n_wave=n_wave,
        level=np.array([float(np.median(total[good]))]),
    )


@dataclass(frozen=True, eq=False)
class _Sky:
    """A line across the star in each column: value and slope at its centre, and their noise."""

    value: NDArray[np.float64]  # (n_wave,)
    slope: NDArray[np.float64]
    variance: NDArray[np.float64]  # of the value
    center: NDArray[np.float64]

    def at(self, pixel: NDArray[Any]) -> NDArray[np.float64]:
        """Sky at pixels (n, n_wave)."""
        return self.value + self.slope * (pixel - self.center)


def _sky_planes(
    frame: Frame, traces: TraceSet, lit: NDArray[np.bool_], settings: StripeSettings
) -> _Sky:
    """Clipped straight line through the sky on both sides of the star, column by column."""
    rows = np.arange(traces.n_wave)
    center, fwhm = traces.centers(rows)[0], traces.widths(rows)[0]
    pixel = np.arange(len(frame.counts))[:, None]
    away = pixel - center
    near = np.maximum(_NEAR * fwhm, settings.half_width + 1)
    used = (np.abs(away) > near) & (np.abs(away) < near + _FAR * fwhm) & lit[:, None] & ~frame.bad
    light = frame.electrons.astype(np.float64)
    middle = np.nanmedian(np.where(used, light, np.nan), axis=0)
    noise = _read_variance(frame) + np.maximum(middle, 0.0)
    value, slope = middle, np.zeros_like(middle)
    for _ in range(4):
        kept = used & (np.abs(light - value - slope * away) < _CLIP * np.sqrt(noise))
        count = np.maximum(kept.sum(axis=0), 1)
        mean = (kept * away).sum(axis=0) / count
        square = (kept * (away - mean) ** 2).sum(axis=0)
        level = (kept * light).sum(axis=0) / count
        slope = (kept * (away - mean) * light).sum(axis=0) / np.maximum(square, 1.0)
        value = level - slope * mean
    variance = noise.mean(axis=0) * (1 / count + mean**2 / np.maximum(square, 1.0))
    return _Sky(value, slope, variance, center)


def _read_variance(frame: Frame) -> NDArray[np.float64]:
    """Squared read noise of each pixel."""
    return np.asarray(frame.read_noise[frame.amplifier].astype(np.float64) ** 2)


def _profile(frame: Frame, traces: TraceSet, sky: _Sky) -> NDArray[np.float64]:
    """The star's own profile over `_BINS`, light a FWHM: medians of its normalised columns."""
    rows = np.arange(traces.n_wave)
    fwhm = traces.widths(rows)[0]
    pixel = np.arange(len(frame.counts))[:, None]
    u = (pixel - sky.center) / fwhm
    light = frame.electrons - sky.at(pixel)
    inside = np.abs(u) < 1.0
    column = np.where(inside & ~frame.bad, light, 0.0).sum(axis=0)
    column = median_filter(column, 15, mode="nearest")
    bright = column > np.percentile(column, 40)
    value = light[:, bright] / np.maximum(column[bright], 1.0) * fwhm[bright]
    place = np.digitize(u[:, bright], _BINS[:-1] + np.diff(_BINS) / 2)
    good = ~frame.bad[:, bright] & (np.abs(u[:, bright]) < _BINS[-1])
    table = np.zeros(len(_BINS))
    for k in range(len(_BINS)):
        some = value[good & (place == k)]
        table[k] = np.median(some) if len(some) > 10 else 0.0
    table = np.maximum(gaussian_filter1d(table, 0.7), 0.0)
    table[np.abs(_BINS) > 2.0] *= 0.5  # beyond, noise outweighs what is there
    return np.asarray(table / np.trapezoid(table, _BINS))


@dataclass(frozen=True, eq=False)
class _Found:
    """Arrays of one window: (width, rows) or (rows,)."""

    first: NDArray[np.int64]
    data: NDArray[np.float64]
    state: NDArray[np.uint8]
    light: NDArray[np.float64]
    ivar: NDArray[np.float64]
    box: NDArray[np.float64]
    box_ivar: NDArray[np.float64]
    sky: NDArray[np.float64]


def _extract(
    frame: Frame,
    traces: TraceSet,
    sky: _Sky,
    table: NDArray[np.float64],
    settings: StripeSettings,
) -> _Found:
    """Horne (1986, PASP 98, 609), table 1: sky off, cosmic rays one by one, model variance."""
    rows = np.arange(settings.row_start, settings.row_stop)
    center, fwhm = traces.centers(rows)[0], traces.widths(rows)[0]
    first = np.floor(center + 0.5).astype(np.int64) - settings.half_width
    pixel = first + np.arange(settings.width)[:, None]  # (width, rows)
    inside = (pixel >= 0) & (pixel < len(frame.counts))
    place = np.clip(pixel, 0, len(frame.counts) - 1)
    data = np.where(inside, frame.electrons[place, rows], 0.0).astype(np.float64)
    state = np.where(inside, frame.bad[place, rows] * np.uint8(BAD), np.uint8(OFF_CHIP))
    state = state.astype(np.uint8)
    lines = _Sky(sky.value[rows], sky.slope[rows], sky.variance[rows], sky.center[rows])
    under = lines.at(pixel)
    noise = frame.read_noise[frame.amplifier[place, rows]] ** 2 + np.maximum(under, 0.0)
    shape = np.interp((pixel - center) / fwhm, _BINS, table, left=0.0, right=0.0) / fwhm
    shape /= np.maximum(shape.sum(axis=0), 1e-9)
    net = data - under
    light, ivar = _weigh(net, shape, noise, state, settings)
    total = np.where(state == 0, net, light * shape).sum(axis=0)
    lost = np.where(state != 0, shape, 0.0).sum(axis=0)
    spread = np.where(state == 0, noise + np.maximum(light, 0) * shape, 0.0).sum(axis=0)
    known = ivar > 0
    safe = np.where(known, ivar, 1.0)
    spread = spread + lost**2 / safe + settings.width**2 * lines.variance
    weight = np.where(state == 0, shape / (noise + np.maximum(light, 0) * shape), 0.0)
    share = weight.sum(axis=0) / safe
    ivar = np.where(known, 1 / (1 / safe + share**2 * lines.variance), 0.0)
    box_ivar = np.where(known, 1 / spread, 0.0)
    return _Found(first, data, state, light, ivar, total, box_ivar, under.sum(axis=0))


def _weigh(
    net: NDArray[np.float64],
    shape: NDArray[np.float64],
    noise: NDArray[np.float64],
    state: NDArray[np.uint8],
    settings: StripeSettings,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Light and inverse variance by row; marks the worst pixel of a row until none stands out."""
    core = np.where(
        (shape > 0.3 * shape.max(axis=0)) & (state == 0), net / shape.clip(1e-9), np.nan
    )
    core[:, np.isnan(core).all(axis=0)] = 0.0
    light = np.nanmedian(core, axis=0)
    error = max(settings.profile_error, _PROFILE_ERROR)
    for _ in range(len(net)):
        model = np.maximum(light, 0.0) * shape
        spread = noise + model + (error * model) ** 2
        away = np.where(state == 0, (net - light * shape) / np.sqrt(spread), -np.inf)
        worst = np.argmax(away, axis=0)
        row = np.flatnonzero(away[worst, np.arange(net.shape[1])] > settings.cosmic_sigma)
        if _ > 0 and not len(row):
            break
        state[worst[row], row] = COSMIC
        weight = np.where(state == 0, shape / (noise + model), 0.0)
        bottom = (weight * shape).sum(axis=0)
        light = (weight * net).sum(axis=0) / np.where(bottom > 0, bottom, 1.0)
    share = np.where(state == 0, shape, 0.0).sum(axis=0)
    weight = np.where(state == 0, shape / (noise + np.maximum(light, 0) * shape), 0.0)
    bottom = (weight * shape).sum(axis=0)
    return light, np.where(share >= _MIN_SHARE, bottom, 0.0)


def _wavelengths(
    frame: Frame, arc: Frame | None, traces: TraceSet, settings: StripeSettings
) -> tuple[WavelengthSet, str]:
    """Wavelengths from the arc along the star's trace; nominal ones with the reason why."""
    degree = settings.wavelength_degree
    nominal = nominal_wavelengths(frame.profile, frame.name.arm, 1, degree)
    if arc is None:
        return nominal, "no arc"
    try:
        return sharpen_arc(arc, traces, fit_arc(arc, traces, frame.profile, settings)), ""
    except FrameError as err:
        return nominal, str(err)


def _stripes(
    frame: Frame,
    found: _Found,
    traces: TraceSet,
    wavelengths: WavelengthSet,
    settings: StripeSettings,
) -> ArmStripes:
    """The same shapes as a fibre's, with one row."""
    rows = np.arange(settings.row_start, settings.row_stop)
    center = traces.centers(rows)[0]
    known = found.ivar > 0
    ratio = found.light[known] * np.sqrt(found.ivar[known])
    snr = float(np.median(ratio)) if known.any() else 0.0
    amplifier = frame.amplifier[int(center[len(rows) // 2]), rows[len(rows) // 2]]
    cosmic = float((found.state & COSMIC > 0).mean())
    window = frame.saturated[np.clip(np.rint(center).astype(np.int64), 0, None), rows]
    bits = {
        FiberFlag.NO_SIGNAL: snr < 0.5,
        FiberFlag.COSMIC_RICH: cosmic > 0.02,
        FiberFlag.SATURATED: bool(window.any()),
        FiberFlag.OFF_CHIP: bool((found.state & OFF_CHIP).any()),
        FiberFlag.NOMINAL_WAVELENGTH: wavelengths.source == "nominal",
    }
    flags = sum(int(flag) for flag, is_set in bits.items() if is_set)
    single = {
        "box": found.box + found.sky,
        "box_ivar": found.box_ivar,
        "optimal": found.light + found.sky,
        "optimal_ivar": found.ivar,
        "sky": found.sky,
        "offset": center - found.first - settings.half_width,
        "snr": np.array(snr),
        "fwhm": traces.widths(rows[len(rows) // 2, None])[0, 0],
        "gain": frame.gain[amplifier],
        "read_noise": frame.read_noise[amplifier],
    }
    return ArmStripes(
        stripes=(np.rint(4 * found.data) / 4).astype(np.float32)[None],
        mask=found.state[None],
        wavelength=wavelengths.coef,
        flags=np.array([flags], np.uint32),
        sky_fibers=np.zeros(1, bool),
        notes={"sky_fibers": "the slit on both sides of the star", "cosmic_share": cosmic},
        **{name: np.asarray(value, np.float32)[None] for name, value in single.items()},
    )
