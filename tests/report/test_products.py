"""Sections of the page that other commands' products fill, or that say which command would."""

import re

import pytest

from drcnet.errors import RunError
from drcnet.evaluate.runs import read_run
from drcnet.report.page import report
from drcnet.report.products import robustness_section, saliency_section


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
