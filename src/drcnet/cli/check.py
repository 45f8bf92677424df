"""drcnet check: a dry run of prepare."""

from pathlib import Path

import typer

from drcnet.cli.console import ConfigOption, JsonOption, print_frame, print_json, say

__all__ = ["command"]


def command(
    night: Path = typer.Argument(help="Folder of raw frames (or one with raw/ in it)."),
    work: Path | None = typer.Argument(None, help="Where the store would go, to see its disk."),
    catalog: Path | None = typer.Option(
        None, "--catalog", help="CSV, FITS, Parquet or VOTable; else NIGHT/catalog.*."
    ),
    config: Path | None = ConfigOption,
    as_json: bool = JsonOption,
) -> None:
    """Say what 'prepare' would use, what is missing, and the disk and time it would need.

    Names, headers and the catalogue are read; no pixels. The exit code is 1 where prepare could
    not start, and 3 where something of the night would be refused.
    """
    from drcnet.cli.settings import read_settings
    from drcnet.dataset.plan import check

    settings = read_settings(config, {})
    plan = check(night, catalog=catalog, settings=settings.prepare, out=work)
    if as_json:
        print_json(plan.as_dict())
    else:
        columns = ["exposure", "arm", "object", "biases", "labelled", "reason"]
        table = plan.table()
        shown = [name for name in columns if name != "reason" or (table["reason"] != "").any()]
        print_frame(table, columns=shown)
        say(plan.describe())
        say(f"next: drcnet prepare {night} WORK" if plan.ready else "prepare could not start")
    if not plan.ready:
        raise typer.Exit(1)
    if plan.problems:
        raise typer.Exit(3)
