"""drcnet saliency: where a finished run looks."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from drcnet.cli.console import (
    ConfigOption,
    JsonOption,
    print_frame,
    print_json,
    progress_bars,
    say,
)

if TYPE_CHECKING:
    import polars as pl

__all__ = ["command"]

_TOP = 5  # wavelength bins named a star


def command(
    run: Path = typer.Argument(help="Run folder; the maps are written into it."),
    work: Path = typer.Option(..., "--work", help="Work folder that the run was tested on."),
    config: Path | None = ConfigOption,
    method: str | None = typer.Option(
        None, "--method", help="gradients, or occlusion (for models without a gradient)."
    ),
    star: list[int] | None = typer.Option(
        None, "--star", help="Only this test row (as in predictions.parquet); repeatable."
    ),
    rows: int | None = typer.Option(None, "--rows", min=3, help="At most so many test rows."),
    seed: int | None = typer.Option(None, "--seed", help="Of the rows and the random weights."),
    device: str = typer.Option("auto", "--device", help="auto, cpu or cuda."),
    as_json: bool = JsonOption,
) -> None:
    """Map what each wavelength adds to the answer; draw the learned aperture and linear weights.

    Writes saliency.parquet, saliency_lines.ecsv, saliency_check.ecsv, where there is one
    aperture.parquet or weights.parquet, saliency_stars.parquet (the worst mistakes, star by
    star) and figures. With --star ROW only that star is looked at, and added to
    saliency_stars.parquet. The file given by --config holds the fields of SaliencySettings at
    its top level.
    """
    from drcnet.config import SaliencySettings, load_settings
    from drcnet.saliency.run import explain, explain_stars

    given = {"method": method, "rows": rows, "seed": seed}
    flags = {key: value for key, value in given.items() if value is not None}
    settings = load_settings(config, SaliencySettings, flags)
    if star:
        table = explain_stars(run, work, star, settings, device=device)
        _tell_stars(table, run, as_json=as_json)
        return
    with progress_bars(quiet=as_json) as progress:
        found = explain(run, work, settings, device=device, progress=progress)
    if as_json:
        print_json({"lines": found.lines.to_dicts(), "check": found.check.to_dicts()})
        return
    lines = found.lines.filter(
        (found.lines["interval"] == "all") & (found.lines["class"] == "all")
    )
    lines = lines.sort("times", descending=True).select("line", "whose", "importance", "times")
    print_frame(lines, title="Share of the importance on named lines, and times an even spread")
    print_frame(found.check, title="Rank correlation of the map with those of random weights")
    say(f"written: {run / 'saliency.parquet'}; next: drcnet report {run}")


def _tell_stars(table: "pl.DataFrame", run: Path, *, as_json: bool) -> None:
    """Say what speaks most for the class that each star was given, against the true one."""
    import polars as pl

    keys = ["row", "star", "class", "predicted", "arm", "wavelength"]
    wrong = pl.col("class") != pl.col("predicted")
    value = pl.col("evidence") - pl.when(wrong).then("evidence_true").otherwise(0.0)
    bins = table.group_by(keys, maintain_order=True).agg(value.sum().alias("logits"))
    top = bins.filter(pl.col("logits").rank("ordinal", descending=True).over("row") <= _TOP)
    top = top.sort("row", "logits", descending=[False, True])
    if as_json:
        print_json({"stars": top.to_dicts()})
        return
    print_frame(top, title="What speaks most for the class given (against the true class)")
    say(f"drawn: {run / 'figures'}/saliency-star-ROW.png; next: drcnet report {run}")
