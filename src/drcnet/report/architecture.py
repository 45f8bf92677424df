"""A network drawn from itself: one zero star is sent through, and every layer says what it gave.

The paper's Figures 5 (RC-Net) and 6 (DRC-Net); what the paper says of a part stands beside it.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl
import torch
from torch import nn

from drcnet.evaluate.style import color_of, new_figure
from drcnet.models.blocks import Attention, ResidualModule

__all__ = ["PAPER_PARTS", "plot_architecture", "walk_layers"]

PAPER_PARTS = {
    "rcnet": {
        "features": "eight modules, each a residual module (three 1x3 convolutions, a 1x1 skip) "
        "and a max pool (Figure 5)",
        "classifier": "fully connected layers",
    },
    "drcnet": {
        "reduction": "convolutions 5x1, 5x1, 3x1: 11x3000 to 1x3000",
        "features": "RC-Net's eight modules an arm, then one vector of 1x128",
        "fusion": "both arms together, two 1x3 convolutions",
        "classifier": "three fully connected layers, softmax",
    },
}
"""Model and part to what the paper prints of it."""

_UNITS = (ResidualModule, Attention)
_SHOWN = (
    *_UNITS, nn.Conv1d, nn.Conv2d, nn.Linear, nn.MaxPool1d, nn.MaxPool2d, nn.AdaptiveAvgPool2d,
)  # fmt: skip


def walk_layers(model: nn.Module, shape: Sequence[int]) -> pl.DataFrame:
    """List what a network consists of, in the order in which light passes.

    Parameters
    ----------
    model : torch.nn.Module
        Any network.
    shape : sequence of int
        Of one star.

    Returns
    -------
    DataFrame
        `part` (the model's own child), `layer` (dotted name), `kind`, `detail` (kernel, widths),
        `shape` (what it gives for one star), `parameters`. Residual modules are one line; batch
        normalisation, activation and reshaping have none (their parameters are in the sum of
        their part in the figure).
    """
    rows: list[dict[str, Any]] = []
    names = {id(module): name for name, module in model.named_modules()}

    def note(module: nn.Module, _: Any, out: torch.Tensor) -> None:
        name = names[id(module)]
        rows.append(
            {
                "part": name.split(".")[0],
                "layer": name,
                "kind": type(module).__name__,
                "detail": _detail(module),
                "shape": " x ".join(str(n) for n in out.shape[1:]),
                "parameters": sum(p.numel() for p in module.parameters()),
            }
        )

    hooks = [
        module.register_forward_hook(note)
        for name, module in model.named_modules()
        if isinstance(module, _SHOWN) and not _inside_unit(model, name)
    ]
    try:
        with torch.inference_mode():
            model.eval()(torch.zeros(1, *shape))
    finally:
        for hook in hooks:
            hook.remove()
    return pl.DataFrame(rows)


def plot_architecture(model: nn.Module, shape: Sequence[int], name: str) -> Any:
    """Draw a network as boxes, top to bottom, the paper's words beside each part.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    shape : sequence of int
        Of one star.
    name : str
        Registry name; `PAPER_PARTS` says what the paper prints.

    Returns
    -------
    Figure
        One box a layer; two branches of the same layers stand as one, marked '2 x'.
    """
    table = walk_layers(model, shape)
    boxes = _merged(table)
    figure, axes = new_figure((9.5, 0.34 * (len(boxes) + 2)))
    ax = axes[0, 0]
    ax.set_axis_off()
    ax.set(xlim=(0, 10), ylim=(len(boxes) + 1.2, -1.2))
    total = sum(p.numel() for p in model.parameters())
    size = " x ".join(str(n) for n in shape)
    ax.text(2.9, -0.7, f"{name}, ours: one star, {size} ({total:,} parameters)", ha="center",
            fontsize=9, fontweight="bold")  # fmt: skip
    ax.text(6.2, -0.7, "the paper", fontsize=9, fontweight="bold")
    parts = list(dict.fromkeys(box["part"] for box in boxes))
    for number, box in enumerate(boxes):
        ink = color_of(parts.index(box["part"]))
        style = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": ink}
        text = f"{box['times']}{box['kind']} {box['detail']}  →  {box['shape']}"
        ax.text(2.9, number, text, ha="center", va="center", fontsize=7, bbox=style)
    for part in parts:
        here = [n for n, box in enumerate(boxes) if box["part"] == part]
        ink = color_of(parts.index(part))
        ax.plot([5.75, 5.75], [here[0] - 0.35, here[-1] + 0.35], color=ink, lw=2)
        said = PAPER_PARTS.get(name, {}).get(part, "(not in the paper)")
        ax.text(6.0, sum(here) / len(here), f"{part}: {said}", va="center", fontsize=7,
                color=ink, wrap=True)  # fmt: skip
    return figure


def _merged(table: pl.DataFrame) -> list[dict[str, Any]]:
    """Put the layers of equal branches into one box."""
    boxes: list[dict[str, Any]] = []
    for row in table.to_dicts():
        pieces = row["layer"].split(".")
        branch = len(pieces) > 2 and pieces[1].isdigit()
        key = (row["part"], ".".join(pieces[2:]) if branch else row["layer"], row["shape"])
        same = next((box for box in boxes if box["key"] == key), None) if branch else None
        if same is None:
            boxes.append(row | {"key": key, "times": ""})
        else:
            same["times"] = "2 x "
    return boxes


def _inside_unit(model: nn.Module, name: str) -> bool:
    pieces = name.split(".")
    above = [".".join(pieces[:k]) for k in range(1, len(pieces))]
    return any(isinstance(model.get_submodule(one), _UNITS) for one in above)


def _detail(module: nn.Module) -> str:
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        kernel = "x".join(str(k) for k in module.kernel_size)
        return f"{kernel}, {module.in_channels} to {module.out_channels}"
    if isinstance(module, nn.Linear):
        return f"{module.in_features} to {module.out_features}"
    if isinstance(module, nn.MaxPool1d | nn.MaxPool2d):
        size = module.kernel_size
        return "x".join(str(k) for k in size) if isinstance(size, tuple) else str(size)
    if isinstance(module, ResidualModule):
        first = next(m for m in module.modules() if isinstance(m, nn.Conv2d))
        return f"{first.in_channels} to {first.out_channels}"
    return ""
