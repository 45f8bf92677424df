"""What surrounds the stars of a part, and changes them: read once for several runs."""

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from drcnet.config import settings_toml
from drcnet.dataset.augment import Augmenter, make_augmenter
from drcnet.dataset.loader import Samples
from drcnet.provenance import digest

if TYPE_CHECKING:
    from drcnet.train.task import Task

__all__ = ["pick_stars", "read_augmenter"]


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
            task.store, whole, task.view, settings=settings.augment, seed=settings.seed
        ),
        lambda one: sum(part.nbytes for part in _tensors(one)),
    )
    found = replace(found, seed=settings.seed)
    if len(picked) == len(whole):
        return found
    at = torch.from_numpy(np.searchsorted(whole.row, picked.row))
    beside = found.beside[at] if len(found.beside) else found.beside
    return replace(found, row=picked.row, x=found.x[at], scene=found.scene.take(at), beside=beside)


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
