"""drcnet benchmark: make the benchmark sets, and look at them."""

from pathlib import Path

import typer

from drcnet.cli.console import (
    JsonOption,
    OverwriteOption,
    WorkersOption,
    print_json,
    progress_bars,
    say,
)

__all__ = ["app"]

app = typer.Typer(
    help="Benchmark sets: simulated surveys of real stars, with their splits.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command("make")
def make_command(
    config: Path = typer.Argument(help="TOML file of the set: configs/benchmarks/NAME.toml."),
    out: Path = typer.Option(..., "--out", "-o", help="Folder to fill: a work folder."),
    workers: int | None = WorkersOption,
    keep_raw: bool = typer.Option(
        False, "--keep-raw", help="Keep the raw frames, 70 MB an exposure."
    ),
    overwrite: bool = OverwriteOption,
    as_json: bool = JsonOption,
) -> None:
    """Simulate a survey, reduce it exposure by exposure, and write its splits.

    The same command goes on where it was stopped; the same file gives the same bytes.
    """
    from drcnet.benchmark import make_benchmark
    from drcnet.config import BenchmarkSettings, load_settings

    settings = load_settings(config, BenchmarkSettings)
    with progress_bars(quiet=as_json) as progress:
        summary = make_benchmark(
            settings,
            out,
            progress=progress,
            keep_raw=keep_raw,
            workers=workers,
            overwrite=overwrite,
        )
    if as_json:
        print_json(summary.as_dict())
    say(summary.tables, quiet=as_json)
    say(
        f"{summary.exposures} exposures ({summary.made} made now, {summary.seconds:.0f} s), "
        f"{summary.usable} usable rows of {summary.stars} stars in {out}",
        quiet=as_json,
    )


@app.command("page")
def page_command(
    works: list[Path] = typer.Argument(help="Folders of 'benchmark make'."),
    out: Path = typer.Option(Path(), "--out", "-o", help="Folder of the pages."),
    sources: bool = typer.Option(
        True, "--sources/--no-sources", help="Also ask what the sources give away (minutes)."
    ),
) -> None:
    """Write each set down as benchmark-NAME.md: counts, Table 1, digests, sources, time.

    The page is written whole, from the set alone.
    """
    from drcnet.benchmark.page import page_name, set_page
    from drcnet.experiments.sources import examine_sources, has_sources, sources_section
    from drcnet.provenance import atomic_write

    for work in works:
        text = set_page(work)
        if sources and has_sources(work):
            with progress_bars() as progress:
                text += "\n" + sources_section(examine_sources(work, progress=progress))
        page = out / f"benchmark-{page_name(work)}.md"
        with atomic_write(page) as path:
            path.write_text(text, encoding="utf-8")
        say(f"{page}")


@app.command("test")
def apply_command(
    run: Path = typer.Argument(help="A finished run folder."),
    work: Path = typer.Argument(help="Another store: lamost-real, ..."),
    out: Path = typer.Option(..., "--out", "-o", help="Run folder to write; evaluate reads it."),
    split: str | None = typer.Option(None, "--split", help="Which split of the store."),
    device: str = typer.Option("auto", "--device", help="auto, cpu or cuda."),
) -> None:
    """Test a run on a store that it was not trained on.

    The store must have been prepared with the same settings; every row that its split tests is
    predicted.
    """
    from drcnet.benchmark.apply import apply_run

    with progress_bars() as progress:
        apply_run(run, work, out, split=split, device=device, progress=progress)
    say(f"predictions in {out}; next: drcnet evaluate {out}")


@app.command("realism")
def realism_command(
    scratch: Path = typer.Argument(help="Folder for two small simulated nights."),
    out: Path = typer.Option(Path(), "--out", "-o", help="Folder of realism.md and its figures."),
    workers: int | None = WorkersOption,
) -> None:
    """Hold simulated spectra, skies and chips against real ones, and write a page.

    DRCNET_SHARED_DATA names the folder of the real data; without it there is nothing to hold
    them against, and the command says so.
    """
    from drcnet.experiments.realism import measure_realism
    from drcnet.experiments.realism_page import write_realism

    with progress_bars() as progress:
        found = measure_realism(_real_data(), scratch, progress=progress, workers=workers)
    say(f"{write_realism(found, out)}")


@app.command("sources")
def sources_command(
    work: Path = typer.Argument(help="A benchmark set of several sources (fgk)."),
    out: Path | None = typer.Option(None, "--out", "-o", help="Markdown file to write."),
    min_snr: float = typer.Option(30.0, "--min-snr", help="Least snrr of a row."),
    per_star: int = typer.Option(4, "--per-star", min=1, help="At most so many rows a star."),
) -> None:
    """Ask what the source of a spectrum could give away.

    A linear classifier is taught to tell sources apart, and classes with and without each
    source; every number is of stars that it was not taught.
    """
    from drcnet.experiments.sources import examine_sources, sources_text

    with progress_bars() as progress:
        found = examine_sources(work, min_snr=min_snr, per_star=per_star, progress=progress)
    text = sources_text(found)
    if out is not None:
        from drcnet.provenance import atomic_write

        with atomic_write(out) as path:
            path.write_text(text, encoding="utf-8")
    say(text)


def _real_data() -> Path:
    """The folder that DRCNET_SHARED_DATA names, or one line that says that it is not there."""
    import os

    from drcnet.errors import ConfigError

    folder = os.environ.get("DRCNET_SHARED_DATA", "")
    if not folder or not Path(folder).is_dir():
        wanted = "DRCNET_SHARED_DATA to name the folder of real spectra"
        raise ConfigError("the environment", wanted, repr(folder))
    return Path(folder)
