"""Finished runs that a training rests on: the one that it begins from, and those that teach it.

What such a run has learnt from counts as learnt from here as well: a run that has seen one of
this split's test stars, itself or through the runs that it rests on, is refused.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import torch
from torch import Tensor, nn

from drcnet.checkpoint import Card, load_classifier, read_card
from drcnet.errors import TrainingError
from drcnet.models import MODELS, build_model
from drcnet.provenance import atomic_write

if TYPE_CHECKING:
    from drcnet.train.task import Task

__all__ = ["Other", "Others", "Teachers", "find_others", "learnt_from", "write_seen"]

_SEEN = "seen.parquet"


@dataclass(frozen=True, eq=False)
class Other:
    """A finished run that a training rests on.

    Parameters
    ----------
    run : Path
        Its folder.
    card : Card
        What it is.
    what : str
        The setting that names it, for messages.
    """

    run: Path
    card: Card
    what: str

    def afresh(self, classes: tuple[str, ...], options: Mapping[str, Any]) -> tuple[str, ...]:
        """Tell which tensors of a model cannot be this run's, since its classes are others.

        Parameters
        ----------
        classes : tuple of str
            Of the model that begins.
        options : Mapping
            Every keyword argument of it.

        Returns
        -------
        tuple of str
            Those whose shape follows the number of classes; none where the classes are the same.
        """
        if self.card.classes == classes:
            return ()
        with torch.random.fork_rng(devices=[]):  # initial weights are drawn, and not used
            one, more = (
                build_model(self.card.model, len(classes) + k, **options).state_dict()
                for k in (0, 1)
            )
        return tuple(name for name, value in one.items() if value.shape != more[name].shape)

    def start(
        self, model: nn.Module, classes: tuple[str, ...], options: Mapping[str, Any]
    ) -> None:
        """Put this run's weights into a model.

        Parameters
        ----------
        model : torch.nn.Module
            With its initial weights, which stay where `afresh` says so.
        classes, options
            As for `afresh`.

        Raises
        ------
        TrainingError
            An option, or the size of the input, is another.
        CheckpointError
            The run's weights are damaged.
        """
        wanted = _plain(options)
        came = _plain(MODELS[self.card.model].options) | _plain(self.card.options)
        differing = [name for name in wanted if wanted[name] != came.get(name)]
        if differing:
            wants, has = (
                ", ".join(f"{name} {values.get(name)}" for name in differing)
                for values in (wanted, came)
            )
            raise TrainingError(f"{self.what} {self.run}", f"a run with {wants}", has)
        fresh = self.afresh(classes, options)
        weights = load_classifier(self.run, "cpu").model.state_dict()
        kept = {name: value for name, value in weights.items() if name not in fresh}
        model.load_state_dict(kept, strict=not fresh)


@dataclass(frozen=True, eq=False)
class Others:
    """All finished runs that a training rests on.

    Parameters
    ----------
    begin : Other or None
        Whose weights it begins with.
    teachers : tuple of Other
        Whose probabilities it learns besides.
    seen : frozenset of str
        Stars that any of them has learnt from.
    """

    begin: Other | None = None
    teachers: tuple[Other, ...] = ()
    seen: frozenset[str] = frozenset()

    @property
    def inputs(self) -> dict[str, str]:
        """Digests of their weights, by what they are here."""
        found = {} if self.begin is None else {"begin_from": self.begin.card.weights}
        numbered = enumerate(self.teachers, start=1)
        return found | {f"teacher_{k}": other.card.weights for k, other in numbered}


@dataclass(frozen=True, eq=False)
class Teachers:
    """Trained networks whose mean probability is learnt.

    Parameters
    ----------
    models : tuple of torch.nn.Module
        In evaluation mode, on the device; all take the input of the one that is taught.
    weight : float
        Of what they say in the loss, from 0 to 1.
    """

    models: tuple[nn.Module, ...]
    weight: float

    @classmethod
    def load(cls, task: "Task", shape: tuple[int, ...], device: torch.device) -> "Teachers | None":
        """Read the teachers of a training.

        Parameters
        ----------
        task : Task
            Names them.
        shape : tuple of int
            Of one star's input.
        device : torch.device
            Where they compute.

        Returns
        -------
        Teachers or None
            None where nobody teaches.

        Raises
        ------
        TrainingError
            One takes an input of another shape.
        CheckpointError
            One cannot be read.
        """
        if task.settings.teachers is None:
            return None
        models = []
        for other in task.others.teachers:
            found = load_classifier(other.run, device.type)
            if found.input_shape != shape:
                where = f"{other.what} {other.run}"
                raise TrainingError(where, f"input of shape {shape}", str(found.input_shape))
            models.append(found.model)
        return cls(tuple(models), task.settings.teachers.weight)

    @torch.no_grad()
    def probability(self, x: Tensor) -> Tensor:
        """Average what the teachers say.

        Parameters
        ----------
        x : Tensor, shape (n, 2, ...)
            Input as the network that is taught sees it.

        Returns
        -------
        Tensor, shape (n, n_class), float32
            Probabilities.
        """
        found = [torch.softmax(model(x).float(), dim=1) for model in self.models]
        return torch.stack(found).mean(dim=0)

    def blend(self, loss: Tensor, logits: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Put what the teachers say beside a loss (Hinton, Vinyals & Dean 2015, arXiv 1503.02531).

        Parameters
        ----------
        loss : Tensor
            The network's own.
        logits : Tensor, shape (n, n_class)
            What it says.
        x : Tensor, shape (n, 2, ...)
            The stars.
        weight : Tensor, shape (n,)
            Of each star, by its class.

        Returns
        -------
        Tensor
            (1 - w) x loss + w x cross entropy to the mean probability of the teachers.
        """
        told = -(self.probability(x) * torch.log_softmax(logits.float(), dim=1)).sum(dim=1)
        return (1 - self.weight) * loss + self.weight * (told * weight).sum() / weight.sum()


