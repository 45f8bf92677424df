"""The limit on built-in stars knows which of them are giants, though no catalogue says so."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
DRAWN = pl.DataFrame(
    {
        "teff": [5100.04, 5100.12, 6400.0],
        "logg": [4.531, 2.204, 4.3],
        "feh": [-0.102, -0.098, 0.2],
        "luminosity": ["V", "III", "V"],
    }
)


@pytest.fixture
def limit(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("bayes_limit", "folds"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import bayes_limit

    return bayes_limit


def store_of(table):
    return SimpleNamespace(index=table.with_columns(usable=True), work=Path("somewhere"))


def test_giants_are_found_by_what_the_catalogue_rounds(limit):
    seen = pl.DataFrame(
        {
            "star": ["second", "first", "first"],
            "teff": [5100.1, 5100.0, 5100.0],
            "logg": [2.2, 4.53, 4.53],
            "feh": [-0.1, -0.1, -0.1],
        }
    )
    assert limit.giants_of(store_of(seen), DRAWN) == {"first": False, "second": True}
    other = store_of(seen.with_columns(teff=pl.col("teff") + 2))
    with pytest.raises(SystemExit, match="somewhere: wanted the built-in stars"):
        limit.giants_of(other, DRAWN)


def test_a_giant_of_a_dwarfs_temperature_is_of_another_class(limit):
    shares = limit.class_shares(
        np.array([5100.0, 5100.0]), np.array([False, True]), ("F", "G", "K"), 50
    )
    assert shares.sum(axis=1) == pytest.approx([1, 1])
    assert shares[0].argmax() != shares[1].argmax()


def rows_right(share, snrr):
    """Ten rows a star; of every ten rows the first so many are right."""
    count = len(snrr)
    right = np.arange(count) % 10 < 10 * share
    return pl.DataFrame(
        {
            "row": np.arange(count),
            "star": np.repeat(np.arange(count // 10), 10).astype(str),
            "snrr": snrr,
            "interval": ["10-20" if s < 20 else ">30" for s in snrr],
            "class": "G",
            "predicted": np.where(right, "G", "K"),
            "extracted": right,
        }
    )


def test_the_share_of_the_gap_that_a_line_closes(limit):
    snrr = np.repeat([15.0, 40.0], 200)
    judged, own, low = (rows_right(share, snrr) for share in (0.9, 0.7, 0.5))
    own, low = (SimpleNamespace(tested=rows) for rows in (own, low))
    settings = SimpleNamespace(bootstrap=50)
    for name in ("10-20", ">30", limit.BELOW):
        assert limit.closed(judged, "extracted", own, low, name, settings) == "50% [50%, 50%]"
    assert limit.within(judged, limit.BELOW)["snrr"].max() == 15
    worse = SimpleNamespace(tested=judged)
    assert limit.closed(own.tested, "extracted", low, worse, "10-20", settings) == "no gap"
