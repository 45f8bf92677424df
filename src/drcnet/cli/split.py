"""drcnet dataset split: another split of a store's stars."""

from pathlib import Path
from typing import Literal

import typer

from drcnet.cli.console import ConfigOption, JsonOption, print_json, say

__all__ = ["command"]

Kind = Literal["single", "large", "paper", "test"]
Faint = Literal["unused", "learn"]


def command(
    work: Path = typer.Argument(help="Folder that 'drcnet prepare' made."),
    out: Path = typer.Option(..., "--out", "-o", help="Parquet file to write."),
    kind: Kind = typer.Option(
        "single",
        "--kind",
        help="single: 8:1:1; large: one fold tested, all rows; paper: the same, with the rows "
        "of the paper's Table 1; test: everything tested.",
    ),
    fold: int = typer.Option(0, "--fold", "-k", min=0, help="Which fold is tested."),
    folds: int | None = typer.Option(None, "--folds", min=2, help="How many folds (5)."),
    seed: int | None = typer.Option(None, "--seed", help="Which stars go where."),
    faint: Faint | None = typer.Option(
        None,
        "--faint",
        help="Faint rows of stars to learn from: unused, as in the paper, or learn: labelled by "
        "the star's best visit (the second protocol).",
    ),
    config: Path | None = ConfigOption,
    as_json: bool = JsonOption,
) -> None:
    """Put the stars of a store into train, validation and test, and print Table 1.

    All rows of a star stay in its part. A night that says which star is in which fold (a
    simulated one) is followed; else stars are dealt evenly in every class. The split table of
    --config gives edges, limit and shares. 'drcnet train --split FILE' uses the file.
    """
    from drcnet.cli.settings import read_settings
    from drcnet.dataset.intervals import interval_names
    from drcnet.dataset.split import make_split, split_digest, write_split
    from drcnet.dataset.store import open_store
    from drcnet.dataset.table1 import describe_split

    flags = {
        "split.folds": folds,
        "split.seed": seed,
        "split.kind": kind,
        "split.fold": fold,
        "split.faint": faint,
    }
    settings = read_settings(config, flags).split
    split = make_split(open_store(work).index, settings)
    write_split(out, split, settings)
    if as_json:
        counts = split.group_by("part", "interval").len().sort("part", "interval")
        print_json({"split": out, "digest": split_digest(split), "counts": counts.to_dicts()})
    say(describe_split(split, interval_names(settings.edges)), quiet=as_json)
