"""One frame and its calibration into stripes and 1-D spectra: what prepare and classify share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drcnet.config import StripeSettings
from drcnet.errors import FrameError
from drcnet.frames.frame import Frame
from drcnet.stripes.calibration import ArmCalibration
from drcnet.stripes.cut import BAD, COSMIC, OFF_CHIP, Windows, frame_pixels, make_windows
from drcnet.stripes.extract import (
    Extracted,
    extract_stripes,
    make_rules,
    make_shapes,
)
from drcnet.stripes.flags import FiberFlag
from drcnet.stripes.scatter import measure_glow, tile_glow
from drcnet.stripes.shift import shift_traces
from drcnet.stripes.sky import Sky, choose_sky_fibers, measure_sky
from drcnet.stripes.wavelength import fit_sky

__all__ = ["ArmStripes", "measure_arm"]

_COPIED = ("stripes", "mask", "box", "box_ivar", "optimal", "optimal_ivar")
_COSMIC_SHARE = 0.02
_NO_SIGNAL = 0.5  # median S/N a pixel below which there is no significant light above the sky
_WING_SHARE = 0.1
_GLOW_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class ArmStripes:
    """All fibres of one arm of one exposure; row i of every array is fibre i + 1.

    Parameters
    ----------
    stripes : ndarray, shape (n, width, rows), float32
        Electrons, bias subtracted, sky not subtracted, rounded to 0.25.
    mask : ndarray, shape (n, width, rows), uint8
        0 good; bit 1 bad or saturated pixel, bit 2 cosmic ray, bit 4 off the chip.
    box, box_ivar : ndarray, shape (n, rows), float32
        Aperture sum over the stripe (electrons) and its inverse variance.
    optimal, optimal_ivar : ndarray, shape (n, rows), float32
        Optimal extraction, sky not subtracted, and its inverse variance.
    sky : ndarray, shape (n, rows), float32
        The frame's sky at this fibre, in the units of `optimal`; NaN without sky fibres.
    wavelength : ndarray, shape (n, 5), float64
        Chebyshev coefficients of vacuum wavelength over the frame's rows [0, n_wave - 1]; the
        stripe's row r is the frame's row `row_start` + r.
    offset : ndarray, shape (n, rows), float32
        True trace centre minus the stripe's middle pixel.
    snr : ndarray, shape (n,), float32
        `snr_frame`: median sky-subtracted optimal S/N a native pixel.
    fwhm : ndarray, shape (n,), float32
        Spatial FWHM at the stripe's middle, pixels.
    gain, read_noise : ndarray, shape (n,), float32
        Of the amplifier that read the fibre; electrons per ADU, electrons.
    flags : ndarray, shape (n,), uint32
        `FiberFlag` bits.
    sky_fibers : ndarray, shape (n,), bool
        The fibres that the sky was measured on.
    notes : Mapping
        Shift, stretch, how the sky fibres were found; plain values.
    """

    stripes: NDArray[np.float32]
    mask: NDArray[np.uint8]
    box: NDArray[np.float32]
    box_ivar: NDArray[np.float32]
    optimal: NDArray[np.float32]
    optimal_ivar: NDArray[np.float32]
    sky: NDArray[np.float32]
    wavelength: NDArray[np.float64]
    offset: NDArray[np.float32]
    snr: NDArray[np.float32]
    fwhm: NDArray[np.float32]
    gain: NDArray[np.float32]
    read_noise: NDArray[np.float32]
    flags: NDArray[np.uint32]
    sky_fibers: NDArray[np.bool_]
    notes: Mapping[str, Any] = field(default_factory=dict)


def measure_arm(
    frame: Frame,
    calibration: ArmCalibration,
    settings: StripeSettings,
    *,
    sky_fibers: NDArray[np.bool_] | None = None,
) -> ArmStripes:
    """Cut, mask, extract and measure the sky and S/N of one frame.

    Parameters
    ----------
    frame : Frame
        Science frame of the calibration's spectrograph and arm.
    calibration : ArmCalibration
        Of the same spectrograph and arm.
    settings : StripeSettings
        Widths, rows and thresholds.
    sky_fibers : ndarray, shape (n,), bool, optional
        Which fibres looked at blank sky; none: the faintest fibres that agree with each other,
        and `notes` says so.

    Returns
    -------
    ArmStripes
        Row i is fibre i + 1.

    Raises
    ------
    FrameError
        The frame is of another spectrograph or arm, or too short for the rows wanted.
    """
    _check(frame, calibration, settings, sky_fibers)
    traces, shift = shift_traces(calibration.traces, frame, settings)
    windows = make_windows(traces, settings)
    glow = None
    if settings.scattered_light != "ignore" and traces.alive.any():
        glow = tile_glow(measure_glow(frame, traces, calibration.profile), windows)
    taken = glow if settings.scattered_light == "subtract" else None
    shapes = make_shapes(calibration.profile, traces, windows, taken)
    pixels = frame_pixels(frame)._replace(read_noise=_read_noise(frame))
    raw = extract_stripes(pixels, windows, shapes, make_rules(settings))
    rows = np.arange(settings.row_start, settings.row_stop)
    throughput = calibration.throughput[:, settings.row_start : settings.row_stop]
    used, how = _sky_fibers(raw, throughput, traces.alive, sky_fibers)
    solution, flexure = fit_sky(raw.optimal, raw.optimal_ivar, calibration.wavelengths, rows)
    wavelength = solution.wavelengths(rows)
    sky = measure_sky(raw.optimal, raw.optimal_ivar, wavelength, throughput, used)
    snr = _snr(raw, sky)
    middle = np.array([(settings.row_start + settings.row_stop) / 2.0])
    gain, noise = _amplifier_of(frame, windows)
    flags = _flags((frame, windows), calibration, raw, sky, snr)
    if glow is not None:
        flags[_glowing(glow, raw) & calibration.traces.alive] |= np.uint32(
            FiberFlag.SCATTERED_LIGHT
        )
    notes = {
        **shift,
        **flexure,
        "sky_fibers": how,
        "sky_count": int(sky.used.sum()),
        "sky_scatter": sky.scatter,
        "scattered_light": None if glow is None else float(np.median(glow)),
        "scattered_light_subtracted": taken is not None,
    }
    return ArmStripes(
        **{name: getattr(raw, name) for name in _COPIED},
        sky=sky.light,
        wavelength=solution.coef,
        offset=windows.offset,
        snr=snr,
        fwhm=traces.widths(middle)[:, 0].astype(np.float32),
        gain=gain,
        read_noise=noise,
        flags=flags,
        sky_fibers=sky.used,
        notes=notes,
    )


def _read_noise(frame: Frame) -> NDArray[np.float32]:
    """Read noise of each amplifier, electrons, with that of the master bias taken off.

    A master bias of few frames is noisy itself (five add a fifth to the variance); its noise
    shows in the differences of pixels that follow each other along wavelength.
    """
    noise = np.asarray(frame.read_noise, dtype=np.float64).copy()
    if frame.bias is None:
        return noise.astype(np.float32)
    some = slice(None, None, max(1, frame.bias.shape[0] // 64))
    step = np.abs(np.diff(frame.bias[some].astype(np.float64), axis=1))
    amplifier = frame.amplifier[some, 1:]
    for number in range(len(noise)):
        here = step[amplifier == number]
        if here.size:
            spread = 1.4826 * float(np.median(here)) / np.sqrt(2.0)
            noise[number] = np.hypot(noise[number], spread * frame.gain[number])
    return noise.astype(np.float32)


def _check(
    frame: Frame,
    calibration: ArmCalibration,
    settings: StripeSettings,
    sky_fibers: NDArray[np.bool_] | None,
) -> None:
    flat, name = calibration.flat, frame.name
    if (flat.spid, flat.arm) != (name.spid, name.arm):
        raise FrameError(
            frame.path,
            f"spectrograph {flat.spid}, arm {flat.arm}, as its flat",
            f"spectrograph {name.spid}, arm {name.arm}",
        )
    if (
        frame.counts.shape[1] != calibration.traces.n_wave
        or settings.row_stop > frame.counts.shape[1]
    ):
        raise FrameError(
            frame.path,
            f"{calibration.traces.n_wave} rows, at least {settings.row_stop}",
            f"{frame.counts.shape[1]} rows",
        )
    count = len(calibration.traces)
    if sky_fibers is not None and sky_fibers.shape != (count,):
        raise FrameError(frame.path, f"sky_fibers of shape ({count},)", str(sky_fibers.shape))


def _sky_fibers(
    raw: Extracted,
    throughput: NDArray[np.float32],
    alive: NDArray[np.bool_],
    given: NDArray[np.bool_] | None,
) -> tuple[NDArray[np.bool_], str]:
    if given is not None:
        return given & alive, "given" if (given & alive).sum() > 1 else "none"
    usable = alive & ((raw.optimal_ivar > 0).mean(axis=1) > 0.5)
    found = choose_sky_fibers(raw.optimal, throughput, usable)
    return found, "the faintest fibres that agree" if found.any() else "none"


def _snr(raw: Extracted, sky: Sky) -> NDArray[np.float32]:
    """Median sky-subtracted S/N; without a sky, that of all light."""
    light = raw.optimal - np.where(np.isfinite(sky.light), sky.light, 0.0)
    ratio = np.where(raw.optimal_ivar > 0, light * np.sqrt(raw.optimal_ivar), np.nan)
    seen = np.isfinite(ratio).any(axis=1)
    snr = np.zeros(len(ratio), dtype=np.float32)
    snr[seen] = np.nanmedian(ratio[seen], axis=1)
    return snr


def _amplifier_of(
    frame: Frame, windows: Windows
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    middle = windows.first.shape[1] // 2
    x = windows.first[:, middle] + windows.width // 2
    x = np.clip(x, 0, frame.counts.shape[0] - 1)
    amplifier = frame.amplifier[x, windows.row_start + middle]
    return frame.gain[amplifier].astype(np.float32), frame.read_noise[amplifier].astype(np.float32)


def _flags(
    place: tuple[Frame, Windows],
    calibration: ArmCalibration,
    raw: Extracted,
    sky: Sky,
    snr: NDArray[np.float32],
) -> NDArray[np.uint32]:
    """`FiberFlag` bits of every fibre."""
    frame, windows = place
    flags = calibration.flags.copy()
    size = raw.mask[0].size
    bits = {
        FiberFlag.COSMIC_RICH: (raw.mask & COSMIC > 0).sum(axis=(1, 2)) > _COSMIC_SHARE * size,
        FiberFlag.SATURATED: _saturated(frame, windows, raw.mask),
        FiberFlag.OFF_CHIP: (raw.mask & OFF_CHIP > 0).any(axis=(1, 2)),
        FiberFlag.SKY_FIBER: sky.used,
        FiberFlag.NO_SIGNAL: snr < _NO_SIGNAL,
        FiberFlag.BRIGHT_NEIGHBOR: _bright_neighbor(raw) & calibration.traces.alive,
    }
    for flag, where in bits.items():
        flags[where] |= np.uint32(flag)
    return flags


def _saturated(frame: Frame, windows: Windows, mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Fibres with a saturated pixel in their stripe."""
    fiber, k, r = np.nonzero(mask & BAD)
    counts = frame.counts[windows.first[fiber, r] + k, windows.row_start + r]
    found = np.zeros(len(mask), dtype=bool)
    found[fiber[counts >= frame.profile.saturation]] = True
    return found


def _bright_neighbor(raw: Extracted) -> NDArray[np.bool_]:
    """Where the neighbours' wings bring more than a tenth of the fibre's own light."""
    own = np.maximum(np.median(raw.optimal, axis=1), 0.0)
    return np.asarray(np.median(raw.spilt, axis=1) > _WING_SHARE * own)


def _glowing(glow: NDArray[np.float32], raw: Extracted) -> NDArray[np.bool_]:
    """Where scattered light brings more than a fifth of what the whole stripe holds."""
    width = raw.stripes.shape[1]
    whole = np.maximum(np.median(raw.box, axis=1), 0.0)
    return np.asarray(width * np.median(glow, axis=1) > _GLOW_SHARE * whole)
