"""Several runs as one: what it predicts, what it costs, how it is judged, what is refused."""

import json

import numpy as np
import polars as pl
import pytest

from drcnet.checkpoint import read_card
from drcnet.config import EvaluateSettings
from drcnet.errors import RunError
from drcnet.evaluate.compare import compare
from drcnet.evaluate.ensemble import ensemble
from drcnet.evaluate.evaluate import evaluate
from drcnet.evaluate.runs import probabilities, read_run

CLASSES = ("F", "G", "K")
CARD = {
    "model": "drcnet",
    "options": {},
    "classes": list(CLASSES),
    "view": "stripes",
    "normalize": "zscore",
    "instrument": "lamost-lrs",
    "stripes": {},
    "split": "abc",
    "seed": 1,
    "epochs": 3,
    "best_epoch": 3,
    "stopped": "epochs",
    "weights": "w",
    "format": 1,
}
SEEN = {"parameters": 100, "operations": 50, "seconds": 4.0, "classified_per_second": 30.0}


def training(**changes):
    return SEEN | {"cpu_seconds": 3.0, "stars": 80} | changes


@pytest.fixture
def member(tmp_path):
    """Write a run with a card; `p` are its probabilities."""

    def make(name, predictions, p=None, *, inputs=None, card=None, seen=None):
        folder = tmp_path / name
        folder.mkdir()
        if p is not None:
            predictions = predictions.with_columns(
                predicted=pl.Series([CLASSES[k] for k in p.argmax(axis=1)]),
                **{f"p_{name}": pl.Series(p[:, k]) for k, name in enumerate(CLASSES)},
            )
        predictions.write_parquet(folder / "predictions.parquet")
        found = {"store": "s", "split": "abc"} | (inputs or {})
        origin = {"inputs": found, "settings": {"split": "splits/a-0.parquet"}}
        content = CARD | {"training": training(**(seen or {})), "provenance": origin}
        (folder / "card.json").write_text(json.dumps(content | (card or {})))
        return folder

    return make


def dice(rng, count):
    p = rng.random((count, 3)) + 0.05
    return p / p.sum(axis=1, keepdims=True)


def test_mean_of_the_probabilities_and_the_class_that_follows(member, predictions, rng, tmp_path):
    first, second = dice(rng, len(predictions)), dice(rng, len(predictions))
    runs = [member("a", predictions, first), member("b", predictions, second)]
    made = read_run(ensemble(runs, tmp_path / "both"))
    mean = (first + second) / 2
    np.testing.assert_allclose(probabilities(made.predictions, CLASSES), mean, rtol=1e-12)
    assert made.predictions["predicted"].to_list() == [CLASSES[k] for k in mean.argmax(axis=1)]
    keys = ("row", "star", "class", "subclass", "snrr", "interval", "part")
    assert made.predictions.select(keys).equals(predictions.select(keys))
    assert (made.predictions["predicted"] != read_run(runs[0]).predictions["predicted"]).any()


def test_classes_in_another_order_and_probabilities_that_do_not_sum(
    member, predictions, rng, tmp_path
):
    p = dice(rng, len(predictions))
    turned = predictions.select(pl.exclude("p_F"), "p_F")
    runs = [member("a", predictions), member("b", predictions, 3 * p)]
    other = member("c", turned)
    made = probabilities(read_run(ensemble(runs, tmp_path / "out")).predictions, CLASSES)
    np.testing.assert_allclose(made.sum(axis=1), 1, rtol=1e-12)
    first = probabilities(predictions, CLASSES)
    np.testing.assert_allclose(made, (first + 3 * p) / 4, rtol=1e-12)
    runs = [runs[0], member("d", predictions, p), other]
    made = probabilities(read_run(ensemble(runs, tmp_path / "three")).predictions, CLASSES)
    np.testing.assert_allclose(made, (2 * first + p) / 3, rtol=1e-12)


