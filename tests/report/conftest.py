"""A small world for the page: an instrument of eight fibres, a store, a night, and runs."""

import json
import shutil

import numpy as np
import polars as pl
import pytest
from astropy.io import fits

from drcnet.config import (
    PrepareSettings,
    RobustnessSettings,
    SaliencySettings,
    StripeSettings,
    settings_toml,
)
from drcnet.dataset.store import create_store, write_exposure
from drcnet.evaluate.runs import read_run
from drcnet.evaluate.tables import write_ecsv
from drcnet.instruments import load_instrument
from drcnet.provenance import make_provenance
from drcnet.robustness.disturb import Disturbance
from drcnet.robustness.score import Answers, score_answers
from drcnet.saliency.maps import average_maps, line_table
from drcnet.stripes.flags import FiberFlag

CLASSES = ("F", "G", "K")
N_FIBER, N_ROW = 8, 60
EXPOSURES = [f"{82496145 + i}-01" for i in range(20)]
INTERVALS = (("0-10", 6.0), ("10-20", 14.0), ("20-30", 26.0), (">30", 70.0))


def small_instrument():
    lamost = load_instrument("lamost-lrs")
    amplifiers = (
        {"data_x": (0, 70), "overscan_x": (140, 150)},
        {"data_x": (70, 140), "overscan_x": (150, 160)},
    )
    new = [
        old.model_copy(update=change | {"data_y": (0, 130), "overscan_y": (0, 130)})
        for old, change in zip(lamost.amplifiers, amplifiers, strict=True)
    ]
    fibers = lamost.fibers.model_copy(update={"count": N_FIBER, "block": 8, "edge": 15.0})
    change = {"name": "small", "shape": (130, 160), "amplifiers": tuple(new), "fibers": fibers}
    return lamost.model_copy(update=change)


