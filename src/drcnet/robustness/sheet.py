"""One command for any checkpoint: its test stars disturbed, its answers scored and written."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.checkpoint import Classifier, load_classifier, predict
from drcnet.config import RobustnessSettings
from drcnet.dataset.store import Store, open_store
from drcnet.errors import RunError
from drcnet.evaluate.runs import Run, read_run
from drcnet.evaluate.tables import write_ecsv
from drcnet.provenance import atomic_write, file_digest, make_provenance
from drcnet.robustness.disturb import Disturbance, disturb, disturbances
from drcnet.robustness.light import Sun, read_light, read_sun, see_view
from drcnet.robustness.score import Answers, score_answers

__all__ = ["robustness", "tested_rows"]

_CHUNK = 128  # stars disturbed at once: bounds the memory
_DIFFER = 0.02  # share of undisturbed answers that rounding may change

Progress = Callable[[str, int, int], None]


def robustness(
    folder: Path,
    work: Path,
    settings: RobustnessSettings | None = None,
    *,
    baselines: Sequence[Path] = (),
    device: str = "auto",
    progress: Progress | None = None,
) -> pl.DataFrame:
    """Disturb the test stars of a run and write what becomes of its answers.

    Parameters
    ----------
    folder : Path
        The run folder; `robustness.parquet`, `robustness.ecsv` and `figures/robustness.png` and
        `.pdf` are written into it.
    work : Path
        The work folder that the run was tested on.
    settings : RobustnessSettings, optional
        Defaults if not given.
    baselines : sequence of Path
        Other runs on the same test rows, to be put through the same.
    device : str
        'auto', 'cpu' or 'cuda'.
    progress : callable, optional
        Called as progress(stage, done, total).

    Returns
    -------
    DataFrame
        As in `score.score_answers`.

    Raises
    ------
    RunError
        A run cannot be read, was tested on other rows, or answers otherwise than it did.
    StoreError, CheckpointError
        The store or a checkpoint cannot be used.
    """
    settings = settings or RobustnessSettings()
    folders = [Path(folder), *(Path(one) for one in baselines)]
    runs = [read_run(one) for one in folders]
    classifiers = [load_classifier(one, device) for one in folders]
    store = open_store(Path(work))
    rows = tested_rows(runs[0], store, settings.rows, settings.seed)
    sun = read_sun(store) if settings.moon else None
    what = disturbances(settings, moon=sun is not None)
    said = _ask(store, rows, classifiers, (what, sun, settings.seed), progress)
    for run, predicted in zip(runs, said, strict=True):
        _check_answers(run, rows, predicted[0])
    answers = [
        Answers(run.name, predicted, _majority(run, rows))
        for run, predicted in zip(runs, said, strict=True)
    ]
    table = score_answers(rows, what, answers, settings)
    _write(Path(folder), table, _origin(settings, folders, work))
    return table


def tested_rows(run: Run, store: Store, most: int | None, seed: int) -> pl.DataFrame:
    """Choose test rows of a run, star by star.

    Parameters
    ----------
    run : Run
        The run.
    store : Store
        The store that it was tested on.
    most : int or None
        At most so many rows; stars are drawn whole until there are as many.
    seed : int
        Of that draw.

    Returns
    -------
    DataFrame
        `row`, `star`, `class`, `interval`, `fiberid`, in the order of the rows.

    Raises
    ------
    RunError
        The run was tested on another store.
    """
    tested = run.tested.select(pl.col("row").cast(pl.Int64), "star", "class", "interval")
    index = store.index.select(pl.col("row").cast(pl.Int64), "star", "fiberid")
    both = tested.join(index, on=["row", "star"], how="inner")
    if len(both) < len(tested) or not len(both):
        came = f"{len(tested) - len(both)} of {len(tested)} rows of another star or none"
        raise RunError(store.work, f"the store that {run.name} was tested on", came)
    if most is not None and len(both) > most:
        stars = both["star"].unique().sort()
        order = np.random.default_rng(seed).permutation(len(stars))
        size = both.group_by("star").len().sort("star")["len"].to_numpy()[order]
        kept = max(1, int(np.searchsorted(np.cumsum(size), most, side="right")))
        both = both.filter(pl.col("star").is_in(stars[order[:kept].tolist()].to_list()))
    return both.sort("row")


def _ask(
    store: Store,
    rows: pl.DataFrame,
    classifiers: Sequence[Classifier],
    asked: tuple[Sequence[Disturbance], Sun | None, int],
    progress: Progress | None,
) -> list[NDArray[np.str_]]:
    """Every classifier's class for every disturbance and row."""
    what, sun, seed = asked
    row = rows["row"].to_numpy().astype(np.int64)
    views = {one.card.view for one in classifiers}
    label = np.empty((len(classifiers), len(what), len(row)), np.int64)
    for start in range(0, len(row), _CHUNK):
        here = slice(start, start + _CHUNK)
        light = read_light(store, row[here], views, seed)
        for w, disturbance in enumerate(what):
            stripes, sky = disturb(light, disturbance, sun)
            seen = {view: see_view(light, view, stripes, sky) for view in views}
            if disturbance.name == "missing arm":
                for x in seen.values():
                    x[:, int(disturbance.level)] = np.nan
            for c, one in enumerate(classifiers):
                x = seen[one.card.view]
                logits = predict(one.model, x, one.device, how=one.card.normalize)
                label[c, w, here] = logits.argmax(dim=1).numpy()
            if progress is not None:
                progress("disturb", min(start + _CHUNK, len(row)) * (w + 1), len(row) * len(what))
    return [np.array(one.card.classes)[label[c]] for c, one in enumerate(classifiers)]


def _check_answers(run: Run, rows: pl.DataFrame, predicted: NDArray[np.str_]) -> None:
    """Refuse a store or a baseline on which the undisturbed answers are not the run's own."""
    tested = run.tested.select(pl.col("row").cast(pl.Int64), pl.col("predicted"))
    both = rows.join(tested, on="row", how="left", maintain_order="left")
    differ = int((both["predicted"].fill_null("").to_numpy().astype(str) != predicted).sum())
    if differ > _DIFFER * len(rows):
        raise RunError(
            run.folder / "predictions.parquet",
            "the answers that the checkpoint gives to this store's test rows",
            f"{differ} of {len(rows)} others (another store, or other test rows?)",
        )


def _majority(run: Run, rows: pl.DataFrame) -> str:
    known = run.trained_classes
    classes = rows["class"] if known is None else known
    return str(classes.mode().sort()[0])


def _origin(settings: RobustnessSettings, folders: Sequence[Path], work: Path) -> dict[str, Any]:
    inputs = {f"{f.name}/weights": file_digest(f / "weights.safetensors") for f in folders}
    inputs["index.parquet"] = file_digest(Path(work) / "index.parquet")
    return make_provenance(settings.model_dump(mode="json"), inputs=inputs, seed=settings.seed)


def _write(folder: Path, table: pl.DataFrame, origin: dict[str, Any]) -> None:
    from drcnet.evaluate.figures import save_figure  # noqa: PLC0415
    from drcnet.robustness.figure import plot_robustness  # noqa: PLC0415

    with atomic_write(folder / "robustness.parquet") as path:
        table.write_parquet(path, metadata={"drcnet": json.dumps(origin)})
    write_ecsv(table, folder / "robustness.ecsv", origin)
    figure = plot_robustness(table)
    for ending in ("png", "pdf"):
        save_figure(figure, folder / "figures" / f"robustness.{ending}")
