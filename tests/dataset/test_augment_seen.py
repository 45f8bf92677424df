"""What an extraction says of its own noise, and what the mask missed, in a faded star."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from drcnet.dataset.augment_noise import seen_variance, sky_error
from drcnet.dataset.augment_scene import NODES, Scene, read_scene

from .known_light import READ, L, make_work, samples_of, shares, truth


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return make_work(tmp_path_factory.mktemp("seen") / "work")


def scene_of_light(star, sky, rays=None):
    """A spectrum of so many electrons, whose variance is its light and 100."""
    nodes = torch.stack([sky + factor * star + 100 for factor in NODES], dim=2)
    nothing = torch.zeros(0)
    coefficients = torch.zeros(len(star), 16, 2, 3)
    return Scene(
        torch.zeros_like(star),
        torch.zeros(len(star), 2),
        sky,
        nodes,
        torch.zeros_like(star),
        torch.zeros_like(star),
        coefficients,
        nothing if rays is None else rays,
    )


def test_variance_follows_the_light_as_seen_smoothed_over_three_rows():
    star, sky = torch.full((1, 2, 9), 1000.0), torch.full((1, 2, 9), 50.0)
    scene, factor = scene_of_light(star, sky), torch.tensor(0.3)
    plain = seen_variance(star, factor * star, scene, factor)
    torch.testing.assert_close(plain, torch.full_like(plain, 300.0 + 50 + 100))
    struck = factor * star
    struck[..., 4] += 40.0
    change = seen_variance(star, struck, scene, factor) - plain
    assert change[0, 1].numpy() == pytest.approx([0, 0, 0, 10, 20, 10, 0, 0, 0], abs=1e-3)


def test_light_is_not_smoothed_from_tile_to_tile():
    star, sky = torch.full((1, 2, 150), 1000.0), torch.full((1, 2, 150), 50.0)
    scene, factor = scene_of_light(star, sky), torch.tensor(0.3)
    plain = seen_variance(star, factor * star, scene, factor)
    for row, place, change in (
        (63, slice(61, 67), [0, 10, 30, 0, 0, 0]),
        (64, slice(61, 67), [0, 0, 0, 30, 10, 0]),
        (149, slice(146, 150), [0, 0, 10, 30]),
    ):
        struck = factor * star
        struck[..., row] += 40.0
        found = (seen_variance(star, struck, scene, factor) - plain)[0, 0, place]
        assert found.numpy() == pytest.approx(change, abs=1e-3)


@pytest.mark.parametrize("factor", [0.02, 0.2, 1.0])
def test_variance_rises_by_an_electron_as_the_nodes_say(factor):
    star, sky = torch.full((1, 2, 9), 800.0), torch.full((1, 2, 9), 50.0)
    scene = scene_of_light(star, sky)
    scene = dataclasses.replace(scene, nodes=1.3 * scene.nodes)
    light = factor * star
    rise = seen_variance(star, light + 10, scene, torch.tensor(factor))
    rise = rise - seen_variance(star, light, scene, torch.tensor(factor))
    torch.testing.assert_close(rise, torch.full_like(rise, 13.0), atol=1e-2, rtol=0)


def test_nodes_too_near_each_other_do_not_say_how_variance_rises():
    star, sky = torch.full((1, 2, 9), 1e-4), torch.full((1, 2, 9), 50.0)
    scene, factor = scene_of_light(star, sky), torch.tensor(0.5)
    rise = seen_variance(star, star + 10, scene, factor) - seen_variance(star, star, scene, factor)
    torch.testing.assert_close(rise, torch.full_like(rise, 11.0), atol=1e-2, rtol=0)


def test_noise_of_the_master_bias_is_in_the_variance_as_the_extraction_counted_it(work):
    rows = np.array([20])
    store, samples = samples_of(work, "optimal-sky", rows)
    plain = read_scene(store, rows, samples.x.numpy(), "optimal-sky").nodes[0, 1, 0].numpy()
    box, counted = store.read("box", rows), 5 * READ**2
    ivar = (1 / (box.clip(0) + 11 * counted)).astype(np.float32)

    def read(name, row):
        return ivar if name == "box_ivar" and len(row) == 1 else store.read(name, row)

    held = SimpleNamespace(
        read=read,
        index=store.index,
        work=store.work,
        n_fiber=store.n_fiber,
        provenance=store.provenance,
    )
    noisy = read_scene(held, rows, samples.x.numpy(), "optimal-sky").nodes[0, 1, 0].numpy()
    star, sky, offset = truth()
    own, before, after = (share[20] for share in shares(offset))
    total = star + sky
    near = total[19] * before + total[21] * after
    for found, noise in ((plain, READ**2), (noisy, counted)):
        wanted = 1 / (own**2 / (noise + near + sky[20] * own)).sum(axis=0)
        np.testing.assert_allclose(found, wanted, rtol=0.03)


def test_light_below_nothing_is_called_no_surer_than_no_light():
    star, sky = torch.full((1, 2, 9), 100.0), torch.full((1, 2, 9), 20.0)
    scene, factor = scene_of_light(star, sky), torch.tensor(0.1)
    low, none = (
        seen_variance(star, torch.full_like(star, value), scene, factor) for value in (-70, -20)
    )
    torch.testing.assert_close(low, none)
    assert (low > 90).all()


def test_masked_pixels_have_no_say_in_the_variance(work):
    rows = np.array([3])  # a cosmic ray in its row 50, pixel 4 of 11, blue
    store, samples = samples_of(work, "optimal-sky", rows)
    nodes = read_scene(store, rows, samples.x.numpy(), "optimal-sky").nodes[0, 0].numpy()
    star, sky, offset = truth()
    own, before, after = (share[3] for share in shares(offset))
    total = star + sky
    for g, factor in enumerate(NODES):
        pixel = READ**2 + (sky + factor * star)[3] * own + total[2] * before + total[4] * after
        weight = own**2 / pixel
        weight[4, 50] = 0
        np.testing.assert_allclose(nodes[g], 1 / weight.sum(axis=0), rtol=0.01)
    assert nodes.shape == (len(NODES), L)


def test_rays_that_the_mask_missed_come_in_as_the_star_fades():
    star, sky = torch.full((2, 2, 9), 1000.0), torch.full((2, 2, 9), 50.0)
    rays = torch.zeros(2, 16, 2, 12, 2)
    rays[1, 3, 1, 0] = torch.tensor([5.0, 200.0])
    scene = scene_of_light(star, sky, rays)
    factor, pick = torch.tensor([0.25]), torch.tensor([3.5 / 16, 3.5 / 16])
    error = sky_error(star + sky, scene, factor, pick)
    expected = torch.zeros(2, 2, 9)
    expected[1, 1, 5] = 150.0
    torch.testing.assert_close(error, expected)
    assert not sky_error(star + sky, scene, torch.ones(1), pick).any()


def test_of_the_rays_of_stripes_those_come_in_that_the_bright_star_hides():
    """Brighter ones stand out of its stripe already, and stay in it."""
    x = torch.full((1, 2, 3, 9), 84.0)  # 10 electrons of noise: rays of up to 50 are hidden
    rays = torch.zeros(1, 16, 2, 64, 2)
    rays[0, 3, 1, :2] = torch.tensor([[13.0, 40.0], [26.0, 60.0]])
    nothing = torch.zeros(0)
    keep, skies = torch.zeros(1, 2, 3, 9), torch.zeros(1, 16, 2, 3)
    scene = Scene(keep, torch.full((1, 2), 16.0), nothing, nothing, nothing, nothing, skies, rays)
    error = sky_error(x, scene, torch.full((1, 1, 1, 1), 0.25), torch.tensor([3.5 / 16]))
    expected = torch.zeros(1, 2, 3, 9)
    expected[0, 1, 1, 4] = 30.0
    torch.testing.assert_close(error, expected)
