"""A trained run asked about another store: other stars, labels of other hands."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from drcnet.checkpoint import Classifier, load_classifier
from drcnet.dataset.loader import load_part
from drcnet.dataset.split import read_split, split_digest, split_file
from drcnet.dataset.store import Store, open_store
from drcnet.errors import StoreError
from drcnet.provenance import atomic_write, digest, make_provenance
from drcnet.train.predictions import predictions_table

__all__ = ["apply_run"]

Progress = Callable[[str, int, int], None]

_ROWS = 1024


def apply_run(
    run: Path,
    work: Path,
    out: Path,
    *,
    split: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Path:
    """Predict the test rows of a store with a run that was trained on another one.

    Parameters
    ----------
    run : Path
        A finished run folder.
    work : Path
        The other store's work folder.
    out : Path
        Run folder to write: `predictions.parquet` and the run's card; `evaluate` reads it.
    split : str, optional
        Which split of the store; none: split.parquet.
    device : str
        'auto', 'cpu' or 'cuda'.
    progress : callable, optional
        Called as progress(stage, done, total).

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    StoreError
        The store was prepared otherwise than the run's, a tested star has a class that the run
        does not know, or nothing is tested.
    CheckpointError
        The run cannot be read.
    """
    classifier = load_classifier(Path(run), device)
    store = open_store(work)
    _check(classifier, store)
    path = split_file(Path(work), split)
    dealt = read_split(path)
    tested = dealt.filter(pl.col("part") == "test").sort("row")
    if tested.is_empty():
        raise StoreError(path, "rows to test", "none")
    parts = []
    for start in range(0, len(tested), _ROWS):
        samples = load_part(
            store,
            tested.slice(start, _ROWS),
            "test",
            view=classifier.card.view,
            classes=classifier.card.classes,
        )
        parts.append(classifier.probabilities(samples.x.numpy()))
        if progress is not None:
            progress("predict", min(start + _ROWS, len(tested)), len(tested))
    table = predictions_table(tested, store, np.concatenate(parts), classifier.card.classes)
    origin = make_provenance(
        {"run": Path(run).name, "split": path.name},
        inputs={
            "weights": classifier.card.weights,
            "split": split_digest(dealt),
            "store": digest(store.provenance),
        },
    )
    with atomic_write(out / "predictions.parquet") as partial:
        table.write_parquet(partial, metadata={"drcnet": json.dumps(origin, sort_keys=True)})
    with atomic_write(out / "card.json") as partial:
        partial.write_bytes((Path(run) / "card.json").read_bytes())
    return out


def _check(classifier: Classifier, store: Store) -> None:
    """Refuse a store whose stripes are not those that the run was trained on."""
    prepared = store.provenance["settings"]["prepare"]
    card = classifier.card
    for name, wanted in (("instrument", card.instrument), ("stripes", dict(card.stripes))):
        if prepared[name] != wanted:
            raise StoreError(store.work, f"{name} as in {classifier.run}", f"{prepared[name]}")
