"""Training on stars without labels beside those with: the pool, and what learns from it."""

import shutil

import numpy as np
import polars as pl
import pytest
import torch

from drcnet.checkpoint import load_classifier
from drcnet.config import TrainSettings
from drcnet.dataset.split import write_split
from drcnet.stripes.normalize import normalize
from drcnet.train import loop, train
from drcnet.train.task import load_data, read_task

SGAN = TrainSettings(
    model="sgan",
    options={"widths": [4, 8], "hidden": 16, "latent": 8},
    optimizer="adamw",
    learning_rate=3e-3,
    schedule="one-cycle",
    batch_size=8,
    epochs=3,
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """The same bits on every machine, and no waiting where cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_sgan_learns_and_resumes_to_the_same_bits(tiny_work, tmp_path, monkeypatch):
    summary = train(tiny_work, tmp_path / "whole", SGAN)
    assert summary.validation_accuracy >= 0.9
    step, steps = loop._step, []

    def dying(*args):
        steps.append(1)
        if len(steps) == 9:
            raise KeyboardInterrupt
        return step(*args)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_step", dying)
        with pytest.raises(KeyboardInterrupt):
            train(tiny_work, tmp_path / "cut", SGAN)
    train(tiny_work, tmp_path / "cut", SGAN)
    whole, cut = (
        load_classifier(tmp_path / name, "cpu").model.state_dict() for name in ("whole", "cut")
    )
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_pool_holds_no_star_of_the_validation_or_test_part(tiny_work, tmp_path):
    work = shutil.copytree(tiny_work, tmp_path / "work")
    index = pl.read_parquet(work / "index.parquet")
    # Rows without a class: two of no known star, one of a tested star, one of a training star.
    kind = pl.when(pl.col("row") >= 80).then(pl.lit("unlabelled")).otherwise(pl.lit("labelled"))
    star = pl.col("row").replace_strict(
        {80: "", 81: "", 82: "star 70", 83: "star 3"}, default=pl.col("star")
    )
    index.with_columns(pool=kind, star=star).write_parquet(work / "index.parquet")
    split = pl.read_parquet(work / "split.parquet")
    write_split(work / "split.parquet", split.filter(pl.col("row") < 80))
    task = read_task(work, SGAN)
    pool = load_data(task).pool
    wanted = normalize(torch.from_numpy(task.store.read("box", np.array([80, 81, 83]))), "zscore")
    torch.testing.assert_close(pool, wanted)
    torch.testing.assert_close(
        pool.mean(dim=2), torch.zeros(3, 2), atol=1e-5, rtol=0
    )  # normalised as the stars with labels
    itself = load_data(read_task(tiny_work, SGAN))
    assert torch.equal(itself.pool, itself.train.x)
