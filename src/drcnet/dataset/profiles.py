"""What flat and arc say of a row's stripe: profile, neighbours' light, wavelengths.

The profile is the flat's at the trace that was measured on the exposure; the neighbours' light is
what they were extracted to be, on their own profiles; wavelengths are those of the exposure.
Beside the arrays of a store these are three more that can be asked for by name.
"""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.config import StripeSettings
from drcnet.dataset.augment_light import Geometry, fiber_light, make_geometry
from drcnet.dataset.exposure import ExposureStripes
from drcnet.dataset.store import ARMS, Progress, Store
from drcnet.errors import FrameError, StoreError
from drcnet.instruments import InstrumentProfile, load_instrument
from drcnet.stripes.calibration_file import read_calibration
from drcnet.stripes.polynomial import chebyshev_basis

__all__ = [
    "ANGSTROM",
    "FLAT_ARRAYS",
    "arm_reader",
    "by_exposure",
    "calibration_file",
    "exposure_rows",
    "read_geometry",
    "read_profiles",
    "row_reader",
    "stored_instrument",
    "stripe_settings",
    "wavelengths",
]

FLAT_ARRAYS = ("profile", "spilt")
"""Arrays that no store holds and that follow from its `traces/`: shares of the own light on each
pixel, and the neighbours' electrons there; shape (n, 2, 11, L)."""

ANGSTROM = "angstrom"
"""Another: vacuum wavelength of each pixel, from the store's polynomials; shape (n, 2, L)."""

_FLAT_NAME = "{spid:02d}-{arm}-*.fits"


def row_reader(
    store: Store, row: NDArray[np.int64], progress: Progress | None = None
) -> Callable[[str], NDArray[Any]]:
    """Make a function that reads some rows' arrays by name, `FLAT_ARRAYS` and `ANGSTROM` too.

    Parameters
    ----------
    store : Store
        A finished store; with its `traces/`, where one of `FLAT_ARRAYS` is asked for.
    row : ndarray, shape (n,), int64
        Rows.
    progress : callable, optional
        Called as progress(stage, done, total).

    Returns
    -------
    callable
        get(name) gives an array of the n rows, as `drcnet.dataset.loader.see` asks for them.
    """
    flat = functools.cache(lambda: read_profiles(store, row))

    def get(name: str) -> NDArray[Any]:
        if name in FLAT_ARRAYS:
            return flat()[FLAT_ARRAYS.index(name)]
        if name == ANGSTROM:
            n_wave = stored_instrument(store).n_wave
            return wavelengths(store.read("wavelength", row), stripe_settings(store), n_wave)
        return store.read(name, row, progress=progress)

    return get


def arm_reader(
    measured: ExposureStripes, arm: str, settings: StripeSettings
) -> Callable[[str], NDArray[Any]]:
    """Make the same function for one arm of an exposure that no store holds.

    Parameters
    ----------
    measured : ExposureStripes
        One exposure, that arm measured.
    arm : {'blue', 'red'}
        Which arm.
    settings : StripeSettings
        How it was cut.

    Returns
    -------
    callable
        get(name) gives an array of all fibres: as `row_reader`'s, without the axis of the arms.
    """
    one = measured.arms[arm]
    geometry = functools.cache(lambda: read_geometry(measured.calibrations[arm], settings))

    @functools.cache
    def flat() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return fiber_light(geometry(), one.offset, np.arange(measured.n_fiber), one.optimal)

    def get(name: str) -> NDArray[Any]:
        if name == ANGSTROM:
            return wavelengths(one.wavelength, settings, geometry().n_wave)
        found = flat()[FLAT_ARRAYS.index(name)] if name in FLAT_ARRAYS else getattr(one, name)
        return np.asarray(found)

    return get


def wavelengths(
    polynomial: NDArray[np.float64], settings: StripeSettings, n_wave: int
) -> NDArray[np.float32]:
    """Say at which wavelength each pixel of a stripe lies.

    Parameters
    ----------
    polynomial : ndarray, shape (..., degree + 1)
        Chebyshev coefficients over the frame's rows, as a store holds them.
    settings : StripeSettings
        Which rows the stripes are.
    n_wave : int
        Rows of the whole frame.

    Returns
    -------
    ndarray, shape (..., L), float32
        Vacuum angstrom; to a few thousandths of a pixel, which float32 holds.
    """
    rows = np.arange(settings.row_start, settings.row_stop)
    basis = chebyshev_basis(rows, n_wave, polynomial.shape[-1] - 1)
    return np.asarray(polynomial @ basis, dtype=np.float32)


def stored_instrument(store: Store) -> InstrumentProfile:
    """Read the instrument that a store is of.

    Parameters
    ----------
    store : Store
        A finished store.

    Returns
    -------
    InstrumentProfile
        Its profile.

    Raises
    ------
    StoreError
        `prepare` did not write it down.
    """
    try:
        name = str(store.provenance["settings"]["prepare"]["instrument"])
    except (KeyError, TypeError) as err:
        where = store.work / "provenance.json"
        raise StoreError(where, "the instrument of the stripes", str(err)) from err
    return load_instrument(name)


