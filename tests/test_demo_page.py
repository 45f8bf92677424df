"""The demo's page: what is ahead of the baseline, whichever way round the pair was compared."""

import polars as pl
import pytest

from drcnet.cli.demo_page import demo_page
from drcnet.config import Settings
from drcnet.evaluate.evaluate import Evaluation


def comparison(first, second, difference):
    return {
        "first": first,
        "second": second,
        "interval": ">30",
        "difference": difference,
        "difference_low": difference - 0.02,
        "difference_high": difference + 0.01,
    }


@pytest.fixture
def page(monkeypatch):
    monkeypatch.setattr("drcnet.cli.demo_page.accuracy_table", lambda _scores: pl.DataFrame())
    comparisons = pl.DataFrame([comparison("a", "logreg", 0.05), comparison("logreg", "b", 0.015)])
    empty = pl.DataFrame()
    evaluation = Evaluation((), empty, empty, empty, empty, comparisons, curves=empty)
    fresh = pl.DataFrame({"right": [True, True, False]})
    settings = Settings(title="A night", note="Read this.").model_copy(
        update={"split": Settings().split.model_copy(update={"seed": 7})}
    )
    return demo_page(settings, evaluation, fresh, {"simulate": 3.4})


def test_differences_are_signed_from_the_baseline(page):
    assert "| >30 | **+5.0 [+3.0, +6.0]** | -1.5 [-2.5, +0.5] |" in page


def test_only_settings_that_differ_are_listed(page):
    listed = page.split("```toml\n")[1]
    assert listed == "[split]\nseed = 7\n```\n"


def test_page_opens_with_title_and_note_and_counts_the_fresh_stars(page):
    assert page.startswith("# A night\n\nRead this.\n\n")
    assert "2 of 3 stars right" in page
    assert "| simulate | 3 |" in page
