"""The published numbers, as printed, and a check of whether they agree with each other.

Zhang et al. 2023, "DRC-Net Method for Two-dimensional Spectral Classification".
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = [
    "PUBLISHED_NAMES",
    "check_consistency",
    "confusion_exists",
    "published_accuracy",
    "table_1",
    "table_2",
    "table_3",
    "table_4_and_5",
]

PUBLISHED_NAMES = {"drcnet": "DRC-Net", "rcnet": "RC-Net", "ffcnn": "FFCNN"}
"""Our registry name of a model to the paper's name."""

_CLASSES = ("F", "G", "K")
_HALF_DIGIT = 0.0005  # three printed decimals
_TEXT_COUNTS = {"F": 4500, "G": 6500, "K": 4680}  # section 2.1


def table_1() -> pl.DataFrame:
    """Give Table 1, the division of the data set.

    Returns
    -------
    DataFrame
        `part`, `interval`, `n_rows`.
    """
    intervals = (">30", "20-30", "10-20", "0-10")
    counts = {
        "train": (4840, 0, 0, 0),
        "validation": (605, 0, 0, 0),
        "test": (605, 461, 436, 1042),
    }
    return pl.DataFrame(
        [
            {"part": part, "interval": interval, "n_rows": n}
            for part, row in counts.items()
            for interval, n in zip(intervals, row, strict=True)
        ]
    )


def table_2() -> pl.DataFrame:
    """Give Table 2, the hyperparameters.

    Returns
    -------
    DataFrame
        `configuration`, `value`, as printed.
    """
    rows = {
        "Optimizer": "AdaGrad",
        "Batch size": "4",
        "Total-train-epoch": "300",
        "Learning rate": "0.001",
        "Loss function": "CrossEntropyLoss",
        "Early-stop-patience": "50",
        "Operating system": "MS Windows 10",
        "Graphics processing unit (GPU)": "Geforce 3070ti 8 GB",
        "Programming language": "Python 3.7",
        "Development environment configuration": "Pytorch 1.7 and CUDA 11.0",
    }
    return pl.DataFrame({"configuration": list(rows), "value": list(rows.values())})


def table_3() -> pl.DataFrame:
    """Give Table 3, three models above S/N 30.

    Returns
    -------
    DataFrame
        `model`, `class`, `precision`, `recall`, `f1`, `accuracy` (the model's, repeated). The
        misprint "767" (RC-Net, precision of F) is given as 0.767, which Table 5 has.
    """
    rows = {
        "DRC-Net": (0.930, 0.816, 0.869, 0.835, 0.925, 0.878, 0.869, 0.785, 0.825, 0.866),
        "FFCNN": (0.876, 0.763, 0.816, 0.792, 0.903, 0.843, 0.845, 0.742, 0.807, 0.829),
        "RC-Net": (0.767, 0.948, 0.848, 0.929, 0.795, 0.857, 0.846, 0.917, 0.880, 0.860),
    }
    return pl.DataFrame(
        [
            {
                "model": model,
                "class": name,
                "precision": row[3 * i],
                "recall": row[3 * i + 1],
                "f1": row[3 * i + 2],
                "accuracy": row[9],
            }
            for model, row in rows.items()
            for i, name in enumerate(_CLASSES)
        ]
    )


def table_4_and_5() -> pl.DataFrame:
    """Give Tables 4 (DRC-Net) and 5 (RC-Net), precision and accuracy by S/N interval.

    Returns
    -------
    DataFrame
        `model`, `interval`, `precision_F`, `precision_G`, `precision_K`, `accuracy`.
    """
    rows = {
        "DRC-Net": {
            ">30": (0.930, 0.835, 0.869, 0.866),
            "20-30": (0.775, 0.784, 0.752, 0.774),
            "10-20": (0.718, 0.695, 0.807, 0.727),
            "0-10": (0.491, 0.544, 0.753, 0.571),
        },
        "RC-Net": {
            ">30": (0.767, 0.929, 0.846, 0.860),
            "20-30": (0.909, 0.766, 0.937, 0.840),
            "10-20": (0.684, 0.665, 0.894, 0.723),
            "0-10": (0.462, 0.500, 0.545, 0.506),
        },
    }
    columns = ("precision_F", "precision_G", "precision_K", "accuracy")
    return pl.DataFrame(
        [
            {"model": model, "interval": interval, **dict(zip(columns, values, strict=True))}
            for model, lines in rows.items()
            for interval, values in lines.items()
        ]
    )


