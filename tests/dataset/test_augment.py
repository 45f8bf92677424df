"""What is done to a star follows from seed, epoch and row, and training takes it in."""

import shutil

import numpy as np
import polars as pl
import pytest
import torch

from drcnet.checkpoint import load_classifier
from drcnet.config import AugmentSettings, TrainSettings
from drcnet.dataset.augment import Augmenter, _shift
from drcnet.dataset.augment_draw import draw_rows
from drcnet.dataset.augment_noise import add_noise
from drcnet.errors import StoreError, TrainingError
from drcnet.train import train

from .known_light import DARK, augmenter_of, make_work


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return make_work(tmp_path_factory.mktemp("augment") / "work")


def test_a_model_that_knows_its_noise_is_never_given_z_scores(work, tmp_path):
    settings = TrainSettings(model="ppca", options={"components": 5}, augment={"noise": True})
    train(work, tmp_path / "run", settings)
    classifier = load_classifier(tmp_path / "run", "cpu")
    assert (classifier.card.view, classifier.card.normalize) == ("optimal-ivar", "none")
    train(work, tmp_path / "run", settings)  # the same settings: returned as it is
    with pytest.raises(TrainingError, match="view of ppca"):
        train(work, tmp_path / "other", settings.model_copy(update={"view": "optimal"}))


def test_draws_follow_from_seed_epoch_and_row_alone(work):
    augmenter = augmenter_of(work, "box", noise=True)
    both = augmenter.batch(torch.tensor([7, 30]), 2)
    torch.testing.assert_close(augmenter.batch(torch.tensor([30]), 2)[0], both[1])
    assert not torch.allclose(augmenter.batch(torch.tensor([30]), 3)[0], both[1])
    other = Augmenter(
        augmenter.settings, 4, augmenter.row, augmenter.x, augmenter.scene, augmenter.skies
    )
    assert not torch.allclose(other.batch(torch.tensor([7, 30]), 2), both)
    torch.testing.assert_close(augmenter.copy(2)[[7, 30]], both)


def test_scale_is_drawn_log_uniform(work):
    settings = AugmentSettings(noise=True, scale=(0.02, 0.5), share=0.75)
    scale = draw_rows(settings, np.arange(2000), 1, 1).scale.numpy()
    faded = np.log(scale[scale < 1])
    assert len(faded) == pytest.approx(1500, abs=70)
    assert faded.min() > np.log(0.02)
    assert np.median(faded) == pytest.approx(np.log(0.1), abs=0.15)


def test_off_settings_change_nothing(work):
    augmenter = augmenter_of(work, "box")
    assert not augmenter.settings.active
    assert torch.equal(augmenter.batch(torch.arange(4), 1), augmenter.x[:4])


@pytest.mark.parametrize(
    "settings",
    [
        {"trace_shift": 0.5},
        {"wavelength_shift": 3.0},
        {"broaden": 0.1},
        {"tilt": 0.2},
        {"reddening": 0.5},
        {"neighbor": 0.2},
        {"cosmic_rays": 3.0},
        {"lose_arm": 0.9},
        {"replace_sky": True},
    ],
)
def test_each_setting_changes_stripes(work, settings):
    augmenter = augmenter_of(work, "stripes", **settings)
    assert augmenter.settings.active
    at = torch.arange(8)
    out = augmenter.batch(at, 1)
    assert out.shape == augmenter.x[:8].shape
    assert not torch.equal(torch.nan_to_num(out), augmenter.x[:8])
    again = augmenter.batch(at, 1)
    torch.testing.assert_close(out, again, equal_nan=True)


def test_whole_pixel_shift_moves_the_spectrum(work):
    x = torch.arange(20.0).reshape(1, 2, 10)
    moved, left = _shift(x, torch.tensor([[2.0, 0.5]]))
    assert moved[0, 0, 2:].tolist() == x[0, 0, :-2].tolist()
    assert moved[0, 1, 1:].tolist() == (x[0, 1, 1:] - 0.5).tolist()
    assert left.flatten().tolist() == [1.0, 0.5]


def test_reddening_dims_the_blue_arm_more(work):
    augmenter = augmenter_of(work, "optimal-sky", reddening=1.0)
    ratio = (augmenter.batch(torch.arange(20), 1) / augmenter.x[:20]).nanmedian(dim=1).values
    assert (ratio[:, -20:].mean(dim=1) > ratio[:, :20].mean(dim=1)).double().mean() > 0.8


def test_lost_arm_is_not_a_number(work):
    out = augmenter_of(work, "box", lose_arm=0.99).batch(torch.arange(20), 1)
    lost = out.isnan().all(dim=2)
    assert (lost.sum(dim=1) <= 1).all()
    assert lost.sum() >= 18


def test_added_noise_has_the_variance_asked_for():
    variance = torch.full((3, 2, 20_000), 25.0)
    noise = add_noise(torch.zeros(3, 2, 20_000), variance, (1, 2, 1))
    assert noise.std().item() == pytest.approx(5, rel=0.02)
    assert torch.equal(noise[0], noise[2])
    assert not torch.equal(noise[0], noise[1])


def test_stripes_are_rounded_as_the_store_rounds_them(work):
    out = augmenter_of(work, "stripes", noise=True).batch(torch.arange(3), 1)
    assert torch.equal(out * 4, (out * 4).round())


def test_no_calibration_is_said(work, tmp_path):
    other = tmp_path / "work"
    shutil.copytree(work, other)
    shutil.rmtree(other / "traces")
    with pytest.raises(StoreError, match="calibration of spectrograph 01, arm blue"):
        augmenter_of(other, "box")


def test_scale_out_of_order_is_refused():
    with pytest.raises(ValueError, match="0 < low <= high <= 1"):
        AugmentSettings(scale=(0.5, 0.1))


def test_classical_learners_are_given_copies(work, tmp_path):
    settings = {"model": "knn", "view": "optimal-sky", "options": {"components": 5}}
    copies = {"noise": True, "copies": 3}
    train(work, tmp_path / "plain", TrainSettings(**settings))
    train(work, tmp_path / "noise", TrainSettings(**settings, augment=copies))
    stars = [
        len(load_classifier(tmp_path / name, "cpu").model.get_buffer("stars"))
        for name in ("plain", "noise")
    ]
    assert stars == [36, 4 * 36]
    table = pl.read_parquet(tmp_path / "noise" / "predictions.parquet")
    assert len(table) == DARK  # every star once, as it was seen


def test_augmented_training_resumes_to_the_same_bits(work, tmp_path):
    """Broken off after the first epoch, gone on with: as if never broken off."""
    settings = TrainSettings(
        model="sharma",
        options={"widths": [4, 4], "hidden": [8]},
        epochs=3,
        batch_size=16,
        device="cpu",
        augment={"noise": True, "wavelength_shift": 1.0},
    )

    def stop(_stage, done, _total):
        if _stage == "training" and done > 3:
            raise KeyboardInterrupt

    train(work, tmp_path / "whole", settings)
    with pytest.raises(KeyboardInterrupt):
        train(work, tmp_path / "broken", settings, progress=stop)
    assert (tmp_path / "broken" / "state.pt").is_file()
    train(work, tmp_path / "broken", settings)
    whole, broken = (
        load_classifier(tmp_path / name, "cpu").model.state_dict() for name in ("whole", "broken")
    )
    assert all(torch.equal(whole[key], broken[key]) for key in whole)
