"""From a run to its calibration: what is read, what is written, what is refused."""

import json

import numpy as np
import polars as pl
import pytest
import torch

from drcnet.calibrate import fading
from drcnet.calibrate import run as calibrating
from drcnet.calibrate.fading import Fading, fade_part, relative_snr
from drcnet.calibrate.outsiders import judge_outsiders, judge_tested
from drcnet.calibrate.product import FILE, read_calibration
from drcnet.calibrate.run import calibrate
from drcnet.dataset.augment_scene import NODES
from drcnet.dataset.loader import BESIDE, FULL, rows_beside
from drcnet.dataset.split import read_split
from drcnet.dataset.store import open_store
from drcnet.errors import CheckpointError, RunError, StoreError


def fading_of(settings, view="box"):
    return Fading(view, ("F", "G", "K"), (">30", "0-10"), settings)


def test_snr_falls_as_the_root_or_as_the_light():
    """Photon noise alone: sqrt(f); read noise alone: f."""
    light = np.full((1, 2, 8), 400.0)
    wave = np.full((1, 2, 8), 6000.0)
    nodes = np.array(NODES)[None, None, :, None] * light[:, :, None]
    factors = fading._FACTORS
    photon = relative_snr(light, nodes, np.full_like(light, 1e-9), wave)[0]
    # variances stand at nodes; between them they are linear, which photon noise is
    np.testing.assert_allclose(photon, np.sqrt(factors), rtol=1e-3)
    read = relative_snr(light, np.full_like(nodes, 9.0), np.zeros_like(light), wave)[0]
    np.testing.assert_allclose(read, factors, rtol=1e-9)


@pytest.mark.parametrize(
    "view",
    [
        "box",
        "stripes",
        "optimal-sky",
        "stripes-sky",
        "stripes-flat",
        "stripes-full",
        "optimal-full",
    ],
)
def test_faded_stars_lie_where_they_should(toy, settings, view):
    store, split = open_store(toy), read_split(toy / "split.parquet")
    found = list(fade_part(store, split, "validation", fading_of(settings, view)))
    assert [one.interval for one in found] == [">30", "0-10", "0-10"]
    own, first, second = found
    assert (own.snrr == 40).all()
    for one in (first, second):
        assert (one.snrr >= 2 * 0.99).all()
        assert (one.snrr < 10 * 1.01).all()
        assert one.x.shape == own.x.shape
    assert not np.array_equal(first.x.numpy(), second.x.numpy())
    if view in BESIDE or view in FULL:  # what stands below the light does not fade
        below = rows_beside(first.x, view)
        assert below.shape[2] >= 1
        assert torch.equal(below, rows_beside(second.x, view))
    again = list(fade_part(store, split, "validation", fading_of(settings, view)))
    assert all(
        np.array_equal(a.x.numpy(), b.x.numpy(), equal_nan=True)
        for a, b in zip(found, again, strict=True)
    )


def test_the_test_part_is_refused(toy, settings):
    store, split = open_store(toy), read_split(toy / "split.parquet")
    with pytest.raises(StoreError, match="wanted the part 'train' or 'validation', got 'test'"):
        next(fade_part(store, split, "test", fading_of(settings)))


def test_no_test_row_and_no_test_star_is_used(toy, run, settings, monkeypatch):
    split = pl.read_parquet(toy / "split.parquet")
    tested = split.filter(pl.col("part") == "test")
    used, load = [], fading.load_part

    def spy(store, rows, part, **more):
        used.append(rows)
        return load(store, rows, part, **more)

    monkeypatch.setattr(fading, "load_part", spy)
    calibrate(run, toy, settings)
    rows = pl.concat([one.select("row", "star") for one in used])
    assert len(rows) >= 12 + 36
    assert not set(rows["row"]) & set(tested["row"])
    assert not set(rows["star"]) & set(tested["star"])


