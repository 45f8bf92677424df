"""A run folder in; its `calibration.json` out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.calibrate.conformal import conformal_threshold
from drcnet.calibrate.fading import Fading, fade_part, interval_bounds
from drcnet.calibrate.product import Calibration, write_calibration
from drcnet.calibrate.strange import (
    Seen,
    Space,
    Surroundings,
    binned,
    fit_space,
    fit_surroundings,
)
from drcnet.calibrate.temperature import fit_temperature, scale_logits
from drcnet.checkpoint import Classifier, load_classifier, predict
from drcnet.config import CalibrateSettings
from drcnet.dataset.split import read_split, split_digest, split_file
from drcnet.dataset.store import Progress, Store, open_store
from drcnet.errors import RunError, StoreError
from drcnet.provenance import digest, make_provenance

__all__ = ["calibrate"]

_SPECTRA = "optimal-sky"
_STEPS = 3


@dataclass(frozen=True, eq=False)
class _Rows:
    """Faded validation stars as the model sees them. n rows."""

    interval: NDArray[np.str_]
    logits: NDArray[np.float64]
    label: NDArray[np.int64]
    star: NDArray[np.str_]
    snrr: NDArray[np.float64]

    @property
    def stars(self) -> int:
        """How many stars they are of."""
        return len(set(self.star.tolist()))

    @property
    def weight(self) -> NDArray[np.float64]:
        """Every interval counts alike, and in it every star."""
        keys = np.char.add(np.char.add(self.interval, "/"), self.star)
        _, index, count = np.unique(keys, return_inverse=True, return_counts=True)
        _, where, _ = np.unique(self.interval, return_inverse=True, return_counts=True)
        share = 1.0 / count[index]
        return np.asarray(share / np.bincount(where, share)[where])


def calibrate(
    run: Path,
    work: Path,
    settings: CalibrateSettings | None = None,
    *,
    like: Calibration | None = None,
    progress: Progress | None = None,
) -> Calibration:
    """Learn how sure a trained model may be from faded validation stars.

    Parameters
    ----------
    run : Path
        Run folder of a finished training.
    work : Path
        The work folder that it was trained on.
    settings : CalibrateSettings, optional
        Defaults if not given.
    like : Calibration, optional
        Of another run. Where it was made with the same settings, on the same stars of the same
        store, what does not depend on the model (most of the work) is taken from it.
    progress : callable, optional
        Called as progress('calibrate', done, total).

    Returns
    -------
    Calibration
        Written to `calibration.json` in the run folder. No row and no star of the test part is
        used; only the light of their fibres, as neighbours', enters the scene around a star.
        The validation stars that chose the weights are used again, so the limits are a
        little too hopeful; measured coverage on the test part tells by how much.

    Raises
    ------
    CheckpointError
        The run is not finished.
    RunError
        It was trained on another split or store.
    StoreError
        The store cannot be read, or a validation star cannot be faded.
    """
    settings = settings or CalibrateSettings()
    step = progress or (lambda _stage, _done, _total: None)
    classifier = load_classifier(Path(run))
    store = open_store(work)
    split, intervals = _split(classifier, store)
    fading = Fading(classifier.card.view, classifier.card.classes, intervals, settings)
    step("calibrate", 0, _STEPS)
    rows = _validation(classifier, store, split, fading)
    step("calibrate", 1, _STEPS)
    card = classifier.card
    temperature = fit_temperature(rows.logits, rows.label, rows.snrr, rows.weight, rows.stars)
    p = scale_logits(rows.logits, rows.snrr, temperature)
    thresholds = {}
    for name in dict.fromkeys(rows.interval.tolist()):
        here = rows.interval == name
        found = conformal_threshold(p[here], rows.label[here], rows.star[here], settings.coverage)
        thresholds[name] = found
    step("calibrate", 2, _STEPS)
    origin = _provenance(settings, store, split, rows)
    surroundings: Mapping[str, Surroundings]
    if like is None or not _same_stars(like, card.classes, tuple(thresholds), origin):
        space, surroundings = _spectra(store, split, fading)
        factor = _snr_factor(store, split)
    else:
        space, surroundings, factor = like.space, like.surroundings, like.snrr_per_snr_red
    calibration = Calibration(
        classes=card.classes,
        weights=card.weights,
        temperature=temperature,
        coverage=settings.coverage,
        thresholds=thresholds,
        space=space,
        surroundings=surroundings,
        false_rejection=settings.false_rejection,
        faintest=settings.faintest,
        snrr_per_snr_red=factor,
        provenance=origin,
    )
    write_calibration(Path(run), calibration)
    step("calibrate", _STEPS, _STEPS)
    return calibration


def _same_stars(
    like: Calibration,
    classes: tuple[str, ...],
    intervals: tuple[str, ...],
    origin: Mapping[str, Any],
) -> bool:
    """Whether spectra were compared with the same ones, faded alike."""
    known = all(like.provenance.get(key) == origin[key] for key in ("inputs", "settings"))
    return known and like.classes == classes and tuple(like.thresholds) == intervals


def _split(classifier: Classifier, store: Store) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The run's own split without its test part, and the names of its intervals."""
    card = classifier.card
    if not isinstance(store.work, Path):
        raise StoreError(store.work, "a work folder on this machine, with its traces", "a URL")
    path = split_file(store.work, card.provenance["settings"].get("split"))
    split = read_split(path)
    found = split_digest(split)
    if found != card.split:
        raise RunError(
            classifier.run,
            f"a run on the split {path} ({found})",
            f"one on another ({card.split})",
        )
    names = sorted(split["interval"].drop_nulls().unique(), key=interval_bounds, reverse=True)
    return split.filter(pl.col("part").is_in(["train", "validation"])), tuple(names)


