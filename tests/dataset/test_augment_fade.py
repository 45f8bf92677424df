"""A faded star is what a fainter star gives: expectation, variance, and the views in step."""

import dataclasses

import numpy as np
import pytest
import torch

from drcnet.dataset.augment_noise import expected_variance, fade
from drcnet.dataset.augment_scene import NODES, Scene, read_scene
from drcnet.dataset.profiles import read_profiles
from drcnet.dataset.store import open_store

from .known_light import DARK, READ, L, augmenter_of, make_work, observe, samples_of, shares, truth


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return make_work(tmp_path_factory.mktemp("augment") / "work")


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


def test_noise_beyond_what_an_extraction_says_is_added_too():
    x, zero = torch.full((1, 2, 4), 900.0), torch.zeros(1, 2, 4)
    nodes = torch.stack([100 + 900 * torch.full_like(x, factor) for factor in NODES], dim=2)
    scene = Scene(zero, torch.zeros(1, 2), zero, nodes, zero, zero, torch.zeros(0))
    plain = fade(x, scene, torch.tensor(0.3))[1]
    noisy = dataclasses.replace(scene, excess=torch.tensor([[1.1, 1.0]]))
    missing = fade(x, noisy, torch.tensor(0.3))[1]
    torch.testing.assert_close(missing[:, 0], 1.1 * plain[:, 0])
    torch.testing.assert_close(missing[:, 1], plain[:, 1])


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


def test_a_stripe_beside_the_sky_fades_as_the_stripe_alone(work):
    at = torch.tensor([7, 30])
    plain = augmenter_of(work, "stripes", noise=True)
    augmenter = augmenter_of(work, "stripes-sky", noise=True)
    made = augmenter.batch(at, 2)
    assert made.shape == (2, 2, 12, L)
    known = torch.isfinite(made[:, :, :-1])
    assert torch.equal(made[:, :, :-1][known], plain.batch(at, 2)[known])
    assert torch.equal(made[:, :, -1:], augmenter.beside[at])
    assert torch.equal(augmenter.original(at)[:, :, -1:], augmenter.beside[at])
    assert torch.equal(augmenter.copy(2)[at], made) or not known.all()


def test_a_replaced_sky_comes_with_its_own_row(work):
    augmenter = augmenter_of(work, "stripes-sky", replace_sky=True)
    assert augmenter.skies.shape[2] == 12
    made = augmenter.batch(torch.tensor([7]), 1)
    rows = [bool(torch.allclose(made[0, :, -1], one[:, -1])) for one in augmenter.skies]
    assert any(rows)


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


def test_profiles_are_those_that_the_light_was_shared_out_by(work):
    augmenter = augmenter_of(work, "stripes", noise=True)
    row = augmenter.row[[30, 7, 21]]
    profile, spilt = read_profiles(open_store(work), row)
    assert profile.shape == spilt.shape == (3, 2, 11, L)
    _, _, offset = truth()
    own = shares(offset)[0]
    np.testing.assert_allclose(profile[:, 0], own[row], atol=0.01)
    assert (spilt >= 0).all()
    star, sky, _ = truth()
    near = shares(offset)[1:]
    total = star + sky
    wanted = total[row - 1][:, None] * near[0][row] + total[row + 1][:, None] * near[1][row]
    np.testing.assert_allclose(spilt[:, 0].sum((1, 2)), wanted.sum((1, 2)), rtol=0.3)
