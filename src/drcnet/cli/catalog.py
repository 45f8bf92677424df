"""drcnet catalog: any catalogue into one Parquet file."""

from pathlib import Path

import typer

from drcnet.cli.console import JsonOption, OverwriteOption, print_json, say

__all__ = ["app"]

app = typer.Typer(
    help="Catalogues: convert one to Parquet, once.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def _root() -> None:
    """Keep 'convert' a word of its own, though it is the only command yet."""


@app.command("convert")
def convert_command(
    source: Path = typer.Argument(
        help="CSV, FITS, Parquet, VOTable or ECSV; or a folder of LAMOST 1-D files."
    ),
    out: Path = typer.Argument(help="Parquet file to write."),
    overwrite: bool = OverwriteOption,
    as_json: bool = JsonOption,
) -> None:
    """Write a catalogue as Parquet, with one spelling of its columns.

    Rows are ordered by night, spectrograph and fibre, so that a night's are read at once.
    """
    from drcnet.errors import CatalogError
    from drcnet.frames.catalog import convert_catalog

    if out.exists() and not overwrite:
        came = "one that is there already (--overwrite replaces it)"
        raise CatalogError(out, "a new file", came)
    rows = convert_catalog(source, out)
    if as_json:
        print_json({"catalog": out, "rows": rows})
    say(f"{rows} rows in [bold]{out}[/]", quiet=as_json)
