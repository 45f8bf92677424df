"""One command: where a run looks, what its reduction learned, and what chance would show."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from torch import nn

from drcnet.checkpoint import Classifier, load_classifier
from drcnet.config import SaliencySettings
from drcnet.dataset.store import ARMS, Store, open_store
from drcnet.errors import CheckpointError, RunError
from drcnet.evaluate.mistakes import worst_mistakes
from drcnet.evaluate.runs import Run, read_run
from drcnet.evaluate.tables import write_ecsv
from drcnet.provenance import atomic_write, file_digest, make_provenance
from drcnet.robustness.sheet import tested_rows
from drcnet.saliency.aperture import learnt_aperture, linear_weights
from drcnet.saliency.attribute import attribute, randomised
from drcnet.saliency.maps import (
    average_maps,
    bin_edges,
    line_table,
    rank_correlation,
    wavelength_bins,
)
from drcnet.saliency.stars import Stars, read_stars, star_maps

__all__ = ["Explained", "explain", "explain_stars"]

_CHUNK = 32  # stars at once: bounds the memory of the gradients
_MISTAKES = 8  # stars that are looked at one by one
_STARS = "saliency_stars.parquet"
_APERTURE = 64  # stars that the aperture is averaged over

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Explained:
    """What was found about a run.

    Parameters
    ----------
    maps, lines : DataFrame
        As in `maps.average_maps` and `maps.line_table`.
    check : DataFrame
        One row a randomised model: `seed`, `evidence`, `importance`: rank correlations of its
        maps with the trained model's.
    aperture, weights : DataFrame
        As in `aperture`; empty where the model has none.
    stars : DataFrame
        As in `stars.star_maps`: the run's worst mistakes, or the stars asked for.
    """

    maps: pl.DataFrame
    lines: pl.DataFrame
    check: pl.DataFrame
    aperture: pl.DataFrame
    weights: pl.DataFrame
    stars: pl.DataFrame


def explain(
    folder: Path,
    work: Path,
    settings: SaliencySettings | None = None,
    *,
    device: str = "auto",
    progress: Progress | None = None,
) -> Explained:
    """Find where a run looks and write it into its folder.

    Parameters
    ----------
    folder : Path
        The run folder; `saliency.parquet`, `saliency_lines.ecsv`, `saliency_check.ecsv`,
        `figures/saliency.png` and `.pdf` are written into it, and where the model has them
        `aperture.parquet`, `weights.parquet` and their figures; the worst mistakes one by one in
        `saliency_stars.parquet`, which the report draws.
    work : Path
        The work folder that the run was tested on.
    settings : SaliencySettings, optional
        Defaults if not given.
    device : str
        'auto', 'cpu' or 'cuda'.
    progress : callable, optional
        Called as progress(stage, done, total).

    Returns
    -------
    Explained
        What was written.

    Raises
    ------
    RunError, StoreError, CheckpointError
        Run, store or checkpoint cannot be used, or the model has no gradient.
    """
    settings = settings or SaliencySettings()
    run, classifier = read_run(Path(folder)), load_classifier(Path(folder), device)
    store = open_store(Path(work))
    stars = read_stars(store, tested_rows(run, store, settings.rows, settings.seed), classifier)
    maps = _maps(classifier.model, stars, settings, progress)
    if settings.method == "gradients" and not maps["importance"].max():
        wanted = "a model with a gradient (for this one, saliency.method = 'occlusion')"
        raise CheckpointError(folder, wanted, f"{classifier.card.model}, which has none")
    check = _check(classifier.model, stars, settings, maps)
    few = slice(0, _APERTURE)
    aperture = learnt_aperture(classifier.model, stars.x[few], stars.electrons[few])
    weights = linear_weights(classifier.model, stars.wave.mean(axis=0))
    names = {f"weight_{k}": f"weight_{name}" for k, name in enumerate(classifier.card.classes)}
    weights = weights.rename(names) if len(weights) else weights
    worst = [int(row["row"]) for row in worst_mistakes(run, _MISTAKES)]
    single = star_maps(classifier, _chosen(run, store, worst, classifier), settings)
    found = Explained(maps, line_table(maps, settings), check, aperture, weights, single)
    origin = _origin(settings, Path(folder), Path(work))
    _write(Path(folder), found, origin)
    _write_stars(Path(folder), single, origin, drawn=())
    return found


def explain_stars(
    folder: Path,
    work: Path,
    row: Sequence[int],
    settings: SaliencySettings | None = None,
    *,
    device: str = "auto",
) -> pl.DataFrame:
    """Find what speaks for the class that single stars were given.

    Parameters
    ----------
    folder : Path
        The run folder; the stars are put into its `saliency_stars.parquet`, and
        `figures/saliency-star-ROW.png` is drawn.
    work : Path
        The work folder that the run was tested on.
    row : sequence of int
        Test rows of the run.
    settings : SaliencySettings, optional
        Defaults if not given.
    device : str
        'auto', 'cpu' or 'cuda'.

    Returns
    -------
    DataFrame
        As in `stars.star_maps`, of these rows.

    Raises
    ------
    RunError, StoreError, CheckpointError
        Run, store or checkpoint cannot be used, or a row is none of the run's test rows.
    """
    settings = settings or SaliencySettings()
    run, classifier = read_run(Path(folder)), load_classifier(Path(folder), device)
    stars = _chosen(run, open_store(Path(work)), row, classifier)
    found = star_maps(classifier, stars, settings)
    origin = _origin(settings, Path(folder), Path(work))
    _write_stars(Path(folder), _with_older(Path(folder), found, origin), origin, drawn=row)
    return found


def _chosen(run: Run, store: Store, row: Sequence[int], classifier: Classifier) -> Stars | None:
    """Some test rows of a run, in the order asked for; None where there are none."""
    if not row:
        return None
    tested = tested_rows(run, store, None, 0)
    order = pl.DataFrame({"row": list(dict.fromkeys(row))}, schema={"row": pl.Int64})
    rows = order.join(tested, on="row", how="inner", maintain_order="left")
    if len(rows) < len(order):
        missing = sorted(set(order["row"]) - set(rows["row"]))
        path = run.folder / "predictions.parquet"
        raise RunError(path, "test rows with a known class", f"row {missing[0]}")
    return read_stars(store, rows, classifier)


def _with_older(folder: Path, found: pl.DataFrame, origin: dict[str, Any]) -> pl.DataFrame:
    """Add the stars already there, where they were made alike."""
    path = folder / _STARS
    if not path.is_file():
        return found
    kept = json.loads(pl.read_parquet_metadata(path).get("drcnet", "{}"))
    alike = all(kept.get(key) == origin[key] for key in ("inputs", "settings"))
    older = pl.read_parquet(path) if alike else found.clear()
    return pl.concat([older.filter(~pl.col("row").is_in(found["row"].unique())), found])


def _maps(
    model: nn.Module, stars: Stars, settings: SaliencySettings, progress: Progress | None
) -> pl.DataFrame:
    """Attribute, bin and average; attributions of the stars' own classes."""
    found = []
    for start in range(0, len(stars.x), _CHUNK):
        here = slice(start, start + _CHUNK)
        x, label = stars.x[here], stars.label[here]
        part = attribute(model, x, label, settings, view=stars.view)
        part = part.sum(dim=2) if part.ndim == 4 else part  # (N, 2, L)
        found.append(part.double().cpu().numpy())
        if progress is not None:
            progress("look", min(start + _CHUNK, len(stars.x)), len(stars.x))
    values = np.concatenate(found)
    edges = [bin_edges(stars.wave[:, a], settings.bin) for a in range(len(ARMS))]
    binned = [wavelength_bins(values[:, a], stars.wave[:, a], edges[a]) for a in range(len(ARMS))]
    return average_maps(binned, [(one[1:] + one[:-1]) / 2 for one in edges], stars.rows)


