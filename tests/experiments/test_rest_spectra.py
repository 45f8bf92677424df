import numpy as np
import polars as pl
import pytest

from drcnet.benchmark import make_benchmark
from drcnet.config import BenchmarkSettings
from drcnet.dataset.store import open_store
from drcnet.experiments.rest_spectra import (
    JOINT,
    RestSpectra,
    common_grid,
    divide_continuum,
    from_store,
)


def test_a_smooth_spectrum_is_all_continuum():
    wave = common_grid()[common_grid() < JOINT[0]]
    flux = np.stack([1e3 * (wave / 5000) ** power for power in (-3.0, 0.0, 2.0)])
    # the edges see half a kernel: a slope shows there
    np.testing.assert_allclose(divide_continuum(flux), 1.0, atol=0.08)
    np.testing.assert_allclose(divide_continuum(flux)[:, 150:-150], 1.0, atol=0.004)


def test_a_line_keeps_its_depth_and_place():
    wave = common_grid()[common_grid() < JOINT[0]]
    line = 1 - 0.5 * np.exp(-0.5 * ((wave - 4862.7) / 4) ** 2)
    ratio = divide_continuum((7.0 * line)[None])[0]
    assert abs(wave[ratio.argmin()] - 4862.7) < 1
    assert ratio.min() == pytest.approx(0.5, abs=0.03)


def test_the_scale_does_not_count_and_gaps_stay():
    flux = 1 + 0.1 * np.sin(np.arange(700) / 9)[None].repeat(2, axis=0)
    flux[1] *= 40
    flux[:, 100:110] = np.nan
    ratio = divide_continuum(flux)
    np.testing.assert_allclose(ratio[0], ratio[1], atol=1e-6)
    assert np.isnan(ratio[:, 100:110]).all()
    assert np.isfinite(ratio[:, 110:]).all()


def test_rows_are_taken_by_a_condition():
    table = pl.DataFrame({"class": ["F", "G", "F"], "star": ["a", "b", "c"]})
    some = RestSpectra(np.eye(3, dtype=np.float32), table).take(pl.col("class") == "F")
    assert some.table["star"].to_list() == ["a", "c"]
    np.testing.assert_array_equal(some.flux, np.eye(3)[[0, 2]])


def test_stars_of_a_store_come_to_rest(toy_stars, tmp_path):
    """H beta and H alpha of every star stand at their rest wavelengths, whatever its velocity."""
    from pathlib import Path

    narrow = str(Path(__file__).parents[1] / "narrow.toml")
    settings = BenchmarkSettings.model_validate(
        {
            "title": "ten fibres",
            "simulate": {
                "instrument": narrow,
                "seed": 3,
                "sky_fibers": 2,
                "dead_fibers": 1,
                "bias_frames": 1,
                "snr_shares": {"100-120": 1},
            },
            "prepare": {"instrument": narrow, "stripes": {"min_identity": 0}},
            "split": {"kind": "test"},
        }
    )
    make_benchmark(settings, tmp_path / "set", workers=1, stars=toy_stars)
    store = open_store(tmp_path / "set")
    usable = store.index.filter("usable")
    assert len(usable) == 7, store.index["reason"].unique().to_list()
    assert usable["rv"].std() > 20
    spectra = from_store(store, usable["row"].to_numpy())
    grid = common_grid()
    for line, pixel in ((4862.7, 0.6), (6564.6, 0.8)):
        near = np.abs(grid - line) < 40
        depth = 1 - np.median(spectra.flux[:, near], axis=1, keepdims=True)
        weight = np.clip(1 - depth - spectra.flux[:, near], 0.05, None) - 0.05
        middle = (weight * grid[near]).sum(axis=1) / weight.sum(axis=1)
        assert np.abs(middle - line).max() < 1.5 * pixel
