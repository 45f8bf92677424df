"""What a lamp flat and an arc tell of one arm: traces, wavelengths, profile, throughput."""

import numpy as np
from numpy.typing import NDArray

from drcnet.config import StripeSettings
from drcnet.errors import FrameError
from drcnet.frames.frame import Frame
from drcnet.instruments import InstrumentProfile
from drcnet.stripes.arc import fit_arc
from drcnet.stripes.bands import Bands, average_bands, band_step
from drcnet.stripes.calibration_file import (
    ArmCalibration,
    read_calibration,
    write_calibration,
)
from drcnet.stripes.cut import frame_pixels, make_windows
from drcnet.stripes.extract import extract_stripes, make_rules, make_shapes
from drcnet.stripes.flags import FiberFlag
from drcnet.stripes.identify import UNREFERENCED_CONFIDENCE, Identity, identify_fibers
from drcnet.stripes.polynomial import chebyshev_basis, robust_chebyshev
from drcnet.stripes.spatial import SpatialProfile
from drcnet.stripes.trace import TraceSet, trace_flat
from drcnet.stripes.wavelength import nominal_wavelengths
from drcnet.stripes.wings import measure_profile

__all__ = [
    "ArmCalibration",
    "calibrate_arm",
    "complete_traces",
    "flat_throughput",
    "lit_fibers",
    "read_calibration",
    "write_calibration",
]

_LIT = 0.1  # of a typical fibre's height, in half of the bands: neighbours' wings bring less
_THROUGHPUT_DEGREE = 6  # a fibre's throughput against the typical one's is smooth


def calibrate_arm(
    flat: Frame,
    arc: Frame | None,
    profile: InstrumentProfile,
    settings: StripeSettings,
    *,
    reference: NDArray[np.float64] | None = None,
) -> ArmCalibration:
    """Measure traces, identities, wavelengths and profile on the calibration frames.

    Parameters
    ----------
    flat : Frame
        Lamp flat.
    arc : Frame or None
        Arc of the same spectrograph and arm; None: nominal wavelengths, flagged.
    profile : InstrumentProfile
        The instrument.
    settings : StripeSettings
        Degrees and thresholds.
    reference : ndarray, shape (count,), optional
        Throughput pattern of this spectrograph and arm, NaN for unknown fibres.

    Returns
    -------
    ArmCalibration
        For `measure_arm`.

    Raises
    ------
    FrameError
        The flat shows too few fibres, or they cannot be told apart.

    Notes
    -----
    The trace of a fibre that was not seen is interpolated; the fibre is flagged as dead where the
    flat is dark there, and its trace as lost where it is not. Identities
    surer than `min_identity`, but less sure than gaps alone can make them, are flagged.
    """
    _check(flat, profile, settings)
    seen = trace_flat(flat, settings)
    identity = identify_fibers(
        seen.centers(np.array([(profile.n_wave - 1) / 2.0]))[:, 0],
        profile.fibers,
        level=seen.level,
        reference=reference,
    )
    _require_identity(flat, seen, identity, settings)
    traces = complete_traces(seen, identity, profile)
    bands = average_bands(flat, band_step(profile.n_wave), trim=True)
    alive = np.flatnonzero(traces.alive)
    shape = measure_profile(
        bands, traces.centers(bands.rows)[alive], traces.widths(bands.rows)[alive], alive
    )
    throughput = flat_throughput(flat, traces, shape, settings)
    count = profile.fibers.count
    nominal = nominal_wavelengths(profile, flat.name.arm, count, settings.wavelength_degree)
    wavelengths = nominal if arc is None else fit_arc(arc, traces, profile, settings)
    unseen = np.where(lit_fibers(bands, traces), FiberFlag.TRACE_LOST, FiberFlag.DEAD)
    flags = np.where(traces.alive, 0, unseen).astype(np.uint32)
    if identity.confidence < UNREFERENCED_CONFIDENCE:
        flags |= np.uint32(FiberFlag.LOW_IDENTITY)
    if wavelengths.source == "nominal":
        flags |= np.uint32(FiberFlag.NOMINAL_WAVELENGTH)
    notes = {
        "identity_shift": identity.shift,
        "identity_scale": identity.scale,
        "identity_lead": identity.rival,
        "identity_referenced": identity.referenced,
        "fibers_alive": int(traces.alive.sum()),
        "traces_lost": int((flags & FiberFlag.TRACE_LOST > 0).sum()),
        "trace_rms": float(np.nanmedian(traces.rms)),
        "wavelength_rms": None if arc is None else float(np.nanmedian(wavelengths.rms)),
    }
    return ArmCalibration(
        flat=flat.name,
        arc=None if arc is None else arc.name,
        traces=traces,
        wavelengths=wavelengths,
        profile=shape,
        throughput=throughput,
        confidence=identity.confidence,
        flags=flags,
        notes=notes,
    )


def _check(flat: Frame, profile: InstrumentProfile, settings: StripeSettings) -> None:
    if flat.profile.name != profile.name:
        raise FrameError(flat.path, f"a frame of {profile.name}", f"one of {flat.profile.name}")
    if settings.row_stop > profile.n_wave:
        raise FrameError(
            flat.path,
            f"at least {settings.row_stop} rows ('row_stop')",
            f"{profile.n_wave} rows",
        )


