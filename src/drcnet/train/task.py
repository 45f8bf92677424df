"""What is to be learnt: the stars of a split, the model and its options, all checked."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import nn

from drcnet.checkpoint import pick_device
from drcnet.config import TrainSettings
from drcnet.dataset.augment import Augmenter
from drcnet.dataset.batches import pool_rows
from drcnet.dataset.loader import (
    FLAT_BESIDE,
    FULL,
    PHYSICAL,
    Samples,
    lit_arms,
    load_part,
    normalize_rows,
    see,
)
from drcnet.dataset.profiles import row_reader
from drcnet.dataset.reading import Reading, part_bytes
from drcnet.dataset.remote import RemotePath
from drcnet.dataset.split import read_split, some_stars, split_digest, split_file
from drcnet.dataset.store import Progress, Store, open_store
from drcnet.dataset.stream import ShardStream
from drcnet.errors import TrainingError
from drcnet.frames.velocity import topocentric_velocity
from drcnet.instruments import load_instrument
from drcnet.models import MODELS, ModelEntry, build_model
from drcnet.provenance import digest
from drcnet.train.checks import check_parts, check_rows, find_entry, prepared_settings
from drcnet.train.others import Others
from drcnet.train.parts import Parts
from drcnet.train.recipe import shuffled_labels
from drcnet.train.surroundings import pick_stars, read_augmenter

__all__ = ["Data", "Task", "effective_settings", "load_data", "read_task"]

_VELOCITY = "rv_topo"  # the one target that no catalogue has
_FLAT = ("box", "optimal", "box-sky", "optimal-sky")
_VIEWS_OF = {
    "stripes": ("stripes",),
    "box": _FLAT,
    "optimal": _FLAT,
    "optimal-ivar": ("optimal-ivar",),
    "stripes-sky": (
        "stripes-sky",
        "stripes-full",
        "stripes-flat",
        "optimal-ivar",
        "optimal-full",
    ),
}


@dataclass(frozen=True, eq=False)
class Task:
    """A training, before any pixel is read.

    Parameters
    ----------
    settings : TrainSettings
        The recipe.
    entry : ModelEntry
        The model.
    store : Store
        Where the stars are.
    split : DataFrame
        Which star is in which part.
    whole : DataFrame
        The same before some training stars were left out.
    classes : tuple of str
        In the order of the logits.
    view : str
        What the model sees.
    prepared : dict
        The `PrepareSettings` that made the store.
    inputs : dict
        Digests of split and store.
    parts : Parts
        What other runs of this process have read.
    others : Others
        Finished runs that it rests on.
    """

    settings: TrainSettings
    entry: ModelEntry
    store: Store
    split: pl.DataFrame
    whole: pl.DataFrame
    classes: tuple[str, ...]
    view: str
    prepared: dict[str, Any]
    inputs: dict[str, str]
    parts: Parts = field(default_factory=Parts)
    others: Others = field(default_factory=Others)

    def load(self, rows: pl.DataFrame, part: str, progress: Progress | None = None) -> Samples:
        """Read stars as the model sees them, or take them from a run before.

        Parameters
        ----------
        rows : DataFrame
            The split, or some of its rows.
        part : {'train', 'validation', 'test', 'unused'}
            Which of these rows.
        progress : callable, optional
            Called as progress(stage, done, total).

        Returns
        -------
        Samples
            Electrons; not to be changed in place.
        """
        known = (self.inputs["store"], str(self.store.work), self.view, self.classes)
        return self.parts.get(
            (*known, part, split_digest(rows)),
            lambda: load_part(
                self.store, rows, part, view=self.view, classes=self.classes, progress=progress
            ),
            lambda samples: samples.x.nbytes,
        )


@dataclass(frozen=True, eq=False)
class Data:
    """The stars to learn from, in memory.

    Parameters
    ----------
    train, validation : Samples
        The two parts.
    judged : Samples
        The validation part as the loss is measured on it: normalised, and where the training
        stars are changed, changed once in the same manner.
    options : dict
        Every keyword argument of the model, the size of the input among them.
    normalize : str
        How `train` and `validation` are still to be normalised; 'none' where they are.
    augmenter : Augmenter or None
        Changes the training stars, which then are electrons.
    stream : ShardStream or None
        Reads the training stars where they do not fit into memory; `train` then has no pixels.
    pool : Tensor
        Stars without a label, normalised, for a model that learns from them; else none.
    targets : Tensor, shape (n, m)
        What a model learns of the training stars beside the class, NaN where unknown; else none.
    """

    train: Samples
    validation: Samples
    judged: Samples
    options: dict[str, Any]
    normalize: str = "none"
    augmenter: Augmenter | None = None
    stream: ShardStream | None = None
    pool: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    targets: torch.Tensor = field(default_factory=lambda: torch.empty(0))

    def build(self, task: Task) -> nn.Module:
        """Build the model with the initial weights of the seed.

        Parameters
        ----------
        task : Task
            Gives model, classes and seed.

        Returns
        -------
        torch.nn.Module
            Untrained; laid out channels-last, the fastest on CPU and GPU.

        Raises
        ------
        TrainingError
            An option is unknown or out of range.
        """
        torch.manual_seed(task.settings.seed)
        try:
            model = build_model(task.entry.name, len(task.classes), **self.options)
        except (TypeError, ValueError) as err:
            where = f"options of {task.entry.name}"
            raise TrainingError(where, "values that the model can have", str(err)) from err
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def read_task(work: Path | str, settings: TrainSettings, parts: Parts | None = None) -> Task:
    """Read split and index, and check that they can be learnt from.

    Parameters
    ----------
    work : Path or str
        A work folder that `prepare` has finished, or its URL.
    settings : TrainSettings
        The recipe.
    parts : Parts, optional
        What other runs have read.

    Returns
    -------
    Task
        Checked.

    Raises
    ------
    TrainingError
        The model or an option is unknown, the view is not the model's, a class is missing from
        the training part, or a part is empty.
    StoreError
        Store or split cannot be read.
    """
    entry = find_entry(settings)
    view = settings.view or entry.view
    if view not in _VIEWS_OF[entry.view]:
        raise TrainingError(
            f"view of {entry.name}", f"one of {', '.join(_VIEWS_OF[entry.view])}", repr(view)
        )
    settings = effective_settings(settings)
    store = open_store(work)
    path = _split_of(store.work, settings.split)
    split = read_split(path)
    prepared = prepared_settings(store)
    classes = tuple(prepared["classes"])
    check_rows(path, split, store)
    check_parts(path, split, classes)
    inputs = {"split": split_digest(split), "store": digest(store.provenance)}
    whole = split
    if settings.stars_share is not None:
        split = some_stars(split, settings.stars_share, settings.seed)
    parts = parts or Parts()
    return Task(settings, entry, store, split, whole, classes, view, prepared, inputs, parts)


def effective_settings(settings: TrainSettings) -> TrainSettings:
    """Say what a run will be trained with, and will be recognised by.

    Parameters
    ----------
    settings : TrainSettings
        As asked for; the model is a known one.

    Returns
    -------
    TrainSettings
        Without a normalisation where the view is never normalised.
    """
    view = settings.view or MODELS[settings.model].view
    return settings.model_copy(update={"normalize": "none"}) if view in PHYSICAL else settings


def _split_of(work: Path | RemotePath, name: str | None) -> Path | RemotePath:
    """Where the split is."""
    return split_file(work, name) if isinstance(work, Path) else work / (name or "split.parquet")


def load_data(task: Task, progress: Progress | None = None) -> Data:
    """Read the training and validation stars.

    Parameters
    ----------
    task : Task
        From `read_task`.
    progress : callable, optional
        Called as progress(stage, done, total).

    Returns
    -------
    Data
        In memory; labels in random order where the settings ask for it.
    """
    settings = task.settings
    augmented, how = settings.augment.active, settings.normalize
    stream = _stream(task)

    def load(part: str) -> tuple[Samples, Samples]:
        whole = task.load(task.whole, part, progress)
        picked = pick_stars(whole, task.split.filter(pl.col("part") == part)["row"].to_torch())
        return whole, picked.normalized("none" if augmented else how)

    nothing = None if stream is None else _unread(stream)
    whole_train, train = load("train") if nothing is None else (nothing, nothing)
    whole_validation, validation = load("validation")
    if settings.shuffle_labels:
        # validation too: no true label may choose the weights
        train = Samples(
            train.x, shuffled_labels(train.label, settings.seed), train.row, train.classes
        )
        validation = Samples(
            validation.x,
            shuffled_labels(validation.label, settings.seed + 1),
            validation.row,
            validation.classes,
        )
        if stream is not None:
            stream.label = train.label
    size = {
        "n_wave": validation.x.shape[-1],
        "flat": task.view == FLAT_BESIDE,
        "told": task.view in FULL,
    }
    if validation.x.ndim == 4:
        size["n_spatial"] = validation.x.shape[2]
    known = task.entry.options
    options = known | {k: v for k, v in size.items() if k in known} | settings.options
    pool = _pool(task, train) if task.entry.pools(options) else torch.empty(0)
    targets = _targets(task, train)
    if not augmented:
        return Data(
            train, validation, validation, options, stream=stream, pool=pool, targets=targets
        )
    augmenter = read_augmenter(task, whole_train, train)
    judge = read_augmenter(task, whole_validation, validation)
    judged = replace(validation, x=judge.copy(0)).normalized(how)
    return Data(train, validation, judged, options, how, augmenter, pool=pool, targets=targets)


def _targets(task: Task, train: Samples) -> torch.Tensor:
    """What the index knows of the training stars beside the class, (n, m); NaN where nothing."""
    if not task.entry.targets:
        return torch.empty(0)
    known = task.store.index[train.row.tolist()]
    if _VELOCITY in task.entry.targets and {"rv", "ra", "dec", "lmjm"} <= set(known.columns):
        profile = load_instrument(task.prepared["instrument"])
        known = known.with_columns(pl.Series(_VELOCITY, topocentric_velocity(known, profile)))
    columns = []
    for name in task.entry.targets:
        if name not in known.columns:
            columns.append(np.full(len(known), np.nan))
            continue
        column = known[name]
        if column.dtype == pl.String:  # "G2.5" of class "G": how far along it
            column = column.str.slice(1).cast(pl.Float64, strict=False)
        columns.append(column.cast(pl.Float64).fill_null(np.nan).to_numpy())
    values = np.stack(columns, axis=1).astype(np.float32)
    if task.settings.shuffle_labels:
        values[:] = np.nan  # no true label may get in by another door
    return torch.from_numpy(values)


def _pool(task: Task, train: Samples) -> torch.Tensor:
    """Stars to learn from without labels, normalised; at most four for each training star.

    The store's unlabelled ones, none of a star kept back, and those rows of training stars that
    no part of the split uses; where there are none, the training stars themselves.
    """
    trained = task.split.filter(pl.col("part") == "train")
    unused = task.split.filter(pl.col("part") == "unused")
    rows = [unused.join(trained, on="star", how="semi")["row"].to_numpy()]
    if "pool" in task.store.index.columns:
        rows.append(pool_rows(task.store, "unlabelled", task.split)["row"].to_numpy())
    found = np.unique(np.concatenate(rows)).astype(np.int64)
    if not len(found):
        found = np.sort(train.row)
    rng = np.random.default_rng(np.random.SeedSequence([task.settings.seed, len(found)]))
    found = np.sort(rng.permutation(found)[: 4 * len(train)])
    x = see(task.view, row_reader(task.store, found))
    lit = lit_arms(x, task.view).all(axis=1)
    pixels = torch.from_numpy(np.ascontiguousarray(x[lit]))
    return normalize_rows(pixels, task.settings.normalize, pixels)


def _stream(task: Task) -> ShardStream | None:
    """Training stars that do not fit into the memory that the settings allow."""
    settings = task.settings
    rows = task.split.filter(pl.col("part") == "train")
    needed = part_bytes(task.store, len(rows), task.view)
    if settings.memory_gb is None or needed <= settings.memory_gb * 1e9:
        return None
    if settings.augment.active or task.entry.kind != "torch" or task.entry.begins:
        what = "augmented stars" if settings.augment.active else f"the stars of {task.entry.name}"
        wanted = f"{needed / 1e9:.3g} GB, as {what} must lie in memory"
        raise TrainingError("memory_gb", wanted, f"{settings.memory_gb:g}")
    reading = Reading(
        view=task.view,
        classes=task.classes,
        batch_size=settings.batch_size,
        seed=settings.seed,
        normalize=settings.normalize,
        memory=int(settings.memory_gb * 1e9),
        device=pick_device(settings.device),
    )
    return ShardStream(task.store, rows, reading)


def _unread(stream: ShardStream) -> Samples:
    """Labels and rows without pixels."""
    nothing = torch.empty(len(stream), 0)
    return Samples(nothing, stream.label, stream.row, stream.reading.classes)