def find_others(task: "Task", run: Path) -> "Task":
    """Find and check the runs that a training's settings name; no star is read.

    Parameters
    ----------
    task : Task
        The training.
    run : Path
        Its run folder; names are looked for beside it first, then as paths.

    Returns
    -------
    Task
        With `others`, and their digests among its inputs.

    Raises
    ------
    TrainingError
        A run is missing, unfinished, another model (to begin from), of other classes (to teach),
        of another view, normalisation or instrument, or has seen one of the test stars; or what
        is to be trained is no network.
    CheckpointError
        A run's card is damaged.
    """
    settings = task.settings
    names = () if settings.teachers is None else settings.teachers.runs
    if settings.begin_from is None and not names:
        return task
    if task.entry.kind != "torch":
        raise TrainingError("begin_from and teachers", "a network to train", task.entry.name)
    begin = None
    if settings.begin_from is not None:
        begin = _find("begin_from", settings.begin_from, run, task)
    teachers = tuple(_find("teachers", name, run, task) for name in names)
    others = [other for other in (begin, *teachers) if other is not None]
    seen = {other.run: learnt_from(other.run) for other in others}
    tested = set(task.split.filter(pl.col("part") == "test")["star"])
    for other in others:
        known = sorted(seen[other.run] & tested)
        if known:
            wanted = "a run that has not learnt from this split's test stars"
            came = f"one that has from {len(known)} of them, as {known[0]}"
            raise TrainingError(f"{other.what} {other.run}", wanted, came)
    found = Others(begin, teachers, frozenset().union(*seen.values()))
    return replace(task, others=found, inputs=task.inputs | found.inputs)


def learnt_from(run: Path) -> frozenset[str]:
    """Name the stars that a finished run has learnt from.

    Parameters
    ----------
    run : Path
        Run folder.

    Returns
    -------
    frozenset of str
        Stars of its training and validation part, and those of the runs that it rests on.

    Raises
    ------
    TrainingError
        The run has no predictions, which name them.
    """
    tables = [run / "predictions.parquet", run / _SEEN]
    if not tables[0].is_file():
        raise TrainingError(tables[0], "the predictions of a finished run", "no such file")
    rows = pl.read_parquet(tables[0], columns=["star", "part"])
    stars = set(rows.filter(pl.col("part").is_in(["train", "validation"]))["star"])
    if tables[1].is_file():
        stars |= set(pl.read_parquet(tables[1])["star"])
    return frozenset(stars)


def write_seen(task: "Task", run: Path, origin: Mapping[str, Any]) -> None:
    """Write `seen.parquet`, where a training rests on other runs.

    Parameters
    ----------
    task : Task
        The training.
    run : Path
        Its run folder.
    origin : Mapping
        Its provenance.
    """
    if not task.others.inputs:
        return
    table = pl.DataFrame({"star": sorted(task.others.seen)}, schema={"star": pl.String})
    with atomic_write(run / _SEEN) as path:
        table.write_parquet(path, metadata={"drcnet": json.dumps(origin)})


def _find(what: str, name: str, run: Path, task: "Task") -> Other:
    """One run, checked against the training."""
    places = [path for path in (run.parent / name, Path(name)) if path.is_dir()]
    done = [path for path in places if (path / "card.json").is_file()]
    wanted = f"a finished run: the name of one in {run.parent}, or a path"
    if not done:
        came = "one that is not finished" if places else "no such folder"
        raise TrainingError(f"{what} {name!r}", wanted, came)
    if done[0].resolve() == run.resolve():
        raise TrainingError(f"{what} {name!r}", "another run", "the run itself")
    card = read_card(done[0])
    if card.stopped == "error":
        raise TrainingError(f"{what} {done[0]}", wanted, "one that ended with an error")
    if not (done[0] / "weights.safetensors").is_file():
        raise TrainingError(f"{what} {done[0]}", "one trained model", f"an {card.model}")
    _check_alike(what, done[0], card, task)
    return Other(done[0], card, what)


def _check_alike(what: str, run: Path, card: Card, task: "Task") -> None:
    """Refuse a run that sees other input, or cannot say or be what is wanted."""
    wanted: dict[str, Any] = {
        "view": task.view,
        "normalize": task.settings.normalize,
        "instrument": task.prepared["instrument"],
    }
    own = {"model": task.entry.name} if what == "begin_from" else {"classes": task.classes}
    for name, value in (own | wanted).items():
        came = getattr(card, name)
        if came != value:
            words = [" ".join(v) if isinstance(v, tuple) else str(v) for v in (value, came)]
            raise TrainingError(f"{what} {run}", f"a run of the {name} {words[0]}", words[1])


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as JSON has them: tuples are lists."""
    found: dict[str, Any] = json.loads(json.dumps(dict(options)))
    return found