def _validation(
    classifier: Classifier, store: Store, split: pl.DataFrame, fading: Fading
) -> _Rows:
    """Fade the validation stars and show them to the model."""
    columns: list[tuple[Any, ...]] = []
    for faded in fade_part(store, split, "validation", fading):
        how = classifier.card.normalize
        logits = predict(classifier.model, faded.x, classifier.device, how=how)
        name = np.full(len(faded.row), faded.interval)
        columns.append((name, logits.numpy(), faded.label, faded.star, faded.snrr))
    return _Rows(*(np.concatenate(parts) for parts in zip(*columns, strict=True)))


def _spectra(
    store: Store, split: pl.DataFrame, fading: Fading
) -> tuple[Space, dict[str, Surroundings]]:
    """Learn where the known classes lie among spectra; one visit a training star is enough."""
    validation = split.filter(pl.col("part") == "validation")
    trained = split.filter(pl.col("part") == "train").sort("row").unique("star", keep="first")
    split, fading = pl.concat([trained, validation]), replace(fading, view=_SPECTRA)
    known, judged = (_binned(store, split, part, fading) for part in ("train", "validation"))
    space = fit_space(np.concatenate([one.spectrum for one in known.values()]))
    return space, {
        name: fit_surroundings(space, known[name], one, fading.settings.false_rejection)
        for name, one in judged.items()
    }


def _binned(store: Store, split: pl.DataFrame, part: Any, fading: Fading) -> dict[str, Seen]:
    """Binned spectra of faded stars in each interval, all copies together."""
    found: dict[str, list[Seen]] = {}
    for faded in fade_part(store, split, part, fading):
        one = Seen(binned(faded.x.numpy()), faded.label, faded.star)
        found.setdefault(faded.interval, []).append(one)
    return {
        name: Seen(
            np.concatenate([one.spectrum for one in pieces]),
            np.concatenate([one.label for one in pieces]),
            np.concatenate([one.star for one in pieces]),
        )
        for name, pieces in found.items()
    }


def _snr_factor(store: Store, split: pl.DataFrame) -> float:
    """The catalogue's S/N over the frame's, of stars that are not tested."""
    measured = store.index.select(pl.col("row").cast(split["row"].dtype), "snr_red")
    both = split.join(measured, on="row", how="left").filter(pl.col("snr_red") > 0)
    ratio = (both["snrr"] / both["snr_red"]).drop_nulls().to_numpy()
    if not len(ratio):
        raise StoreError(store.work, "stars with snrr and snr_red", "none")
    return float(np.median(ratio))


def _provenance(
    settings: CalibrateSettings, store: Store, split: pl.DataFrame, rows: _Rows
) -> dict[str, Any]:
    inputs = {"split": split_digest(split), "store": digest(store.provenance)}
    origin = make_provenance(settings.model_dump(mode="json"), inputs=inputs, seed=settings.seed)
    used = {"parts": ["train", "validation"], "rows": len(rows.label)}
    return origin | used | {"stars": rows.stars}