def published_accuracy() -> pl.DataFrame:
    """Give every published accuracy, with its number of test rows.

    Returns
    -------
    DataFrame
        `model` (the paper's name), `interval`, `accuracy`, `n_rows`.
    """
    ffcnn = table_3().filter(pl.col("model") == "FFCNN").head(1)
    columns = ("model", "interval", "accuracy")
    extra = ffcnn.with_columns(pl.lit(">30").alias("interval")).select(columns)
    tested = table_1().filter(pl.col("part") == "test").drop("part")
    return pl.concat([table_4_and_5().select(columns), extra]).join(
        tested, on="interval", how="left", maintain_order="left"
    )


def confusion_exists(
    precision: NDArray[np.float64], recall: NDArray[np.float64], accuracy: float, n: int
) -> bool:
    """Search for any integer confusion matrix of n rows and three classes behind printed scores.

    Parameters
    ----------
    precision, recall : ndarray, shape (3,)
        As printed, three decimals.
    accuracy : float
        As printed, three decimals.
    n : int
        Rows.

    Returns
    -------
    bool
        Whether one exists that rounds to every number. A matrix with given true counts t,
        predicted counts m and diagonal d exists exactly if, with r = t - d and c = m - d,
        sum r = sum c and r_k + c_k <= sum r for every class.
    """
    groups = [_candidates(p, r, n) for p, r in zip(precision, recall, strict=True)]
    if any(len(group) == 0 for group in groups):
        return False
    last: dict[tuple[int, int], list[int]] = {}
    for t, m, d in groups[2]:
        last.setdefault((int(t), int(m)), []).append(d)
    first, second = groups[0], groups[1]
    for one in first:
        both = one + second  # (n_candidate, 3): t, m, d of the two classes together
        fits = (both[:, 0] < n) & (both[:, 1] < n)
        for two, pair in zip(second[fits], both[fits], strict=True):
            for d in last.get((n - int(pair[0]), n - int(pair[1])), ()):
                three = np.array([n - pair[0], n - pair[1], d])
                if _fits(np.stack([one, two, three]), accuracy, n):
                    return True
    return False


def check_consistency(*, search: bool = False) -> pl.DataFrame:
    """Check the published numbers against each other.

    Parameters
    ----------
    search : bool
        Also search for integer confusion matrices behind Table 3 (seconds).

    Returns
    -------
    DataFrame
        `where`, `check`, `published`, `expected`, `consistent`: one row a check, rounding to
        the printed digits allowed for.
    """
    lines = [*_check_counts(), *_check_f1(), *_check_accuracy(), *_check_differences()]
    if search:
        lines += _check_matrices()
    return pl.DataFrame(lines, orient="row", schema=_CHECKS)


_CHECKS = {
    "where": pl.String,
    "check": pl.String,
    "published": pl.String,
    "expected": pl.String,
    "consistent": pl.Boolean,
}
_Line = tuple[str, str, str, str, bool]


def _check_counts() -> list[_Line]:
    text, table = sum(_TEXT_COUNTS.values()), int(table_1()["n_rows"].sum())
    line = ("Table 1", "spectra in the text and in the table", f"{table}", f"{text}")
    return [(*line, text == table)]


def _check_f1() -> list[_Line]:
    """F1 = 2 P R / (P + R), anywhere within the rounding of P and R."""
    lines = []
    for row in table_3().iter_rows(named=True):
        p, r, f1 = row["precision"], row["recall"], row["f1"]
        low, high = (2 * (p + e) * (r + e) / (p + r + 2 * e) for e in (-_HALF_DIGIT, _HALF_DIGIT))
        good = low - _HALF_DIGIT <= f1 <= high + _HALF_DIGIT
        where = f"Table 3, {row['model']}, {row['class']}"
        check = f"F1 from P {p:.3f} and R {r:.3f}"
        lines.append((where, check, f"{f1:.3f}", f"{2 * p * r / (p + r):.3f}", bool(good)))
    return lines