def _require_identity(
    flat: Frame, seen: TraceSet, identity: Identity, settings: StripeSettings
) -> None:
    matched = int((identity.fiber_id > 0).sum())
    if identity.confidence < settings.min_identity or matched < 2:
        raise FrameError(
            flat.path,
            f"fibres told apart with a confidence of {settings.min_identity:.2f}",
            f"{identity.confidence:.2f}: {len(seen)} traces, {matched} matched to nominal "
            f"places shifted by {identity.shift:.1f} px and scaled by {identity.scale:.4f}",
        )


def complete_traces(seen: TraceSet, identity: Identity, profile: InstrumentProfile) -> TraceSet:
    """Give every fibre of the instrument a trace; those not seen are interpolated.

    Parameters
    ----------
    seen : TraceSet
        Traces found on the flat.
    identity : Identity
        Their fibres.
    profile : InstrumentProfile
        How many fibres there are, and their nominal places.

    Returns
    -------
    TraceSet
        Row i is fibre i + 1; `alive` is False for fibres not seen, whose coefficients are
        interpolated over nominal place from the two fibres around.
    """
    nominal = profile.fibers.centers()
    count = profile.fibers.count
    named = identity.fiber_id > 0
    index = identity.fiber_id[named] - 1
    alive = np.zeros(count, dtype=bool)
    alive[index] = True
    rms, level = np.full(count, np.nan), np.zeros(count)
    rms[index], level[index] = seen.rms[named], seen.level[named]
    return TraceSet(
        fiber_id=np.arange(1, count + 1),
        center=_spread_out(seen.center[named], nominal[index], nominal, slope=True),
        fwhm=_spread_out(seen.fwhm[named], nominal[index], nominal, slope=False),
        alive=alive,
        rms=rms,
        n_wave=seen.n_wave,
        level=level,
    )


def _spread_out(
    coef: NDArray[np.float64],
    known: NDArray[np.float64],
    nominal: NDArray[np.float64],
    *,
    slope: bool,
) -> NDArray[np.float64]:
    """Coefficients at all nominal places; beyond the ends constant, or moving with the place."""
    out = np.column_stack([np.interp(nominal, known, line) for line in coef.T])
    if slope:  # interpolate what the place does not explain
        out[:, 0] = nominal + np.interp(nominal, known, coef[:, 0] - known)
    return out


def lit_fibers(bands: Bands, traces: TraceSet) -> NDArray[np.bool_]:
    """Tell which fibres give light on the lamp flat, wherever their traces come from.

    Parameters
    ----------
    bands : Bands
        The flat.
    traces : TraceSet
        All fibres.

    Returns
    -------
    ndarray, shape (n,), bool
        True where, in at least half of the bands, some pixel within half a FWHM of the trace has
        more than a tenth of what living fibres have at their centres in that band.
    """
    center = traces.centers(bands.rows)
    half = max(1, round(0.5 * float(np.median(traces.widths(bands.rows)))))
    pixel = np.rint(center).astype(np.int64)[..., None] + np.arange(-half, half + 1)
    inside = (pixel >= 0) & (pixel < bands.light.shape[1])
    band = np.arange(len(bands.rows))[:, None]
    light = bands.light[band, np.clip(pixel, 0, bands.light.shape[1] - 1)]
    good = inside & bands.good[band, np.clip(pixel, 0, bands.light.shape[1] - 1)]
    height = np.where(good, light, 0.0).max(axis=2)
    typical = np.median(height[traces.alive], axis=0)
    return np.asarray(np.mean(height > _LIT * typical, axis=1) >= 0.5)


def flat_throughput(
    flat: Frame, traces: TraceSet, shape: SpatialProfile, settings: StripeSettings
) -> NDArray[np.float32]:
    """Throughput of each fibre relative to the typical one, from the flat's own extraction.

    Parameters
    ----------
    flat : Frame
        Lamp flat.
    traces : TraceSet
        All fibres.
    shape : SpatialProfile
        Spatial profile.
    settings : StripeSettings
        Widths and thresholds.

    Returns
    -------
    ndarray, shape (n, n_wave), float32
        Smooth in wavelength; NaN for dead fibres.
    """
    whole = settings.model_copy(update={"row_start": 0, "row_stop": traces.n_wave})
    windows = make_windows(traces, whole)
    shapes = make_shapes(shape, traces, windows)
    extracted = extract_stripes(frame_pixels(flat), windows, shapes, make_rules(settings))
    light = extracted.optimal.astype(np.float64)
    typical = np.median(light[traces.alive], axis=0)
    good = (extracted.optimal_ivar > 0) & (typical > 0) & traces.alive[:, None]
    ratio = np.where(good, light / np.where(typical > 0, typical, 1.0), 0.0)
    rows = np.arange(traces.n_wave, dtype=np.float64)
    step = band_step(traces.n_wave)
    n_band = traces.n_wave // step
    kept = n_band * step
    weight = good[:, :kept].reshape(len(light), n_band, step).sum(axis=2)
    total = ratio[:, :kept].reshape(len(light), n_band, step).sum(axis=2)
    mean = total / np.maximum(weight, 1)
    centers = rows[:kept].reshape(n_band, step).mean(axis=1)
    coef, _, _ = robust_chebyshev(centers, mean, weight > 0, traces.n_wave, _THROUGHPUT_DEGREE)
    smooth = coef @ chebyshev_basis(rows, traces.n_wave, _THROUGHPUT_DEGREE)
    smooth = np.where(traces.alive[:, None], np.maximum(smooth, 1e-3), np.nan)
    return smooth.astype(np.float32)
