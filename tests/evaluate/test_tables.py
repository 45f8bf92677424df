import numpy as np
import polars as pl
import pytest
from astropy.table import Table

from drcnet.config import EvaluateSettings
from drcnet.evaluate import tables
from drcnet.evaluate.metrics import score_run


@pytest.fixture
def scores(predictions, make_run):
    return score_run(make_run(predictions), EvaluateSettings(bootstrap=100))


def test_table_three_has_the_papers_columns(scores):
    table = tables.table_three(scores.scores, scores.classes)
    wanted = [f"{v}_{c}" for c in "FGK" for v in ("precision", "recall", "f1")]
    assert table.columns[2:11] == wanted
    g = scores.classes.filter((pl.col("interval") == ">30") & (pl.col("class") == "G"))
    assert table["recall_G"][0] == g["recall"][0]


def test_table_four_stands_beside_the_published_accuracy(scores):
    table = tables.precision_table(scores.scores, scores.classes, "drcnet")
    assert table["interval"].to_list() == [">30", "20-30", "10-20", "0-10"]
    assert table["published"].to_list() == [0.866, 0.774, 0.727, 0.571]
    other = scores.scores.with_columns(pl.lit("logreg").alias("model"))
    assert tables.published_for(other)["published"].is_null().all()


def test_accuracy_table_gives_value_and_interval(scores):
    table = tables.accuracy_table(scores.scores)
    row = scores.scores.row(0, named=True)
    assert table["drcnet"][0] == (
        f"{row['accuracy']:.3f} [{row['accuracy_low']:.3f}, {row['accuracy_high']:.3f}]"
    )
    assert table["DRC-Net (paper)"].to_list() == ["0.866", "0.774", "0.727", "0.571", "–"]
    assert table["FFCNN (paper)"].to_list() == ["0.829", "–", "–", "–", "–"]


def test_markdown_and_latex_escape_what_would_break_them():
    table = pl.DataFrame({"a_b": ["x|y", ">30 & 5%"], "v": [0.12345, float("nan")]})
    assert tables.to_markdown(table).splitlines() == [
        "| a_b | v |",
        "| :--- | ---: |",
        r"| x\|y | 0.123 |",
        "| >30 & 5% | – |",
    ]
    latex = tables.to_latex(table, caption="50% of a_b")
    assert r"$>$30 \& 5\% & --" in latex
    assert r"\caption{50\% of a\_b}" in latex
    assert latex.count(r"\begin") == latex.count(r"\end") == 2


def test_ecsv_comes_back_with_types_origin_and_holes(tmp_path):
    table = pl.DataFrame(
        {
            "run": ["a", "b"],
            "n": [1, 2],
            "x": [0.5, float("nan")],
            "published": [None, 0.866],
            "ok": [True, False],
        }
    )
    path = tables.write_ecsv(table, tmp_path / "metrics.ecsv", {"seed": 7})
    back = Table.read(path)
    assert back.meta["provenance"]["seed"] == 7
    assert back["n"].dtype.kind == "i"
    assert list(back["ok"]) == [True, False]
    assert np.isnan(back["x"][1])
    assert back["published"].mask.tolist() == [True, False]


def test_an_empty_table_keeps_its_columns(tmp_path):
    table = pl.DataFrame(schema={"run": pl.String, "n": pl.Int64})
    assert Table.read(tables.write_ecsv(table, tmp_path / "t.ecsv", {})).colnames == ["run", "n"]
