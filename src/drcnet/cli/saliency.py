"""drcnet saliency: where a finished run looks."""

from pathlib import Path

import typer

from drcnet.cli.console import (
    ConfigOption,
    JsonOption,
    print_frame,
    print_json,
    progress_bars,
    say,
)

__all__ = ["command"]


def command(
    run: Path = typer.Argument(help="Run folder; the maps are written into it."),
    work: Path = typer.Option(..., "--work", help="Work folder that the run was tested on."),
    config: Path | None = ConfigOption,
    method: str | None = typer.Option(
        None, "--method", help="gradients, or occlusion (for models without a gradient)."
    ),
    rows: int | None = typer.Option(None, "--rows", min=3, help="At most so many test rows."),
    seed: int | None = typer.Option(None, "--seed", help="Of the rows and the random weights."),
    device: str = typer.Option("auto", "--device", help="auto, cpu or cuda."),
    as_json: bool = JsonOption,
) -> None:
    """Map what each wavelength adds to the answer; draw the learned aperture and linear weights.

    Writes saliency.parquet, saliency_lines.ecsv, saliency_check.ecsv, where there is one
    aperture.parquet or weights.parquet, and figures. The file given by --config holds the fields
    of SaliencySettings at its top level.
    """
    from drcnet.config import load_settings
    from drcnet.config.robustness import SaliencySettings
    from drcnet.saliency.run import explain

    given = {"method": method, "rows": rows, "seed": seed}
    flags = {key: value for key, value in given.items() if value is not None}
    settings = load_settings(config, SaliencySettings, flags)
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
