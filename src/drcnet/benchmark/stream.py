"""One exposure from its plan to its rows of the store, its raw frames removed behind it.

A survey's raw frames need twice the room of its store, and nobody looks at them; an exposure's
are written, measured and removed by one task.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drcnet.dataset.store import ARMS
from drcnet.dataset.tasks import ExposureTask, prepare_exposure
from drcnet.frames.night import ArmFiles, Exposure
from drcnet.simulate.exposure import FrameTask, frame_digest, write_frame

__all__ = ["StreamTask", "find_exposures", "finished", "group_frames", "stream_exposure"]

Frames = Mapping[tuple[int, int], Sequence[FrameTask]]
"""(lmjm, spid) to the frames of both arms."""


@dataclass(frozen=True, eq=False)
class StreamTask:
    """An exposure to be simulated and measured.

    Parameters
    ----------
    frames : sequence of FrameTask
        Its raw frames.
    measure : ExposureTask
        What to make of them.
    keep_raw : bool
        Leave the raw frames.
    """

    frames: Sequence[FrameTask]
    measure: ExposureTask
    keep_raw: bool


def stream_exposure(task: StreamTask) -> bool:
    """Write the frames of one exposure, measure them, and remove them.

    Parameters
    ----------
    task : StreamTask
        Which.

    Returns
    -------
    bool
        True where it was made now, False where its part of the index was there.

    Raises
    ------
    NightError, StoreError
        Something cannot be written.
    """
    made = not finished(task.measure)
    if made or task.keep_raw:
        for frame in task.frames:
            if frame_digest(frame.path) != frame.digest:
                write_frame(frame)
    if made:
        prepare_exposure(task.measure)
    if not task.keep_raw:
        for frame in task.frames:
            frame.path.unlink(missing_ok=True)
    return made


def finished(task: ExposureTask) -> bool:
    """Tell whether an exposure's part of the index, which is written last, is there.

    Parameters
    ----------
    task : ExposureTask
        The exposure.

    Returns
    -------
    bool
        True where it is; that it belongs to this benchmark is the folder's matter.
    """
    return any((task.work / "parts").glob(f"{task.exposure.key}.*.parquet"))


def group_frames(frames: Sequence[FrameTask]) -> dict[tuple[int, int], list[FrameTask]]:
    """Put the object frames of one exposure together.

    Parameters
    ----------
    frames : sequence of FrameTask
        Of a whole night.

    Returns
    -------
    dict of (int, int) to list of FrameTask
        (lmjm, spid) to both arms, sorted.
    """
    groups: dict[tuple[int, int], list[FrameTask]] = {}
    for frame in frames:
        if frame.exposure.kind == "object":
            groups.setdefault((frame.exposure.lmjm, frame.spid), []).append(frame)
    return dict(sorted(groups.items()))


def find_exposures(frames: Sequence[FrameTask], groups: Frames) -> tuple[Exposure, ...]:
    """List the exposures as a scan of the finished night would.

    Parameters
    ----------
    frames : sequence of FrameTask
        Of a whole night.
    groups : mapping
        From `group_frames`.

    Returns
    -------
    tuple of Exposure
        Sorted by lmjm, then spectrograph.
    """
    lamps = [frame for frame in frames if frame.exposure.kind != "object"]
    return tuple(
        Exposure(f"{lmjm}-{spid:02d}", lmjm, spid, *_arms(both, lamps))
        for (lmjm, spid), both in groups.items()
    )


def _arms(both: Sequence[FrameTask], lamps: Sequence[FrameTask]) -> list[ArmFiles | None]:
    of_arm = {frame.arm: frame for frame in both}
    return [_files(of_arm[arm], lamps) if arm in of_arm else None for arm in ARMS]


def _files(frame: FrameTask, lamps: Sequence[FrameTask]) -> ArmFiles:
    mine = [one for one in lamps if (one.spid, one.arm) == (frame.spid, frame.arm)]
    # All lamps come before the first plate, so the nearest flat is the last one.
    flats = [one.path for one in mine if one.exposure.kind == "flat"]
    arcs = [one.path for one in mine if one.exposure.kind == "arc"]
    biases = tuple(sorted(one.path for one in mine if one.exposure.kind == "bias"))
    nearest = flats[-1]
    return ArmFiles(
        frame.path, nearest, arcs[-1] if arcs else None, biases, (nearest, *sorted(flats[:-1]))
    )
