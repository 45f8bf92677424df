"""A faded star is what a fainter star gives: expectation, variance, and the views in step."""

import shutil

import numpy as np
import polars as pl
import pytest
import torch

from drcnet.checkpoint import load_classifier
from drcnet.config import AugmentSettings, PrepareSettings, StripeSettings, TrainSettings
from drcnet.dataset.augment import Augmenter, _shift, make_augmenter
from drcnet.dataset.augment_draw import draw_rows
from drcnet.dataset.augment_noise import add_noise, expected_variance, fade
from drcnet.dataset.augment_scene import NODES, Scene, read_scene
from drcnet.dataset.loader import Samples, see
from drcnet.dataset.split import write_split
from drcnet.dataset.store import create_store, open_store, write_exposure
from drcnet.errors import StoreError, TrainingError
from drcnet.frames.frame import FrameName
from drcnet.instruments import load_instrument
from drcnet.provenance import make_provenance
from drcnet.stripes.calibration_file import ArmCalibration, write_calibration
from drcnet.stripes.flags import FiberFlag
from drcnet.stripes.spatial import SpatialProfile, gaussian_table
from drcnet.stripes.trace import TraceSet
from drcnet.stripes.wavelength import WavelengthSet
from drcnet.train import train

N, L, PITCH, FWHM, READ = 60, 96, 15.8, 7.0, 3.0
SKY, DARK = 57, 55  # the first sky fibre, the first dead one
PROFILE = load_instrument("lamost-lrs").model_copy(
    update={"fibers": load_instrument("lamost-lrs").fibers.model_copy(update={"count": N})}
)
STRIPES = StripeSettings(row_start=0, row_stop=L)


def gaussian(distance):
    """Light of a pixel at some distance from the centre, window sum about 1."""
    sigma = FWHM / 2.3548200450309493
    return np.exp(-0.5 * (distance / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi)) / 0.935672


def shares(offset):
    """Own profile and those of the neighbours before and after; (n, 11, L) each."""
    pixel = np.arange(-5, 6)[:, None] - offset[:, None]
    return gaussian(pixel), gaussian(pixel + PITCH), gaussian(pixel - PITCH)


def observe(star, sky, offset, rng):
    """Stripes with Poisson and read noise, and their sums."""
    own, before, after = shares(offset)
    total = star + sky
    first, last = np.zeros((1, L)), np.zeros((1, L))
    light = total[:, None] * own
    light += np.concatenate([first, total[:-1]])[:, None] * before
    light += np.concatenate([total[1:], last])[:, None] * after
    return rng.poisson(light) + rng.normal(0, READ, light.shape)


def truth():
    rng = np.random.default_rng(5)
    wave = np.arange(L)
    star = np.linspace(300, 3000, N)[:, None] * (1 + 0.3 * np.sin(wave / 7))
    star[DARK:] = 0
    sky = np.full((N, L), 200.0) + 900.0 * np.exp(-0.5 * ((wave - 60) / 2) ** 2)
    offset = rng.uniform(-0.5, 0.5, (N, 1)) + np.zeros((N, L))
    return star, sky, offset


