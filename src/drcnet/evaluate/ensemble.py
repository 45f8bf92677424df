"""Several runs as one: the mean of their probabilities, in a run folder like any other."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import tomli_w

from drcnet.checkpoint import CARD_FORMAT
from drcnet.errors import RunError
from drcnet.evaluate.runs import Run, probabilities, read_run
from drcnet.provenance import atomic_write, file_digest, make_provenance

__all__ = ["ensemble"]

_MODEL = "ensemble"
_KEYS = ("row", "star", "class", "part")


def ensemble(runs: Sequence[Path], out: Path, *, overwrite: bool = False) -> Path:
    """Average the probabilities of several runs, and write them as a run.

    Parameters
    ----------
    runs : sequence of Path
        Two or more finished runs of one store and split; models, views and seeds may differ.
    out : Path
        Run folder to make. One that holds the same ensemble already is left as it is.
    overwrite : bool, default False
        Replace another ensemble there; a trained run is never replaced.

    Returns
    -------
    Path
        `out`, with `predictions.parquet`, `settings.toml` and `card.json` as docs/conventions.md
        has them. Parameters, operations and training time are sums over the members, since each
        of them must compute; there are no weights, so it cannot classify frames.

    Raises
    ------
    RunError
        A run has no card or no probabilities, is there twice, is of another store, or has other
        classes or rows than the first; or `out` holds something else.
    """
    out = Path(out)
    members = [read_run(Path(run)) for run in runs]
    _check(members, out)
    digests = [file_digest(run.folder / "predictions.parquet") for run in members]
    if len(set(digests)) < len(digests):
        raise RunError(out, "different runs", "one of them twice")
    names = [run.name for run in members]
    inputs = _inputs(members[0]) | {f"member_{k}": d for k, d in enumerate(digests, start=1)}
    split = members[0].card["provenance"]["settings"].get("split")
    settings = {"model": _MODEL, "members": names} | ({} if split is None else {"split": split})
    if _is_there(out, inputs, overwrite=overwrite):
        return out
    origin = make_provenance(settings, inputs=inputs)
    table = _mean(members)
    card = _card(members, names, origin)
    # The card last: where it is, the run is whole.
    with atomic_write(out / "predictions.parquet") as path:
        table.write_parquet(path, metadata={"drcnet": json.dumps(origin)})
    with atomic_write(out / "settings.toml") as path:
        path.write_text(tomli_w.dumps(settings), encoding="utf-8")
    with atomic_write(out / "card.json") as path:
        path.write_text(json.dumps(card, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return out


def _check(members: Sequence[Run], out: Path) -> None:
    """Refuse runs that cannot be averaged."""
    if len(members) < 2:
        raise RunError(out, "two runs or more", str(len(members)))
    first = members[0]
    keys = first.predictions.select(_KEYS)
    for run in members:
        if not run.card.get("provenance"):
            raise RunError(run.folder, "a run that was trained here", "no card.json")
        if np.isnan(probabilities(run.predictions, run.classes)).any():
            raise RunError(run.folder, "a probability for each class and row", "rows without")
        if set(run.classes) != set(first.classes):
            wanted = f"the classes of {first.name} ({', '.join(first.classes)})"
            raise RunError(run.folder, wanted, ", ".join(run.classes))
        for name, digest in _inputs(first).items():
            came = _inputs(run)[name]
            if came != digest:
                raise RunError(run.folder, f"the {name} of {first.name} ({digest})", str(came))
        if not run.predictions.select(_KEYS).equals(keys):
            came = f"{len(run.predictions)} rows, others or of other stars, classes or parts"
            raise RunError(run.folder, f"the {len(keys)} rows of {first.name}", came)


def _inputs(run: Run) -> dict[str, str]:
    """Digests of the store and split that a run is of."""
    found = run.card["provenance"].get("inputs") or {}
    return {name: str(found.get(name)) for name in ("store", "split")}


def _is_there(out: Path, inputs: Mapping[str, str], *, overwrite: bool) -> bool:
    """Whether the folder holds this ensemble; one that holds something else is an error."""
    if not (out / "predictions.parquet").is_file():
        return False
    found = read_run(out)
    if found.model != _MODEL:
        raise RunError(out, "a new folder, or one of an ensemble", f"a run of {found.model}")
    same = bool(found.card) and found.card["provenance"]["inputs"] == dict(inputs)
    if found.card and not same and not overwrite:
        raise RunError(out, "the same members, or overwrite", "an ensemble of other runs")
    return same


def _mean(members: Sequence[Run]) -> pl.DataFrame:
    """The first run's table with the members' mean probabilities."""
    first = members[0]
    mean = np.mean([probabilities(run.predictions, first.classes) for run in members], axis=0)
    mean /= mean.sum(axis=1, keepdims=True)
    predicted = np.array(first.classes)[mean.argmax(axis=1)]
    return first.predictions.with_columns(
        pl.Series("predicted", predicted.tolist(), dtype=pl.String),
        *(pl.Series(f"p_{name}", mean[:, k]) for k, name in enumerate(first.classes)),
    )


def _card(members: Sequence[Run], names: list[str], origin: dict[str, Any]) -> dict[str, Any]:
    """Say what the ensemble is, in the words of a run's card."""
    cards = [run.card for run in members]
    views = list(dict.fromkeys(str(card["view"]) for card in cards))
    ways = {card["normalize"] for card in cards}
    seeds = {card["seed"] for card in cards}
    training: dict[str, Any] = {
        key: _of_all(cards, key, sum)
        for key in ("parameters", "operations", "seconds", "cpu_seconds")
    }
    training["stars"] = _of_all(cards, "stars", max)
    rate = _of_all(cards, "classified_per_second", lambda v: 1 / sum(1 / x for x in v))
    training["classified_per_second"] = None if rate is None else round(rate, 1)
    known = {key: value for key, value in training.items() if value is not None}
    return {
        "model": _MODEL,
        "view": "+".join(views),
        "normalize": ways.pop() if len(ways) == 1 else "none",
        "seed": seeds.pop() if len(seeds) == 1 else 0,
        "instrument": cards[0]["instrument"],
        "stripes": cards[0]["stripes"],
        "options": {"members": names},
        "classes": list(members[0].classes),
        "split": cards[0]["split"],
        "epochs": 0,
        "best_epoch": 0,
        "stopped": _MODEL,
        "training": known | {"members": len(members)},
        "provenance": origin,
        "weights": "",
        "format": CARD_FORMAT,
    }


def _of_all(
    cards: Sequence[Mapping[str, Any]], key: str, how: Callable[[list[Any]], Any]
) -> Any | None:
    """One number of all members; None where one does not say."""
    values = [card["training"].get(key) for card in cards]
    return None if None in values else how(values)
