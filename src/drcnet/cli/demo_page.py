"""What came out of a demo, as a Markdown page: every number on it computed, none typed in."""

import os
import platform

import polars as pl
import tomli_w

from drcnet import __version__
from drcnet.config import Settings
from drcnet.evaluate.evaluate import Evaluation
from drcnet.evaluate.tables import accuracy_table, to_markdown

__all__ = ["KNOWN_STARS", "demo_page"]

KNOWN_STARS = {
    "builtin": "; they are new stars",
    "library": "; a library has no new stars, so most of them were trained on: not a test score",
}
"""Source of the stars to what the score on a fresh frame is worth."""

_BASELINE = "logreg"


def demo_page(
    settings: Settings, evaluation: Evaluation, fresh: pl.DataFrame, seconds: dict[str, float]
) -> str:
    """Write down what came out, with what made it.

    Parameters
    ----------
    settings : Settings
        All stages; `title` and `note` open the page, and what differs from the defaults ends it.
    evaluation : Evaluation
        The numbers.
    fresh : DataFrame
        Stars of a fresh frame, with `right`.
    seconds : dict of str to float
        Time of each stage.

    Returns
    -------
    str
        Markdown.
    """
    right, total = int(fresh["right"].sum()), len(fresh)
    seed = settings.simulate.seed
    times = "\n".join(f"| {name} | {value:.0f} |" for name, value in seconds.items())
    parts = [
        f"# {settings.title or 'drcnet demo'}",
        settings.note,
        (
            f"Simulated frames, seed {seed}; published values are real LAMOST data. Accuracy on "
            f"test rows, with {settings.evaluate.confidence:.0%} intervals from a bootstrap over "
            "stars."
        ),
        to_markdown(accuracy_table(evaluation.scores)).strip(),
        *_against_baseline(evaluation.comparisons),
        (
            f"A fresh night (seed {seed + 1000}), classified by the first run: {right} of {total} "
            f"stars right{KNOWN_STARS[settings.simulate.source]}."
        ),
        f"| stage | seconds |\n|---|---|\n{times}",
        (
            f"Made by drcnet {__version__} on {_machine()}; the load average at the end was "
            f"{os.getloadavg()[0]:.1f}."
        ),
        "## Settings that are not the defaults",
        f"```toml\n{_changed(settings)}\n```",
    ]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _against_baseline(comparisons: pl.DataFrame) -> list[str]:
    """Differences of accuracy to the linear baseline on the same rows, where it was trained."""
    if not {"first", "second"} <= set(comparisons.columns):
        return []
    forward = comparisons.filter(pl.col("second") == _BASELINE).with_columns(sign=pl.lit(1.0))
    backward = comparisons.filter(pl.col("first") == _BASELINE).with_columns(sign=pl.lit(-1.0))
    intervals = comparisons["interval"].unique(maintain_order=True)
    lines = [_difference(row) for row in (*forward.to_dicts(), *backward.to_dicts())]
    if not lines:
        return []
    table = pl.DataFrame(lines).pivot("run", index="S/N", values="text", maintain_order=True)
    order = pl.DataFrame({"S/N": intervals})
    return [
        (
            f"Points of accuracy ahead of `{_BASELINE}` on the same rows, paired, with intervals "
            "from a bootstrap over stars (bold: the interval leaves out 0):"
        ),
        to_markdown(order.join(table, on="S/N", how="left", maintain_order="left")),
    ]


def _difference(row: dict[str, float | str]) -> dict[str, str]:
    """Give one cell: how far the run that is not the baseline is ahead."""
    sign = float(row["sign"])
    value = 100 * sign * float(row["difference"])
    ends = sorted(100 * sign * float(row[f"difference_{end}"]) for end in ("low", "high"))
    text = f"{value:+.1f} [{ends[0]:+.1f}, {ends[1]:+.1f}]"
    clear = ends[0] > 0 or ends[1] < 0
    run = str(row["first"] if sign > 0 else row["second"])
    return {"run": run, "S/N": str(row["interval"]), "text": f"**{text}**" if clear else text}


def _machine() -> str:
    cores = os.cpu_count() or 1
    return f"{cores} cores ({platform.machine()}), Python {platform.python_version()}"


def _changed(settings: Settings) -> str:
    """Settings as TOML, without those that are the defaults."""
    values = settings.model_dump(
        mode="json", exclude_none=True, exclude_defaults=True, exclude={"title", "note"}
    )
    return tomli_w.dumps(values).strip()
