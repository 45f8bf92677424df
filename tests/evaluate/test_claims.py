"""The paper's claims: their published numbers, and the rule of the verdicts."""

import math

import polars as pl
import pytest

from drcnet.evaluate.claims import FALLS, OPEN, PAPER_CLAIMS, STANDS, claims_note, verdict_of
from drcnet.evaluate.paper import PUBLISHED_NAMES, published_accuracy, table_3, table_4_and_5

ACCURACY = {(m, i): a for m, i, a, _ in published_accuracy().rows()}
ROWS = dict(published_accuracy().select("interval", "n_rows").unique().rows())


def published(claim):
    """The difference that the paper's tables give."""
    names = [PUBLISHED_NAMES[m] for m in (claim.first, claim.second) if m]
    if claim.measure == "accuracy":
        weights = [ROWS[i] for i in claim.intervals]
        values = [
            sum(w * ACCURACY[name, i] for w, i in zip(weights, claim.intervals, strict=True))
            / sum(weights)
            for name in names
        ]
    elif claim.measure == "kept":
        bright, faint = claim.intervals
        values = [ACCURACY[name, faint] - ACCURACY[name, bright] for name in names]
    elif claim.measure.startswith("precision_"):
        rows = {(m, c): p for m, c, p, *_ in table_3().rows()}
        values = [rows[name, claim.measure[-1]] for name in names]
    else:
        row = table_4_and_5().filter(
            (pl.col("model") == names[0]) & (pl.col("interval") == claim.intervals[0])
        )
        p = {c: row[f"precision_{c}"][0] for c in "FGK"}
        own = p.pop(claim.measure[-1])
        values = [own - max(p.values())]
    return values[0] - sum(values[1:])


@pytest.mark.parametrize("claim", PAPER_CLAIMS, ids=lambda claim: claim.name)
def test_published_differences_are_those_of_the_papers_tables(claim):
    assert claim.published == pytest.approx(published(claim), abs=0.00051)
    assert claim.published > 0
    assert claim.source


def test_names_are_told_apart():
    names = [claim.name for claim in PAPER_CLAIMS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("low", "high", "margin", "said"),
    [
        (0.001, 0.2, None, STANDS),
        (-0.2, -0.001, None, FALLS),
        (-0.001, 0.2, None, OPEN),
        (0.0, 0.2, None, OPEN),
        (math.nan, math.nan, None, OPEN),
        (-0.02, 0.029, 0.03, STANDS),
        (0.01, 0.029, 0.03, STANDS),
        (-0.02, 0.031, 0.03, OPEN),
        (0.031, 0.1, 0.03, FALLS),
        (-0.1, -0.031, 0.03, FALLS),
        (-0.1, 0.1, 0.03, OPEN),
    ],
)
def test_the_verdict_follows_from_the_interval(low, high, margin, said):
    assert verdict_of(low, high, margin) == said


def test_the_rule_that_is_printed_names_the_margin_that_is_used():
    margins = {claim.margin for claim in PAPER_CLAIMS if claim.margin is not None}
    assert len(margins) == 1
    assert f"within {100 * margins.pop():g} points" in claims_note(0.95)
    assert "90% interval" in claims_note(0.9)
