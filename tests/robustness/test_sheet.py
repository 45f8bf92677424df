"""The whole sheet on a small store."""

import json
import shutil

import polars as pl
import pytest

from drcnet.config import RobustnessSettings, TrainSettings
from drcnet.errors import RunError
from drcnet.robustness.sheet import robustness
from drcnet.train import train

SHORT = RobustnessSettings(
    bootstrap=100, trace=(1.0,), wavelength=(40.0,), sky=(), moon=(), neighbor=(),
    cosmic_rays=(1,), throughput=(), reddening=(), lose_arm=("blue",), positions=2,
)  # fmt: skip


@pytest.fixture
def sheet(small_runs, small_work, scenes):
    folder = small_runs / "linear"
    baselines = [small_runs / "sky-free"]
    return robustness(folder, small_work, SHORT, baselines=baselines, device="cpu")


def test_the_sheet_is_written_whole_with_its_origin(sheet, small_runs):
    folder = small_runs / "linear"
    path = folder / "robustness.parquet"
    assert pl.read_parquet(path).equals(sheet)
    origin = json.loads(pl.read_parquet_metadata(path)["drcnet"])
    assert origin["seed"] == 1
    assert {"linear/weights", "sky-free/weights", "index.parquet"} == set(origin["inputs"])
    for name in ("robustness.ecsv", "figures/robustness.png", "figures/robustness.pdf"):
        assert (folder / name).stat().st_size > 1000


def test_undisturbed_accuracy_is_the_run_s_own_and_a_great_shift_ruins_it(sheet, small_runs):
    tested = pl.read_parquet(small_runs / "linear" / "predictions.parquet")
    tested = tested.filter(pl.col("part") == "test")
    own = (tested["class"] == tested["predicted"]).mean()
    mine = sheet.filter((pl.col("run") == "linear") & (pl.col("interval") == "all"))
    value = dict(mine.select("disturbance", "accuracy").rows())
    assert value["none"] == pytest.approx(own)
    assert value["none"] > 0.9
    assert value["wavelength"] < value["none"] - 0.2  # classes differ by where their line is


def test_the_same_seed_gives_the_same_sheet(sheet, small_runs, small_work, scenes):
    again = robustness(
        small_runs / "linear", small_work, SHORT, baselines=[small_runs / "sky-free"], device="cpu"
    )
    assert again.equals(sheet)


def test_a_run_that_sees_the_sky_beside_the_stripe_is_disturbed_as_well(
    small_work, scenes, tmp_path
):
    settings = TrainSettings(
        model="hornenet", options={"components": 6}, optimizer="adamw", epochs=1, batch_size=16
    )
    train(small_work, tmp_path / "horne", settings)
    sheet = robustness(tmp_path / "horne", small_work, SHORT, device="cpu")
    mine = sheet.filter((pl.col("run") == "horne") & (pl.col("interval") == "all"))
    value = dict(mine.select("disturbance", "accuracy").rows())
    tested = pl.read_parquet(tmp_path / "horne" / "predictions.parquet")
    tested = tested.filter(pl.col("part") == "test")
    assert value["none"] == pytest.approx((tested["class"] == tested["predicted"]).mean())
    assert value["none"] > 0.9
    assert value["trace"] > 0.9  # the profile is read off the stripe, wherever the trace is
    assert value["wavelength"] < value["none"] - 0.2


def test_another_store_is_refused(small_runs, small_work, scenes, tmp_path):
    work = tmp_path / "work"
    shutil.copytree(small_work, work)
    index = pl.read_parquet(work / "index.parquet").with_columns(pl.lit("x").alias("star"))
    index.write_parquet(work / "index.parquet")
    with pytest.raises(RunError, match="the store that linear was tested on"):
        robustness(small_runs / "linear", work, SHORT, device="cpu")