def _check(
    model: nn.Module, stars: Stars, settings: SaliencySettings, maps: pl.DataFrame
) -> pl.DataFrame:
    """Hold maps of shuffled weights against the trained one's (Adebayo et al. 2018)."""
    lines = []
    for k in range(settings.random):
        seed = settings.seed + k
        other = _maps(randomised(model, seed), stars, settings, None)
        both = {name: rank_correlation(maps, other, name) for name in ("evidence", "importance")}
        lines.append({"seed": seed, **both})
    return pl.DataFrame(lines)


def _origin(settings: SaliencySettings, folder: Path, work: Path) -> dict[str, Any]:
    inputs = {"weights": file_digest(folder / "weights.safetensors")}
    inputs["index.parquet"] = file_digest(work / "index.parquet")
    return make_provenance(settings.model_dump(mode="json"), inputs=inputs, seed=settings.seed)


def _write(folder: Path, found: Explained, origin: dict[str, Any]) -> None:
    from drcnet.evaluate.figures import save_figure  # noqa: PLC0415
    from drcnet.saliency.figure import plot_aperture, plot_maps, plot_weights  # noqa: PLC0415

    tables = {"saliency": found.maps, "aperture": found.aperture, "weights": found.weights}
    drawn: dict[str, Callable[[pl.DataFrame], Any]] = {
        "saliency": plot_maps,
        "aperture": plot_aperture,
        "weights": plot_weights,
    }
    for name, table in tables.items():
        if table.is_empty():
            continue
        with atomic_write(folder / f"{name}.parquet") as path:
            table.write_parquet(path, metadata={"drcnet": json.dumps(origin)})
        figure = drawn[name](table)
        for ending in ("png", "pdf"):
            save_figure(figure, folder / "figures" / f"{name}.{ending}")
    write_ecsv(found.lines, folder / "saliency_lines.ecsv", origin)
    write_ecsv(found.check, folder / "saliency_check.ecsv", origin)


def _write_stars(
    folder: Path, table: pl.DataFrame, origin: dict[str, Any], drawn: Sequence[int]
) -> None:
    from drcnet.evaluate.figures import save_figure  # noqa: PLC0415
    from drcnet.saliency.figure import plot_star  # noqa: PLC0415

    with atomic_write(folder / _STARS) as path:
        table.write_parquet(path, metadata={"drcnet": json.dumps(origin)})
    for (row,), part in table.group_by("row", maintain_order=True):
        if row in drawn:
            save_figure(plot_star(part), folder / "figures" / f"saliency-star-{row}.png")
