import polars as pl

from drcnet.config import EvaluateSettings
from drcnet.evaluate.evaluate import assess
from drcnet.evaluate.runs import read_run
from drcnet.report import story
from drcnet.stripes.flags import FiberFlag

FEW = EvaluateSettings(bootstrap=100)


def test_three_sentences_with_two_runs(runs):
    evaluation = assess([read_run(r) for r in runs], FEW)
    first, second, third = story.summary_sentences(evaluation)
    assert first.startswith("At S/N >30, ")
    assert "points against always answering" in first
    assert second.startswith("At S/N 0-10, ")
    assert second.endswith(("more than chance.", "not beyond chance."))
    assert "subclasses 2 to 7" in third


def test_one_run_in_one_interval_without_subclasses_still_makes_sense(bare_run):
    path = bare_run / "predictions.parquet"
    table = pl.read_parquet(path).filter(pl.col("interval") == "0-10").drop("subclass")
    table.write_parquet(path)
    first, second, third = story.summary_sentences(assess([read_run(bare_run)], FEW))
    assert first.startswith("At S/N 0-10, nutmaat")
    assert second.startswith("There it is right for")
    assert "no test star has a subclass" in third


def test_the_lead_has_the_right_sign_whichever_run_stands_first(runs):
    for order in (runs, runs[::-1]):
        evaluation = assess([read_run(r) for r in order], FEW)
        sentence = story.summary_sentences(evaluation)[1]
        rows = evaluation.scores.filter(pl.col("interval") == "0-10").sort("accuracy")
        gap = 100 * (rows["accuracy"][1] - rows["accuracy"][0])
        assert f"{rows['run'][1]} leads" in sentence
        assert f"{gap:+.1f} points" in sentence
        assert f"gives {100 * rows['majority'][0]:.1f}%" in sentence


def test_flags_are_counted_once_each():
    both = int(FiberFlag.DEAD | FiberFlag.OFF_CHIP)
    index = pl.DataFrame({"flags": [0, both, int(FiberFlag.DEAD), 0]}).cast(pl.UInt32)
    counts = {c["name"]: (c["n_rows"], c["share"]) for c in story.flag_counts(index)}
    assert counts == {"dead": (2, 0.5), "off chip": (1, 0.25)}