def test_calibration_is_written_and_read_back(toy, run, settings):
    made = calibrate(run, toy, settings)
    found = read_calibration(run, weights=made.weights)
    assert found.temperature == made.temperature
    assert found.thresholds == made.thresholds
    assert list(found.thresholds) == [">30", "0-10"]
    assert found.snrr_per_snr_red == pytest.approx(40 / 32)
    assert found.provenance["settings"] == settings.model_dump(mode="json")
    assert found.provenance["stars"] == 12
    again = calibrate(run, toy, settings)
    assert again.temperature == made.temperature
    p = np.array([[0.7, 0.2, 0.1]])
    assert found.sets(p, [15.0]).all(), "an interval that was not calibrated excludes nothing"


def test_what_does_not_depend_on_the_model_is_taken_from_another_calibration(
    toy, run, settings, monkeypatch
):
    made = calibrate(run, toy, settings)
    used, look = [], calibrating._spectra
    monkeypatch.setattr(calibrating, "_spectra", lambda *given: used.append(1) or look(*given))
    same = calibrate(run, toy, settings, like=made)
    assert used == []
    assert same.space is made.space
    assert same.surroundings is made.surroundings
    assert (same.temperature, same.thresholds) == (made.temperature, made.thresholds)
    other = settings.model_copy(update={"seed": settings.seed + 1})
    found = calibrate(run, toy, other, like=made)
    assert used == [1]
    assert found.space is not made.space


def test_a_damaged_or_stale_calibration_is_refused(toy, run, settings):
    calibrate(run, toy, settings)
    with pytest.raises(CheckpointError, match="calibrate again"):
        read_calibration(run, weights="others")
    path = run / FILE
    whole = path.read_text()
    for text in (whole[:100], whole.replace('"format":1', '"format":9'), "[]", "{}"):
        path.write_text(text)
        with pytest.raises(CheckpointError, match="a calibration of format 1"):
            read_calibration(run)
    path.unlink()
    assert read_calibration(run) is None


def test_another_split_is_refused(toy, run, settings, tmp_path):
    card = json.loads((run / "card.json").read_text())
    other = tmp_path / "logreg"
    other.mkdir()
    for name in ("weights.safetensors", "settings.toml"):
        (other / name).write_bytes((run / name).read_bytes())
    (other / "card.json").write_text(json.dumps(card | {"split": "another"}))
    with pytest.raises(RunError, match="one on another"):
        calibrate(other, toy, settings)


def test_rejection_names_its_reason(toy, run, settings):
    found = calibrate(run, toy, settings)
    store = open_store(toy)
    rows = np.arange(36, 48)
    light = store.read("optimal", rows) - store.read("sky", rows)
    assert found.reject(light, np.full(12, 1.0)) == ["fainter than S/N 2"] * 12
    assert set(found.reject(light, np.full(12, np.nan))) == {"fainter than S/N 2"}
    flipped = light[..., ::-1] * np.linspace(0.2, 3, light.shape[-1])
    told = found.reject(np.ascontiguousarray(flipped), np.full(12, 40.0))
    assert set(told) == {"unlike all of F, G, K"}
    assert found.reject(light, np.full(12, 40.0)).count("") >= 9


def test_outsiders_are_counted(toy, run, settings):
    (run / FILE).unlink(missing_ok=True)
    with pytest.raises(CheckpointError, match="a calibrated run"):
        judge_outsiders(run, toy)
    calibrate(run, toy, settings)
    table = judge_outsiders(run, toy)
    dead = table.filter(pl.col("group") == "dead")
    assert dead["rejected"].item() == dead["no_light"].item() == 1.0
    assert table.filter(pl.col("group") == "sky")["n_rows"].sum() == 3
    assert table.filter(pl.col("group").is_in(["F", "G", "K"]))["n_rows"].sum() == 56
    own = judge_tested(run, toy)
    assert set(own["stars"]) == {"test"}
    assert own["n_rows"].sum() == 7
    assert own.columns == table.columns
    total = table["too_faint"] + table["unlike"] + table["no_light"]
    np.testing.assert_allclose(total, table["rejected"])
