import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drcnet.config import SplitSettings
from drcnet.dataset.intervals import interval_names, interval_of
from drcnet.dataset.split import (
    check_split,
    make_split,
    read_split,
    some_stars,
    split_digest,
    table1,
    write_split,
)
from drcnet.errors import ConfigError, StoreError

DEFAULT = SplitSettings()


def make_index(stars, classes, snrr, usable=None):
    n = len(stars)
    return pl.DataFrame(
        {
            "row": np.arange(n),
            "star": [f"star{s}" for s in stars],
            "class": list(classes),
            "snrr": np.asarray(snrr, dtype=float),
            "usable": [True] * n if usable is None else usable,
        }
    )


def one_row_a_star(rng, n=400):
    return make_index(range(n), rng.choice(list("FGK"), n), 10 ** rng.uniform(0.3, 2.1, n))


def test_intervals_are_half_open():
    values = [0.0, 9.999, 10.0, 20.0, 29.99, 30.0, 1e9, np.nan, -1.0]
    wanted = ["0-10", "0-10", "10-20", "20-30", "20-30", ">30", ">30", None, None]
    assert interval_of(values, DEFAULT.edges).to_list() == wanted


@pytest.mark.parametrize("edges", [(), (0.0, 0.0), (10.0, 5.0)])
def test_edges_must_increase(edges):
    with pytest.raises(ConfigError, match="increasing"):
        interval_names(edges)


def test_one_row_a_star_is_dealt_8_1_1_in_every_class(rng):
    split = make_split(one_row_a_star(rng), DEFAULT)
    bright = split.filter(pl.col("snrr") >= 30)
    for (label,), group in bright.group_by("class"):
        counts = dict(group["part"].value_counts().iter_rows())
        for part, share in zip(("train", "validation", "test"), DEFAULT.fractions, strict=True):
            assert abs(counts[part] - share * len(group)) <= 1, (label, part)
    assert set(split.filter(pl.col("snrr") < 30)["part"]) == {"test"}


def test_parts_follow_the_star_and_its_faint_rows():
    stars = np.repeat(np.arange(30), 2)
    snrr = np.tile([50.0, 5.0], 30)
    split = make_split(make_index(stars, ["G"] * 60, snrr), DEFAULT)
    bright = split.filter(pl.col("snrr") >= 30)
    faint = split.filter(pl.col("snrr") < 30)
    home = dict(bright.select("star", "part").iter_rows())
    assert sorted(home.values()).count("train") == 24
    for star, part in faint.select("star", "part").iter_rows():
        assert part == ("test" if home[star] == "test" else "unused")


def test_rows_without_snr_or_use_are_not_dealt():
    index = make_index(range(4), "FFGG", [50, np.nan, 40, 60], [True, True, False, True])
    split = make_split(index, DEFAULT)
    assert split["row"].to_list() == [0, 1, 3]
    assert split.filter(pl.col("row") == 1)["part"].item() == "unused"
    assert split.filter(pl.col("row") == 1)["interval"].item() == ""


@settings(max_examples=40, deadline=None)
@given(
    stars=st.lists(st.integers(0, 12), min_size=1, max_size=60),
    seed=st.integers(0, 1000),
)
def test_no_star_straddles_and_order_does_not_matter(stars, seed):
    rng = np.random.default_rng(seed)
    index = make_index(stars, rng.choice(list("FGK"), len(stars)), rng.uniform(1, 90, len(stars)))
    split = make_split(index, SplitSettings(seed=seed))
    check_split(split)
    used = split.filter(pl.col("part") != "unused")
    assert used.group_by("star").agg(pl.col("part").n_unique())["part"].max() in (1, None)
    trained = split.filter(pl.col("part").is_in(["train", "validation"]))
    assert (trained["snrr"] >= 30).all()
    shuffled = index[rng.permutation(len(index))]
    assert make_split(shuffled, SplitSettings(seed=seed)).equals(split)


