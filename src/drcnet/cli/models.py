"""drcnet models: the registry."""

from typing import Any

import typer

from drcnet.cli.console import JsonOption, print_frame, print_json

__all__ = ["command"]


def command(
    as_json: bool = JsonOption,
    classes: int = typer.Option(3, "--classes", min=2, help="Classes the models are built for."),
) -> None:
    """List the models that can be trained: parameters, view and reference."""
    import polars as pl

    from drcnet.models import MODELS, build_model

    rows: list[dict[str, Any]] = []
    for name, entry in MODELS.items():
        row: dict[str, Any] = {
            "model": name,
            "view": entry.view,
            "parameters": None,
            "reference": entry.reference,
        }
        if entry.kind == "torch":
            model = build_model(name, classes)
            row["parameters"] = sum(p.numel() for p in model.parameters())
        rows.append(row)
    if as_json:
        print_json({"models": rows})
    else:
        print_frame(pl.DataFrame(rows))
