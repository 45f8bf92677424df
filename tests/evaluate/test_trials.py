"""Lines of several seeds: differences whose error is known, and what is said of them."""

import numpy as np
import polars as pl
import pytest

from drcnet.config import EvaluateSettings
from drcnet.errors import RunError
from drcnet.evaluate.runs import Run
from drcnet.evaluate.trials import CANNOT_TELL, HARMS, HELPS, NOTHING, compare_lines

SETTINGS = EvaluateSettings(bootstrap=2000)


def run_of(right, tmp_path, name="run", visits=1):
    """A run that is right where told; so many rows a star."""
    n = len(right)
    table = pl.DataFrame(
        {
            "row": np.arange(n),
            "star": [f"s{k // visits:04d}" for k in range(n)],
            "class": ["F"] * n,
            "interval": np.where(np.arange(n) % 4 < 2, ">30", "0-10"),
            "part": ["test"] * n,
            "predicted": np.where(right, "F", "K"),
        }
    )
    return Run(name, tmp_path / name, ("F", "K"), table)


def of_all(table):
    return table.filter(pl.col("interval") == "all").row(0, named=True)


def test_error_by_stars_is_the_standard_error_of_paired_differences(rng, tmp_path):
    first, second = rng.random(900) < 0.8, rng.random(900) < 0.8
    runs = [run_of(right, tmp_path) for right in (first, second)]
    row = of_all(compare_lines(runs[:1], runs[1:], SETTINGS))
    apart = first.astype(float) - second
    assert row["difference"] == pytest.approx(apart.mean())
    assert row["stars"] == pytest.approx(apart.std() / 30, rel=0.08)
    assert np.isnan(row["luck"])
    half = 1.96 * row["stars"]
    assert row["difference_high"] - row["difference"] == pytest.approx(half, rel=1e-3)


def test_rows_of_one_star_are_one_draw(rng, tmp_path):
    first, second = (np.repeat(rng.random(225) < 0.7, 4) for _ in range(2))
    alone, together = (
        of_all(
            compare_lines(
                [run_of(first, tmp_path, visits=v)], [run_of(second, tmp_path, visits=v)], SETTINGS
            )
        )["stars"]
        for v in (1, 4)
    )
    assert together == pytest.approx(2 * alone, rel=0.12)


def test_luck_of_seeds_is_their_spread(rng, tmp_path):
    base = [run_of(rng.random(400) < p, tmp_path) for p in (0.7, 0.8, 0.9)]
    values = [(one.tested["class"] == one.tested["predicted"]).mean() for one in base]
    spread = np.std(values, ddof=1)
    trial = [run_of(rng.random(400) < 0.8, tmp_path)]
    one, five = (of_all(compare_lines(trial, base, SETTINGS, seeds=n)) for n in (None, 5))
    assert one["luck"] == pytest.approx(spread * np.sqrt(1 / 3 + 1))
    assert five["luck"] == pytest.approx(spread * np.sqrt(1 / 3 + 1 / 5))
    assert one["accuracy_base"] == pytest.approx(np.mean(values))
    width = 1.96 * np.hypot(one["stars"], one["luck"])
    assert one["difference_high"] - one["difference"] == pytest.approx(width, rel=1e-3)


def test_luck_of_seeds_is_that_of_either_side(rng, tmp_path):
    several, two = (
        [run_of(rng.random(400) < p, tmp_path) for p in shares]
        for shares in ((0.7, 0.8, 0.9), (0.6, 0.7))
    )
    spread = [
        np.std([(one.tested["class"] == one.tested["predicted"]).mean() for one in runs], ddof=1)
        for runs in (several, two)
    ]
    alone = of_all(compare_lines(several, two[:1], SETTINGS))
    assert alone["luck"] == pytest.approx(spread[0] * np.sqrt(1 / 3 + 1))
    both = of_all(compare_lines(several, two, SETTINGS))
    assert both["luck"] == pytest.approx(np.hypot(spread[0] / np.sqrt(3), spread[1] / np.sqrt(2)))


def test_intervals_are_judged_apart(rng, tmp_path):
    right = rng.random(1000) < 0.6
    faint = np.arange(1000) % 4 >= 2
    better = right | (faint & (rng.random(1000) < 0.5))
    table = compare_lines([run_of(better, tmp_path)], [run_of(right, tmp_path)], SETTINGS)
    assert dict(table.select("interval", "verdict").iter_rows()) == {
        ">30": NOTHING,
        "0-10": HELPS,
        "all": HELPS,
    }
    assert table["n_rows"].to_list() == [500, 500, 1000]
    turned = compare_lines([run_of(right, tmp_path)], [run_of(better, tmp_path)], SETTINGS)
    assert of_all(turned)["verdict"] == HARMS
    assert of_all(turned)["difference"] == pytest.approx(-of_all(table)["difference"])


def test_few_stars_tell_nothing_and_the_margin_decides(rng, tmp_path):
    right = rng.random(200) < 0.7
    swapped = right.copy()
    swapped[[np.flatnonzero(right)[0], np.flatnonzero(~right)[0]]] ^= True
    runs = [run_of(swapped, tmp_path)], [run_of(right, tmp_path)]
    assert of_all(compare_lines(*runs, SETTINGS))["verdict"] == CANNOT_TELL
    assert of_all(compare_lines(*runs, SETTINGS, margin=0.05))["verdict"] == NOTHING


def test_other_rows_are_refused(tmp_path):
    right = np.ones(8, dtype=bool)
    with pytest.raises(RunError, match="the 8 test rows of run, got 4 test rows"):
        compare_lines([run_of(right, tmp_path)], [run_of(right[:4], tmp_path)], SETTINGS)
