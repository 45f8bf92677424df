import polars as pl
import pytest

from drcnet.errors import RunError
from drcnet.evaluate.runs import order_intervals, read_run


def test_a_written_run_comes_back(predictions, write_run):
    run = read_run(write_run(predictions))
    assert run.classes == ("F", "G", "K")
    assert run.model == "drcnet"
    assert run.predictions.equals(predictions.sort("row").select(run.predictions.columns))
    assert run.log["epoch"].to_list() == [1, 2, 3]
    assert run.trained_classes is None


def test_a_bare_table_of_predictions_is_a_run(predictions, tmp_path):
    bare = predictions.drop("p_F", "p_G", "p_K", "snrr", "subclass")
    bare.write_parquet(tmp_path / "predictions.parquet")
    run = read_run(tmp_path)
    assert run.model == run.name == tmp_path.name
    assert run.classes == ("F", "G", "K")
    assert run.log.is_empty()
    assert run.predictions["snrr"].is_nan().all()


def test_missing_predictions_are_named(tmp_path):
    with pytest.raises(RunError, match=r"predictions\.parquet: wanted .* got no such file"):
        read_run(tmp_path)
    with pytest.raises(RunError, match="no such folder"):
        read_run(tmp_path / "nowhere")


def test_damage_is_one_sentence(tmp_path, predictions):
    path = tmp_path / "predictions.parquet"
    path.write_bytes(b"PAR1 cut short")
    with pytest.raises(RunError, match="wanted a Parquet table") as caught:
        read_run(tmp_path)
    assert "\n" not in str(caught.value)
    predictions.drop("star").write_parquet(path)
    with pytest.raises(RunError, match="none of star"):
        read_run(tmp_path)
    pl.concat([predictions, predictions.head(1)]).write_parquet(path)
    with pytest.raises(RunError, match="row 0 more than once"):
        read_run(tmp_path)
    predictions.with_columns(pl.lit("M").alias("class")).write_parquet(path)
    with pytest.raises(RunError, match="classes F, G, K, got the class 'M'"):
        read_run(tmp_path)


def test_a_damaged_card_is_named(predictions, write_run):
    folder = write_run(predictions)
    (folder / "card.json").write_text("{")
    with pytest.raises(RunError, match=r"card\.json: wanted JSON"):
        read_run(folder)


def test_an_empty_log_is_no_log(predictions, write_run):
    folder = write_run(predictions)
    (folder / "log.csv").write_text("")
    assert read_run(folder).log.is_empty()


def test_intervals_stand_from_high_to_low():
    assert order_intervals([]) == [">30", "20-30", "10-20", "0-10"]
    assert order_intervals(["5-50", ">50", "0-5"]) == [">50", "5-50", "0-5"]