def calibration(arm, offset):
    center = np.zeros((N, 2))
    center[:, 0] = 20 + PITCH * np.arange(N)
    fwhm = np.tile([FWHM, 0.0], (N, 1))
    traces = TraceSet(
        np.arange(1, N + 1), center, fwhm, np.ones(N, bool), np.zeros(N), L, np.ones(N)
    )
    profile = SpatialProfile(
        gaussian_table().astype(np.float32)[None, None], np.array([N / 2]), np.array([L / 2])
    )
    name = FrameName(82495846, 1, arm, "flat", "20150923184603")
    waves = WavelengthSet(np.tile([5000.0, 500.0], (N, 1)), np.zeros(N), "nominal", 0, L)
    through = np.ones((N, L), np.float32)
    return ArmCalibration(name, None, traces, waves, profile, through, 1.0, np.zeros(N, np.uint32))


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A store of one exposure whose every electron is known."""
    work = tmp_path_factory.mktemp("augment") / "work"
    rng = np.random.default_rng(6)
    star, sky, offset = truth()
    settings = PrepareSettings(stripes=STRIPES)
    provenance = make_provenance({"prepare": settings.model_dump(mode="json")})
    create_store(
        work, exposures=["1-01"], profile=PROFILE, settings=settings, provenance=provenance
    )
    own = shares(offset)[0]
    for arm in ("blue", "red"):
        stripes = observe(star, sky, offset, rng)
        light = (stripes * own).sum(axis=1) / (own**2).sum(axis=1)
        mask = np.zeros(stripes.shape)
        stripes[3, 4, 50] += 5000
        mask[3, 4, 50] = 2
        write_exposure(
            work,
            0,
            arm,
            {
                "stripes": stripes,
                "mask": mask,
                "box": stripes.sum(axis=1),
                "box_ivar": np.ones((N, L)),
                "optimal": np.where(np.arange(N)[:, None] == DARK, np.nan, star + sky),
                "optimal_ivar": 1 / np.maximum(light, 1),
                "sky": sky,
                "wavelength": np.tile([5000.0, 500.0, 0, 0, 0], (N, 1)),
                "offset": offset,
            },
        )
        write_calibration(work / "traces" / f"01-{arm}-82495846.fits", calibration(arm, offset))
    flags = np.zeros(N, np.uint32)
    flags[SKY:] = int(FiberFlag.SKY_FIBER)
    flags[DARK] = int(FiberFlag.DEAD)
    kind = np.array(["F", "G", "K"])[np.arange(N) % 3]
    index = pl.DataFrame(
        {
            "row": np.arange(N),
            "star": [f"star {k}" for k in range(N)],
            "class": kind,
            "subclass": [f"{name}5" for name in kind],
            "snrr": np.full(N, 40.0),
            "lmjm": np.full(N, 82495860),
            "spid": np.ones(N, np.int64),
            "flags": flags,
            "read_noise_blue": np.full(N, READ),
            "read_noise_red": np.full(N, READ),
        }
    )
    index.write_parquet(work / "index.parquet")
    part = np.select([np.arange(N) < 36, np.arange(N) < 48], ["train", "validation"], "test")
    split = index[:DARK].select("row", "star", "class", "snrr")
    split = split.with_columns(pl.lit(">30").alias("interval"), pl.Series("part", part[:DARK]))
    write_split(work / "split.parquet", split)
    return work


def samples_of(work, view, rows):
    store = open_store(work)
    x = torch.from_numpy(see(view, lambda name: store.read(name, rows)))
    label = torch.zeros(len(rows), dtype=torch.int64)
    return store, Samples(x, label, rows, ("F",))


def augmenter_of(work, view, rows=None, **settings):
    rows = np.arange(1, 50) if rows is None else rows
    store, samples = samples_of(work, view, rows)
    return make_augmenter(store, samples, view, settings=AugmentSettings(**settings), seed=3)


def plain_scene(keep, floor):
    nothing = torch.zeros(0)
    return Scene(keep, floor, *[nothing] * 5)


def test_faded_poisson_light_has_the_mean_and_variance_of_a_faint_star():
    rng = np.random.default_rng(1)
    star, rest, read, factor, n = 400.0, 60.0, 4.0, 0.15, 200_000
    x = torch.from_numpy(rng.poisson(star + rest, (n, 2, 3)) + rng.normal(0, read, (n, 2, 3)))
    scene = plain_scene(torch.full_like(x, rest), torch.full((n, 2), read**2).double())
    faded, missing = fade(x, scene, torch.tensor(factor))
    made = (faded + torch.randn(x.shape).double() * missing.sqrt()).numpy()
    expected = factor * star + rest
    assert made.mean() == pytest.approx(expected, abs=0.1)
    assert made.var() == pytest.approx(expected + read**2, rel=0.01)


def test_a_star_kept_whole_is_left_alone():
    x = torch.rand(2, 2, 11, 5) * 100
    faded, missing = fade(x, plain_scene(torch.rand_like(x), torch.ones(2, 2)), torch.tensor(1.0))
    assert torch.equal(faded, x)
    assert not missing.any()


def test_missing_noise_is_never_negative():
    x = torch.full((1, 2, 4), -50.0)
    missing = fade(x, plain_scene(torch.zeros_like(x), torch.ones(1, 2)), torch.tensor(0.5))[1]
    assert (missing >= 0).all()


def test_scene_of_stripes_is_sky_and_neighbours(work):
    rows = np.array([10, 3, 54, 56])
    store, samples = samples_of(work, "stripes", rows)
    keep = read_scene(store, rows, samples.x.numpy(), "stripes").keep.numpy()
    star, sky, offset = truth()
    total = star + sky
    total[DARK] = 0  # not finite in the store: gives no light
    own, before, after = shares(offset)
    for place, row in enumerate(rows):
        expected = sky[row] * own[row] + total[row - 1] * before[row] + total[row + 1] * after[row]
        expected = np.broadcast_to(expected, keep[place].shape).copy()
        if row == 3:  # the cosmic ray stands out by what it brought
            assert keep[place, 0, 4, 50] - expected[0, 4, 50] == pytest.approx(5000, abs=60)
            expected[:, 4, 50] = keep[place, :, 4, 50]
        np.testing.assert_allclose(keep[place], expected, rtol=0.01, atol=0.05)


def test_scene_of_spectra(work):
    rows = np.array([20, 21])
    star, sky, offset = truth()
    own, before, after = shares(offset)
    total = star + sky
    scenes = {}
    for view in ("box", "optimal", "box-sky", "optimal-sky"):
        store, samples = samples_of(work, view, rows)
        scenes[view] = read_scene(store, rows, samples.x.numpy(), view)
    spilt = (total[rows - 1, None] * before[rows] + total[rows + 1, None] * after[rows]).sum(1)
    np.testing.assert_allclose(scenes["box"].keep[:, 0], sky[rows] + spilt, rtol=0.01)
    np.testing.assert_allclose(scenes["box-sky"].keep[:, 0], spilt, rtol=0.02)
    np.testing.assert_allclose(scenes["optimal"].keep[:, 0], sky[rows], rtol=1e-5)
    assert not scenes["optimal-sky"].keep.any()
    assert torch.equal(scenes["optimal"].nodes, scenes["optimal-sky"].nodes)
    assert (scenes["box"].floor == 11 * READ**2).all()
    noise = READ**2 + (total[rows - 1, None] * before[rows] + total[rows + 1, None] * after[rows])
    for g, factor in enumerate(NODES):
        light = (sky + factor * star)[rows, None]
        variance = 1 / (own[rows] ** 2 / (noise + light * own[rows])).sum(axis=1)
        np.testing.assert_allclose(scenes["optimal"].nodes[:, 1, g], variance, rtol=0.01)
    waves = scenes["box"].wavelength
    assert waves[0, 0, 0] == pytest.approx(4500)
    assert waves[0, 1, -1] == pytest.approx(5500)


@pytest.mark.parametrize("view", ["stripes", "box", "optimal", "optimal-sky"])
def test_faded_stars_scatter_as_fainter_ones_do(work, view):
    """Against stars of that brightness, observed anew: mean and variance over many draws."""
    factor, draws = 0.1, 200
    augmenter = augmenter_of(work, view, noise=True, scale=(factor, factor))
    at = torch.tensor([20])
    made = torch.stack([augmenter.batch(at, k)[0] for k in range(draws)]).double().numpy()
    star, sky, offset = truth()
    star[21] *= factor  # row 21 is the 20th of those asked for, rows 1 to 49
    rng = np.random.default_rng(8)
    seen = np.stack([observe(star, sky, offset, rng)[21] for _ in range(draws)])
    own = shares(offset)[0][21]
    if view == "box":
        seen = seen.sum(axis=1)
    elif view != "stripes":
        total = star + sky
        own3 = [share[21] for share in shares(offset)]
        neighbors = total[20] * own3[1] + total[22] * own3[2]
        weight = own / (READ**2 + neighbors + total[21] * own)
        seen = ((seen - neighbors) * weight).sum(axis=1) / (own * weight).sum(axis=0)
        if view == "optimal-sky":
            seen = seen - sky[21]
    spread = np.sqrt(seen.var(axis=0))
    away = (made.mean(axis=0)[0] - seen.mean(axis=0)) / spread
    assert np.abs(away.mean()) < 0.05
    assert np.sqrt((away**2).mean()) < 0.6
    # all draws share one bright observation and one measured sky: their part is in the mean
    scene = augmenter.scene.take(at)
    shared = (
        factor**2 * expected_variance(augmenter.x[at], augmenter.x[at], scene, torch.ones(1))[1]
    )
    if view != "stripes":
        part = factor**2 - 1 if view.endswith("-sky") else (1 - factor) ** 2
        shared = shared + part * scene.sky_error
    total = made.var(axis=0).mean() + shared.mean().item()
    assert total == pytest.approx(seen.var(axis=0).mean(), rel=0.03)


def test_inverse_variance_is_that_of_the_faded_star(work):
    """The same stars as without it, beside what their scatter over many draws comes to."""
    factor, draws, at = 0.1, 300, torch.tensor([20])
    augmenter = augmenter_of(work, "optimal-ivar", noise=True, scale=(factor, factor))
    made = torch.stack([augmenter.batch(at, k)[0] for k in range(draws)]).double()
    plain = augmenter_of(work, "optimal-sky", noise=True, scale=(factor, factor))
    assert torch.equal(made[3, :, 0].float(), plain.batch(at, 3)[0])
    scene = plain.scene.take(at)
    own = expected_variance(plain.x[at], plain.x[at], scene, torch.ones(1))[1]
    # all draws share one bright observation; the measured sky's own error is no photon noise
    shared = factor**2 * own + (factor**2 - 1) * scene.sky_error
    scatter = made[:, :, 0].var(dim=0).mean() + shared.mean()
    assert float((1 / made[0, :, 1]).mean()) == pytest.approx(float(scatter), rel=0.05)
    assert augmenter.copy(3).shape == (len(augmenter.x), 2, 2, L)
    assert torch.equal(augmenter.copy(3)[20], augmenter.batch(at, 3)[0])


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
