"""A run folder, read and checked: predictions, card, settings, log."""

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.calibrate.product import Calibration, read_calibration
from drcnet.errors import CheckpointError, RunError

__all__ = ["INTERVALS", "Run", "order_intervals", "probabilities", "read_run"]

INTERVALS = (">30", "20-30", "10-20", "0-10")
"""The paper's S/N intervals, in the order of its tables."""

_NEEDED = ("row", "star", "class", "predicted", "part", "interval")


@dataclass(frozen=True, eq=False)
class Run:
    """One run, ready to be scored.

    Parameters
    ----------
    name : str
        The folder's name.
    folder : Path
        The run folder.
    classes : tuple of str
        Class names, in the order of the probabilities.
    predictions : DataFrame
        Rows of `predictions.parquet`, as docs/conventions.md has them.
    card : Mapping
        What `card.json` says; empty where there is none.
    settings : Mapping
        What `settings.toml` says; empty where there is none.
    log : DataFrame
        `log.csv` as it is; empty where there is none.
    calibration : Calibration or None
        `calibration.json`; None where there is none.
    """

    name: str
    folder: Path
    classes: tuple[str, ...]
    predictions: pl.DataFrame
    card: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    log: pl.DataFrame = field(default_factory=pl.DataFrame)
    calibration: Calibration | None = None

    @property
    def model(self) -> str:
        """The model's registry name, or the run's name where the run does not say."""
        return str(self.card.get("model") or self.settings.get("model") or self.name)

    @property
    def tested(self) -> pl.DataFrame:
        """Rows of the test part whose class is known."""
        known = pl.col("class").is_in(self.classes)
        return self.predictions.filter((pl.col("part") == "test") & known)

    @property
    def trained_classes(self) -> pl.Series | None:
        """Classes of the training part; None where the predictions hold no training rows."""
        rows = self.predictions.filter(pl.col("part") == "train")
        return rows["class"] if len(rows) else None


def read_run(folder: Path) -> Run:
    """Read a run folder.

    Parameters
    ----------
    folder : Path
        Holds `predictions.parquet`, and where the run was trained here `card.json`,
        `settings.toml` and `log.csv`.

    Returns
    -------
    Run
        The run.

    Raises
    ------
    RunError
        The folder or its predictions are absent, a column is missing, a class is unknown, or a
        row is predicted twice.
    """
    folder = Path(folder)
    path = folder / "predictions.parquet"
    if not folder.is_dir():
        raise RunError(folder, "a run folder", "no such folder")
    if not path.is_file():
        raise RunError(path, "the predictions of a finished run", "no such file")
    try:
        predictions = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as err:
        first_line = (str(err).splitlines() or ["an unreadable file"])[0]
        raise RunError(path, "a Parquet table", first_line) from err
    card = _read_mapping(folder / "card.json")
    predictions = _checked(predictions, path)
    classes = _classes(predictions, card, path)
    calibration = _read_calibration(folder, card, classes)
    return Run(
        name=folder.resolve().name,
        folder=folder,
        classes=classes,
        predictions=predictions,
        card=card,
        settings=_read_mapping(folder / "settings.toml"),
        log=_read_log(folder / "log.csv"),
        calibration=calibration,
    )


def order_intervals(names: Iterable[str]) -> list[str]:
    """Put interval names into the order of the paper's tables, highest S/N first.

    Parameters
    ----------
    names : iterable of str
        Names such as '0-10' and '>30'. Where all of them are the paper's, the paper's missing
        ones are added, so that an empty interval still has its line.

    Returns
    -------
    list of str
        Distinct names.

    Examples
    --------
    >>> order_intervals(["0-10", ">30"])
    ['>30', '20-30', '10-20', '0-10']
    """
    found = {name for name in names if name}
    if found <= set(INTERVALS):
        return list(INTERVALS)
    return sorted(found, key=_lower_edge, reverse=True)


def probabilities(predictions: pl.DataFrame, classes: tuple[str, ...]) -> NDArray[np.float64]:
    """Take the probabilities out of a table of predictions.

    Parameters
    ----------
    predictions : DataFrame
        With columns `p_CLASS`, or without them.
    classes : tuple of str
        Class names.

    Returns
    -------
    ndarray, shape (n, n_class)
        NaN throughout where the classifier gave no probabilities.
    """
    columns = [f"p_{name}" for name in classes]
    if not set(columns) <= set(predictions.columns):
        return np.full((len(predictions), len(classes)), np.nan)
    return predictions.select(pl.col(columns).cast(pl.Float64)).to_numpy()


def _lower_edge(name: str) -> float:
    number = re.search(r"\d+(\.\d+)?", name)
    return float(number.group()) if number else -1.0


def _checked(predictions: pl.DataFrame, path: Path) -> pl.DataFrame:
    missing = [name for name in _NEEDED if name not in predictions.columns]
    if missing:
        raise RunError(path, f"columns {', '.join(_NEEDED)}", f"none of {', '.join(missing)}")
    if predictions["row"].is_duplicated().any():
        twice = predictions.filter(pl.col("row").is_duplicated())["row"][0]
        raise RunError(path, "every row once", f"row {twice} more than once")
    extra = [
        pl.lit(value).alias(name)
        for name, value in (("subclass", ""), ("snrr", float("nan")))
        if name not in predictions.columns
    ]
    texts = pl.col("class", "predicted", "interval", "part").cast(pl.String).fill_null("")
    return predictions.with_columns(texts, pl.col("star").cast(pl.String), *extra).sort("row")


def _classes(predictions: pl.DataFrame, card: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """Classes in the order of the probabilities, else of the card, else of the alphabet."""
    seen = set(predictions["class"].unique()) - {""}
    classes = tuple(c.removeprefix("p_") for c in predictions.columns if c.startswith("p_"))
    classes = classes or tuple(card.get("classes", ())) or tuple(sorted(seen))
    unknown = sorted(seen - set(classes))
    if unknown:
        raise RunError(path, f"classes {', '.join(classes)}", f"the class {unknown[0]!r}")
    return classes


def _read_calibration(
    folder: Path, card: Mapping[str, Any], classes: tuple[str, ...]
) -> Calibration | None:
    try:
        found = read_calibration(folder, weights=card.get("weights"))
    except CheckpointError as err:
        raise RunError(err.where, err.wanted, err.came) from err
    if found is not None and found.classes != classes:
        wanted = f"the classes {', '.join(classes)}"
        raise RunError(folder / "calibration.json", wanted, ", ".join(found.classes))
    return found


def _read_mapping(path: Path) -> dict[str, Any]:
    """Read a JSON or TOML file by its ending; an absent one is empty."""
    if not path.is_file():
        return {}
    parse = json.loads if path.suffix == ".json" else tomllib.loads
    try:
        value = parse(path.read_text(encoding="utf-8"))
    except ValueError as err:
        raise RunError(path, path.suffix.removeprefix(".").upper(), str(err)) from err
    return dict(value)


def _read_log(path: Path) -> pl.DataFrame:
    if not path.is_file():
        return pl.DataFrame()
    try:
        return pl.read_csv(path)
    except pl.exceptions.NoDataError:
        return pl.DataFrame()
    except (OSError, pl.exceptions.PolarsError) as err:
        raise RunError(path, "a CSV table", (str(err).splitlines() or ["damage"])[0]) from err
