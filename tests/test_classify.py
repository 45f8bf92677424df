"""Frames to a table of classes, with stand-ins for frames, stripes and the network."""

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from astropy.table import Table

from drcnet import classify as room
from drcnet.classify import classify
from drcnet.classify_tables import ENDINGS
from drcnet.dataset.build import prepare
from drcnet.dataset.store import open_store
from drcnet.errors import CheckpointError, ConfigError, NightError
from drcnet.stripes.flags import MEANINGS, FiberFlag

CLASSES = ("F", "G", "K")


def load_fakes():
    path = Path(__file__).parent / "dataset" / "fake_frames.py"
    spec = importlib.util.spec_from_file_location("fake_frames", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def scores(x):
    """Three numbers of a star's own light that add up to 1."""
    light = x.reshape(len(x), -1).astype(np.float64)
    parts = np.stack([np.abs(light[:, k::3].sum(axis=1)) % 7 + 0.1 for k in range(3)], axis=1)
    return parts / parts.sum(axis=1, keepdims=True)


@pytest.fixture
def fakes(monkeypatch):
    module = load_fakes()
    module.install(monkeypatch.setattr)
    return module


@pytest.fixture
def night(fakes, tmp_path):
    return fakes.make_night(tmp_path / "night", exposures=2)


@pytest.fixture
def run(fakes, night, monkeypatch, tmp_path):
    settings = fakes.make_settings(night)
    card = SimpleNamespace(
        classes=CLASSES,
        view="stripes",
        normalize="zscore",
        model="drcnet",
        weights="w1",
        split="s1",
        seed=3,
        instrument=settings.instrument,
        stripes=settings.stripes.model_dump(),
    )

    def load(run, device="auto"):
        if run.name != "run":
            raise CheckpointError(run, "the card of a finished run", "no such file")
        return SimpleNamespace(
            card=card, probabilities=scores, measures=(), estimates=lambda x: {}
        )

    monkeypatch.setattr(room, "load_classifier", load)
    return tmp_path / "run"


def test_every_fibre_is_a_row(fakes, night, run):
    found = classify(night, run, workers=1)
    table = found.table
    assert len(table) == 2 * fakes.N_FIBER
    assert found.problems == ()
    assert table["fiberid"].to_list() == [*range(1, 9)] * 2
    assert table.columns == [
        "exposure",
        "lmjm",
        "spid",
        "fiberid",
        "class",
        "p_F",
        "p_G",
        "p_K",
        "prediction_set",
        "reject",
        "snr_blue",
        "snr_red",
        "snrr_measured",
        "flags",
        "flag_names",
        "reason",
    ]
    dead = table.filter(pl.col("fiberid") == 2)
    assert dead["class"].null_count() == dead["p_F"].null_count() == 2
    assert set(dead["reason"]) == {"no light on the lamp flat"}
    assert set(dead["flag_names"]) == {"dead"}
    guessed = table.filter(pl.col("fiberid") == 3)
    assert set(guessed["flag_names"]) == {"sky_fiber"}
    assert guessed["class"].null_count() == 0, "a guess at sky rejects nobody who has light"
    sky = table.filter(pl.col("fiberid") == 8)
    assert sky["class"].null_count() == 2
    assert set(sky["reason"]) == {MEANINGS[FiberFlag.NO_SIGNAL]}
    told = table.drop_nulls("class")
    assert len(told) == 2 * (fakes.N_FIBER - 2)
    total = told.select("p_F", "p_G", "p_K").sum_horizontal()
    np.testing.assert_allclose(total, 1)
    best = told.select("p_F", "p_G", "p_K").to_numpy().argmax(axis=1)
    assert told["class"].to_list() == [CLASSES[k] for k in best]
    assert set(told["reason"]) == {""}


def test_a_calibrated_run_says_what_it_doubts(fakes, night, run, monkeypatch):
    plain = classify(night, run, workers=1).table
    assert plain["prediction_set"].null_count() == plain["reject"].null_count() == len(plain)

    class Doubts:
        classes = CLASSES

        def snrr(self, snr_red):
            return np.arange(len(snr_red), dtype=float)

        def probabilities(self, p, snrr):
            return np.sqrt(p) / np.sqrt(p).sum(axis=1, keepdims=True)

        def sets(self, p, snrr):
            return p > 0.3

        def reject(self, light, snrr):
            assert light.shape[:2] == (len(snrr), 2)
            return ["fainter than S/N 2" if snr < 3 else "" for snr in snrr]

    monkeypatch.setattr(room, "read_calibration", lambda run, weights=None: Doubts())
    table = classify(night, run, workers=1).table
    assert table["class"].to_list() == plain["class"].to_list()
    told = table.filter(pl.col("class").is_not_null())
    dull, sharp = (
        t.select("p_F", "p_G", "p_K").to_numpy() for t in (told, plain.drop_nulls("class"))
    )
    np.testing.assert_allclose(dull, np.sqrt(sharp) / np.sqrt(sharp).sum(axis=1, keepdims=True))
    for p, names in zip(dull, told["prediction_set"], strict=True):
        assert names == ",".join(np.array(CLASSES)[p > 0.3])
    assert set(told.filter(pl.col("fiberid") <= 3)["reject"]) == {"fainter than S/N 2"}
    assert set(told.filter(pl.col("fiberid") > 3)["reject"]) == {""}
    assert table.filter(pl.col("class").is_null())["reject"].null_count() == 4


@pytest.mark.parametrize("view", ["stripes", "box", "optimal"])
def test_it_sees_what_prepare_stores(fakes, night, run, monkeypatch, view):
    """The network gets the very numbers that it would get from the store."""
    work = night.parent / "work"
    seen = []
    loaded = room.load_classifier(run)
    loaded.card.view = view
    monkeypatch.setattr(
        room,
        "load_classifier",
        lambda run, device="auto": SimpleNamespace(
            card=loaded.card,
            probabilities=lambda x: seen.append(x) or scores(x),
            measures=(),
            estimates=lambda x: {},
        ),
    )
    rounded = fakes.measure_arm

    def measure(*args, **kwargs):
        arm = rounded(*args, **kwargs)
        arm.stripes[:] = np.round(arm.stripes * 4) / 4  # as the real one does
        return arm

    from drcnet.dataset import exposure

    monkeypatch.setattr(exposure, "measure_arm", measure)
    classify(night, run, workers=1)
    prepare(night, work, settings=fakes.make_settings(night))
    rows = np.array([0, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(seen[0], open_store(work).read(view, rows))


def test_what_a_model_measures_besides_is_a_column(fakes, night, run, monkeypatch):
    loaded = room.load_classifier(run)
    loaded.measures = ("teff",)
    loaded.estimates = lambda x: {"teff": 5000.0 + np.arange(len(x))}
    monkeypatch.setattr(room, "load_classifier", lambda run, device="auto": loaded)
    table = classify(night, run, workers=1).table
    assert table.columns.index("teff") == table.columns.index("p_K") + 1
    has = table["class"].is_not_null()
    assert table.filter(has)["teff"].min() == 5000
    assert table.filter(~has)["teff"].null_count() == (~has).sum()


def test_a_pair_of_frames_finds_its_flats_beside_it(fakes, night, run):
    pair = [night / "raw" / fakes.frame_name("o", 1, arm, fakes.LMJM) for arm in "br"]
    found = classify(pair, run, workers=1)
    assert found.table.equals(classify(night, run, workers=1).table[: fakes.N_FIBER])


def test_flats_elsewhere_must_be_named(fakes, night, run, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    for arm in "br":
        name = fakes.frame_name("o", 1, arm, fakes.LMJM)
        (alone / name).write_bytes((night / "raw" / name).read_bytes())
    lost = classify(alone, run, workers=1)
    assert lost.table["class"].null_count() == fakes.N_FIBER
    assert "wanted a flat of spectrograph 01 blue" in lost.problems[0]
    found = classify(alone, run, flats=night / "raw", workers=1)
    assert found.problems == ()


def test_a_refused_frame_is_rows_with_the_reason(fakes, night, run):
    name = fakes.frame_name("o", 1, "b", fakes.LMJM)
    fakes.write_frame(night / "raw" / name, "broken")
    found = classify(night, run, workers=1)
    hurt = found.table[: fakes.N_FIBER]
    assert hurt["class"].null_count() == fakes.N_FIBER
    assert set(hurt["reason"]) == {
        f"blue: {name}: wanted a whole FITS file, got one cut short by 100 bytes"
    }
    assert found.problems == (f"{fakes.LMJM}-01: {hurt['reason'][0]}",)
    assert (hurt["flags"] & int(FiberFlag.ARM_MISSING) != 0).all()
    assert found.table[fakes.N_FIBER :]["class"].null_count() == 2


@pytest.mark.parametrize("ending", sorted(ENDINGS))
def test_every_format_reads_back(night, run, tmp_path, ending):
    path = tmp_path / f"classes{ending}"
    table = classify(night, run, path, workers=1).table
    if ending == ".parquet":
        assert pl.read_parquet(path).equals(table)
        text = pl.read_parquet_metadata(path)["provenance"]
    elif ending == ".csv":
        again = pl.read_csv(path, comment_prefix="#", schema_overrides={"exposure": pl.String})
        assert again["class"].to_list() == table["class"].to_list()
        text = path.read_text().splitlines()[0].removeprefix("# ")
    else:
        kinds = {".fits": "fits", ".ecsv": "ascii.ecsv"}
        again = Table.read(path, format=kinds.get(ending, "votable"))
        named = [None if not str(c) or str(c) == "--" else str(c) for c in again["class"]]
        assert named == table["class"].to_list()
        shown = np.ma.filled(np.ma.masked_invalid(np.ma.asarray(again["p_G"])), np.nan)
        np.testing.assert_allclose(shown, table["p_G"].to_numpy(), rtol=1e-7)
        said = ["" if why is np.ma.masked else str(why) for why in again["reason"]]
        assert said == table["reason"].to_list()
        if ending == ".ecsv":
            text = json.dumps(again.meta["provenance"])
        elif ending == ".fits":
            text = "".join(again.meta["comments"])
        else:
            text = path.read_text()
    assert "zscore" in text
    assert '"w1"' in text or "&quot;w1&quot;" in text
    if ending not in (".vot", ".xml"):
        assert len(json.loads(text)["inputs"]) == 4


def test_an_unknown_ending_is_refused_before_any_work(night, run, monkeypatch, tmp_path):
    monkeypatch.setattr(room, "load_classifier", None)
    with pytest.raises(ConfigError, match=r"ending in one of .*\.fits, .*got '\.txt'"):
        classify(night, run, tmp_path / "classes.txt", workers=1)


def test_an_older_table_stays_unless_asked(night, run, tmp_path):
    path = tmp_path / "classes.csv"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="one that is there already"):
        classify(night, run, path, workers=1)
    assert path.read_text() == "mine"
    classify(night, run, path, workers=1, overwrite=True)
    assert path.read_text() != "mine"


def test_no_frames_and_no_checkpoint_are_clear_errors(run, tmp_path, night):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NightError, match="no FITS files"):
        classify(tmp_path / "empty", run, workers=1)
    with pytest.raises(CheckpointError, match="card of a finished run"):
        classify(night, tmp_path / "elsewhere", workers=1)
