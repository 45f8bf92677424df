"""drcnet dataset split, and training on the file that it wrote."""

import json
import shutil

import polars as pl
import pytest
from typer.testing import CliRunner

from drcnet.checkpoint import read_card
from drcnet.cli import app
from drcnet.config import TrainSettings
from drcnet.dataset.split import read_split, split_digest
from drcnet.errors import StoreError
from drcnet.train import train


@pytest.fixture
def work(tiny_work, tmp_path):
    """The tiny work folder, every star usable and in a fold."""
    copy = tmp_path / "work"
    shutil.copytree(tiny_work, copy)
    index = pl.read_parquet(copy / "index.parquet")
    fold = (pl.int_range(len(index)) // 3 % 5).alias("fold")
    index.with_columns(fold, usable=True).write_parquet(copy / "index.parquet")
    return copy


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_a_split_is_written_printed_and_trained_on(work):
    out = work / "splits" / "large-2.parquet"
    said = run("dataset", "split", work, "--kind", "large", "--fold", "2", "--out", out)
    assert said.exit_code == 0, said.output
    assert "Train data set" in said.output
    split = read_split(out)
    tested = split.filter(pl.col("part") == "test")["row"]
    assert set(tested // 3 % 5) == {2}
    settings = TrainSettings(model="logreg", split="splits/large-2.parquet")
    train(work, work / "run", settings)
    predictions = pl.read_parquet(work / "run" / "predictions.parquet")
    assert sorted(predictions.filter(pl.col("part") == "test")["row"]) == sorted(tested)
    assert read_card(work / "run").split == split_digest(split)
    assert split_digest(split) != split_digest(read_split(work))


def test_json_names_the_digest(work, tmp_path):
    said = run("dataset", "split", work, "--out", tmp_path / "a.parquet", "--json")
    assert said.exit_code == 0, said.output
    told = json.loads(said.output)
    assert told["digest"] == split_digest(read_split(tmp_path / "a.parquet"))


def test_a_split_of_another_store_is_refused(work, tmp_path):
    run("dataset", "split", work, "--out", tmp_path / "a.parquet")
    split = pl.read_parquet(tmp_path / "a.parquet")
    split.with_columns(star=pl.col("star") + " b").write_parquet(tmp_path / "b.parquet")
    with pytest.raises(StoreError, match="rows of other stars"):
        train(
            work,
            tmp_path / "run",
            TrainSettings(model="logreg", split=str(tmp_path / "b.parquet")),
        )
    with pytest.raises(StoreError, match="none there"):
        train(work, tmp_path / "run", TrainSettings(model="logreg", split="c.parquet"))


def test_the_benchmark_commands_explain_themselves():
    for words in (("benchmark",), ("benchmark", "make"), ("benchmark", "realism"),
                  ("benchmark", "sources")):  # fmt: skip
        said = run(*words, "--help")
        assert said.exit_code == 0
        assert "Usage" in said.output


def test_realism_needs_real_data(tmp_path, monkeypatch):
    monkeypatch.delenv("DRCNET_SHARED_DATA", raising=False)
    said = run("benchmark", "realism", tmp_path)
    assert said.exit_code == 1
    assert "DRCNET_SHARED_DATA" in str(said.exception)
