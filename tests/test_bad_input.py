"""Bad input through the command line: one clear error, a non-zero exit, and the rest goes on."""

import gzip
import shutil
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from astropy.io import fits

from drcnet.api import prepare, simulate, train
from drcnet.cli import main
from drcnet.config import PrepareSettings, SimulateSettings, SplitSettings, TrainSettings

NARROW = str(Path(__file__).with_name("narrow.toml"))


@pytest.fixture(scope="session")
def narrow(tmp_path_factory, toy_stars):
    """A night of ten fibres, prepared, and a linear model trained on it."""
    home = tmp_path_factory.mktemp("narrow")
    settings = SimulateSettings(
        instrument=NARROW,
        seed=7,
        plates=6,
        sky_fibers=2,
        dead_fibers=0,
        bias_frames=1,
        snr_shares={"30-120": 0.9, "5-30": 0.1},
        workers=1,
    )
    simulate(settings, home / "night", stars=toy_stars)
    stripes = PrepareSettings(instrument=NARROW, workers=1)
    split = SplitSettings(fractions=(0.5, 0.25, 0.25), seed=3)
    prepare(home / "night", home / "work", settings=stripes, split=split)
    train(home / "work", home / "runs" / "logreg", TrainSettings(model="logreg"))
    (home / "narrow.toml").write_text(f'[prepare]\ninstrument = "{NARROW}"\nworkers = 1\n')
    return home


@pytest.fixture
def night(narrow, tmp_path):
    """The frames of two exposures, to break one of them."""
    folder = tmp_path / "night"
    (folder / "raw").mkdir(parents=True)
    names = sorted(p for p in (narrow / "night" / "raw").iterdir())
    objects = [p for p in names if p.name.startswith("ro-")]
    for path in [p for p in names if not p.name.startswith("ro-")] + objects[:2] + objects[6:8]:
        shutil.copy(path, folder / "raw")
    shutil.copy(narrow / "night" / "catalog.csv", folder)
    return folder


