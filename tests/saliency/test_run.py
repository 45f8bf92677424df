"""The map of a trained model shows the line it must have learnt, and that of chance does not."""

import json

import polars as pl
import pytest

from drcnet.config import SaliencySettings, TrainSettings
from drcnet.errors import CheckpointError, RunError
from drcnet.evaluate.mistakes import worst_mistakes
from drcnet.evaluate.runs import read_run
from drcnet.saliency.run import explain, explain_stars
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


def test_a_single_star_is_seen_by_the_line_of_the_class_it_was_given(lined_run, lined_work):
    tested = read_run(lined_run).tested
    right = tested.filter(pl.col("class") == pl.col("predicted"))
    row = right.group_by("class").agg(pl.col("row").first())["row"].to_list()
    found = explain_stars(lined_run, lined_work, row, SETTINGS, device="cpu")
    assert found["row"].unique(maintain_order=True).to_list() == row
    assert found["pixel"].null_count() == len(found)
    for (name,), rows in found.filter(pl.col("arm") == "blue").group_by("predicted"):
        best = rows.row(int(rows["evidence"].arg_max()), named=True)
        assert abs(best["wavelength"] - LINE[name]) < 40
        assert rows["evidence"].equals(rows["evidence_true"])
    assert (lined_run / "figures" / f"saliency-star-{row[0]}.png").stat().st_size > 0


def test_single_stars_are_added_and_replaced(lined_run, lined_work):
    first, second = read_run(lined_run).tested["row"].to_list()[:2]
    path = lined_run / "saliency_stars.parquet"
    path.unlink(missing_ok=True)
    for row in (first, second, first):
        explain_stars(lined_run, lined_work, [row], SETTINGS, device="cpu")
    table = pl.read_parquet(path)
    assert table["row"].unique(maintain_order=True).to_list() == [second, first]
    assert table.select("row", "arm", "wavelength").is_duplicated().sum() == 0
    other = SETTINGS.model_copy(update={"steps": 3})  # not to be mixed with the ones before
    explain_stars(lined_run, lined_work, [second], other, device="cpu")
    assert pl.read_parquet(path)["row"].unique().to_list() == [second]


def test_a_row_that_was_not_tested_is_refused(lined_run, lined_work):
    with pytest.raises(RunError, match="row 99999"):
        explain_stars(lined_run, lined_work, [99999], SETTINGS, device="cpu")


def test_the_worst_mistakes_are_looked_at_one_by_one(lined_work, tmp_path):
    folder = tmp_path / "dice"
    dice = TrainSettings(model="logreg", options={"components": 4}, shuffle_labels=True)
    train(lined_work, folder, dice)
    found = explain(folder, lined_work, SETTINGS.model_copy(update={"random": 1}), device="cpu")
    worst = [row["row"] for row in worst_mistakes(read_run(folder), 8)]
    assert worst
    assert found.stars["row"].unique(maintain_order=True).to_list() == worst
    assert (found.stars["class"] != found.stars["predicted"]).all()
    assert (folder / "saliency_stars.parquet").is_file()


def test_noise_that_is_known_is_no_evidence(lined_work, tmp_path):
    settings = {"model": "ppca", "view": "optimal-ivar", "normalize": "none"}
    options = {"components": 4}
    train(lined_work, tmp_path / "ppca", TrainSettings(**settings, options=options))
    short = SETTINGS.model_copy(update={"random": 1})
    found = explain(tmp_path / "ppca", lined_work, short, device="cpu")
    assert found.maps["importance"].is_finite().all()
    assert found.maps["importance"].max() > 0
    assert len(found.weights.columns) == 5


def test_a_stripe_is_mapped_pixel_by_pixel(lined_work, tmp_path):
    small = {"widths": [4, 4], "reduction_channels": [2, 2, 1], "classifier_widths": []}
    quick = TrainSettings(model="drcnet", options=small, epochs=1, batch_size=16, device="cpu")
    train(lined_work, tmp_path / "drcnet", quick)
    row = read_run(tmp_path / "drcnet").tested["row"][0]
    found = explain_stars(tmp_path / "drcnet", lined_work, [row], SETTINGS, device="cpu")
    assert sorted(found["pixel"].unique()) == [*range(-5, 6)]
    assert found.select("pixel", "arm", "wavelength").is_duplicated().sum() == 0