def test_it_costs_what_its_members_cost(member, predictions, rng, tmp_path):
    runs = [
        member("a", predictions, dice(rng, len(predictions))),
        member(
            "b",
            predictions,
            dice(rng, len(predictions)),
            card={"view": "box", "seed": 2},
            seen={"parameters": 11, "operations": 7, "classified_per_second": 60.0, "stars": 90},
        ),
    ]
    card = read_card(ensemble(runs, tmp_path / "out"))
    assert (card.model, card.view, card.normalize) == ("ensemble", "stripes+box", "zscore")
    assert card.options == {"members": ["a", "b"]}
    assert card.training == {
        "parameters": 111,
        "operations": 57,
        "seconds": 8.0,
        "cpu_seconds": 6.0,
        "stars": 90,
        "classified_per_second": 20.0,
        "members": 2,
    }
    inputs = card.provenance["inputs"]
    assert set(inputs) == {"store", "split", "member_1", "member_2"}
    assert len(set(inputs.values())) == 4
    assert card.provenance["settings"]["split"] == "splits/a-0.parquet"
    unknown = member("c", predictions, dice(rng, len(predictions)), seen={"operations": None})
    card = read_card(ensemble([*runs, unknown], tmp_path / "three"))
    assert "operations" not in card.training
    assert card.training["parameters"] == 211


def test_it_is_evaluated_and_compared_like_any_other(member, predictions, rng, tmp_path):
    runs = [member(name, predictions, dice(rng, len(predictions))) for name in "ab"]
    made = ensemble(runs, tmp_path / "out")
    settings = EvaluateSettings(bootstrap=100)
    scores = evaluate([*runs, made], settings).scores
    row = scores.filter((pl.col("run") == "out") & (pl.col("interval") == "all"))
    assert row["model"].item() == "ensemble"
    table = read_run(made).predictions
    assert row["accuracy"].item() == pytest.approx((table["class"] == table["predicted"]).mean())
    assert len(compare([runs[0], made], settings, ["out>=a@all"]).verdicts) == 1


def test_again_is_nothing_and_other_members_want_overwrite(member, predictions, rng, tmp_path):
    runs = [member(name, predictions, dice(rng, len(predictions))) for name in "abc"]
    made = ensemble(runs[:2], tmp_path / "out")
    stamp = (made / "predictions.parquet").stat().st_mtime_ns
    ensemble(runs[:2], made)
    assert (made / "predictions.parquet").stat().st_mtime_ns == stamp
    with pytest.raises(RunError, match="the same members, or overwrite"):
        ensemble(runs, made)
    ensemble(runs, made, overwrite=True)
    assert read_card(made).training["members"] == 3
    (made / "card.json").unlink()  # a kill between table and card
    ensemble(runs[:2], made)
    assert read_card(made).training["members"] == 2
    with pytest.raises(RunError, match="one of an ensemble, got a run of drcnet"):
        ensemble(runs[:2], runs[2], overwrite=True)


@pytest.mark.parametrize(
    ("inputs", "card", "words"),
    [
        ({"store": "t"}, {}, r"the store of a \(s\), got t"),
        ({"split": "xyz"}, {}, r"the split of a \(abc\), got xyz"),
        ({}, {"provenance": {}}, "trained here, got no card.json"),
    ],
)
def test_runs_of_another_store_or_split(member, predictions, tmp_path, inputs, card, words):  # noqa: PLR0917
    p = dice(np.random.default_rng(1), len(predictions))
    runs = [member("a", predictions), member("b", predictions, p, inputs=inputs, card=card)]
    with pytest.raises(RunError, match=words):
        ensemble(runs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.head(-1), "the 240 rows of a, got 239 rows"),
        (lambda t: t.with_columns(star=pl.lit("x")), "the 240 rows of a, got 240 rows, others"),
        (lambda t: t.with_columns(part=pl.lit("train")), "stars, classes or parts"),
        (lambda t: t.drop("p_F", "p_G", "p_K"), "a probability for each class"),
        (lambda t: t.with_columns(p_M=pl.lit(0.0)), r"classes of a \(F, G, K\), got F, G, K, M"),
    ],
)
def test_runs_of_other_rows_or_classes(member, predictions, tmp_path, change, words):
    runs = [member("a", predictions), member("b", change(predictions))]
    with pytest.raises(RunError, match=words):
        ensemble(runs, tmp_path / "out")


def test_one_run_is_no_ensemble(member, predictions, tmp_path):
    run = member("a", predictions)
    with pytest.raises(RunError, match="two runs or more, got 1"):
        ensemble([run], tmp_path / "out")
    with pytest.raises(RunError, match="different runs, got one of them twice"):
        ensemble([run, run], tmp_path / "out")
