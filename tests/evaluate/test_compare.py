"""Pairs tested and corrected; promises parsed, kept and broken; the table and the exit code."""

import json

import numpy as np
import polars as pl
import pytest
from astropy.table import Table
from typer.testing import CliRunner

from drcnet.cli import app
from drcnet.config import EvaluateSettings
from drcnet.errors import ConfigError
from drcnet.evaluate.compare import compare, parse_requirement
from drcnet.evaluate.comparison import holm

FEW = EvaluateSettings(bootstrap=300)


@pytest.fixture
def three(predictions, make_run):
    perfect = predictions.with_columns(predicted="class")
    twin = predictions.with_columns(pl.col("predicted"))
    return [make_run(predictions, "drcnet"), make_run(perfect, "best"), make_run(twin, "twin")]


def test_holm_is_bonferroni_for_the_smallest_and_never_falls(rng):
    p = rng.random(50) ** 3
    found = holm(p)
    assert found.min() == pytest.approx(min(1, 50 * p.min()))
    assert (found >= p).all()
    assert (np.diff(found[np.argsort(p)]) >= 0).all()
    assert np.isnan(holm(np.array([np.nan, 0.01]))[0])
    assert holm(np.array([np.nan, 0.01]))[1] == 0.01


def test_luck_is_called_luck(rng, roll, make_run):
    """Of runs equally good none leads, however many pairs are asked."""
    truth = roll(rng, stars=80)
    runs = []
    for number in range(5):
        right = rng.random(len(truth)) < 0.7
        guess = [
            c if ok else "FGK"["FGK".index(c) - 1]
            for c, ok in zip(truth["class"], right, strict=True)
        ]
        runs.append(make_run(truth.with_columns(predicted=pl.Series(guess)), f"r{number}"))
    assert set(compare(runs, FEW).pairs["significant"]) == {""}


def test_marks_stand_against_the_first(three):
    found = compare(three, FEW)
    assert found.runs == ("drcnet", "best", "twin")
    assert found.mark("best", "all") == "+"
    assert found.mark("twin", "all") == found.mark("drcnet", "all") == ""
    turned = compare(three[::-1], FEW)
    assert turned.mark("best", "all") == "+"
    assert compare([three[1], three[0]], FEW).mark("drcnet", "0-10") == "-"


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("best>drcnet@<10", True),
        ("best>drcnet@0-10", True),
        ("drcnet>best", False),
        ("drcnet>=best@all", False),
        ("twin>=drcnet@all", True),
        ("twin>drcnet@all", False),
        ("best > 0.85 @ >30", True),
        ("drcnet>0.9@<10", False),
        ("drcnet>=0.4@all", True),
    ],
)
def test_promises(three, text, met):
    found = compare(three, FEW, [text])
    assert found.kept is met
    assert found.verdicts[0].requirement.text == text
    assert "stars" in found.verdicts[0].why


@pytest.mark.parametrize("text", ["", "drcnet", "drcnet<best", "drcnet>", ">best", "a=b", "a>b>c"])
def test_what_is_no_promise_is_refused(text):
    with pytest.raises(ConfigError, match="as drcnet>logreg@<10"):
        parse_requirement(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("drcnet>other", "runs among drcnet, best, twin, got other"),
        ("drcnet>best@<12", "an interval among >30, 20-30, 10-20, 0-10, all, <10, got <12"),
        ("drcnet>drcnet", "two different runs"),
    ],
)
def test_a_promise_about_nothing_is_refused(three, text, why):
    with pytest.raises(ConfigError, match=why):
        compare(three, FEW, [text])


def test_one_run_is_no_comparison(three):
    with pytest.raises(ConfigError, match="two runs or more"):
        compare(three[:1], FEW)


def test_the_command(predictions, write_run, tmp_path):
    first = write_run(predictions, "drcnet")
    second = write_run(predictions.with_columns(predicted="class"), "a-run-with-quite-a-long-name")
    runner = CliRunner()
    out = tmp_path / "pairs.ecsv"
    words = ["compare", str(first), str(second), "--out", str(out)]
    done = runner.invoke(app, [*words, "--require", "drcnet>=a-run-with-quite-a-long-name"])
    assert done.exit_code == 1
    assert "NOT MET" in done.output
    table = [line for line in done.output.splitlines() if "±" in line]
    assert max(map(len, table)) <= 80
    assert any("+" in line for line in table)
    assert set(Table.read(out, format="ascii.ecsv")["first"]) == {"drcnet"}
    done = runner.invoke(app, ["compare", str(first), str(second), "--json"])
    assert done.exit_code == 0
    assert len(json.loads(done.stdout)["pairs"]) == 5
    for ending, start in ((".csv", "first,second"), (".md", "| first | second")):
        other = out.with_suffix(ending)
        assert runner.invoke(app, [*words[:-1], str(other)]).exit_code == 0
        assert other.read_text().startswith(start)
    refused = runner.invoke(app, words)
    assert isinstance(refused.exception, ConfigError), "an older file stays"


def test_more_differences_than_can_be_read_are_counted(rng, roll, write_run):
    rows = roll(rng, stars=120)
    good = [write_run(rows.with_columns(predicted="class"), f"good{k}") for k in range(3)]
    poor = [write_run(rows.with_columns(predicted=pl.lit("G")), f"poor{k}") for k in range(2)]
    result = CliRunner().invoke(app, ["compare", *map(str, [*good, *poor])])
    assert result.exit_code == 0
    found = compare([*good, *poor]).pairs
    sure = found.filter(pl.col("significant") != "")
    assert len(sure) > 12
    assert f"{len(sure)} of {len(found)} differences are beyond luck" in result.output
    assert " leads " not in result.output
