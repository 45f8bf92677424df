import numpy as np
import polars as pl
import pytest

from drcnet.config import SplitSettings
from drcnet.dataset.fold_split import deal_homes, draw_counts
from drcnet.dataset.folds import deal_folds, star_key, with_folds
from drcnet.dataset.split import check_split, make_split, split_digest, split_file, write_split
from drcnet.dataset.table1 import describe_split, mix_of, table1_text
from drcnet.errors import CatalogError, ConfigError, StoreError

INTERVALS = ("0-10", "10-20", "20-30", ">30")


def index_of(n_star=120, visits=10, *, folds=None, seed=5):
    """Stars of three classes and two sources, each with visits of S/N 3 to 100."""
    rng = np.random.default_rng(seed)
    star = np.repeat(np.arange(n_star), visits)
    table = pl.DataFrame(
        {
            "row": np.arange(len(star)),
            "star": [f"s{k:03d}" for k in star],
            "class": [str("FGK"[k % 3]) for k in star],
            "source": ["one" if k % 2 else "two" for k in star],
            "snrr": 10 ** rng.uniform(0.5, 2, len(star)),
            "usable": [True] * len(star),
        }
    )
    if folds is not None:
        table = table.with_columns(fold=pl.Series(folds)[star.tolist()])
    return table


def test_stars_are_dealt_evenly_and_the_same_again():
    stars = index_of().unique("star", maintain_order=True)
    fold = deal_folds(stars, folds=5, seed=1)
    assert fold.to_list() == deal_folds(stars, folds=5, seed=1).to_list()
    assert fold.to_list() != deal_folds(stars, folds=5, seed=2).to_list()
    for _, group in stars.with_columns(fold=fold).group_by("class"):
        assert group["fold"].value_counts()["count"].to_list() == [8] * 5


def test_a_star_keeps_its_fold_whatever_else_is_there():
    """Its place in the order of its class is by a hash of its own name."""
    assert star_key("a", 1) == star_key("a", 1)
    assert len({star_key("a", 1), star_key("a", 2), star_key("b", 1)}) == 3


def test_given_folds_stay():
    stars = pl.DataFrame({"star": ["a", "b", "c"], "class": list("FGK"), "fold": [2, 0, 1]})
    assert deal_folds(stars, folds=3, seed=1).to_list() == [2, 0, 1]
    with pytest.raises(StoreError, match="the 3 of the night"):
        deal_folds(stars, folds=5, seed=1)
    some = stars.with_columns(fold=pl.Series([2, -1, 1]))
    with pytest.raises(StoreError, match="1 of 3 in none"):
        deal_folds(some, folds=3, seed=1)


def test_folds_of_a_night_are_joined_by_name(tmp_path):
    catalog = pl.DataFrame({"star": ["J1", "J2", "J1"], "obsid": [1, 2, 3]})
    bare = with_folds(catalog, tmp_path / "folds.parquet")
    assert bare["fold"].to_list() == [None] * 3
    folds = pl.DataFrame({"star": ["J1"], "source": ["miles"], "fold": [4]})
    folds.write_parquet(tmp_path / "folds.parquet")
    joined = with_folds(catalog, tmp_path / "folds.parquet")
    assert joined["fold"].to_list() == [4, None, 4]
    assert joined["source"].to_list() == ["miles", None, "miles"]
    pl.concat([folds, folds]).write_parquet(tmp_path / "folds.parquet")
    with pytest.raises(CatalogError, match="J1 twice"):
        with_folds(catalog, tmp_path / "folds.parquet")
    (tmp_path / "folds.parquet").write_text("no table")
    with pytest.raises(CatalogError, match=r"folds\.parquet"):
        with_folds(catalog, tmp_path / "folds.parquet")


def test_validation_is_even_over_classes_and_sources():
    stars = index_of(180).unique("star", maintain_order=True)
    homes = deal_homes(stars, SplitSettings(kind="large")).join(stars, on="star")
    share = 1 / 9  # of train and validation, by 8:1:1
    for _, group in homes.filter(pl.col("home") != "test").group_by("class", "source"):
        kept = (group["home"] == "validation").sum()
        assert abs(kept - share * len(group)) < 1
    assert (homes["home"] == "test").sum() == 36


