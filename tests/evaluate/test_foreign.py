"""A table from elsewhere becomes a run, or one clear error."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from astropy.table import Table
from typer.testing import CliRunner

from drcnet.cli import app
from drcnet.config import EvaluateSettings
from drcnet.errors import RunError
from drcnet.evaluate import foreign
from drcnet.evaluate.evaluate import assess
from drcnet.evaluate.foreign import import_predictions
from drcnet.evaluate.runs import read_run

FEW = EvaluateSettings(bootstrap=100)


@pytest.fixture
def stars(rng, roll):
    """Twelve test stars of two visits; the last star is trained on."""
    return roll(rng, stars=12, visits=2).with_columns(
        pl.when(pl.col("star") == "s0011").then(pl.lit("train")).otherwise("part").alias("part")
    )


@pytest.fixture
def work(stars, monkeypatch, tmp_path):
    index = stars.select("row", "star", "subclass").with_columns(
        obsid=pl.format("{}", pl.col("row") // 2 + 1000),
        exposure=pl.format("{}-01", pl.col("row") % 2),
        fiberid=pl.col("row") // 2 + 1,
    )
    store = SimpleNamespace(
        work=tmp_path / "work",
        index=index,
        provenance={"settings": {"prepare": {"classes": ["F", "G", "K"]}}},
    )
    split = stars.select("row", "star", "class", "snrr", "interval", "part")
    monkeypatch.setattr(foreign, "open_store", lambda _work: store)
    monkeypatch.setattr(foreign, "read_split", lambda _path: split)
    monkeypatch.setattr(foreign, "split_file", lambda work, name: work / (name or "split.parquet"))
    return store.work


ANSWERS = ["row", "predicted", "p_F", "p_G", "p_K"]


@pytest.mark.parametrize("ending", [".csv", ".fits", ".vot", ".ecsv", ".parquet"])
def test_every_format_is_judged_like_our_own(stars, work, tmp_path, make_run, ending):
    path = tmp_path / f"answers{ending}"
    table = stars.select(ANSWERS)
    if ending == ".parquet":
        table.write_parquet(path)
    elif ending == ".csv":
        table.write_csv(path)
    else:
        kinds = {".fits": "fits", ".vot": "votable", ".ecsv": "ascii.ecsv"}
        plain = Table({name: table[name].to_numpy() for name in ANSWERS if name != "predicted"})
        plain["predicted"] = np.array(table["predicted"].to_list())
        plain.write(path, format=kinds[ending])
    run = read_run(import_predictions(path, tmp_path / "runs" / "theirs", work))
    found = assess([run], FEW).scores
    wanted = assess([make_run(stars, "theirs")], FEW).scores
    for name in ("accuracy", "nll", "brier", "ece", "subclasses_off"):
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-6)
    assert run.model == "theirs"


def test_classes_alone_leave_probabilities_blank(stars, work, tmp_path):
    path = tmp_path / "answers.csv"
    stars.select("row", pl.col("predicted").alias("class")).write_csv(path)
    run = read_run(import_predictions(path, tmp_path / "theirs", work))
    found = assess([run], FEW)
    assert found.scores["accuracy"].is_not_nan().any()
    assert found.scores["nll"].is_nan().all()
    assert found.doubt["nll"].null_count() == len(found.doubt)


@pytest.mark.parametrize("names", [["obsid"], ["exposure", "fiberid"], ["star"]])
def test_other_names_of_a_row(stars, work, tmp_path, names):
    index = foreign.open_store(work).index
    one = stars.join(index.drop("star", "subclass"), on="row")
    one = one.with_columns(predicted=pl.col("class")).unique(names, maintain_order=True)
    path = tmp_path / "answers.csv"
    one.select(*names, "predicted").write_csv(path)
    run = read_run(import_predictions(path, tmp_path / "theirs", work))
    assert len(run.tested) == 22
    assert (run.tested["predicted"] == run.tested["class"]).all()


def test_another_class_and_none_are_wrong_answers(stars, work, tmp_path):
    path = tmp_path / "answers.csv"
    answer = pl.when(pl.col("row") == 0).then(pl.lit("A")).otherwise("class")
    answer = pl.when(pl.col("row") == 1).then(pl.lit("Unclassified")).otherwise(answer)
    stars.select("row", answer.alias("class")).write_csv(path)
    run = read_run(import_predictions(path, tmp_path / "theirs", work))
    last = assess([run], FEW).scores.row(-1, named=True)
    assert last["accuracy"] == pytest.approx(20 / 22)


def spoil(how):
    return {
        "missing": lambda t: t.filter(pl.col("row") != 4),
        "unknown": lambda t: t.with_columns(row=pl.col("row").replace(3, 900)),
        "twice": lambda t: pl.concat([t, t[:1]]),
        "class": lambda t: t.with_columns(predicted=pl.lit("galaxy")),
        "sum": lambda t: t.with_columns(p_F=pl.col("p_F") + 0.5),
        "one": lambda t: t.drop("p_K"),
        "answer": lambda t: t.select("row"),
        "id": lambda t: t.drop("row"),
        "text": lambda t: t.with_columns(p_F=pl.lit("high")),
    }[how]


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("missing", "an answer for each of 22 test rows, got none for 1, the first row 4"),
        ("unknown", "only row of the store .*, got 1 others, the first 900"),
        ("twice", "every row once, got 0 more than once"),
        ("class", r"classes F, G, K .*, got 'galaxy' in 24 rows"),
        ("sum", "sum to 1, got .* in line 1"),
        ("one", "a probability for each of F, G, K, got no p_K"),
        ("answer", "a column class, predicted or p_CLASS"),
        ("id", "a column row, or obsid, or exposure and fiberid, or star"),
        ("text", "numbers in the column p_f, got 'high'"),
    ],
)
def test_one_clear_error(stars, work, tmp_path, how, why):
    path = tmp_path / "answers.csv"
    spoil(how)(stars.select(ANSWERS)).write_csv(path)
    with pytest.raises(RunError, match=why) as caught:
        import_predictions(path, tmp_path / "theirs", work)
    assert str(path) in str(caught.value)
    assert not (tmp_path / "theirs").exists()


def test_a_trained_run_is_not_replaced(stars, work, tmp_path):
    path = tmp_path / "answers.csv"
    stars.select(ANSWERS).write_csv(path)
    folder = tmp_path / "theirs"
    import_predictions(path, folder, work)
    import_predictions(path, folder, work)  # an earlier table is
    (folder / "card.json").write_text("{}")
    with pytest.raises(RunError, match="a trained run"):
        import_predictions(path, folder, work)
    with pytest.raises(RunError, match="a table of predictions, got no such file"):
        import_predictions(tmp_path / "no.csv", tmp_path / "x", work)


def test_the_command_scores_it_beside_ours(stars, work, write_run, tmp_path):
    write_run(stars, "ours")
    path = tmp_path / "answers.csv"
    stars.select(ANSWERS).write_csv(path)
    config = tmp_path / "few.toml"
    config.write_text("[evaluate]\nbootstrap = 100\nfigures = false\n")
    words = ["evaluate", str(tmp_path), "--predictions", str(path), "-c", str(config)]
    done = CliRunner().invoke(app, [*words, "--name", "theirs", "--work", str(work)])
    assert done.exit_code == 0, done.output
    assert "ours" in done.output
    assert "theirs" in done.output
    assert (tmp_path / "theirs" / "metrics.ecsv").is_file()
    assert CliRunner().invoke(app, words).exit_code == 2
    assert CliRunner().invoke(app, ["evaluate", str(tmp_path), "--name", "x"]).exit_code == 2
