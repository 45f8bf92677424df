"""drcnet dataset: look into stores, check, merge and thin them."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from drcnet.cli.console import (
    JsonOption,
    OverwriteOption,
    print_frame,
    print_json,
    progress_bars,
    say,
)

if TYPE_CHECKING:
    import polars as pl

    from drcnet.dataset.info import StoreInfo

__all__ = ["app"]

app = typer.Typer(help="Look into stores; check, merge and thin them.", no_args_is_help=True)

_OUT = typer.Option(..., "--out", "-o", help="Folder of the new store.")
_WIDEST = 78


@app.command()
def info(
    work: str = typer.Argument(help="Folder that 'drcnet prepare' made, or its URL."),
    as_json: bool = JsonOption,
) -> None:
    """Say what a store holds: rows, stars, classes, S/N, flags, and what was left out and why."""
    from drcnet.dataset.info import store_info

    found = store_info(work)
    if as_json:
        print_json(found.as_dict())
    else:
        say(found.describe())
        _print_tables(found)


@app.command()
def check(
    work: Path = typer.Argument(help="Folder that 'drcnet prepare' made."),
    as_json: bool = JsonOption,
) -> None:
    """Read every shard and hold it to its checksum, the index and the split.

    The exit code is 1 where there is a fault; each is one line.
    """
    from drcnet.dataset.store_check import check_store

    with progress_bars(quiet=as_json) as progress:
        faults = check_store(work, progress=progress)
    if as_json:
        print_json({"work": work, "faults": list(faults)})
    else:
        say("\n".join(faults) or f"{work}: whole")
    if faults:
        raise typer.Exit(1)


@app.command()
def merge(
    works: list[Path] = typer.Argument(help="Two or more folders that 'drcnet prepare' made."),
    out: Path = _OUT,
    overwrite: bool = OverwriteOption,
    as_json: bool = JsonOption,
) -> None:
    """Put the exposures of several stores into one, and deal its stars out anew.

    An exposure that is in several stores is taken once where it is the same in each. Stores of
    other instruments or settings are refused. The new store appears whole or not at all.
    """
    from drcnet.dataset.merge import merge_stores

    if len(works) < 2:
        raise typer.BadParameter("give two stores or more")
    with progress_bars(quiet=as_json) as progress:
        made = merge_stores(works, out, progress=progress, overwrite=overwrite)
    if as_json:
        print_json(made.as_dict())
    say(made.describe(), quiet=as_json)


@app.command()
def subset(
    work: Path = typer.Argument(help="Folder that 'drcnet prepare' made."),
    out: Path = _OUT,
    where: str | None = typer.Option(
        None, "--where", help="Condition on the index: \"snrr > 30 and class = 'F'\"."
    ),
    rows: str | None = typer.Option(None, "--rows", help="Row numbers: '0-99,250'."),
    part: str | None = typer.Option(None, "--part", help="train, validation, test or unused."),
    overwrite: bool = OverwriteOption,
    as_json: bool = JsonOption,
) -> None:
    """Copy the rows that meet every condition into a store of their own.

    Every star stays in its part of the split. Other fibres of the exposures stay as rows
    without light, so that a row is a fibre in the new store too.
    """
    from drcnet.dataset.subset import parse_rows, subset_store

    if where is None and rows is None and part is None:
        raise typer.BadParameter("give --where, --rows or --part")
    numbers = None if rows is None else parse_rows(rows)
    with progress_bars(quiet=as_json) as progress:
        made = subset_store(
            work,
            out,
            where=where,
            rows=numbers,
            part=part,
            progress=progress,
            overwrite=overwrite,
        )
    if as_json:
        print_json(made.as_dict())
    say(made.describe(), quiet=as_json)


def _print_tables(found: "StoreInfo") -> None:
    say("")
    print_frame(found.flow, title="From fibres to parts (Figure 4)")
    say("")
    print_frame(_fitting(found.table1), title="Rows of the split (Table 1), with classes")
    say("")
    print_frame(_fitting(found.histogram), title="Usable rows by S/N (snrr; Figure 3)")
    say("")
    print_frame(found.flags, title="Flags")
    if len(found.left_out):
        say("")
        columns = ["stage", "reason", "rows", "stars"]
        print_frame(found.left_out, columns=columns, title="Left out (left_out.parquet has more)")


def _fitting(table: "pl.DataFrame") -> "pl.DataFrame":
    """Columns that fit a line; a store of many classes prints its totals and points to --json."""
    widths = [max(4, len(name)) + 2 for name in table.columns]
    if sum(widths) <= _WIDEST:
        return table
    return table.select(table.columns[:2])
