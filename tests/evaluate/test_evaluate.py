import polars as pl
import pytest
from astropy.table import Table

from drcnet.config import EvaluateSettings
from drcnet.errors import RunError
from drcnet.evaluate.evaluate import evaluate

FEW = EvaluateSettings(bootstrap=100)
BARE = EvaluateSettings(bootstrap=100, figures=False)


def test_tables_and_figures_land_in_each_run(predictions, write_run):
    folders = [write_run(predictions, name) for name in ("drcnet", "logreg")]
    result = evaluate(folders, FEW)
    assert result.scores.select("run", "interval").is_duplicated().sum() == 0
    assert len(result.scores) == 2 * 5
    assert len(result.comparisons) == 5
    for folder in folders:
        metrics = Table.read(folder / "metrics.ecsv")
        mine = result.scores.filter(pl.col("run") == folder.name)
        assert list(metrics["accuracy"]) == mine["accuracy"].to_list()
        assert "precision_K" in metrics.colnames
        assert metrics.meta["provenance"]["inputs"].keys() == {"predictions.parquet"}
        confusion = Table.read(folder / "confusion.ecsv")
        assert sum(confusion["n_rows"]) == 2 * len(predictions)  # intervals, and all of them
        names = sorted(p.name for p in (folder / "figures").iterdir())
        assert names == [
            "accuracy.png",
            "confusion.png",
            "reliability.png",
            "snr.png",
            "training.png",
        ]


def test_the_same_predictions_give_the_same_bytes(predictions, write_run):
    folder = write_run(predictions)
    evaluate([folder], BARE)
    first = (folder / "metrics.ecsv").read_bytes()
    evaluate([folder], BARE)
    assert (folder / "metrics.ecsv").read_bytes() == first
    assert not (folder / "figures").exists()


def test_summary_has_a_line_an_interval_and_a_column_a_run(predictions, write_run):
    result = evaluate([write_run(predictions, "a"), write_run(predictions, "b")], BARE)
    assert result.summary()["S/N"].to_list() == [">30", "20-30", "10-20", "0-10", "all"]
    assert {"a", "b", "majority", "rows", "stars"} <= set(result.summary().columns)


def test_nothing_is_written_where_one_run_is_bad(predictions, write_run, tmp_path):
    good = write_run(predictions)
    (tmp_path / "bad").mkdir()
    with pytest.raises(RunError, match=r"bad/predictions\.parquet"):
        evaluate([good, tmp_path / "bad"], FEW)
    assert not (good / "metrics.ecsv").exists()


def test_no_run_two_of_a_name_and_no_test_row_are_refused(predictions, write_run):
    folder = write_run(predictions)
    with pytest.raises(RunError, match="at least one run folder"):
        evaluate([], FEW)
    with pytest.raises(RunError, match="'drcnet' twice"):
        evaluate([folder, folder], FEW)
    trained = predictions.with_columns(pl.lit("train").alias("part"))
    with pytest.raises(RunError, match="test rows with a known class, got none"):
        evaluate([write_run(trained, "untested")], FEW)


def test_runs_of_different_stores_are_scored_but_not_compared(predictions, write_run):
    apart = predictions.with_columns(pl.col("row") + 10_000)
    result = evaluate([write_run(predictions, "a"), write_run(apart, "b")], BARE)
    assert len(result.scores) == 10
    assert result.comparisons.is_empty()
