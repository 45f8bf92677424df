"""What surrounds the stars is read once, and picked where some stars are trained on."""

import polars as pl
import pytest
import torch

from drcnet.config import AugmentSettings, TrainSettings
from drcnet.dataset.augment import Augmenter
from drcnet.dataset.augment_scene import Scene
from drcnet.train import Parts, surroundings
from drcnet.train.task import load_data, read_task

NOISY = TrainSettings(model="rcnet", augment=AugmentSettings(noise=True))
NOTHING = torch.zeros(0)


@pytest.fixture
def made(monkeypatch):
    """Surroundings that need no calibrations; the list grows with each reading."""
    calls = []

    def make(store, samples, view, *, settings, seed, scene=None):
        calls.append(len(samples))
        shape = samples.x.shape
        keep = torch.from_numpy(samples.row)[:, None, None].expand(shape).float()
        wave = torch.linspace(3800, 5700, shape[-1]).expand(shape)
        floor = torch.full(shape[:2], 9.0)
        scene = Scene(keep, floor, NOTHING, NOTHING, NOTHING, wave, NOTHING)
        return Augmenter(settings, seed, samples.row, samples.x, scene, NOTHING)

    monkeypatch.setattr(surroundings, "make_augmenter", make)
    return calls


def recipe(**changes):
    return NOISY.model_copy(update=changes)


def test_they_are_read_once_and_seeds_differ_all_the_same(tiny_work, made):
    parts = Parts(10**9)
    first, second, again = (
        load_data(read_task(tiny_work, recipe(seed=seed), parts)) for seed in (1, 2, 1)
    )
    assert made == [48, 12]
    alone = load_data(read_task(tiny_work, recipe(seed=2)))
    assert made == [48, 12, 48, 12]
    at = torch.arange(48)
    assert torch.equal(second.augmenter.batch(at, 3), alone.augmenter.batch(at, 3))
    assert torch.equal(first.augmenter.batch(at, 3), again.augmenter.batch(at, 3))
    assert not torch.equal(first.augmenter.batch(at, 3), second.augmenter.batch(at, 3))
    assert torch.equal(second.judged.x, alone.judged.x)


def test_other_changes_are_read_anew(tiny_work, made):
    parts = Parts(10**9)
    load_data(read_task(tiny_work, NOISY, parts))
    tilted = AugmentSettings(noise=True, tilt=0.1)
    assert load_data(read_task(tiny_work, recipe(augment=tilted), parts)).augmenter.settings == (
        tilted
    )
    assert made == [48, 12, 48, 12]


def test_a_part_that_takes_more_than_may_be_kept_is_read_each_time(tiny_work, made):
    parts = Parts(10)
    for _ in range(2):
        load_data(read_task(tiny_work, NOISY, parts))
    assert made == [48, 12, 48, 12]


def test_some_stars_have_what_surrounds_them(tiny_work, made):
    parts = Parts(10**9)
    whole = load_data(read_task(tiny_work, NOISY, parts))
    task = read_task(tiny_work, recipe(stars_share=0.5), parts)
    some = load_data(task)
    assert made == [48, 12]
    rows = task.split.filter(pl.col("part") == "train").sort("row")["row"].to_list()
    assert len(rows) == 24
    assert some.train.row.tolist() == some.augmenter.row.tolist() == rows
    assert some.augmenter.scene.keep[:, 0, 0].tolist() == rows
    at = torch.from_numpy(some.train.row)  # training rows are the first of the store
    assert torch.equal(some.train.label, whole.train.label[at])
    changed = some.augmenter.batch(torch.arange(24), 2)
    assert torch.equal(changed, whole.augmenter.batch(at, 2))
    assert torch.equal(some.judged.x, whole.judged.x)


def test_folds_share_one_reading_of_what_surrounds_their_stars(tiny_work, made, monkeypatch):
    task = read_task(tiny_work, NOISY)
    used = task.split.filter(pl.col("part").is_in(["train", "validation"]))["row"]
    every = used.sort().to_numpy()
    read, given = [], []

    def read_all(store, rows, x, view):
        read.append(len(rows))
        keep = torch.from_numpy(rows.copy()).float()[:, None, None].expand(x.shape)
        return Scene(keep, keep[..., 0], NOTHING, NOTHING, NOTHING, keep, NOTHING)

    make = surroundings.make_augmenter

    def spy(*args, scene=None, **more):
        given.append(None if scene is None else scene.keep[:, 0, 0].tolist())
        return make(*args, **more)

    monkeypatch.setattr(surroundings, "read_scene", read_all)
    monkeypatch.setattr(surroundings, "make_augmenter", spy)
    data = load_data(read_task(tiny_work, NOISY, Parts(10**9, every)))
    assert read == [60]  # once for both parts
    assert given == [data.train.row.tolist(), data.validation.row.tolist()]
    load_data(read_task(tiny_work, NOISY, Parts(10**3, every)))  # no room
    assert read == [60]
    load_data(read_task(tiny_work, NOISY, Parts(10**9, every[30:])))  # not of all these rows
    assert given[2:5] == [None, None, None]