def test_large_uses_every_bright_row_and_tests_every_row_of_the_fold():
    index = index_of(folds=np.arange(120) // 3 % 5)
    split = make_split(index, SplitSettings(kind="large", fold=3))
    check_split(split)
    tested = split.filter(pl.col("part") == "test")
    assert sorted(tested["row"]) == index.filter(pl.col("fold") == 3)["row"].to_list()
    used = split.filter(pl.col("part").is_in(["train", "validation"]))
    bright = index.filter((pl.col("fold") != 3) & (pl.col("snrr") >= 30))
    assert sorted(used["row"]) == bright["row"].to_list()


def test_paper_draws_the_counts_with_the_shares_of_the_classes():
    index = index_of(300, 12)
    counts = {"train": 240, "validation": 30, ">30": 45, "20-30": 15, "10-20": 20, "0-10": 31}
    large = make_split(index, SplitSettings(kind="large", fold=1))
    split = make_split(index, SplitSettings(kind="paper", fold=1, counts=counts))
    check_split(split)
    assert (split.filter(pl.col("part") == "train")["interval"] == ">30").all()
    for name, wanted in counts.items():
        if name in ("train", "validation"):
            cell = split.filter(pl.col("part") == name)
            pool = large.filter(pl.col("part") == name)
        else:
            here = (pl.col("part") == "test") & (pl.col("interval") == name)
            cell, pool = split.filter(here), large.filter(here)
        assert len(cell) == wanted
        for label in "FGK":
            exact = wanted * (pool["class"] == label).mean()
            assert abs((cell["class"] == label).sum() - exact) <= 1
            mine = cell.filter(pl.col("class") == label)["star"]
            every = pool.filter(pl.col("class") == label)["star"].n_unique()
            assert mine.n_unique() == min(len(mine), every)


def test_the_second_protocol_adds_faint_rows_of_labelled_stars_and_changes_nothing_else():
    index = index_of(300, 12)
    counts = {"train": 240, "validation": 30, ">30": 45, "0-10": 31}
    paper = SplitSettings(kind="paper", fold=1, counts=counts)
    first = make_split(index, paper)
    second = make_split(index, paper.model_copy(update={"faint": "learn"}))
    check_split(second)
    bright = second.with_columns(
        part=pl.when((pl.col("snrr") < 30) & (pl.col("part") != "test"))
        .then(pl.lit("unused"))
        .otherwise("part")
    )
    assert split_digest(bright) == split_digest(first)
    faint = second.filter((pl.col("snrr") < 30) & pl.col("part").is_in(["train", "validation"]))
    assert dict(faint["part"].value_counts().iter_rows()) == {"train": 240, "validation": 30}
    labelled = index.filter(pl.col("snrr") >= 30)["star"]
    assert faint["star"].is_in(labelled.implode()).all()


def test_a_star_never_seen_well_has_no_label_to_learn_from():
    index = index_of(90).with_columns(
        snrr=pl.when(pl.col("star") < "s045").then(pl.col("snrr").clip(0, 29)).otherwise("snrr")
    )
    for kind in ("single", "large"):
        split = make_split(index, SplitSettings(kind=kind, faint="learn"))
        learnt = split.filter(pl.col("part").is_in(["train", "validation"]))
        assert (learnt["star"] >= "s045").all()
        assert (learnt["snrr"] < 30).any()


def test_a_draw_does_not_depend_on_the_order_of_the_index():
    settings = SplitSettings(kind="paper", counts={"train": 60, ">30": 9})
    index = index_of()
    mixed = index.sample(fraction=1.0, shuffle=True, seed=3)
    assert split_digest(make_split(index, settings)) == split_digest(make_split(mixed, settings))
    other = settings.model_copy(update={"seed": 2})
    assert split_digest(make_split(index, settings)) != split_digest(make_split(index, other))


def test_too_few_rows_are_refused():
    with pytest.raises(StoreError, match="wanted 1042 rows of test 0-10"):
        make_split(index_of(), SplitSettings(kind="paper"))
    split = make_split(index_of(), SplitSettings(kind="large"))
    with pytest.raises(ConfigError, match="counts of train"):
        draw_counts(split, SplitSettings(counts={"30-40": 1}))
    counts = {"train": 300, "validation": 30}
    settings = SplitSettings(kind="paper", counts=counts, train_above=5, faint="learn")
    with pytest.raises(StoreError, match="wanted 300 rows of train below the limit"):
        make_split(index_of(), settings)


def test_everything_is_tested_where_nothing_is_trained():
    split = make_split(index_of(), SplitSettings(kind="test"))
    assert set(split["part"]) == {"test"}


def test_table_1_is_printed_with_rows_stars_and_classes():
    split = pl.DataFrame(
        {
            "row": [0, 1, 2, 3],
            "star": ["a", "a", "b", "c"],
            "class": ["F", "F", "G", "G"],
            "snrr": [40.0, 50.0, 40.0, 5.0],
            "interval": [">30", ">30", ">30", "0-10"],
            "part": ["train", "train", "train", "test"],
        }
    )
    lines = table1_text(split, INTERVALS).splitlines()
    assert lines[0].startswith("| rows / stars (F/G) | 30 <= S/N_R | 20 <= S/N_R < 30")
    assert lines[0].endswith("| S/N_R < 10 |")
    assert lines[2] == "| Train data set | 3 / 2 (2/1) | 0 | 0 | 0 |"
    assert lines[3] == "| Value data set | 0 | 0 | 0 | 0 |"
    assert lines[4] == "| Test data set | 0 | 0 | 0 | 1 / 1 (0/1) |"
    assert len(lines) == 5
    told = describe_split(split, INTERVALS)
    assert f"split {split_digest(split)}: 4 of 4 rows, 3 stars" in told


def test_the_mix_counts_rows_stars_and_shares():
    mix = mix_of(index_of(12, 2))
    assert mix["rows"].to_list() == [4] * 6
    assert mix["stars"].to_list() == [2] * 6
    assert mix["share"].to_list() == [0.5] * 6


def test_a_split_file_is_found_inside_the_work_folder_or_anywhere(tmp_path):
    split = make_split(index_of(), SplitSettings(kind="large"))
    write_split(tmp_path / "work" / "splits" / "a.parquet", split, SplitSettings(kind="large"))
    work = tmp_path / "work"
    assert split_file(work) == work / "split.parquet"
    assert split_file(work, "splits/a.parquet") == work / "splits" / "a.parquet"
    assert split_file(work, str(work / "splits/a.parquet")).is_file()
    with pytest.raises(StoreError, match="drcnet dataset split"):
        split_file(work, "b.parquet")
    stamp = pl.read_parquet_metadata(work / "splits" / "a.parquet")["drcnet"]
    assert split_digest(split) in stamp
    assert '"kind": "large"' in stamp
