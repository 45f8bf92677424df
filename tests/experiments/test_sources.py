"""Made-up line spectra in which the answer is known."""

import numpy as np
import polars as pl
import pytest

from drcnet.errors import StoreError
from drcnet.experiments.rest_spectra import RestSpectra
from drcnet.experiments.sources import (
    ask_sources,
    examine_sources,
    has_sources,
    sources_section,
    sources_text,
)

N = 360


def made_up(rng, *, signature=0.0, crooked=False):
    """Two classes that differ in pixel 3, two sources that differ by `signature` in pixel 9."""
    kind = np.arange(N) % 2
    source = (np.arange(N) // 2) % 2
    flux = rng.normal(1.0, 0.02, (N, 40))
    sign = np.where(crooked & (source == 1), -1.0, 1.0)
    flux[:, 3] += 0.2 * sign * (kind - 0.5)
    flux[:, 9] += signature * source
    table = pl.DataFrame(
        {
            "star": [f"s{n:03d}" for n in range(N)],
            "class": np.array(["F", "G"])[kind],
            "subclass": np.array(["F5", "G5"])[kind],
            "source": np.array(["here", "there"])[source],
            "fold": (np.arange(N) // 4) % 5,
            "snrr": np.full(N, 50.0),
        }
    )
    return RestSpectra(flux.astype(np.float32), table)


def test_a_signature_is_found(rng):
    found = ask_sources(made_up(rng, signature=0.3))
    assert (found.told["accuracy"] > 0.95).all()


def test_no_signature_is_chance(rng):
    found = ask_sources(made_up(rng))
    assert ((found.told["balanced"] - 0.5).abs() < 0.12).all()
    assert found.told["chance"].to_list() == [0.5, 0.5, 0.5]


def test_equal_sources_lose_nothing(rng):
    found = ask_sources(made_up(rng))
    assert (found.left_out["loss"].abs() < 0.05).all()
    assert (found.left_out["without"] > 0.9).all()


def test_a_source_with_other_labels_loses(rng):
    """Where the line means the opposite, a classifier that never saw the source is wrong."""
    found = ask_sources(made_up(rng, signature=0.3, crooked=True))
    assert (found.left_out["without"] < 0.2).all()


def test_balanced_sources_give_no_class_away(rng):
    given = ask_sources(made_up(rng)).given_away.row(0)
    assert given == (0.5, 0.5)


def test_the_tables_are_printed(rng):
    text = sources_text(ask_sources(made_up(rng)))
    assert text.count("|---") >= 4
    assert "| there |" in text


def test_the_section_says_what_the_tables_say(rng):
    crooked = sources_section(ask_sources(made_up(rng, signature=0.3, crooked=True)))
    assert crooked.startswith("## What the source could give away")
    assert "Never having seen there costs something" in crooked
    even = sources_section(ask_sources(made_up(rng)))
    assert "costs something" not in even
    assert "0.0 points more often" in even


def test_one_source_is_refused(tmp_path, tiny_work):
    import shutil

    work = tmp_path / "work"
    shutil.copytree(tiny_work, work)
    index = pl.read_parquet(work / "index.parquet")
    index.with_columns(usable=True, source=pl.lit("one"), fold=0).write_parquet(
        work / "index.parquet"
    )
    assert not has_sources(work)
    with pytest.raises(StoreError, match="two sources or more"):
        examine_sources(work, min_snr=0)
