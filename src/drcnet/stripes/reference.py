"""Throughput patterns of spectrographs: by them a fibre is known when blocks alone do not tell."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.config import StripeSettings
from drcnet.errors import FrameError
from drcnet.frames.detector import correct_frame
from drcnet.frames.read import read_frame
from drcnet.instruments import InstrumentProfile
from drcnet.provenance import atomic_write
from drcnet.stripes.calibration import complete_traces
from drcnet.stripes.identify import identify_fibers
from drcnet.stripes.trace import trace_flat

__all__ = ["learn_reference", "read_reference", "write_reference"]

_COLUMNS = ("spid", "arm", "fiberid", "throughput", "n_flats", "confidence")


def learn_reference(
    flats: Sequence[Path], profile: InstrumentProfile, settings: StripeSettings
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Learn each CCD's throughput pattern from lamp flats whose fibres can be told apart.

    Parameters
    ----------
    flats : sequence of Path
        Lamp flats of any spectrographs and arms.
    profile : InstrumentProfile
        The instrument.
    settings : StripeSettings
        `trace_degree`, `min_identity`; `reference` is not used.

    Returns
    -------
    (DataFrame, tuple of str)
        A row a fibre of each CCD: spid, arm, fiberid, throughput (light at mid-chip relative to
        the median fibre, median over the flats; null for a fibre dead in all), n_flats and the
        least confidence of their identity. Then the flats that were refused, and why.

    Raises
    ------
    FrameError
        No flat could be used.
    """
    seen: dict[tuple[int, str], list[tuple[NDArray[np.float64], float]]] = defaultdict(list)
    refused = []
    for path in flats:
        try:
            key, level, confidence = _levels(path, profile, settings)
        except FrameError as err:
            refused.append(str(err))
            continue
        seen[key].append((level, confidence))
    if not seen:
        raise FrameError("flats", "a flat whose fibres can be told apart", "; ".join(refused))
    return pl.concat([_pattern(*key, found) for key, found in sorted(seen.items())]), tuple(
        refused
    )


def _levels(
    path: Path, profile: InstrumentProfile, settings: StripeSettings
) -> tuple[tuple[int, str], NDArray[np.float64], float]:
    frame = correct_frame(read_frame(path, profile, overscan=settings.overscan), settings)
    if frame.name.kind != "flat":
        raise FrameError(path, "a flat frame", f"one of kind {frame.name.kind}")
    seen = trace_flat(frame, settings)
    middle = np.array([(profile.n_wave - 1) / 2.0])
    identity = identify_fibers(seen.centers(middle)[:, 0], profile.fibers)
    if identity.confidence < settings.min_identity:
        wanted = f"fibres told apart with a confidence of {settings.min_identity:.2f}"
        raise FrameError(path, wanted, f"{identity.confidence:.2f} of {len(seen)} traces")
    traces = complete_traces(seen, identity, profile)
    level = np.where(traces.alive & (traces.level > 0), traces.level, np.nan)
    return (frame.name.spid, frame.name.arm), level / np.nanmedian(level), identity.confidence


def _pattern(spid: int, arm: str, found: list[tuple[NDArray[np.float64], float]]) -> pl.DataFrame:
    levels = np.stack([level for level, _ in found])
    known = np.isfinite(levels).any(axis=0)
    pattern = np.full(levels.shape[1], np.nan)
    pattern[known] = np.nanmedian(levels[:, known], axis=0)
    return pl.DataFrame(
        {
            "spid": np.full(len(pattern), spid),
            "arm": [arm] * len(pattern),
            "fiberid": np.arange(1, len(pattern) + 1),
            "throughput": pattern,
            "n_flats": np.isfinite(levels).sum(axis=0),
            "confidence": np.full(len(pattern), min(c for _, c in found)),
        }
    ).with_columns(pl.col("throughput").fill_nan(None))


def write_reference(path: Path, table: pl.DataFrame, origin: Mapping[str, Any]) -> None:
    """Write throughput patterns as CSV, its first line the origin.

    Parameters
    ----------
    path : Path
        The file.
    table : DataFrame
        From `learn_reference`.
    origin : Mapping
        What made it, from `drcnet.provenance.make_provenance`.
    """
    head = f"# {json.dumps(origin, sort_keys=True, default=str)}\n"
    with atomic_write(path) as partial:
        partial.write_text(head + table.write_csv(float_precision=6), encoding="utf-8")


def read_reference(path: Path, spid: int, arm: str, count: int) -> NDArray[np.float64] | None:
    """Read the throughput pattern of one CCD.

    Parameters
    ----------
    path : Path
        From `write_reference`.
    spid : int
        Spectrograph.
    arm : str
        'blue' or 'red'.
    count : int
        Fibres of the instrument.

    Returns
    -------
    ndarray, shape (count,), or None
        NaN for an unknown fibre; None where the file does not know this CCD.

    Raises
    ------
    FrameError
        The file cannot be read, or has other fibres.
    """
    try:
        table = pl.read_csv(path, comment_prefix="#")
    except (OSError, pl.exceptions.PolarsError) as err:
        came = str(err).strip().splitlines()[0]
        raise FrameError(path, "throughput patterns (drcnet instrument learn)", came) from err
    missing = [name for name in _COLUMNS[:4] if name not in table.columns]
    if missing:
        raise FrameError(path, f"the columns {', '.join(missing)}", f"only {table.columns}")
    rows = table.filter((pl.col("spid") == spid) & (pl.col("arm") == arm)).sort("fiberid")
    if rows.is_empty():
        return None
    if rows["fiberid"].to_list() != list(range(1, count + 1)):
        raise FrameError(path, f"fibres 1 to {count} of {spid:02d} {arm}", f"{len(rows)} rows")
    return rows["throughput"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
