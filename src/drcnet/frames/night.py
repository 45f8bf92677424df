"""Which files of a night belong together.

Judged by names alone; only where an instrument's names do not say the kind of a frame, its header
is opened.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from drcnet.errors import FrameError, NightError
from drcnet.frames.frame import FrameName
from drcnet.frames.read import read_name
from drcnet.instruments import InstrumentProfile

__all__ = [
    "ArmFiles",
    "Exposure",
    "Night",
    "Problem",
    "find_frames",
    "scan_night",
    "with_calibrations",
]

_ENDINGS = (".fit", ".fits", ".fit.gz", ".fits.gz", ".fit.fz", ".fits.fz")
_NEAR = 60  # minutes


@dataclass(frozen=True)
class ArmFiles:
    """What one arm of an exposure needs.

    Parameters
    ----------
    object : Path
        The science frame.
    flat : Path or None
        The nearest lamp flat of the same spectrograph, arm and night; None only on a long slit.
    arc : Path or None
        The nearest arc of the same spectrograph, arm and night.
    biases : tuple of Path
        All bias frames of the same spectrograph, arm and night; may be empty.
    flats : tuple of Path
        The flat first, then all others taken within an hour of it; empty without one.
    """

    object: Path
    flat: Path | None
    arc: Path | None
    biases: tuple[Path, ...]
    flats: tuple[Path, ...] = ()

    @property
    def lamp(self) -> Path:
        """The flat, without which fibres cannot be told apart."""
        if self.flat is None:
            raise FrameError(self.object, "a flat beside it", "none")
        return self.flat


@dataclass(frozen=True)
class Exposure:
    """One exposure of one spectrograph.

    Parameters
    ----------
    key : str
        'LMJM-SPID', as in the index.
    lmjm : int
        Local modified Julian minute.
    spid : int
        Spectrograph.
    blue, red : ArmFiles or None
        Files of each arm; None where it cannot be used (a `Problem` says why).
    """

    key: str
    lmjm: int
    spid: int
    blue: ArmFiles | None
    red: ArmFiles | None

    @property
    def complete(self) -> bool:
        """True where both arms can be used."""
        return self.blue is not None and self.red is not None


@dataclass(frozen=True)
class Problem:
    """Something of a night that cannot be used, and why.

    Parameters
    ----------
    where : str
        The file or files, or the exposure.
    reason : str
        What was wanted and what came.
    exposure : str or None
        Key of the exposure it costs; None where it costs none.
    arm : str or None
        'blue' or 'red'.
    """

    where: str
    reason: str
    exposure: str | None = None
    arm: str | None = None

    def __str__(self) -> str:
        """One line."""
        return f"{self.where}: {self.reason}"


@dataclass(frozen=True)
class Night:
    """The exposures of a night and what is wrong with it.

    Parameters
    ----------
    exposures : tuple of Exposure
        Sorted by lmjm, then spectrograph.
    problems : tuple of Problem
        Files that are unknown or doubled, and arms that cannot be used.
    """

    exposures: tuple[Exposure, ...]
    problems: tuple[Problem, ...]

    def reasons(self, key: str) -> tuple[str, ...]:
        """Say what an exposure lacks.

        Parameters
        ----------
        key : str
            The exposure's key.

        Returns
        -------
        tuple of str
            One line a problem; empty where nothing is missing.
        """
        return tuple(str(p) for p in self.problems if p.exposure == key)


Named = dict[Path, FrameName]


def find_frames(paths: Sequence[Path], profile: InstrumentProfile, kind: str) -> list[Path]:
    """Find the frames of one kind.

    Parameters
    ----------
    paths : sequence of Path
        Files and folders, as for `scan_night`; files of other names are passed over.
    profile : InstrumentProfile
        Whose names the files follow.
    kind : str
        'flat', 'bias', ...

    Returns
    -------
    list of Path
        Sorted by name.

    Raises
    ------
    NightError
        A path is missing, or there is no such frame.
    """
    files = _files([Path(path) for path in paths])
    named = _named(files, profile, [])
    found = [path for path, name in named.items() if name.kind == kind]
    if not found:
        where = ", ".join(str(path) for path in paths)
        raise NightError(where, f"{kind} frames of {profile.name}", _seen(files, named))
    return found


def with_calibrations(paths: Sequence[Path], profile: InstrumentProfile) -> list[Path]:
    """Add the flats, arcs and biases that lie beside object frames given one by one.

    Parameters
    ----------
    paths : sequence of Path
        Files and folders.
    profile : InstrumentProfile
        Whose names the files follow.

    Returns
    -------
    list of Path
        The same, and what lies beside the files.
    """
    out = list(paths)
    folders = sorted({path.parent for path in paths if path.is_file()})
    named = _named(_files(folders), profile, [])
    return [*out, *(p for p, n in named.items() if n.kind in ("flat", "arc", "bias"))]


def scan_night(
    paths: Path | Sequence[Path], profile: InstrumentProfile, *, flats: Path | None = None
) -> Night:
    """Put the files of a night together.

    Parameters
    ----------
    paths : Path or sequence of Path
        Folders, files, or both. A folder gives its FITS files (.fit, .fits, also .gz and .fz),
        not those of folders inside it; a folder with a `raw` folder inside stands for that one.
    profile : InstrumentProfile
        Whose names the files follow.
    flats : Path, optional
        A further folder or file; only its flats, arcs and biases are used.

    Returns
    -------
    Night
        Every exposure of which any object frame is there, also those that cannot be used.

    Raises
    ------
    NightError
        A path is missing, or the paths hold no object frame.
    """
    files = _files([paths] if isinstance(paths, str | Path) else paths)
    problems: list[Problem] = []
    named = _named(files, profile, problems)
    if flats is not None:
        extra = _named(_files([flats]), profile, problems)
        named |= {path: name for path, name in extra.items() if name.kind != "object"}
    named = _without_duplicates(named, problems)
    groups: dict[tuple[str, int, str], Named] = defaultdict(dict)
    for path, name in named.items():
        groups[name.kind, name.spid, name.arm][path] = name
    keys = sorted(
        {(n.lmjm, n.spid) for n in named.values() if n.kind == "object"} | _lost(problems)
    )
    if not keys:
        where = ", ".join(str(p) for p in ([paths] if isinstance(paths, str | Path) else paths))
        raise NightError(where, f"object frames of {profile.name}", _seen(files, named))
    exposures = []
    for lmjm, spid in keys:
        key = _key(lmjm, spid)
        arms = {
            arm: _arm_files((lmjm, spid), arm, groups, problems, lamp=not profile.long_slit)
            for arm in profile.arms
        }
        exposures.append(Exposure(key, lmjm, spid, arms.get("blue"), arms.get("red")))
    return Night(tuple(exposures), tuple(problems))


def _files(paths: Iterable[Path]) -> list[Path]:
    """All FITS files, each once, sorted by name."""
    found: dict[Path, Path] = {}
    for given in paths:
        path = Path(given)
        if not path.exists() and not path.is_symlink():
            raise NightError(path, "a folder or file of raw frames", "nothing there")
        if path.is_dir():
            folder = path / "raw" if (path / "raw").is_dir() else path
            inside = [
                p for p in folder.iterdir() if p.name.endswith(_ENDINGS) and p.name[0] != "."
            ]
        else:
            inside = [path]
        for file in inside:
            found.setdefault(file.absolute(), file)
    return sorted(found.values(), key=lambda p: (p.name, str(p)))


def _named(files: list[Path], profile: InstrumentProfile, problems: list[Problem]) -> Named:
    named: Named = {}
    for path in files:
        try:
            named[path] = read_name(path, profile)
        except FrameError as err:
            problems.append(Problem(str(path), f"wanted {err.wanted}, got {err.came}"))
    return named


def _without_duplicates(named: Named, problems: list[Problem]) -> Named:
    """Leave out files of which there is a second with the same name but for its ending.

    Which of them is right nobody here can know, so neither is used.
    """
    groups: dict[object, list[Path]] = defaultdict(list)
    for path, name in named.items():
        # Calibrations may be taken twice in a minute; a science exposure cannot.
        key = (name.kind, name.spid, name.arm, name.lmjm)
        groups[key if name.kind == "object" else (*key, _stem(path))].append(path)
    single: Named = {}
    for paths in groups.values():
        name = named[paths[0]]
        if len(paths) == 1:
            single[paths[0]] = name
            continue
        lost = (
            (f"{name.lmjm}-{name.spid:02d}", name.arm) if name.kind == "object" else (None, None)
        )
        where = ", ".join(str(p) for p in paths)
        reason = f"wanted one {name.kind} frame, got {len(paths)} of the same name; none is used"
        problems.append(Problem(where, reason, *lost))
    return single


def _key(lmjm: int, spid: int) -> str:
    return f"{lmjm}-{spid:02d}"


def _stem(path: Path) -> str:
    ending = max((e for e in _ENDINGS if path.name.endswith(e)), key=len, default="")
    return path.name.removesuffix(ending)


def _lost(problems: list[Problem]) -> set[tuple[int, int]]:
    keys = (p.exposure.split("-") for p in problems if p.exposure is not None)
    return {(int(lmjm), int(spid)) for lmjm, spid in keys}


def _seen(files: list[Path], named: Named) -> str:
    kinds = sorted({name.kind for name in named.values()})
    if not files:
        return "no FITS files"
    if not named:
        return f"{len(files)} files of other names, the first: {files[0]}"
    return f"{len(files)} files ({', '.join(kinds)})"


def _arm_files(
    exposure: tuple[int, int],
    arm: str,
    groups: dict[tuple[str, int, str], Named],
    problems: list[Problem],
    *,
    lamp: bool,
) -> ArmFiles | None:
    """Find what an arm of an exposure (lmjm, spid) needs, or note what it lacks.

    On a long slit `lamp` is False: a star is its own trace, and a flat shows the slit's ends only.
    """
    lmjm, spid = exposure
    key = _key(lmjm, spid)
    objects = [p for p, n in groups["object", spid, arm].items() if n.lmjm == lmjm]
    if not objects:
        if not any(p.exposure == key and p.arm == arm for p in problems):
            reason = f"wanted a {arm} frame beside the other arm's, got none"
            problems.append(Problem(f"exposure {key}", reason, key, arm))
        return None
    name = groups["object", spid, arm][objects[0]]
    flat = _nearest(groups["flat", spid, arm], name)
    if flat is None and lamp:
        nights = sorted({n.lmjd for n in groups["flat", spid, arm].values()})
        came = f"only of other nights ({nights})" if nights else "none"
        wanted = f"a flat of spectrograph {spid:02d} {arm} of night {name.lmjd}"
        problems.append(Problem(str(objects[0]), f"wanted {wanted}, got {came}", key, arm))
        return None
    arc = _nearest(groups["arc", spid, arm], name)
    biases = (p for p, n in groups["bias", spid, arm].items() if n.lmjd == name.lmjd)
    flats = () if flat is None else _around(groups["flat", spid, arm], flat)
    return ArmFiles(objects[0], flat, arc, tuple(sorted(biases)), flats)


def _around(flats: Named, chosen: Path) -> tuple[Path, ...]:
    """Give the flat, then those near it in time: flexure has hardly moved the traces between."""
    when = flats[chosen].lmjm
    near = [p for p, n in flats.items() if abs(n.lmjm - when) <= _NEAR and p != chosen]
    return (chosen, *sorted(near))


def _nearest(candidates: Named, wanted: FrameName) -> Path | None:
    """Nearest in time, of the same night; the earlier of two equally near."""
    same = [(p, n) for p, n in candidates.items() if n.lmjd == wanted.lmjd]
    order = sorted(same, key=lambda c: (abs(c[1].lmjm - wanted.lmjm), c[1].lmjm, c[1].time, c[0]))
    return order[0][0] if order else None
