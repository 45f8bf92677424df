import json
import shutil

import numpy as np
import polars as pl
import pytest

from drcnet.benchmark import apply_run
from drcnet.config import SplitSettings, TrainSettings
from drcnet.dataset.split import make_split, write_split
from drcnet.errors import StoreError
from drcnet.evaluate.runs import read_run
from drcnet.train import train


@pytest.fixture(scope="module")
def run(tiny_work, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "logreg"
    train(tiny_work, out, TrainSettings(model="logreg"))
    return out


def test_its_own_test_stars_are_predicted_as_in_training(run, tiny_work, tmp_path):
    out = apply_run(run, tiny_work, tmp_path / "again")
    again = pl.read_parquet(out / "predictions.parquet")
    trained = pl.read_parquet(run / "predictions.parquet").filter(pl.col("part") == "test")
    names = [name for name in again.columns if name.startswith("p_")]
    assert again.drop(names).equals(trained.select(again.columns).drop(names))
    np.testing.assert_allclose(again[names], trained[names], rtol=1e-5)
    assert read_run(out).predictions.height == trained.height


def test_a_split_that_tests_everything(run, tiny_work, tmp_path):
    index = pl.read_parquet(tiny_work / "index.parquet").with_columns(usable=True)
    write_split(tmp_path / "all.parquet", make_split(index, SplitSettings(kind="test")))
    out = apply_run(run, tiny_work, tmp_path / "all", split=str(tmp_path / "all.parquet"))
    assert pl.read_parquet(out / "predictions.parquet")["row"].to_list() == list(range(84))


def test_another_preparation_is_refused(run, tiny_work, tmp_path):
    work = tmp_path / "work"
    shutil.copytree(tiny_work, work)
    origin = json.loads((work / "provenance.json").read_text())
    origin["settings"]["prepare"]["stripes"]["subtract_bias"] = False
    (work / "provenance.json").write_text(json.dumps(origin))
    with pytest.raises(StoreError, match="stripes as in"):
        apply_run(run, work, tmp_path / "out")


def test_nothing_to_test_is_refused(run, tiny_work, tmp_path):
    split = pl.read_parquet(tiny_work / "split.parquet").filter(pl.col("part") != "test")
    write_split(tmp_path / "none.parquet", split)
    with pytest.raises(StoreError, match="rows to test"):
        apply_run(run, tiny_work, tmp_path / "out", split=str(tmp_path / "none.parquet"))