def read_profiles(
    store: Store, row: NDArray[np.int64], *, shift: float = 0.0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Share the light of rows out over their stripes, as the flat and the traces say.

    Parameters
    ----------
    store : Store
        A finished store with its `traces/`.
    row : ndarray, shape (n,), int64
        Rows.
    shift : float, default 0
        Pixels that the traces are believed to lie further on than they were measured to: what a
        wrong trace would make of it.

    Returns
    -------
    profile, spilt : ndarray, shape (n, 2, 11, L), float32
        Of `fiber_light`: shares of the own light, and the neighbours' electrons.
    """
    settings = stripe_settings(store)
    geometry = functools.cache(lambda path: read_geometry(path, settings))
    offset = store.read("offset", row)
    shape = (*offset.shape[:2], settings.width, offset.shape[2])
    profile, spilt = np.empty(shape, np.float32), np.empty(shape, np.float32)
    for here, rows in by_exposure(store, row):
        facts = store.index[rows.tolist()]
        light = store.read("optimal", exposure_rows(store, rows))
        for a, arm in enumerate(ARMS):
            profile[here, a], spilt[here, a] = fiber_light(
                geometry(calibration_file(store, facts, arm)),
                offset[here, a] + np.float32(shift),
                rows % store.n_fiber,
                light[:, a],
            )
    return profile, spilt


def stripe_settings(store: Store) -> StripeSettings:
    """Read how the stripes of a store were cut.

    Parameters
    ----------
    store : Store
        A finished store.

    Returns
    -------
    StripeSettings
        Of `prepare`.

    Raises
    ------
    StoreError
        They are not there, or light was divided by the fibres' throughput.
    """
    try:
        settings = StripeSettings(**store.provenance["settings"]["prepare"]["stripes"])
    except (KeyError, TypeError, ValueError) as err:
        where = store.work / "provenance.json"
        raise StoreError(where, "the settings of the stripes", str(err)) from err
    if settings.fiber_flat:
        raise StoreError(
            store.work, "electrons, to know their noise (fiber_flat = false)", "fiber_flat = true"
        )
    return settings


def by_exposure(
    store: Store, row: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Take rows exposure by exposure.

    Parameters
    ----------
    store : Store
        Gives the number of fibres.
    row : ndarray, shape (n,), int64
        Rows.

    Yields
    ------
    here, rows : ndarray, shape (k,), int64
        Positions in `row`, and the rows, of one exposure.
    """
    exposure = row // store.n_fiber
    for number in np.unique(exposure):
        here = np.flatnonzero(exposure == number)
        yield here, row[here]


def exposure_rows(store: Store, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Name all rows of an exposure.

    Parameters
    ----------
    store : Store
        Gives the number of fibres.
    rows : ndarray, shape (k,), int64
        Rows of one exposure, at least one.

    Returns
    -------
    ndarray, shape (n_fiber,), int64
        In the order of the fibres.
    """
    first = rows[0] // store.n_fiber * store.n_fiber
    return np.arange(first, first + store.n_fiber, dtype=np.int64)


def calibration_file(store: Store, facts: pl.DataFrame, arm: str) -> Path:
    """Find the calibration of an exposure's arm: the flat nearest in time, as `prepare` does.

    Any arc's will do, the profile is the flat's.

    Parameters
    ----------
    store : Store
        A finished store with its `traces/`.
    facts : DataFrame
        Lines of the index of one exposure.
    arm : {'blue', 'red'}
        Which arm.

    Returns
    -------
    Path
        The calibration.

    Raises
    ------
    StoreError
        The store is on another machine, or has none.
    """
    spid, lmjm = int(facts["spid"][0]), int(facts["lmjm"][0])
    folder = store.work / "traces"
    if not isinstance(folder, Path):
        raise StoreError(folder, "a work folder on this machine, with its traces", "a remote one")
    found = sorted(folder.glob(_FLAT_NAME.format(spid=spid, arm=arm)))
    if not found:
        raise StoreError(
            folder, f"the calibration of spectrograph {spid:02d}, arm {arm}", "no such file"
        )
    return min(found, key=lambda path: abs(int(path.stem.split("-")[2]) - lmjm))


def read_geometry(path: Path, settings: StripeSettings) -> Geometry:
    """Read a calibration's profiles.

    Parameters
    ----------
    path : Path
        From `calibration_file`.
    settings : StripeSettings
        How the stripes were cut.

    Returns
    -------
    Geometry
        For `fiber_light`.

    Raises
    ------
    StoreError
        The file is no calibration of the store.
    """
    try:
        return make_geometry(read_calibration(path), settings)
    except FrameError as err:
        raise StoreError(path, "a calibration of this store", str(err)) from err
