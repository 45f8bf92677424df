"""The page where there are more runs than colours, and the claims on it."""

import json
import re
import shutil

import pytest

from drcnet.config import EvaluateSettings
from drcnet.evaluate.evaluate import assess
from drcnet.evaluate.runs import read_run
from drcnet.report import charts, story
from drcnet.report.claims import claims_section
from drcnet.report.page import _comparisons, report

FEW = EvaluateSettings(bootstrap=100)


def copy_as(run, folder, name, model):
    """The same answers under another name and model."""
    shutil.copytree(run, folder / name)
    card = json.loads((run / "card.json").read_text()) | {"model": model}
    (folder / name / "card.json").write_text(json.dumps(card))
    (folder / name / "settings.toml").write_text(f'model = "{model}"\n')
    return folder / name


@pytest.fixture(scope="module")
def many(tmp_path_factory, runs):
    folder = tmp_path_factory.mktemp("many")
    other = [copy_as(runs[1], folder, f"run{k}", "forest") for k in range(7)]
    return [*runs, copy_as(runs[1], folder, "rcnet", "rcnet"), *other]


@pytest.fixture(scope="module")
def evaluation(many):
    return assess([read_run(run) for run in many], FEW)


def test_few_runs_all_have_a_colour(runs):
    found = assess([read_run(run) for run in runs], FEW)
    assert story.drawn_runs(found) == ["drcnet", "logreg"]
    assert 'class="rest"' not in charts.accuracy_chart(found.scores, story.drawn_runs(found))


def test_of_many_runs_those_that_are_asked_about_have_one(evaluation):
    drawn = story.drawn_runs(evaluation)
    assert len(drawn) == story.MANY
    assert set(drawn) >= {"drcnet", "rcnet", "logreg"}
    assert story.best_run(evaluation) in drawn
    for html in (
        charts.accuracy_chart(evaluation.scores, drawn),
        charts.curve_chart(evaluation.curves, drawn),
        charts.risk_chart(evaluation.risk, drawn),
    ):
        assert html.count('<g class="rest">') == 3 + 1  # and the legend's
        assert "3 other runs" in html
        assert html.count("<title>run") >= 3
        assert len(set(re.findall(r'class="(s\d)"', html))) == 7


def test_pairs_of_many_runs_are_those_of_the_best_first(evaluation):
    best = story.best_run(evaluation)
    pairs = _comparisons(evaluation)["pairs"]
    assert {pair["first"] for pair in pairs} == {best}
    assert len(pairs) == len(evaluation.runs) - 1
    accuracy = {r["run"]: r["accuracy"] for r in evaluation.scores.to_dicts()
                if r["interval"] == "all"}  # fmt: skip
    for pair in pairs:
        cell = pair["cells"][-1]
        gap = accuracy[best] - accuracy[pair["second"]]
        assert cell["difference"] == pytest.approx(gap)
        assert cell["difference_low"] <= gap <= cell["difference_high"]
        assert cell["first"] == best


def test_claims_are_asked_of_the_page_s_runs(evaluation):
    section = claims_section(evaluation, FEW)
    asked = [row for claim in section["claims"] for row in claim["rows"]]
    assert len(asked) == section["asked"] == 10  # all but FFCNN's
    assert section["lucky"] == pytest.approx(0.5)
    assert {row["style"] for row in asked} <= {"stands", "falls", "open"}


def test_without_the_paper_s_models_there_are_no_claims(runs):
    alone = assess([read_run(runs[1])], FEW)
    assert claims_section(alone, FEW) is None


def test_the_page_of_many_runs_says_every_claim_and_folds_the_runs(many, work, tmp_path):
    html = report(many, tmp_path / "many.html").read_text()
    assert "DRC-Net beats RC-Net above S/N 30" in html
    assert 'class="verdict' in html
    assert html.count('<section class="run">') == len(many)
    assert html.count("<summary><strong>") == len(many)
    assert "Settings and origin of every run" in html
