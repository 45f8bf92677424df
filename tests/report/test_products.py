"""Sections of the page that other commands' products fill, or that say which command would."""

import re
import shutil

import numpy as np
import polars as pl
import pytest

from drcnet.config.robustness import RobustnessSettings, SaliencySettings
from drcnet.errors import RunError
from drcnet.evaluate.runs import read_run
from drcnet.evaluate.tables import write_ecsv
from drcnet.report.page import report
from drcnet.report.products import robustness_section, saliency_section
from drcnet.robustness.disturb import Disturbance
from drcnet.robustness.score import Answers, score_answers
from drcnet.saliency.maps import average_maps, line_table


@pytest.fixture
def full_run(tmp_path, runs):
    """A run folder with every product."""
    folder = tmp_path / "drcnet"
    shutil.copytree(runs[0], folder)
    rng = np.random.default_rng(8)
    tested = read_run(folder).tested
    rows = tested.select("star", "class", "interval").with_columns(
        (pl.int_range(pl.len()) + 1).alias("fiberid")
    )
    true = rows["class"].to_numpy().astype(str)
    what = [Disturbance("none"), Disturbance("trace", 1.0), Disturbance("missing arm", 0.0)]
    said = np.stack([true, rng.permutation(true), np.full(len(true), "F")])
    answers = [Answers("drcnet", said, "G"), Answers("linear", said[::-1], "G")]
    score_answers(rows, what, answers, RobustnessSettings(bootstrap=100)).write_parquet(
        folder / "robustness.parquet"
    )
    centres = [np.arange(3700.0, 5900, 20), np.arange(5700.0, 9000, 20)]
    maps = average_maps([rng.random((len(rows), len(c))) for c in centres], centres, rows)
    maps.write_parquet(folder / "saliency.parquet")
    write_ecsv(line_table(maps, SaliencySettings()), folder / "saliency_lines.ecsv", {})
    check = pl.DataFrame({"seed": [1, 2], "evidence": [0.04, -0.07], "importance": [0.5, 0.4]})
    write_ecsv(check, folder / "saliency_check.ecsv", {})
    pixel = np.arange(-5, 6)
    aperture = {"pixel": pixel, "weight": pixel / 30, "low": pixel / 30 - 0.1}
    aperture |= {"high": pixel / 30 + 0.1, "profile": np.full(11, 1 / 11)}
    aperture = pl.DataFrame(aperture).with_columns(
        pl.lit("blue").alias("arm"), pl.lit(0).alias("channel")
    )
    aperture.write_parquet(folder / "aperture.parquet")
    return folder


def test_products_fill_their_sections(full_run, tmp_path):
    text = report([full_run], tmp_path / "full.html").read_text()
    for heading in ("What the reduction learned", "Every number of drcnet", "By S/N interval"):
        assert heading in text
    assert "Not disturbed" not in text
    assert "Not looked into" not in text
    assert re.search(r"signed maps at most\s+0\.07", text)
    assert "so trust the signed map" in text
    assert "sky O I 5577" in text
    assert not re.search(r"(src|href)=\"https?:", text)


def test_without_products_the_page_names_the_commands(page):
    text = page.read_text()
    for command in ("drcnet calibrate RUN", "drcnet saliency RUN", "drcnet robustness RUN"):
        assert command in text
    assert "Read with care" in text


def test_the_run_s_own_line_comes_first(full_run):
    (section,) = robustness_section([read_run(full_run)])
    assert section["runs"] == ["drcnet", "linear"]
    assert len(section["charts"]) == 3  # trace, missing arm, position
    assert section["repeats"][0]["name"] == "drcnet"


def test_a_damaged_product_is_named(full_run):
    (full_run / "saliency.parquet").write_bytes(b"no table")
    with pytest.raises(RunError, match=r"saliency\.parquet"):
        saliency_section([read_run(full_run)])