@pytest.fixture
def drcnet(capfd, monkeypatch):
    """Run the command line in this process: (exit code, all that it printed)."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["drcnet", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            main()
        shown = capfd.readouterr()
        return stopped.value.code or 0, " ".join((shown.out + shown.err).split())

    return run


def science(night, arm="b"):
    """The first science frame of an arm."""
    return min((night / "raw").glob(f"ro-01{arm}-*"))


def truncate(night):
    path = science(night)
    path.write_bytes(path.read_bytes()[:700_000])
    return path


def cut_gzip(night):
    path = science(night)
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes(), 1)[:200_000])
    path.unlink()
    return packed


def not_fits(night):
    path = science(night)
    path.write_text("this is a letter, not a frame\n" * 200)
    return path


def rewrite(night, change):
    path = science(night)
    with fits.open(path, memmap=False) as hdus:
        data, header = hdus[0].data.copy(), hdus[0].header.copy()
    for key in ("CHECKSUM", "DATASUM", "BZERO", "BSCALE"):
        header.remove(key, ignore_missing=True)
    fits.writeto(path, change(data), header, overwrite=True)
    return path


def zero_block(data):
    data[1000:1100, 20:120] = 0
    return data


BROKEN = {
    "truncated": (truncate, "cut short"),
    "gz cut short": (cut_gzip, "gz"),
    "not a FITS": (not_fits, "FITS"),
    "wrong shape": (lambda n: rewrite(n, lambda d: np.ascontiguousarray(d[:4000])), "(4136, 264)"),
    "transposed": (lambda n: rewrite(n, lambda d: np.ascontiguousarray(d.T)), "transposed"),
    "zero block": (lambda n: rewrite(n, zero_block), "a block of 10000 pixels of 0"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_frame_costs_only_its_own_exposure(kind, night, narrow, drcnet, tmp_path):
    broken, named = BROKEN[kind][0](night), BROKEN[kind][1]
    config = narrow / "narrow.toml"
    code, shown = drcnet("prepare", night, tmp_path / "work", "--config", config)
    assert code == 3, shown
    assert broken.name in shown
    assert named in shown
    index = pl.read_parquet(tmp_path / "work" / "index.parquet")
    first, second = index.partition_by("exposure", maintain_order=True)
    assert first["reason"].str.contains(broken.name, literal=True).all()
    assert not first["usable"].any()
    assert second["usable"].sum() >= 7


def test_classify_goes_on_past_a_broken_frame(night, narrow, drcnet, tmp_path):
    broken = truncate(night)
    run, out = narrow / "runs" / "logreg", tmp_path / "classes.csv"
    code, shown = drcnet("classify", night, "-k", run, "-o", out, "-j", 1)
    assert code == 3, shown
    assert broken.name in shown
    table = pl.read_csv(out, comment_prefix="#")
    first, second = table.partition_by("exposure", maintain_order=True)
    assert first["class"].null_count() == 10
    assert first["reason"].str.contains(broken.name, literal=True).all()
    assert second["class"].null_count() <= 3


def test_a_blue_frame_without_its_red_is_named(night, narrow, drcnet, tmp_path):
    science(night, "r").unlink()
    config = narrow / "narrow.toml"
    code, shown = drcnet("check", night, "--config", config)
    assert code == 3
    assert "red" in shown
    assert drcnet("prepare", night, tmp_path / "work", "--config", config)[0] == 3


def test_no_flat_is_said_before_any_work(night, narrow, drcnet, tmp_path):
    for flat in (night / "raw").glob("rf-*"):
        flat.unlink()
    code, shown = drcnet("check", night, "--config", narrow / "narrow.toml")
    assert code == 1
    assert "flat" in shown


def test_a_catalogue_without_a_needed_column_is_named(night, narrow, drcnet, tmp_path):
    catalog = pl.read_csv(night / "catalog.csv", separator="|", infer_schema_length=None)
    catalog.drop("fiberid").write_csv(night / "catalog.csv", separator="|")
    code, shown = drcnet("prepare", night, tmp_path / "w", "--config", narrow / "narrow.toml")
    assert code == 1
    assert "catalog.csv" in shown
    assert "fiberid" in shown


def test_a_catalogue_of_other_fibres_is_said(night, narrow, drcnet, tmp_path):
    catalog = pl.read_csv(night / "catalog.csv", separator="|", infer_schema_length=None)
    catalog.with_columns(spid=pl.lit(9)).write_csv(night / "catalog.csv", separator="|")
    code, shown = drcnet("check", night, "--config", narrow / "narrow.toml")
    assert code in {1, 3}
    assert "catalog" in shown


def test_a_full_disk_leaves_nothing_half_done(night, narrow, drcnet, tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    config = narrow / "narrow.toml"
    with monkeypatch.context() as patch:
        patch.setattr("zarr.core.array.Array.__setitem__", full)
        code, shown = drcnet("prepare", night, tmp_path / "work", "--config", config)
        assert code == 1, shown
        assert "No space left" in shown or "disk" in shown
        assert not (tmp_path / "work" / "index.parquet").exists()
    assert drcnet("prepare", night, tmp_path / "work", "--config", config)[0] == 0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ('"normalize": "zscore"', "normal"),
        ('"model": "logreg"', "model"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(  # noqa: PLR0917
    change, named, night, narrow, drcnet, tmp_path
):
    run = tmp_path / "run"
    shutil.copytree(narrow / "runs" / "logreg", run)
    card = (run / "card.json").read_text()
    assert change in card
    other = change.replace("zscore", "inches").replace("logreg", "nonsense")
    (run / "card.json").write_text(card.replace(change, other))
    code, shown = drcnet("classify", night, "-k", run, "-o", tmp_path / "classes.fits")
    assert code == 1
    assert named in shown
    assert "card.json" in shown
    assert not (tmp_path / "classes.fits").exists()


def test_an_existing_table_is_not_overwritten(night, narrow, drcnet, tmp_path):
    out = tmp_path / "classes.fits"
    out.write_text("mine")
    code, shown = drcnet("classify", night, "-k", narrow / "runs" / "logreg", "-o", out)
    assert code == 1
    assert "overwrite" in shown
    assert out.read_text() == "mine"


def test_an_unknown_ending_is_said_before_any_work(night, narrow, drcnet, tmp_path):
    out = tmp_path / "classes.docx"
    code, shown = drcnet("classify", night, "-k", narrow / "runs" / "logreg", "-o", out)
    assert code == 1
    assert ".parquet" in shown