def test_seed_changes_the_split_and_its_digest(rng):
    index = one_row_a_star(rng)
    first, again = make_split(index, DEFAULT), make_split(index, DEFAULT)
    other = make_split(index, SplitSettings(seed=2))
    assert split_digest(first) == split_digest(again) != split_digest(other)


def test_a_class_more_leaves_the_others_where_they_were(rng):
    index = one_row_a_star(rng)
    without = make_split(index.filter(pl.col("class") != "F"), DEFAULT)
    kept = make_split(index, DEFAULT).filter(pl.col("class") != "F")
    assert without.equals(kept)


def test_a_straddling_star_is_found(rng):
    split = make_split(one_row_a_star(rng), DEFAULT)
    train = split.filter(pl.col("part") == "train")["star"][0]
    other = split.filter(pl.col("part") == "test")["row"][0]
    bad = split.with_columns(
        pl.when(pl.col("row") == other).then(pl.lit(train)).otherwise("star").alias("star")
    )
    with pytest.raises(StoreError, match=f"1 stars in several, as {train} in test and train"):
        check_split(bad)


def test_a_row_twice_an_unknown_part_a_missing_column(rng):
    split = make_split(one_row_a_star(rng, 20), DEFAULT)
    with pytest.raises(StoreError, match="row 0 twice"):
        check_split(pl.concat([split, split[:1]]))
    with pytest.raises(StoreError, match="holdout"):
        check_split(split.with_columns(pl.lit("holdout").alias("part")))
    with pytest.raises(StoreError, match="interval"):
        check_split(split.drop("interval"))


def test_shares_must_add_up(rng):
    with pytest.raises(ConfigError, match="add up to 1"):
        make_split(one_row_a_star(rng, 9), SplitSettings(fractions=(0.8, 0.1, 0.2)))


def test_written_and_read_back(tmp_path, rng):
    split = make_split(one_row_a_star(rng, 50), DEFAULT)
    write_split(tmp_path / "split.parquet", split)
    assert read_split(tmp_path).equals(split)
    (tmp_path / "bad.parquet").write_bytes(b"no")
    with pytest.raises(StoreError, match=r"bad\.parquet: wanted a split"):
        read_split(tmp_path / "bad.parquet")


def test_table1_counts_every_row_once(rng):
    index = one_row_a_star(rng)
    split = make_split(index, DEFAULT)
    table = table1(split, DEFAULT)
    assert table["rows"].sum() == len(index)
    assert (table.select("F", "G", "K").sum_horizontal() == table["rows"]).all()
    assert table.select("part", "interval").rows() == [
        ("train", ">30"),
        ("validation", ">30"),
        ("test", ">30"),
        ("test", "20-30"),
        ("test", "10-20"),
        ("test", "0-10"),
    ]


def test_a_share_of_the_stars_goes_with_all_its_rows(rng):
    stars = rng.integers(0, 60, 400)
    index = make_index(stars, np.array(list("FGK"))[stars % 3], 10 ** rng.uniform(1, 2.1, 400))
    split = make_split(index, DEFAULT)
    shares = {share: some_stars(split, share, 3) for share in (0.25, 0.5, 0.999)}
    trained = {
        share: set(part.filter(pl.col("part") == "train")["star"])
        for share, part in shares.items()
    }
    whole = split.filter(pl.col("part") == "train")
    assert trained[0.25] < trained[0.5] < trained[0.999] == set(whole["star"])
    for share, part in shares.items():
        check_split(part)
        assert part.drop("part").equals(split.drop("part"))
        rest = ~pl.col("star").is_in(list(trained[share])) & (pl.col("part") == "train")
        assert part["part"].equals(
            split.with_columns(pl.when(rest).then(pl.lit("unused")).otherwise("part"))["literal"]
        )
        for label in "FGK":
            count = whole.filter(pl.col("class") == label)["star"].n_unique()
            kept = part.filter((pl.col("part") == "train") & (pl.col("class") == label))
            assert kept["star"].n_unique() == int(np.ceil(share * count))
    assert not some_stars(split, 0.5, 4).equals(shares[0.5])