def _check_accuracy() -> list[_Line]:
    """Accuracy is an average of the precisions, and of the recalls."""
    lines = []
    for row in table_4_and_5().iter_rows(named=True):
        values = [row[f"precision_{name}"] for name in _CLASSES]
        number = 4 if row["model"] == "DRC-Net" else 5
        where = f"Table {number}, {row['model']}, S/N {row['interval']}"
        lines.append(_between(where, "precision", values, row["accuracy"]))
    for (model, value), rows in table_3().group_by(["model", "accuracy"], maintain_order=True):
        lines += [
            _between(f"Table 3, {model}", name, rows[name].to_list(), float(str(value)))
            for name in ("precision", "recall")
        ]
    return lines


def _between(where: str, name: str, values: list[float], accuracy: float) -> _Line:
    low, high = min(values) - _HALF_DIGIT, max(values) + _HALF_DIGIT
    expected = f"{min(values):.3f} to {max(values):.3f}"
    check = f"accuracy between least and greatest {name}"
    return (
        where,
        check,
        f"{accuracy:.3f}",
        expected,
        low <= accuracy + _HALF_DIGIT and accuracy - _HALF_DIGIT <= high,
    )


def _check_differences() -> list[_Line]:
    """Whether the claimed gains exceed chance: two independent samples, two sigma."""
    table = published_accuracy()
    ours = table.filter(pl.col("model") == "DRC-Net")
    theirs = dict(table.filter(pl.col("model") == "RC-Net").select("interval", "accuracy").rows())
    lines = []
    for row in ours.iter_rows(named=True):
        a, b, n = row["accuracy"], theirs[row["interval"]], row["n_rows"]
        mean = (a + b) / 2
        z = (a - b) / np.sqrt(2 * mean * (1 - mean) / n)
        where = f"Tables 4 and 5, S/N {row['interval']}"
        check = "DRC-Net minus RC-Net beyond chance (|z| > 2)"
        lines.append((where, check, f"{a - b:+.3f}", f"z = {z:+.1f}, n = {n}", bool(abs(z) > 2)))
    return lines


def _check_matrices() -> list[_Line]:
    lines = []
    for (model, value), rows in table_3().group_by(["model", "accuracy"], maintain_order=True):
        p, r = rows["precision"].to_numpy(), rows["recall"].to_numpy()
        found = confusion_exists(p, r, float(str(value)), 605)
        check = "an integer confusion matrix of 605 rows exists"
        lines.append(
            (f"Table 3, {model}", check, "P, R, accuracy", "found" if found else "none", found)
        )
    return lines


def _candidates(precision: float, recall: float, n: int) -> NDArray[np.int64]:
    """All (true, predicted, right) counts of one class that round to its P and R; (m, 3)."""
    found = []
    for true in range(1, n):
        low = int(np.ceil((recall - _HALF_DIGIT) * true - 1e-9))
        high = int(np.floor((recall + _HALF_DIGIT) * true + 1e-9))
        for right in range(max(low, 1), min(high, true) + 1):
            first = int(np.ceil(right / (precision + _HALF_DIGIT) - 1e-9))
            last = int(np.floor(right / (precision - _HALF_DIGIT) + 1e-9))
            found += [(true, m, right) for m in range(max(first, right), min(last, n) + 1)]
    return np.array(found, dtype=np.int64).reshape(-1, 3)


def _fits(classes: NDArray[np.int64], accuracy: float, n: int) -> bool:
    """Whether true, predicted and right counts, (3, 3), make a matrix of this accuracy."""
    right = classes[:, 2].sum()
    missed = classes[:, 0] - classes[:, 2]
    wrong = classes[:, 1] - classes[:, 2]
    possible = (missed >= 0).all() and (wrong >= 0).all() and missed.sum() == wrong.sum()
    close = abs(right / n - accuracy) <= _HALF_DIGIT + 1e-9
    return bool(possible and close and (missed + wrong <= missed.sum()).all())
