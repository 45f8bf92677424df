import numpy as np
import polars as pl
import pytest

from drcnet.evaluate import paper


def test_sums_that_the_text_states():
    table = paper.table_1()
    assert table.filter(pl.col("interval") == ">30")["n_rows"].sum() == 6050
    assert table["n_rows"].sum() == 7989
    assert dict(paper.table_2().rows())["Optimizer"] == "AdaGrad"


def test_precisions_of_tables_three_to_five_agree():
    third = paper.table_3().filter(pl.col("model") != "FFCNN")
    later = paper.table_4_and_5().filter(pl.col("interval") == ">30")
    for row in third.iter_rows(named=True):
        line = later.filter(pl.col("model") == row["model"]).row(0, named=True)
        assert line[f"precision_{row['class']}"] == row["precision"]
        assert line["accuracy"] == row["accuracy"]


def test_differences_are_those_of_the_text():
    wide = paper.published_accuracy().pivot("model", index="interval", values="accuracy")
    gaps = {r["interval"]: r["DRC-Net"] - r["RC-Net"] for r in wide.iter_rows(named=True)}
    expected = {">30": 0.006, "20-30": -0.066, "10-20": 0.004, "0-10": 0.065}
    assert gaps == pytest.approx(expected)
    ffcnn = paper.published_accuracy().filter(pl.col("model") == "FFCNN")
    assert ffcnn.select("accuracy", "n_rows").row(0) == (0.829, 605)


def test_what_is_odd_in_the_paper_is_found_and_nothing_else():
    table = paper.check_consistency(search=True)
    odd = table.filter(~pl.col("consistent"))["where"].to_list()
    assert odd == [
        "Table 1",
        "Table 3, FFCNN, K",
        "Tables 4 and 5, S/N >30",
        "Tables 4 and 5, S/N 10-20",
        "Table 3, DRC-Net",
        "Table 3, FFCNN",
        "Table 3, RC-Net",
    ]
    f1 = table.filter(pl.col("where") == "Table 3, FFCNN, K").row(0, named=True)
    assert (f1["published"], f1["expected"]) == ("0.807", "0.790")


@pytest.mark.parametrize("seed", range(3))
def test_the_search_finds_a_matrix_that_is_there(seed):
    rng = np.random.default_rng(seed)
    matrix = rng.integers(1, 20, (3, 3)) + np.diag(rng.integers(30, 90, 3))
    n = int(matrix.sum())
    right = np.diag(matrix)
    p, r = np.round(right / matrix.sum(axis=0), 3), np.round(right / matrix.sum(axis=1), 3)
    score = round(right.sum() / n, 3)
    assert paper.confusion_exists(p, r, score, n)
    assert not paper.confusion_exists(p, r, score + 0.05, n)


def implied_shares(precision, recall, accuracy):
    """Class shares s behind the scores of three classes.

    Class k is predicted s_k R_k / P_k of the time. Both sets of shares add up to 1, and the
    accuracy is the sum of s_k R_k: three equations for three shares.
    """
    system = np.stack([np.ones(3), recall / precision, recall])
    return np.linalg.solve(system, np.array([1.0, 1.0, accuracy]))


def test_implied_shares_are_those_of_a_known_matrix():
    matrix = np.array([[60, 8, 2], [5, 90, 5], [1, 6, 40]])
    right = np.diag(matrix)
    p, r = right / matrix.sum(axis=0), right / matrix.sum(axis=1)
    shares = implied_shares(p, r, right.sum() / matrix.sum())
    assert shares == pytest.approx(matrix.sum(axis=1) / matrix.sum())


def test_the_rows_of_table_three_imply_different_class_shares():
    shares = [
        implied_shares(
            rows["precision"].to_numpy(), rows["recall"].to_numpy(), rows["accuracy"][0]
        )
        for _, rows in paper.table_3().group_by("model", maintain_order=True)
    ]
    assert np.ptp(shares, axis=0).max() > 0.03
