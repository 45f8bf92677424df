"""drcnet models: the registry."""

from typing import Any

import typer

from drcnet.cli.console import JsonOption, print_frame, print_json

__all__ = ["command"]


def command(
    as_json: bool = JsonOption,
    classes: int = typer.Option(3, "--classes", min=2, help="Classes the models are built for."),
) -> None:
    """List the models that can be trained: parameters, operations, view and reference.

    MFLOP: operations of classifying one star of 2 x 11 x 3000 pixels, in millions, two a
    multiply-add (convolutions, matrix products). What is fitted in one go has neither before.
    """
    import polars as pl

    from drcnet.models import MODELS, build_model
    from drcnet.models.cost import operations

    rows: list[dict[str, Any]] = []
    for name, entry in MODELS.items():
        row: dict[str, Any] = {
            "model": name,
            "view": entry.view,
            "parameters": None,
            "operations": None,
            "reference": entry.reference,
        }
        if entry.kind == "torch":
            model = build_model(name, classes)
            row["parameters"] = sum(p.numel() for p in model.parameters())
            options = entry.options
            spatial = (options["n_spatial"],) if "n_spatial" in options else ()
            row["operations"] = operations(model, (2, *spatial, options["n_wave"]))
        rows.append(row)
    if as_json:
        print_json({"models": rows})
    else:
        table = pl.DataFrame(rows, infer_schema_length=None)
        millions = (pl.col("operations") / 1e6).round(1).alias("MFLOP")
        print_frame(table.select("model", "view", "parameters", millions, "reference"))
