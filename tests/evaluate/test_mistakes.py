import polars as pl

from drcnet.evaluate.mistakes import worst_mistakes


def test_worst_mistakes_are_wrong_confident_bright_first_and_of_different_stars(
    predictions, make_run
):
    worst = worst_mistakes(make_run(predictions), 20)
    assert all(row["class"] != row["predicted"] for row in worst)
    assert len({row["star"] for row in worst}) == len(worst) == 20
    bright = [row["snrr"] >= 30 for row in worst]
    assert any(bright)
    assert not all(bright)
    assert bright == sorted(bright, reverse=True)
    for kind in (True, False):
        found = [row["confidence"] for row in worst if (row["snrr"] >= 30) is kind]
        assert found == sorted(found, reverse=True)


def test_mistakes_without_probabilities_have_no_confidence(predictions, make_run):
    bare = predictions.select(pl.exclude("^p_.*$"))
    worst = worst_mistakes(make_run(bare), 2)
    assert len(worst) == 2
    assert all(row["confidence"] != row["confidence"] for row in worst)