def make_index(rng):
    lines = []
    for exposure in EXPOSURES:
        for fiber in range(1, N_FIBER + 1):
            row = len(lines)
            sky = fiber == N_FIBER
            true = "" if sky else CLASSES[row % 3]
            lines.append(
                {
                    "row": row,
                    "exposure": exposure,
                    "star": "" if sky else f"star {row // 2}",
                    "fiberid": fiber,
                    "class": true,
                    "subclass": "" if sky else f"{true}{row % 10}",
                    "snrr": INTERVALS[row // 2 % 4][1],
                    "flags": int(FiberFlag.SKY_FIBER) if sky else 0,
                    "reason": "blank sky" if sky else "",
                    "usable": not sky,
                }
            )
    # Two rows of one star must share their class: the second takes the first's.
    table = pl.DataFrame(lines)
    for name in ("class", "subclass"):
        first = pl.col(name).first().over("star")
        table = table.with_columns(
            pl.when(pl.col("usable")).then(first).otherwise(pl.lit("")).alias(name)
        )
    return table.with_columns(pl.col("flags").cast(pl.UInt32))


@pytest.fixture(scope="session")
def work(tmp_path_factory):
    rng = np.random.default_rng(5)
    folder = tmp_path_factory.mktemp("world")
    toml = folder / "small.toml"
    toml.write_text(settings_toml(small_instrument()))
    stripes = StripeSettings(row_start=30, row_stop=30 + N_ROW)
    settings = PrepareSettings(instrument=str(toml), stripes=stripes)
    path = folder / "work"
    asked = {"prepare": settings.model_dump(mode="json")}
    create_store(
        path,
        exposures=EXPOSURES,
        profile=small_instrument(),
        settings=settings,
        provenance=make_provenance(asked, seed=1),
    )
    for number in range(len(EXPOSURES)):
        for arm, middle in (("blue", 4900.0), ("red", 6900.0)):
            arrays = {
                name: rng.normal(100, 10, (N_FIBER, N_ROW))
                for name in ("box", "box_ivar", "optimal", "optimal_ivar", "sky", "offset")
            }
            arrays["stripes"] = rng.normal(100, 10, (N_FIBER, 11, N_ROW))
            arrays["mask"] = np.zeros((N_FIBER, 11, N_ROW))
            arrays["wavelength"] = np.tile([middle, 1290, 0, 0, 0], (N_FIBER, 1))
            write_exposure(path, number, arm, arrays)
    make_index(rng).write_parquet(path / "index.parquet")
    return path


@pytest.fixture(scope="session")
def night(tmp_path_factory):
    rng = np.random.default_rng(6)
    folder = tmp_path_factory.mktemp("night")
    (folder / "raw").mkdir()
    (folder / "truth").mkdir()
    for kind in "of":
        for arm in "br":
            pixels = rng.normal(1000, 4, (130, 160))
            pixels[:, :140] += 200
            name = f"r{kind}-01{arm}-20150923234527-10000-82496145.fit"
            fits.writeto(folder / "raw" / name, pixels.astype(np.uint16))
    return folder


def write_run(folder, index, name, skill, *, bare=False):
    rng = np.random.default_rng(len(name))
    rows = index.filter(pl.col("usable")).sort("row")
    lines = []
    for r in rows.iter_rows(named=True):
        right = rng.random() < skill - (0.35 if r["snrr"] < 10 else 0)
        predicted = r["class"] if right else CLASSES[(CLASSES.index(r["class"]) + 1) % 3]
        p = np.full(3, 0.1)
        p[CLASSES.index(predicted)] = 0.8 - 0.2 * rng.random()
        p /= p.sum()
        interval = next(n for n, s in INTERVALS if s == r["snrr"])
        bright = {0: "train", 1: "validation"}.get(int(r["star"].split()[1]) // 4 % 5, "test")
        part = bright if interval == ">30" else "test"
        lines.append(
            {k: r[k] for k in ("row", "star", "class", "subclass", "snrr")}
            | {"interval": interval, "part": part, "predicted": predicted}
            | ({} if bare else {f"p_{c}": v for c, v in zip(CLASSES, p, strict=True)})
        )
    path = folder / name
    path.mkdir()
    pl.DataFrame(lines).write_parquet(path / "predictions.parquet")
    if bare:
        return path
    card = {"model": name, "classes": CLASSES, "seed": 1, "best_epoch": 2}
    card |= {"training": {"stars": 40, "seconds": 1.5}, "options": {"n_wave": N_ROW}}
    card |= {"provenance": {"versions": {"drcnet": "0"}}}
    (path / "card.json").write_text(json.dumps(card))
    (path / "settings.toml").write_text(f'model = "{name}"\n')
    log = "epoch,train_loss,validation_loss\n1,1.1,1.0\n2,0.8,0.9\n3,0.6,0.95\n"
    (path / "log.csv").write_text(log)
    return path


@pytest.fixture(scope="session")
def runs(tmp_path_factory, work):
    folder = tmp_path_factory.mktemp("runs")
    index = pl.read_parquet(work / "index.parquet")
    return [write_run(folder, index, n, s) for n, s in (("drcnet", 0.9), ("logreg", 0.75))]


@pytest.fixture
def bare_run(tmp_path, work):
    return write_run(tmp_path, pl.read_parquet(work / "index.parquet"), "nutmaat", 0.7, bare=True)


@pytest.fixture(scope="session")
def page(tmp_path_factory, runs, work, night):
    from drcnet.report.page import report

    out = tmp_path_factory.mktemp("page") / "report.html"
    return report(runs, out, work=work, night=night, title="A <small> world & more")


@pytest.fixture
def full_run(tmp_path, runs):
    """A run folder with every product."""
    folder = tmp_path / "drcnet"
    shutil.copytree(runs[0], folder)
    rng = np.random.default_rng(8)
    tested = read_run(folder).tested
    rows = tested.select("star", "class", "interval").with_columns(
        (pl.int_range(pl.len()) + 1).alias("fiberid")
    )
    true = rows["class"].to_numpy().astype(str)
    what = [Disturbance("none"), Disturbance("trace", 1.0), Disturbance("missing arm", 0.0)]
    said = np.stack([true, rng.permutation(true), np.full(len(true), "F")])
    answers = [Answers("drcnet", said, "G"), Answers("linear", said[::-1], "G")]
    score_answers(rows, what, answers, RobustnessSettings(bootstrap=100)).write_parquet(
        folder / "robustness.parquet"
    )
    centres = [np.arange(3700.0, 5900, 20), np.arange(5700.0, 9000, 20)]
    maps = average_maps([rng.random((len(rows), len(c))) for c in centres], centres, rows)
    maps.write_parquet(folder / "saliency.parquet")
    write_ecsv(line_table(maps, SaliencySettings()), folder / "saliency_lines.ecsv", {})
    check = pl.DataFrame({"seed": [1, 2], "evidence": [0.04, -0.07], "importance": [0.5, 0.4]})
    write_ecsv(check, folder / "saliency_check.ecsv", {})
    pixel = np.arange(-5, 6)
    aperture = {"pixel": pixel, "weight": pixel / 30, "low": pixel / 30 - 0.1}
    aperture |= {"high": pixel / 30 + 0.1, "profile": np.full(11, 1 / 11)}
    aperture = pl.DataFrame(aperture).with_columns(
        pl.lit("blue").alias("arm"), pl.lit(0).alias("channel")
    )
    aperture.write_parquet(folder / "aperture.parquet")
    return folder
