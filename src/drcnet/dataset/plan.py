"""What a night holds and what preparing it would take, before any pixel is read."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from drcnet.config import PrepareSettings
from drcnet.dataset.calibrations import arm_reason
from drcnet.dataset.folds import with_folds
from drcnet.dataset.index import JOINED_COLUMNS
from drcnet.dataset.joining import join_exposures, no_rows
from drcnet.dataset.labels import add_labels
from drcnet.dataset.store import ARMS
from drcnet.errors import FrameError
from drcnet.frames.catalog import CATALOG_COLUMNS
from drcnet.frames.fitsfile import read_header
from drcnet.frames.night import ArmFiles, Exposure, Night, Problem, scan_night
from drcnet.instruments import InstrumentProfile, load_instrument

__all__ = ["Plan", "check", "find_catalog", "plan_exposures"]

_CATALOG_NAMES = (
    "catalog.parquet",
    "catalog.fits",
    "catalog.csv",
    "catalog.csv.gz",
    "catalog.vot",
    "catalog.xml",
)

# Measured on simulated LAMOST nights, one core; they only serve an estimate.
_SECONDS_A_CALIBRATION = 12.0
_SECONDS_AN_EXPOSURE = 6.0
_COMPRESSION = 2.7
"""Bytes of the arrays over bytes on disk."""


@dataclass(frozen=True, eq=False)
class Plan:
    """A dry run of `prepare`.

    Parameters
    ----------
    night : Path
        The night.
    profile : InstrumentProfile
        Its instrument.
    exposures : tuple of Exposure
        In the order of the store's rows.
    problems : tuple of Problem
        Files and arms that cannot be used, and why.
    catalog : Path or None
        The catalogue; None where there is none (a problem says so) or none was asked for.
    joined : Mapping of str to DataFrame
        Exposure key to its catalogue rows, one a fibre.
    disk_needed, disk_free : int
        Bytes.
    seconds : float
        Estimated time on one core.
    """

    night: Path
    profile: InstrumentProfile
    exposures: tuple[Exposure, ...]
    problems: tuple[Problem, ...]
    catalog: Path | None
    joined: Mapping[str, pl.DataFrame]
    disk_needed: int
    disk_free: int
    seconds: float

    @property
    def found(self) -> Night:
        """The exposures with everything that is known to be wrong with them."""
        return Night(self.exposures, self.problems)

    @property
    def rows(self) -> int:
        """Rows that the store would have."""
        return len(self.exposures) * self.profile.fibers.count

    @property
    def labelled(self) -> int:
        """Rows that the catalogue gives a class."""
        return sum(int((table["class"] != "").sum()) for table in self.joined.values())

    @property
    def ready(self) -> bool:
        """True where prepare could start and would have room."""
        usable = any(exposure.complete for exposure in self.exposures)
        return usable and bool(self.joined) and self.disk_needed <= self.disk_free

    def reason(self, key: str, arm: str) -> str:
        """Say why an arm of an exposure cannot be used.

        Parameters
        ----------
        key : str
            The exposure.
        arm : str
            'blue' or 'red'.

        Returns
        -------
        str
            One line; empty where nothing speaks against it.
        """
        return arm_reason(self.problems, key, arm)

    def table(self) -> pl.DataFrame:
        """List what would be used for each arm of each exposure.

        Returns
        -------
        DataFrame
            Columns exposure, arm, object, flat, arc, biases (how many), labelled (fibres with
            a class), reason.
        """
        rows = []
        for exposure in self.exposures:
            labels = self.joined.get(exposure.key)
            labelled = 0 if labels is None else int((labels["class"] != "").sum())
            for arm in ARMS:
                files: ArmFiles | None = getattr(exposure, arm)
                rows.append(
                    {
                        "exposure": exposure.key,
                        "arm": arm,
                        "object": files.object.name if files else "",
                        "flat": files.flat.name if files and files.flat else "",
                        "arc": files.arc.name if files and files.arc else "",
                        "biases": len(files.biases) if files else 0,
                        "labelled": labelled,
                        "reason": self.reason(exposure.key, arm),
                    }
                )
        return pl.DataFrame(rows)

    def as_dict(self) -> dict[str, Any]:
        """Give everything as plain values.

        Returns
        -------
        dict
            JSON-able.
        """
        return {
            "night": str(self.night),
            "instrument": self.profile.name,
            "ready": self.ready,
            "exposures": self.table().to_dicts(),
            "problems": [str(problem) for problem in self.problems],
            "catalog": None if self.catalog is None else str(self.catalog),
            "rows": self.rows,
            "labelled": self.labelled,
            "disk_needed": self.disk_needed,
            "disk_free": self.disk_free,
            "seconds_one_core": self.seconds,
        }

    def describe(self) -> str:
        """Say it in a few lines.

        Returns
        -------
        str
            Text for a terminal.
        """
        complete = sum(exposure.complete for exposure in self.exposures)
        lines = [
            f"{len(self.exposures)} exposures of {self.profile.title}, {complete} with both arms",
            f"{self.rows} rows, {self.labelled} with a class ({self.catalog or 'no catalogue'})",
            f"disk: {self.disk_needed / 1e6:.0f} MB needed, {self.disk_free / 1e6:.0f} MB free",
            f"time: about {self.seconds / 60:.1f} minutes on one core",
        ]
        lines += [f"problem: {problem}" for problem in self.problems]
        return "\n".join(lines)


def check(
    night: Path,
    *,
    catalog: Path | None = None,
    settings: PrepareSettings | None = None,
    out: Path | None = None,
) -> Plan:
    """Find out what a night holds, what is missing, and what preparing it would take.

    File names and headers are read, and the catalogue; no pixels.

    Parameters
    ----------
    night : Path
        A folder of raw frames, or one with `raw/` in it.
    catalog : Path, optional
        The catalogue; none: `catalog.*` in the night's folder.
    settings : PrepareSettings, optional
        What would be prepared; none: the defaults.
    out : Path, optional
        Where the store would go, for the room on that disk; none: the current folder's.

    Returns
    -------
    Plan
        What would be used, what is wrong, rows, disk, time.

    Raises
    ------
    NightError
        The night holds no object frame.
    CatalogError
        The catalogue cannot be read, or names none of the night's fibres.
    """
    settings = settings or PrepareSettings()
    night = Path(night)
    found = scan_night(night, load_instrument(settings.instrument))
    problems = (*found.problems, *_header_problems(found.exposures))
    return plan_exposures(
        night, Night(found.exposures, problems), catalog=catalog, settings=settings, out=out
    )


def plan_exposures(
    night: Path,
    found: Night,
    *,
    catalog: Path | None,
    settings: PrepareSettings,
    out: Path | None = None,
) -> Plan:
    """Plan the store of exposures that are known already, whether their frames are there or not.

    Parameters
    ----------
    night : Path
        The night's folder.
    found : Night
        Its exposures, and what is wrong with them.
    catalog : Path, optional
        The catalogue; none: `catalog.*` in the night's folder.
    settings : PrepareSettings
        What would be prepared.
    out : Path, optional
        Where the store would go; none: the current folder's disk.

    Returns
    -------
    Plan
        As `check` gives it.

    Raises
    ------
    CatalogError
        The catalogue cannot be read, or names none of the night's fibres.
    """
    profile = load_instrument(settings.instrument)
    problems = list(found.problems)
    source = catalog if catalog is not None else find_catalog(night)
    joined: dict[str, pl.DataFrame] = {}
    if settings.unlabelled:
        source, joined = None, _unlabelled(found.exposures, profile, settings)
    elif source is None:
        wanted = f"wanted a catalogue ({', '.join(_CATALOG_NAMES)}), got none; name one"
        problems.append(Problem(str(night), wanted))
    else:
        count = profile.fibers.count
        joined = join_exposures(
            source, found.exposures, count, settings, night=night, problems=problems
        )
    return Plan(
        night=night,
        profile=profile,
        exposures=found.exposures,
        problems=tuple(problems),
        catalog=source,
        joined=joined,
        disk_needed=_disk_needed(len(found.exposures), profile, settings),
        disk_free=_disk_free(out or Path()),
        seconds=_seconds(found.exposures),
    )


def find_catalog(night: Path) -> Path | None:
    """Find the catalogue of a night.

    Parameters
    ----------
    night : Path
        The folder of the night, or its `raw` folder.

    Returns
    -------
    Path or None
        The first of `catalog.parquet`, `.fits`, `.csv`, ... that is there.
    """
    folders = [night, night.parent] if night.name == "raw" else [night]
    candidates = (folder / name for folder in folders for name in _CATALOG_NAMES)
    return next((path for path in candidates if path.is_file()), None)


def _unlabelled(
    exposures: tuple[Exposure, ...], profile: InstrumentProfile, settings: PrepareSettings
) -> dict[str, pl.DataFrame]:
    """Rows of which no catalogue tells anything."""
    rows = no_rows(with_folds(pl.DataFrame(schema=CATALOG_COLUMNS)), profile.fibers.count)
    nothing = add_labels(rows, settings).select(JOINED_COLUMNS)
    return {exposure.key: nothing for exposure in exposures}


def _header_problems(exposures: tuple[Exposure, ...]) -> list[Problem]:
    """Files whose header cannot even be read; prepare will refuse them."""
    costs: dict[Path, list[tuple[str, str]]] = {}
    for exposure in exposures:
        for arm in ARMS:
            files: ArmFiles | None = getattr(exposure, arm)
            if files is not None:
                for path in filter(None, (files.object, files.flat, files.arc, *files.biases)):
                    costs.setdefault(path, []).append((exposure.key, arm))
    problems = []
    for path, costing in sorted(costs.items()):
        try:
            read_header(path)
        except FrameError as err:
            reason = f"wanted {err.wanted}, got {err.came}"
            problems += [Problem(str(path), reason, key, arm) for key, arm in costing]
    return problems


def _disk_needed(n_exposure: int, profile: InstrumentProfile, settings: PrepareSettings) -> int:
    stripes = settings.stripes
    a_row = stripes.rows * (stripes.width * (4 + 1) + 6 * 4)
    arrays = n_exposure * profile.fibers.count * len(ARMS) * a_row / _COMPRESSION
    bias = len(ARMS) * 4 * profile.n_spatial * profile.n_wave
    return int(arrays + bias)


def _disk_free(out: Path) -> int:
    folder = out.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _seconds(exposures: tuple[Exposure, ...]) -> float:
    flats = {files.flat for e in exposures for files in (e.blue, e.red) if files is not None}
    return len(flats) * _SECONDS_A_CALIBRATION + len(exposures) * _SECONDS_AN_EXPOSURE
