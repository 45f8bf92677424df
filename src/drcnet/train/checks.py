"""What must hold of settings, store and split before anything is read."""

from pathlib import Path
from typing import Any

import polars as pl

from drcnet.config import TrainSettings
from drcnet.dataset.store import Store
from drcnet.errors import StoreError, TrainingError
from drcnet.models import MODELS, ModelEntry

__all__ = ["check_parts", "check_rows", "find_entry", "prepared_settings"]


def prepared_settings(store: Store) -> dict[str, Any]:
    """Read the settings that made the store, which classifying must repeat.

    Parameters
    ----------
    store : Store
        A finished store.

    Returns
    -------
    dict
        `classes`, `instrument` and `stripes`.

    Raises
    ------
    StoreError
        The store does not say them.
    """
    try:
        prepared = store.provenance["settings"]["prepare"]
        return {name: prepared[name] for name in ("classes", "instrument", "stripes")}
    except (KeyError, TypeError) as err:
        raise StoreError(
            store.work / "provenance.json", "classes, instrument and stripes", f"no {err}"
        ) from err


def find_entry(settings: TrainSettings) -> ModelEntry:
    """Find the model that the settings name.

    Parameters
    ----------
    settings : TrainSettings
        Model and options.

    Returns
    -------
    ModelEntry
        Its line of the registry.

    Raises
    ------
    TrainingError
        No such model, or no such option.
    """
    if settings.model not in MODELS:
        raise TrainingError("model", f"one of {', '.join(MODELS)}", repr(settings.model))
    entry = MODELS[settings.model]
    unknown = sorted(set(settings.options) - set(entry.options))
    if unknown:
        raise TrainingError(
            f"options of {entry.name}", f"among {', '.join(entry.options)}", ", ".join(unknown)
        )
    return entry


def check_rows(path: Path | str, split: pl.DataFrame, store: Store) -> None:
    """Refuse a split of another store: every row must name its star there.

    Parameters
    ----------
    path : Path or str
        Of the split, for the message.
    split : DataFrame
        The split.
    store : Store
        The store that it should be of.

    Raises
    ------
    StoreError
        It is of another.
    """
    stars = store.index.select(pl.col("row").cast(split["row"].dtype), known="star")
    joined = split.select("row", "star").join(stars, on="row", how="left")
    strange = joined.filter(pl.col("star").ne_missing(pl.col("known"))).sort("row")
    if len(strange):
        row, star, known = strange.row(0)
        came = f"{len(strange)} rows of other stars, as row {row}: {star}, here {known}"
        raise StoreError(path, f"a split of the store {store.work}", came)


def check_parts(path: Path | str, split: pl.DataFrame, classes: tuple[str, ...]) -> None:
    """Refuse a split that nothing can be learnt from.

    Parameters
    ----------
    path : Path or str
        Of the split, for the message.
    split : DataFrame
        The split.
    classes : tuple of str
        Classes that the training part must have.

    Raises
    ------
    TrainingError
        A class is missing from the training part, or there are no validation stars.
    """
    trained = split.filter(pl.col("part") == "train")
    missing = [name for name in classes if name not in trained["class"]]
    if missing:
        raise TrainingError(
            path, f"each of {', '.join(classes)} in the training part", f"no {', '.join(missing)}"
        )
    if split.filter(pl.col("part") == "validation").is_empty():
        raise TrainingError(path, "stars in the validation part", "none")
