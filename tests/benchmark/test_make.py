"""A benchmark set on a spectrograph of eight fibres, held to what simulate and prepare make."""

import filecmp
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import drcnet.benchmark.make as make_room
from drcnet.benchmark import make_benchmark
from drcnet.benchmark.making import read_makings
from drcnet.config import BenchmarkSettings, PrepareSettings, SplitSettings, load_settings
from drcnet.dataset.build import prepare
from drcnet.dataset.split import make_split, read_split
from drcnet.errors import ConfigError, StoreError
from drcnet.simulate.survey import simulate

SHIPPED = sorted((Path(__file__).parents[2] / "configs" / "benchmarks").glob("*.toml"))


def files(folder):
    """All but the file that holds a clock's numbers."""
    found = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    return sorted(path for path in found if path.name != "making.json")


def assert_same_bytes(one, other):
    assert files(one) == files(other)
    _, differ, errors = filecmp.cmpfiles(one, other, files(one), shallow=False)
    assert (differ, errors) == ([], [])


def test_it_is_what_simulate_and_prepare_make(settings, sourced_stars, tiny_set, tmp_path):
    simulate(
        settings.simulate.model_copy(update={"workers": 1}),
        tmp_path / "night",
        stars=sourced_stars,
    )
    prepare(
        tmp_path / "night",
        tmp_path / "work",
        settings=settings.prepare.model_copy(update={"workers": 1}),
        split=settings.split,
    )
    for name in ("dataset.zarr", "parts", "traces"):
        assert files(tiny_set / name) == files(tmp_path / "work" / name)
    for name in files(tmp_path / "work"):
        assert filecmp.cmp(tiny_set / name, tmp_path / "work" / name, shallow=False), name
    for name in ("catalog.csv", "folds.parquet", "truth/fibers.parquet"):
        assert filecmp.cmp(tiny_set / "night" / name, tmp_path / "night" / name, shallow=False)


def test_every_star_of_the_set_is_usable(tiny_set):
    index = pl.read_parquet(tiny_set / "index.parquet")
    assert index["usable"].equals(index["class"] != "")
    assert index["usable"].sum() == 8 * 5


def test_raw_frames_are_gone(tiny_set):
    assert not (tiny_set / "night" / "raw").exists()


def test_killed_anywhere_it_goes_on_to_the_same_bytes(
    settings, sourced_stars, tiny_set, tmp_path, monkeypatch
):
    real, left = make_room.stream_exposure, [3]

    def dies(task):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return real(task)

    monkeypatch.setattr(make_room, "stream_exposure", dies)
    with pytest.raises(KeyboardInterrupt):
        make_benchmark(settings, tmp_path / "set", workers=1, stars=sourced_stars)
    assert len(list((tmp_path / "set" / "parts").iterdir())) == 3
    monkeypatch.undo()
    summary = make_benchmark(settings, tmp_path / "set", workers=1, stars=sourced_stars)
    assert (summary.made, summary.exposures) == (5, 8)
    assert_same_bytes(tiny_set, tmp_path / "set")
    again = make_benchmark(settings, tmp_path / "set", workers=1, stars=sourced_stars)
    assert again.made == 0
    # Every call that made something is timed, the interrupted one too; the last made nothing.
    calls = read_makings(tmp_path / "set")
    assert [call.made for call in calls] == [3, 5]
    assert [call.peak_bytes > 0 for call in calls] == [False, True]
    assert all(call.seconds > 0 and call.workers == 1 for call in calls)
    assert_same_bytes(tiny_set, tmp_path / "set")


def test_raw_frames_stay_where_asked(settings, sourced_stars, tiny_set, tmp_path):
    out = tmp_path / "set"
    make_benchmark(settings, out, workers=1, stars=sourced_stars, keep_raw=True)
    # 2 biases, flat and arc, then 2 plates x 2 exposures; 2 spectrographs of 2 arms
    assert len(list((out / "night" / "raw").iterdir())) == (4 + 4) * 4
    assert files(out / "dataset.zarr") == files(tiny_set / "dataset.zarr")


