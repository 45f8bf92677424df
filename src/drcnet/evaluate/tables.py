"""The paper's tables in our numbers, and their writers: ECSV, Markdown, LaTeX."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from drcnet.evaluate.paper import PUBLISHED_NAMES, published_accuracy
from drcnet.evaluate.runs import order_intervals
from drcnet.provenance import atomic_write

__all__ = [
    "accuracy_table",
    "metrics_table",
    "precision_table",
    "published_for",
    "table_three",
    "to_latex",
    "to_markdown",
    "write_ecsv",
]


def table_three(
    scores: pl.DataFrame, classes: pl.DataFrame, interval: str = ">30"
) -> pl.DataFrame:
    """Make the paper's Table 3: precision, recall and F1 per class, accuracy; one row a run.

    Parameters
    ----------
    scores, classes : DataFrame
        As in `metrics.Scores`.
    interval : str
        The S/N interval.

    Returns
    -------
    DataFrame
        `run`, `model`, then `precision_F`, `recall_F`, `f1_F`, ... by class, `accuracy`,
        `accuracy_low`, `accuracy_high`, `n_rows`, `n_stars`.
    """
    kept = ("run", "model", "accuracy", "accuracy_low", "accuracy_high", "n_rows", "n_stars")
    table = scores.filter(pl.col("interval") == interval).select(kept)
    wide = _wide(classes.filter(pl.col("interval") == interval), ("precision", "recall", "f1"))
    table = table.join(wide.drop("interval"), on="run", how="left", maintain_order="left")
    order = [name for name in wide.columns if name not in ("run", "interval")]
    return table.select("run", "model", *order, *kept[2:])


def precision_table(scores: pl.DataFrame, classes: pl.DataFrame, run: str) -> pl.DataFrame:
    """Make the paper's Table 4 or 5: precision per class and accuracy; one row an interval.

    Parameters
    ----------
    scores, classes : DataFrame
        As in `metrics.Scores`.
    run : str
        The run's name.

    Returns
    -------
    DataFrame
        `interval`, `n_rows`, `n_stars`, `precision_F`, ... by class, `accuracy`,
        `accuracy_low`, `accuracy_high`, `majority`, `published` (the paper's accuracy of the
        same model; null where it gives none).
    """
    table = scores.filter((pl.col("run") == run) & (pl.col("interval") != "all"))
    wide = _wide(classes.filter(pl.col("run") == run), ("precision",))
    table = table.join(wide, on=("run", "interval"), how="left", maintain_order="left")
    table = published_for(table)
    precisions = [name for name in wide.columns if name.startswith("precision_")]
    scored = ("accuracy", "accuracy_low", "accuracy_high", "majority", "published")
    return table.select("interval", "n_rows", "n_stars", *precisions, *scored)


def accuracy_table(scores: pl.DataFrame, digits: int = 3) -> pl.DataFrame:
    """Set all runs side by side: one row an interval, one column a run, as text.

    Parameters
    ----------
    scores : DataFrame
        As in `metrics.Scores`.
    digits : int
        Decimals.

    Returns
    -------
    DataFrame
        `S/N`, `rows`, `stars`, `majority`, one column a run with 'value [low, high]', then the
        published values.
    """
    runs = scores["run"].unique(maintain_order=True).to_list()
    names = [*order_intervals(set(scores["interval"]) - {"all"}), "all"]
    paper = {(m, i): a for m, i, a, _ in published_accuracy().rows()}
    models = list(dict.fromkeys(model for model, _ in paper))
    lines = []
    for name in names:
        rows = {r["run"]: r for r in scores.filter(pl.col("interval") == name).to_dicts()}
        if not rows:
            continue
        first = next(iter(rows.values()))
        line: dict[str, Any] = {
            "S/N": name,
            "rows": first["n_rows"],
            "stars": first["n_stars"],
            "majority": _number(first["majority"], digits),
        }
        line |= {run: _interval_text(rows.get(run), digits) for run in runs}
        line |= {f"{m} (paper)": _number(paper.get((m, name)), digits) for m in models}
        lines.append(line)
    return pl.DataFrame(lines)


def metrics_table(scores: pl.DataFrame, classes: pl.DataFrame) -> pl.DataFrame:
    """Join everything that is known of a run and interval into one row.

    Parameters
    ----------
    scores, classes : DataFrame
        As in `metrics.Scores`.

    Returns
    -------
    DataFrame
        The columns of `scores`, then precision, recall and F1 by class with their bounds, and
        `published`.
    """
    values = [
        f"{name}{end}" for name in ("precision", "recall", "f1") for end in ("", "_low", "_high")
    ]
    wide = _wide(classes, values)
    table = scores.join(wide, on=("run", "interval"), how="left", maintain_order="left")
    return published_for(table)


def published_for(table: pl.DataFrame) -> pl.DataFrame:
    """Add the paper's accuracy of the same model and interval.

    Parameters
    ----------
    table : DataFrame
        With columns `model` (registry name) and `interval`.

    Returns
    -------
    DataFrame
        The table with the column `published`; null where the paper gives none.
    """
    ours = {name: key for key, name in PUBLISHED_NAMES.items()}
    paper = published_accuracy().select(
        pl.col("model").replace_strict(ours),
        "interval",
        pl.col("accuracy").alias("published"),
    )
    return table.join(paper, on=("model", "interval"), how="left", maintain_order="left")


def to_markdown(table: pl.DataFrame, digits: int = 3) -> str:
    """Write a table as Markdown.

    Parameters
    ----------
    table : DataFrame
        Any table.
    digits : int
        Decimals of floating-point numbers.

    Returns
    -------
    str
        A pipe table; numbers right-aligned, NaN and null as '–'.
    """
    aligned = ["---:" if t.is_numeric() else ":---" for t in table.dtypes]
    rows = [[_cell(value, digits) for value in row] for row in table.rows()]
    lines = [list(table.columns), aligned, *rows]
    return (
        "\n".join("| " + " | ".join(_escape_pipe(c) for c in line) + " |" for line in lines) + "\n"
    )


def to_latex(table: pl.DataFrame, caption: str = "", digits: int = 3) -> str:
    """Write a table as LaTeX that needs no package.

    Parameters
    ----------
    table : DataFrame
        Any table.
    caption : str
        Its caption, plain text.
    digits : int
        Decimals of floating-point numbers.

    Returns
    -------
    str
        A `table` environment.
    """
    columns = "".join("r" if t.is_numeric() else "l" for t in table.dtypes)
    body = [[_cell(value, digits) for value in row] for row in table.rows()]
    lines = [" & ".join(_escape_latex(c) for c in line) + r" \\" for line in body]
    head = " & ".join(_escape_latex(name) for name in table.columns) + r" \\"
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            *([rf"\caption{{{_escape_latex(caption)}}}"] if caption else []),
            rf"\begin{{tabular}}{{{columns}}}",
            r"\hline",
            head,
            r"\hline",
            *lines,
            r"\hline",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def write_ecsv(table: pl.DataFrame, path: Path, provenance: Mapping[str, Any]) -> Path:
    """Write a table as ECSV, with its origin in the header.

    Parameters
    ----------
    table : DataFrame
        Any table of numbers and texts; null becomes masked.
    path : Path
        The file.
    provenance : Mapping
        What `provenance.make_provenance` gives.

    Returns
    -------
    Path
        The file.
    """
    from astropy.table import MaskedColumn, Table  # noqa: PLC0415

    kinds = {pl.String: str, pl.Boolean: bool}
    out = Table(meta={"provenance": dict(provenance)})
    for series in table:
        kind = kinds.get(type(series.dtype), int if series.dtype.is_integer() else float)
        mask = series.is_null().to_list()
        blank = series.to_list() if kind is not str else series.fill_null("").to_list()
        values = [kind() if value is None else value for value in blank]
        column = MaskedColumn(values, name=series.name, mask=mask, dtype=kind)
        out[series.name] = column if any(mask) else column.filled()
    with atomic_write(path) as partial:
        out.write(partial, format="ascii.ecsv")
    return path


def _wide(classes: pl.DataFrame, values: Any) -> pl.DataFrame:
    """One row a run and interval, columns VALUE_CLASS, class by class."""
    keys = classes.select("run", "interval").unique(maintain_order=True)
    for name in classes["class"].unique(maintain_order=True):
        part = classes.filter(pl.col("class") == name)
        part = part.select("run", "interval", *(pl.col(v).alias(f"{v}_{name}") for v in values))
        keys = keys.join(part, on=("run", "interval"), how="left", maintain_order="left")
    return keys


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def _interval_text(row: Mapping[str, Any] | None, digits: int) -> str:
    if row is None or not row["n_rows"]:
        return "–"
    value, low, high = (_number(row[f"accuracy{end}"], digits) for end in ("", "_low", "_high"))
    return f"{value} [{low}, {high}]"


def _cell(value: Any, digits: int) -> str:
    if value is None or isinstance(value, float):
        return _number(value, digits)
    return str(value)


def _escape_pipe(text: str) -> str:
    return text.replace("|", r"\|")


def _escape_latex(text: str) -> str:
    swaps = {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#",
        "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\^{}",
        ">": r"$>$", "<": r"$<$", "–": "--",
    }  # fmt: skip
    return "".join(swaps.get(letter, letter) for letter in text)
