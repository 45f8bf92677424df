"""The map of a trained model shows the line it must have learnt, and that of chance does not."""

import json

import polars as pl
import pytest

from drcnet.config import TrainSettings
from drcnet.config.robustness import SaliencySettings
from drcnet.errors import CheckpointError
from drcnet.saliency.run import explain
from drcnet.train import train

SETTINGS = SaliencySettings(smooth=12.0, steps=4, bin=10.0, random=4)
LINE = {name: 4000.0 + 5.0 * (40 + 70 * k) for k, name in enumerate("FGK")}


@pytest.fixture(scope="module")
def found(lined_run, lined_work):
    return explain(lined_run, lined_work, SETTINGS, device="cpu")


@pytest.mark.parametrize("name", "FGK")
def test_each_class_is_seen_by_its_own_line(found, name):
    mine = (pl.col("interval") == "all") & (pl.col("class") == name) & (pl.col("arm") == "blue")
    rows = found.maps.filter(mine)
    near = rows.filter((pl.col("wavelength") - LINE[name]).abs() < 25)
    assert near["evidence"].min() > 0
    assert near["importance"].mean() > 3 * rows["importance"].mean()


def test_the_map_vanishes_under_random_weights(found):
    assert len(found.check) == 4
    assert found.check["evidence"].abs().mean() < 0.3


def test_linear_weights_are_negative_where_the_class_has_its_line(found):
    blue = found.weights.filter(pl.col("arm") == "blue")
    for name, wave in LINE.items():
        near = blue.filter((pl.col("wavelength") - wave).abs() < 15)
        assert near[f"weight_{name}"].mean() < 0


def test_products_are_written_with_their_origin(found, lined_run):
    path = lined_run / "saliency.parquet"
    assert pl.read_parquet(path).equals(found.maps)
    assert json.loads(pl.read_parquet_metadata(path)["drcnet"])["seed"] == 1
    names = ("saliency_lines.ecsv", "saliency_check.ecsv", "weights.parquet")
    for name in (*names, "figures/saliency.png", "figures/weights.pdf"):
        assert (lined_run / name).stat().st_size > 0
    assert not (lined_run / "aperture.parquet").exists()


def test_a_forest_has_no_gradient_but_can_be_hidden_from(lined_work, tmp_path):
    settings = TrainSettings(model="forest", options={"components": 5, "trees": 30})
    train(lined_work, tmp_path / "forest", settings)
    short = SETTINGS.model_copy(update={"random": 1})
    with pytest.raises(CheckpointError, match="occlusion"):
        explain(tmp_path / "forest", lined_work, short, device="cpu")
    hidden = short.model_copy(update={"method": "occlusion"})
    found = explain(tmp_path / "forest", lined_work, hidden, device="cpu")
    assert found.maps["importance"].max() > 0
