"""What lamp flats teach about a spectrograph: throughput patterns, bad pixels, pixel flats."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from drcnet.config import StripeSettings
from drcnet.dataset.calibrations import input_digests
from drcnet.errors import NightError
from drcnet.frames.calibrate import bad_pixels, master_bias, write_bad_pixels
from drcnet.frames.detector import combine_flats, measure_pixel_flat, write_pixel_flat
from drcnet.frames.night import find_frames
from drcnet.frames.read import read_name
from drcnet.instruments import InstrumentProfile, load_instrument
from drcnet.provenance import make_provenance
from drcnet.stripes.reference import learn_reference, write_reference

__all__ = ["learn_detectors", "learn_instrument"]


def learn_instrument(
    flats: Sequence[Path],
    out: Path,
    *,
    instrument: str = "lamost-lrs",
    settings: StripeSettings | None = None,
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Learn throughput patterns from lamp flats and write them.

    Parameters
    ----------
    flats : sequence of Path
        Lamp flats, or folders with them.
    out : Path
        CSV file to write; `StripeSettings.reference` takes it.
    instrument : str
        A shipped profile or the path of one.
    settings : StripeSettings, optional
        `trace_degree`, `min_identity`, `bad_pixels`, `pixel_flat`.

    Returns
    -------
    (DataFrame, tuple of str)
        The patterns, as from `learn_reference`, and the flats that were refused.

    Raises
    ------
    NightError
        There are no flats.
    FrameError
        None could be used.
    """
    settings = settings or StripeSettings()
    profile = load_instrument(instrument)
    found = find_frames(flats, profile, "flat")
    table, refused = learn_reference(found, profile, settings)
    what = {"instrument": profile.name, "stripes": settings.model_dump(mode="json")}
    write_reference(Path(out), table, make_provenance(what, inputs=input_digests(found)))
    return table, refused


def learn_detectors(
    frames: Sequence[Path],
    folder: Path,
    *,
    instrument: str = "lamost-lrs",
    settings: StripeSettings | None = None,
) -> list[Path]:
    """Measure bad pixels and pixel-to-pixel flats of every CCD that has flats and biases.

    Parameters
    ----------
    frames : sequence of Path
        Flats and biases, or folders with them.
    folder : Path
        Where SPID-ARM-bad.fits and SPID-ARM-flat.fits go.
    instrument : str
        A shipped profile or the path of one.
    settings : StripeSettings, optional
        `overscan`; recorded as origin.

    Returns
    -------
    list of Path
        The files made; of a CCD without biases only the pixel flat.

    Raises
    ------
    NightError
        There are no flats.
    FrameError
        A frame cannot be used.
    """
    profile, settings = load_instrument(instrument), settings or StripeSettings()
    flats = _by_ccd(find_frames(frames, profile, "flat"), profile)
    try:
        biases = _by_ccd(find_frames(frames, profile, "bias"), profile)
    except NightError:
        biases = {}
    made = []
    for (spid, arm), paths in sorted(flats.items()):
        dark = biases.get((spid, arm), [])
        bias = master_bias(dark, profile, overscan=settings.overscan) if dark else None
        flat = combine_flats(paths, profile, bias=bias, overscan=settings.overscan)
        what = {"instrument": profile.name, "stripes": settings.model_dump()}
        origin = make_provenance(what, inputs=input_digests([*paths, *dark]))
        stem = f"{spid:02d}-{arm}"
        if bias is not None:
            light, count = flat.electrons, len(dark)
            bad = bad_pixels(bias, profile, arm, flat=light, n_frames=count)
            write_bad_pixels(folder / f"{stem}-bad.fits", bad, origin)
            made.append(folder / f"{stem}-bad.fits")
        response = measure_pixel_flat(flat, n_frames=len(paths))
        write_pixel_flat(folder / f"{stem}-flat.fits", response, origin)
        made.append(folder / f"{stem}-flat.fits")
    return made


def _by_ccd(
    paths: Sequence[Path], profile: InstrumentProfile
) -> dict[tuple[int, str], list[Path]]:
    groups: dict[tuple[int, str], list[Path]] = defaultdict(list)
    for path in paths:
        name = read_name(path, profile)
        groups[name.spid, name.arm].append(path)
    return dict(groups)
