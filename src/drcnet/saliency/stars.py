"""Single stars: what speaks for the class that each was given, pixel by pixel of its stripe.

Shapes: N stars, S pixels across, L wavelength pixels an arm, B wavelength bins of an arm.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from drcnet.checkpoint import Classifier
from drcnet.config import PrepareSettings, SaliencySettings
from drcnet.dataset.loader import electrons, see
from drcnet.dataset.profiles import row_reader
from drcnet.dataset.store import ARMS, Store
from drcnet.errors import StoreError
from drcnet.instruments import load_instrument
from drcnet.saliency.attribute import attribute
from drcnet.saliency.maps import bin_edges, wavelength_bins
from drcnet.stripes.normalize import normalize
from drcnet.stripes.polynomial import chebyshev_basis

__all__ = ["Stars", "read_stars", "star_maps"]

_EMPTY = {
    "row": pl.Int64, "star": pl.String, "class": pl.String, "predicted": pl.String,
    "arm": pl.String, "pixel": pl.Int64, "wavelength": pl.Float32, "light": pl.Float32,
    "evidence": pl.Float32, "evidence_true": pl.Float32,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Stars:
    """Test stars as a model sees them.

    Parameters
    ----------
    rows : DataFrame
        `row`, `star`, `class`, `interval`.
    electrons, x : Tensor, shape (N, 2, S or more, L), (N, 2, L) or (N, 2, 2, L)
        As stored, and normalised.
    label : Tensor of int64, shape (N,)
        True classes.
    wave : ndarray, shape (N, 2, L)
        Vacuum angstrom.
    view : str
        Which view `x` is.
    """

    rows: pl.DataFrame
    electrons: Tensor
    x: Tensor
    label: Tensor
    wave: NDArray[np.float64]
    view: str


def read_stars(store: Store, rows: pl.DataFrame, classifier: Classifier) -> Stars:
    """Read stars as a model sees them.

    Parameters
    ----------
    store : Store
        The store that it was tested on.
    rows : DataFrame
        `row`, `star`, `class`, `interval`.
    classifier : Classifier
        Gives view, normalisation and device.

    Returns
    -------
    Stars
        In the order of `rows`.

    Raises
    ------
    StoreError
        The store does not say how its stripes were cut.
    """
    row = rows["row"].to_numpy().astype(np.int64)
    card = classifier.card
    seen = torch.from_numpy(see(card.view, row_reader(store, row)))
    x = normalize(seen, card.normalize)
    number = {name: k for k, name in enumerate(card.classes)}
    label = torch.tensor([number[name] for name in rows["class"]])
    device = classifier.device
    wave = _wavelengths(store, row, x.shape[-1])
    return Stars(rows, seen, x.to(device), label.to(device), wave, card.view)


def star_maps(
    classifier: Classifier, stars: Stars | None, settings: SaliencySettings
) -> pl.DataFrame:
    """Map single stars: evidence for the class that was given, and for the true one.

    Parameters
    ----------
    classifier : Classifier
        A trained model.
    stars : Stars or None
        The stars; none: an empty table.
    settings : SaliencySettings
        Method, reference and width of a bin.

    Returns
    -------
    DataFrame
        One row a star, arm, pixel across and wavelength bin: `row`, `star`, `class`, `predicted`,
        `arm`, `pixel` (0 in the middle; null of spectra and with occlusion), `wavelength` (middle
        of the bin), `light` (mean of the normalised input), `evidence` (for the class given, sum
        over the bin, logits), `evidence_true` (for the true class).
    """
    if stars is None:
        return pl.DataFrame(schema=_EMPTY)
    with torch.no_grad():
        said = classifier.model(stars.x).argmax(dim=1)
    given, true = (
        attribute(classifier.model, stars.x, label, settings, view=stars.view)
        .double().cpu().numpy()
        for label in (said, stars.label)
    )  # fmt: skip
    light = electrons(stars.x, stars.view)[0].nan_to_num().double().cpu().numpy()
    if light.ndim > given.ndim:  # occlusion hides all pixels across at once
        light = light.mean(axis=2)
    names = classifier.card.classes
    tables = [
        _one(stars, n, names[int(said[n])], (given[n], true[n], light[n]), settings.bin)
        for n in range(len(given))
    ]
    return pl.concat(tables)


def _one(
    stars: Stars, n: int, said: str, values: tuple[NDArray[np.float64], ...], width: float
) -> pl.DataFrame:
    """One star's rows; `values`: evidence, evidence for the true class, light, of one shape."""
    entry = stars.rows.row(n, named=True)
    label = {name: entry[name] for name in ("row", "star", "class")} | {"predicted": said}
    tables = []
    for a, arm in enumerate(ARMS):
        given, true, light = (one[a].reshape(-1, one.shape[-1]) for one in values)  # (S or 1, L)
        wave = np.broadcast_to(stars.wave[n, a], given.shape)
        edges = bin_edges(wave, width)
        count = np.maximum(wavelength_bins(np.ones_like(given), wave, edges), 1)
        across, size = given.shape[0], len(edges) - 1
        pixel = np.repeat(np.arange(across) - across // 2, size)
        columns = {
            "wavelength": np.tile((edges[1:] + edges[:-1]) / 2, across),
            "light": (wavelength_bins(light, wave, edges) / count).ravel(),
            "evidence": wavelength_bins(given, wave, edges).ravel(),
            "evidence_true": wavelength_bins(true, wave, edges).ravel(),
        }
        place = pl.Series("pixel", pixel if across > 1 else [None] * size, dtype=pl.Int64)
        keys = [pl.lit(value).alias(key) for key, value in (label | {"arm": arm}).items()]
        table = pl.DataFrame(columns).select(*keys, place, pl.all())
        tables.append(table.cast({k: v for k, v in _EMPTY.items() if k in table.columns}))  # type: ignore[arg-type]
    return pl.concat(tables)


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
