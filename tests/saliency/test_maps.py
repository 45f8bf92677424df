"""Bins, averages and named lines are arithmetic."""

import numpy as np
import polars as pl
import pytest

from drcnet.config import SaliencySettings
from drcnet.saliency.maps import average_maps, line_table, rank_correlation, wavelength_bins


def test_bins_add_up_each_star_s_own_wavelengths():
    values = np.array([[1.0, 2.0, 4.0, 8.0], [1.0, 2.0, 4.0, 8.0]])
    wave = np.array([[0.5, 1.5, 1.6, 9.0], [1.5, 1.6, 2.5, -1.0]])
    binned = wavelength_bins(values, wave, np.array([0.0, 1.0, 2.0, 3.0]))
    assert binned.tolist() == [[1.0, 6.0, 0.0], [0.0, 3.0, 4.0]]


@pytest.fixture
def maps():
    rows = pl.DataFrame({"class": ["F", "F", "G"], "interval": [">30", "0-10", ">30"]})
    blue = np.array([[1.0, -1.0], [0.0, 2.0], [4.0, 0.0]])
    red = np.array([[0.0, 2.0], [0.0, 2.0], [0.0, -4.0]])
    centres = [np.array([4862.0, 5100.0]), np.array([6300.0, 6564.0])]
    return average_maps([blue, red], centres, rows)


def test_importance_is_a_share_and_evidence_keeps_its_sign(maps):
    whole = maps.filter((pl.col("interval") == "all") & (pl.col("class") == "F"))
    assert whole["importance"].sum() == pytest.approx(1)
    assert whole["importance"].to_list() == [0.125, 0.375, 0.0, 0.5]
    assert whole["evidence"].to_list() == [0.5, 0.5, 0.0, 2.0]
    assert whole["n_rows"].to_list() == [2, 2, 2, 2]


def test_lines_are_told_against_an_even_spread(maps):
    table = line_table(maps, SaliencySettings(line=5.0))
    here = (pl.col("interval") == "all") & (pl.col("class") == "F")
    found = {r["line"]: r for r in table.filter(here).to_dicts()}
    assert set(found) == {"Hβ", "sky O I 6300", "Hα"}
    assert found["Hα"]["importance"] == 0.5
    assert found["Hα"]["times"] == 2.0
    assert found["sky O I 6300"]["whose"] == "sky"


def test_a_map_agrees_with_itself_and_not_with_its_reverse(maps):
    assert rank_correlation(maps, maps, "importance") == pytest.approx(1)
    other = maps.with_columns(-pl.col("evidence"))
    assert rank_correlation(maps, other, "evidence") == pytest.approx(-1)
