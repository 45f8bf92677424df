"""One command: where a run looks, what its reduction learned, and what chance would show."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from drcnet.checkpoint import Classifier, load_classifier
from drcnet.config import PrepareSettings
from drcnet.config.robustness import SaliencySettings
from drcnet.dataset.loader import see
from drcnet.dataset.store import ARMS, Store, open_store
from drcnet.errors import CheckpointError, StoreError
from drcnet.evaluate.runs import read_run
from drcnet.evaluate.tables import write_ecsv
from drcnet.instruments import load_instrument
from drcnet.provenance import atomic_write, file_digest, make_provenance
from drcnet.robustness.sheet import tested_rows
from drcnet.saliency.aperture import learnt_aperture, linear_weights
from drcnet.saliency.attribute import (
    hide_windows,
    integrated_gradients,
    randomised,
    reference,
)
from drcnet.saliency.maps import average_maps, line_table, rank_correlation, wavelength_bins
from drcnet.stripes.normalize import normalize
from drcnet.stripes.polynomial import chebyshev_basis

__all__ = ["Explained", "explain"]

_CHUNK = 32  # stars at once: bounds the memory of the gradients
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
    """

    maps: pl.DataFrame
    lines: pl.DataFrame
    check: pl.DataFrame
    aperture: pl.DataFrame
    weights: pl.DataFrame


@dataclass(frozen=True, eq=False)
class _Stars:
    """Test stars as the model sees them, and their wavelengths (N, 2, L)."""

    rows: pl.DataFrame
    electrons: Tensor
    x: Tensor
    label: Tensor
    wave: NDArray[np.float64]


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
        `aperture.parquet`, `weights.parquet` and their figures.
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
    stars = _read_stars(store, tested_rows(run, store, settings.rows, settings.seed), classifier)
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
    found = Explained(maps, line_table(maps, settings), check, aperture, weights)
    _write(Path(folder), found, _origin(settings, Path(folder), Path(work)))
    return found


def _read_stars(store: Store, rows: pl.DataFrame, classifier: Classifier) -> _Stars:
    row = rows["row"].to_numpy().astype(np.int64)
    card = classifier.card
    electrons = torch.from_numpy(see(card.view, lambda name: store.read(name, row)))
    x = normalize(electrons, card.normalize)
    number = {name: k for k, name in enumerate(card.classes)}
    label = torch.tensor([number[name] for name in rows["class"]])
    device = classifier.device
    wave = _wavelengths(store, row, x.shape[-1])
    return _Stars(rows, electrons, x.to(device), label.to(device), wave)


def _wavelengths(store: Store, row: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    try:
        prepared = PrepareSettings.model_validate(store.provenance["settings"]["prepare"])
    except (KeyError, TypeError, ValueError) as err:
        where = store.work / "provenance.json"
        raise StoreError(where, "the settings of prepare that made the store", str(err)) from err
    kept = np.arange(prepared.stripes.row_start, prepared.stripes.row_start + size)
    coefficients = store.read("wavelength", row)
    n_wave = load_instrument(prepared.instrument).n_wave
    return np.asarray(coefficients @ chebyshev_basis(kept, n_wave, coefficients.shape[2] - 1))


def _maps(
    model: nn.Module, stars: _Stars, settings: SaliencySettings, progress: Progress | None
) -> pl.DataFrame:
    """Attribute, bin and average; attributions of the stars' own classes."""
    found = []
    for start in range(0, len(stars.x), _CHUNK):
        here = slice(start, start + _CHUNK)
        x, label = stars.x[here], stars.label[here]
        blank = reference(x, settings)
        if settings.method == "gradients":
            part = integrated_gradients(model, x, blank, label, settings.steps)
            part = part.sum(dim=2) if part.ndim == 4 else part  # (N, 2, L)
        else:
            part = hide_windows(model, x, blank, label, settings.window)
        found.append(part.double().cpu().numpy())
        if progress is not None:
            progress("look", min(start + _CHUNK, len(stars.x)), len(stars.x))
    values = np.concatenate(found)
    binned, centres = [], []
    for a in range(len(ARMS)):
        low, high = stars.wave[:, a].min(), stars.wave[:, a].max()
        edges = np.arange(low, max(high, low + settings.bin) + settings.bin, settings.bin)
        binned.append(wavelength_bins(values[:, a], stars.wave[:, a], edges))
        centres.append((edges[1:] + edges[:-1]) / 2)
    return average_maps(binned, centres, stars.rows)


def _check(
    model: nn.Module, stars: _Stars, settings: SaliencySettings, maps: pl.DataFrame
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
