import numpy as np
import polars as pl
import pytest

from drcnet.config import EvaluateSettings
from drcnet.evaluate.evaluate import assess
from drcnet.evaluate.metrics import score_run
from drcnet.evaluate.pooled import group_seeds, pool_runs, pooled_table

FEW = EvaluateSettings(bootstrap=200)


@pytest.fixture
def seeds(predictions, make_run):
    """Three seeds: the first as rolled, the second worse by some rows, the third the first."""
    worse = predictions.with_columns(
        pl.when(pl.col("row") % 5 == 0).then(pl.lit("F")).otherwise("predicted").alias("predicted")
    )
    tables = [predictions, worse, predictions]
    return [
        make_run(
            table,
            f"rcnet-s{seed}",
            card={"model": "rcnet", "split": "a", "seed": seed},
            settings={"model": "rcnet", "seed": seed},
        )
        for seed, table in enumerate(tables, start=1)
    ]


def test_seeds_average_and_their_spread_is_said(seeds):
    table = pooled_table(seeds, FEW)
    assert set(table["line"]) == {"rcnet"}
    for row in table.iter_rows(named=True):
        alone = [
            score_run(run, FEW).scores.filter(pl.col("interval") == row["interval"])
            for run in seeds
        ]
        right = [one["accuracy"].item() for one in alone]
        assert row["accuracy"] == pytest.approx(np.mean(right))
        assert row["spread"] == pytest.approx(np.std(right, ddof=1))
        assert row["n_rows"] == alone[0]["n_rows"].item()
        assert row["n_stars"] == alone[0]["n_stars"].item()


def test_the_same_seed_thrice_knows_no_more_than_once(seeds):
    once = score_run(seeds[0], FEW).scores
    table = pool_runs([seeds[0]] * 3, "rcnet", FEW)
    for name in ("accuracy", "accuracy_low", "accuracy_high"):
        assert table[name].to_list() == pytest.approx(once[name].to_list())
    assert table["spread"].to_list() == pytest.approx([0] * len(table))


def test_only_runs_that_differ_in_nothing_else_are_pooled(seeds, predictions, make_run):
    first, second, third = seeds
    card, settings = dict(first.card), dict(first.settings)
    others = [
        make_run(predictions, "other-split", card=card | {"split": "b", "seed": 7}),
        make_run(predictions, "noise", card=card | {"seed": 8}, settings=settings | {"noise": 1}),
        make_run(predictions, "foreign"),
    ]
    found = group_seeds([first, *others, second, third])
    assert {name: [run.name for run in group] for name, group in found.items()} == {
        "rcnet": ["rcnet-s1", "rcnet-s2", "rcnet-s3"]
    }
    assert group_seeds(others) == {}
    assert group_seeds([first, first]) == {}


def test_an_evaluation_pools_its_seeds(seeds):
    assert assess(seeds, FEW).pooled["n_runs"].unique().to_list() == [3]
    assert assess(seeds[:1], FEW).pooled.is_empty()
