"""What surrounds the stars of a part, and changes them: read once for several runs."""

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drcnet.config import settings_toml
from drcnet.dataset.augment import Augmenter, make_augmenter
from drcnet.dataset.augment_scene import Scene, read_scene
from drcnet.dataset.loader import VIEWS, Samples
from drcnet.dataset.store import ARMS, open_arrays
from drcnet.provenance import digest

if TYPE_CHECKING:
    from drcnet.train.task import Task

__all__ = ["pick_stars", "read_augmenter"]

_SCENE_ROWS = 10  # arrays as long as a spectrum that a scene of spectra holds, at most


def read_augmenter(task: "Task", whole: Samples, picked: Samples) -> Augmenter:
    """Give what changes some stars of a part.

    Parameters
    ----------
    task : Task
        Says how, and knows what other runs have read.
    whole : Samples
        The stars of the part, as the store has them.
    picked : Samples
        Those of them that are to be changed.

    Returns
    -------
    Augmenter
        Of the picked stars, in their order; the same whether it was read just now or before.
    """
    settings = task.settings
    rows = digest(whole.row.tolist())
    # the seed is none of what is read
    known = (task.inputs["store"], str(task.store.work), task.view, rows)
    found = task.parts.get(
        ("surroundings", *known, settings_toml(settings.augment)),
        lambda: make_augmenter(
            task.store,
            whole,
            task.view,
            settings=settings.augment,
            seed=settings.seed,
            scene=_scene_of_many(task, whole.row),
        ),
        lambda one: sum(part.nbytes for part in _tensors(one)),
    )
    found = replace(found, seed=settings.seed)
    if len(picked) == len(whole):
        return found
    at = torch.from_numpy(np.searchsorted(whole.row, picked.row))
    beside = found.beside[at] if len(found.beside) else found.beside
    return replace(found, row=picked.row, x=found.x[at], scene=found.scene.take(at), beside=beside)


def _scene_of_many(task: "Task", row: NDArray[np.int64]) -> Scene | None:
    """Take the scene of some rows from that of all rows that the runs of a sweep will want.

    Most of the work is done once an exposure, however few of its rows are asked for, and folds
    ask for a few rows of every exposure. None where there is no room for it, or nothing to share:
    stripes' surroundings are as large as they, and hold their cosmic rays.
    """
    every, arrays = task.parts.rows, VIEWS[task.view]
    if every is None or arrays[0] == "stripes" or not np.isin(row, every).all():
        return None
    length = open_arrays(task.store.work)[f"{ARMS[0]}/{arrays[0]}"].shape[-1]
    size = _SCENE_ROWS * 4 * len(ARMS) * length
    if len(every) <= len(row) or len(every) * size > task.parts.limit // 2:
        return None
    shape = np.broadcast_to(np.float32(0), (len(every), len(ARMS), length))
    known = (task.inputs["store"], str(task.store.work), arrays, digest(every.tolist()))
    found = task.parts.get(
        ("scene", *known),
        lambda: read_scene(task.store, every, shape, task.view),
        lambda one: sum(getattr(one, part.name).nbytes for part in fields(one)),
    )
    return found.take(torch.from_numpy(np.searchsorted(every, row)))


def pick_stars(samples: Samples, rows: Tensor) -> Samples:
    """Keep some stars.

    Parameters
    ----------
    samples : Samples
        Stars.
    rows : Tensor of int64
        Rows of the store to keep; others among them do not matter.

    Returns
    -------
    Samples
        In the same order.
    """
    kept = torch.isin(torch.from_numpy(samples.row), rows)
    if bool(kept.all()):
        return samples
    return Samples(
        samples.x[kept], samples.label[kept], samples.row[kept.numpy()], samples.classes
    )


def _tensors(augmenter: Augmenter) -> Iterator[Tensor]:
    """Everything in it that takes room."""
    yield from (augmenter.x, augmenter.skies, augmenter.beside)
    yield from (getattr(augmenter.scene, part.name) for part in fields(augmenter.scene))
