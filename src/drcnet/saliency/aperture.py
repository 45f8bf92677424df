"""What was learnt in the open: the reduction as an aperture, a linear model as a spectrum.

Shapes: N stars, S pixels across, L along wavelength, K classes.
"""

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from drcnet.dataset.store import ARMS
from drcnet.models import Fitted

__all__ = ["learnt_aperture", "linear_weights"]


def learnt_aperture(model: nn.Module, x: Tensor, electrons: Tensor) -> pl.DataFrame:
    """Draw a reduction module as the weights it gives to the pixels across a fibre.

    With ReLU between its layers the reduction is linear only piece by piece: the weights are the
    slopes of its output at the stars' own pixels, and their spread says how far it is from one
    aperture for all.

    Parameters
    ----------
    model : torch.nn.Module
        With a list `reduction` of modules from (N, 1, S, L) to (N, C, 1, L).
    x : Tensor, shape (N, 2, S, L)
        Normalised stripes.
    electrons : Tensor, shape (N, 2, S, L)
        The same as electrons.

    Returns
    -------
    DataFrame
        `arm`, `channel`, `pixel` (0 in the middle), `weight` (absolute values sum to 1), `low`,
        `high` (16th and 84th percentile over stars and wavelengths), `profile` (average light on
        the pixel, less the dimmest, sums to 1). Empty where the model has no reduction, or one
        that leaves a spectrum as it is.
    """
    parts = getattr(model, "reduction", None)
    if not isinstance(parts, nn.ModuleList) or x.ndim != 4 or x.shape[2] < 2:
        return pl.DataFrame()
    tables = []
    for a, arm in enumerate(ARMS):
        module = parts[0 if len(parts) == 1 else a]
        star = x[:, a : a + 1].detach().requires_grad_()
        out = module(star)  # (N, C, 1, L)
        light = torch.nan_to_num(electrons[:, a]).mean(dim=(0, 2)).double().cpu().numpy()  # (S,)
        profile = light - light.min()
        for channel in range(out.shape[1]):
            (slope,) = torch.autograd.grad(out[:, channel].sum(), star, retain_graph=True)
            table = _weights(slope[:, 0].double().cpu().numpy())
            keys = [pl.lit(arm).alias("arm"), pl.lit(channel).alias("channel")]
            shape = pl.Series("profile", profile / max(profile.sum(), 1e-30))
            tables.append(table.select(*keys, pl.all()).with_columns(shape))
    return pl.concat(tables)


def linear_weights(model: nn.Module, wave: NDArray[np.floating]) -> pl.DataFrame:
    """Unfold a linear model's weights along wavelength.

    Parameters
    ----------
    model : torch.nn.Module
        Any model.
    wave : ndarray, shape (2, L)
        Wavelengths, vacuum angstrom.

    Returns
    -------
    DataFrame
        `arm`, `wavelength` and `weight_0`, `weight_1`, ... one column a class: logits per unit of
        the normalised spectrum, less the average of the classes. Of components that know the
        noise: per unit of the spectrum over its level, where there is no noise (with noise the
        weights are smaller, and each star has its own). Empty where it is not linear.
    """
    weight = _unfolded(model)
    if weight is None or weight.shape[0] != wave.size:
        return pl.DataFrame()
    weight = weight - weight.mean(dim=1, keepdim=True)
    n = wave.shape[1]
    tables = []
    for a, arm in enumerate(ARMS):
        part = weight[a * n : (a + 1) * n].cpu().numpy()
        columns = {f"weight_{k}": part[:, k] for k in range(part.shape[1])}
        table = pl.DataFrame({"wavelength": wave[a], **columns})
        tables.append(table.select(pl.lit(arm).alias("arm"), pl.all()))
    return pl.concat(tables)


def _unfolded(model: nn.Module) -> Tensor | None:
    """Logits per unit of each pixel, (2L, K); None where the model is not linear."""
    known = dict(model.named_buffers())
    if not isinstance(model, Fitted) or "weight" not in known:
        return None
    if {"basis", "variance"} <= set(known):  # noise to 0: c = V^T (x - mean)
        scaled = known["basis"] / known["variance"].sqrt()
        return scaled[:, : known["weight"].shape[1]] @ known["weight"].T
    return known["rotation"] @ known["weight"].T


def _weights(slope: NDArray[np.float64]) -> pl.DataFrame:
    """Average slopes (N, S, L) and their spread, as one aperture."""
    n_spatial = slope.shape[1]
    mean = slope.mean(axis=(0, 2))
    size = max(np.abs(mean).sum(), 1e-30)
    low, high = np.percentile(slope.transpose(1, 0, 2).reshape(n_spatial, -1), [16, 84], axis=1)
    return pl.DataFrame(
        {
            "pixel": np.arange(n_spatial) - n_spatial // 2,
            "weight": mean / size,
            "low": low / size,
            "high": high / size,
        }
    )
