"""Tables as Markdown, for the pages of results."""

from typing import Any

import polars as pl

__all__ = ["table_text"]


def table_text(table: pl.DataFrame) -> str:
    """Write a table as Markdown.

    Parameters
    ----------
    table : DataFrame
        Any.

    Returns
    -------
    str
        Numbers with three digits after the point where they are not whole.
    """

    def cell(value: Any) -> str:
        return f"{value:.3f}" if isinstance(value, float) else str(value)

    lines = ["| " + " | ".join(table.columns) + " |", "|---" * len(table.columns) + "|"]
    lines += ["| " + " | ".join(cell(v) for v in row) + " |" for row in table.iter_rows()]
    return "\n".join(lines) + "\n"