def test_another_set_is_refused_or_replaced(settings, sourced_stars, tmp_path):
    out = tmp_path / "set"
    out.mkdir()
    (out / "index.parquet").write_bytes(b"mine")
    with pytest.raises(StoreError, match="empty folder"):
        make_benchmark(settings, out, workers=1, stars=sourced_stars)
    (out / "benchmark.json").write_text(json.dumps({"settings": "others"}))
    with pytest.raises(StoreError, match="other settings"):
        make_benchmark(settings, out, workers=1, stars=sourced_stars)
    make_benchmark(settings, out, workers=1, stars=sourced_stars, overwrite=True)
    assert len(pl.read_parquet(out / "index.parquet")) == 8 * 8


def test_folds_and_sources_come_through(tiny_set, sourced_stars):
    index = pl.read_parquet(tiny_set / "index.parquet")
    truth = pl.read_parquet(tiny_set / "night" / "truth" / "stars.parquet")
    named = truth.select(pl.col("designation").str.strip_prefix("LAMOST ").alias("star"), "fold")
    seen = index.filter(pl.col("star").is_in(named["star"].implode()))
    assert len(seen) == 5 * 8
    joined = seen.join(named, on="star", suffix="_true")
    assert (joined["fold"] == joined["fold_true"]).all()
    assert set(seen["source"]) == {"here", "there"}
    assert set(index.filter(pl.col("star") == "")["fold"]) == {-1}


def test_sources_are_equal_in_every_class(tiny_set):
    fibers = pl.read_parquet(tiny_set / "night" / "truth" / "fibers.parquet")
    stars = pl.read_parquet(tiny_set / "night" / "truth" / "stars.parquet")
    seen = fibers.filter(pl.col("target") == "star").join(
        stars.select("star", "source"), on="star"
    )
    for _, group in seen.group_by("class"):
        here = (group["source"] == "here").sum()
        assert abs(here - len(group) / 2) <= 0.5


def test_splits_are_files_that_hold(tiny_set):
    names = sorted(p.name for p in (tiny_set / "splits").iterdir())
    assert names == [f"large-{k}.parquet" for k in range(5)]
    for name in names:
        read_split(tiny_set / "splits" / name)
    assert "Table" not in names
    assert "## splits/large-4.parquet" in (tiny_set / "tables.md").read_text()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_sets_load(path):
    settings = load_settings(path, BenchmarkSettings)
    assert settings.title.startswith(path.stem)
    if "paper" in settings.splits:
        enough_rows(settings)


def enough_rows(settings):
    """Even with a tenth of the fibres unusable, each fold must hold the rows of Table 1."""
    survey = settings.simulate
    rows = 227 * survey.plates * survey.exposures * len(survey.spectrographs) * 0.9
    share = {k: v / sum(survey.snr_shares.values()) for k, v in survey.snr_shares.items()}
    counts = SplitSettings().counts
    for name in ("0-10", "10-20", "20-30"):
        assert rows * share[name] / 5 > counts[name]
    assert rows * share["30-120"] / 5 > counts[">30"]
    assert rows * share["30-120"] * 0.7 > counts["train"]


def test_there_are_the_sets_that_the_documents_name():
    assert {p.stem for p in SHIPPED} >= {"fgk", "fgk-builtin", "afgkm", "lamost-real"}


def test_two_instruments_are_refused(settings):
    plain = settings.model_dump() | {"prepare": PrepareSettings().model_dump()}
    with pytest.raises(ValueError, match="must be the same"):
        BenchmarkSettings.model_validate(plain)


def test_every_star_is_tested_once(rng):
    n = 600
    star = rng.integers(0, 60, n)
    index = pl.DataFrame(
        {
            "row": np.arange(n),
            "star": [f"s{k:02d}" for k in star],
            "class": [str("FGK"[k % 3]) for k in star],
            "snrr": 10 ** rng.uniform(0.4, 2, n),
            "usable": True,
        }
    )
    tested = []
    for fold in range(5):
        split = make_split(index, SplitSettings(kind="large", fold=fold))
        part = split.filter(pl.col("part") == "test")
        assert part.height == index.filter(pl.col("star").is_in(part["star"].implode())).height
        assert (split.filter(pl.col("part") == "train")["snrr"] >= 30).all()
        tested += part["row"].to_list()
    assert sorted(tested) == list(range(n))
    with pytest.raises(ConfigError, match="fold of 0 to 4"):
        make_split(index, SplitSettings(kind="large", fold=5))
