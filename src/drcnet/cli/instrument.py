"""drcnet instrument: the shipped profiles, and what is learnt about a spectrograph."""

from pathlib import Path

import typer

from drcnet.cli.console import (
    ConfigOption,
    JsonOption,
    OverwriteOption,
    print_frame,
    print_json,
    say,
)

__all__ = ["app"]

app = typer.Typer(
    help="Instruments: list them, show a profile, learn a spectrograph's throughput.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command("list")
def list_command(as_json: bool = JsonOption) -> None:
    """List the shipped instruments."""
    import polars as pl

    from drcnet.instruments import instrument_names, load_instrument

    rows = []
    for name in instrument_names():
        profile = load_instrument(name)
        kind = "long slit" if profile.long_slit else f"{profile.fibers.count} fibres"
        rows.append(
            {
                "name": name,
                "title": profile.title,
                "kind": kind,
                "arms": ", ".join(profile.arms),
                "frame": f"{profile.shape[0]} x {profile.shape[1]}",
                "tested": profile.tested,
            }
        )
    if as_json:
        print_json({"instruments": rows})
    else:
        print_frame(pl.DataFrame(rows))


@app.command("show")
def show_command(
    name: str = typer.Argument(help="Shipped instrument, or a TOML file."),
    as_json: bool = JsonOption,
) -> None:
    """Print a profile as TOML: copy it, change it, and name the file as the instrument."""
    from drcnet.config import settings_toml
    from drcnet.instruments import load_instrument

    profile = load_instrument(name)
    if as_json:
        print_json(profile.model_dump(mode="json"))
    else:
        typer.echo(settings_toml(profile), nl=False)


@app.command("learn")
def learn_command(
    flats: list[Path] = typer.Argument(help="Lamp flats, or folders with them."),
    out: Path = typer.Option(..., "--out", "-o", help="Throughput patterns (CSV) to write."),
    instrument: str = typer.Option("lamost-lrs", "--instrument", help="Profile or TOML file."),
    detector: Path | None = typer.Option(
        None, "--detector", help="Folder for bad pixels and pixel flats, made too."
    ),
    config: Path | None = ConfigOption,
    overwrite: bool = OverwriteOption,
    as_json: bool = JsonOption,
) -> None:
    """Learn each CCD's throughput pattern, by which fibres are told apart for sure.

    Name the file as 'reference' under prepare.stripes in a settings file. Use flats that are
    not shifted: the gaps between blocks alone must tell their fibres.

    With --detector, bad pixels and pixel-to-pixel flats of each CCD are measured too. Name
    them under prepare.stripes: bad_pixels = 'FOLDER/{spid}-{arm}-bad.fits' and
    pixel_flat = 'FOLDER/{spid}-{arm}-flat.fits'.
    """
    from drcnet.cli.settings import read_settings
    from drcnet.errors import ConfigError
    from drcnet.extract.learn import learn_detectors, learn_instrument

    if out.exists() and not overwrite:
        raise ConfigError(out, "a new file", "one that is there already (--overwrite replaces it)")
    settings = read_settings(config, {}).prepare.stripes
    table, problems = learn_instrument(flats, out, instrument=instrument, settings=settings)
    made: list[Path] = []
    if detector is not None:
        made = learn_detectors(flats, detector, instrument=instrument, settings=settings)
    ccds = table.unique(["spid", "arm"], maintain_order=True)
    if as_json:
        print_json(
            {"reference": out, "ccds": len(ccds), "detector": made, "problems": list(problems)}
        )
    else:
        print_frame(ccds, columns=["spid", "arm", "n_flats", "confidence"])
        say(f"patterns of {len(ccds)} CCDs in [bold]{out}[/]")
        for path in made:
            say(f"made {path}")
        for problem in problems:
            say(f"refused: {problem}")
    if problems:
        raise typer.Exit(3)
