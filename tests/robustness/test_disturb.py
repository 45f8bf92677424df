"""A disturbance does to the light what its name says, and no more."""

import numpy as np
import pytest
import torch

from drcnet.config import RobustnessSettings
from drcnet.dataset.store import open_store
from drcnet.robustness.disturb import Disturbance, disturb, disturbances
from drcnet.robustness.light import Sun, read_light, see_view

ROWS = np.arange(60, 84)


@pytest.fixture
def light(small_work, scenes):
    return read_light(open_store(small_work), ROWS, {"box", "optimal"}, seed=3)


@pytest.fixture
def sun():
    wave = np.linspace(4000, 9000, 512).reshape(2, 256)
    return Sun(wave, np.ones((2, 256)))


def test_every_level_is_a_line_and_the_first_is_undisturbed():
    settings = RobustnessSettings(trace=(1.0,), sky=(), moon=(2.0,), lose_arm=("red",))
    what = disturbances(settings, moon=False)
    assert what[0] == Disturbance("none")
    assert [w for w in what if w.name == "trace"] == [Disturbance("trace", 1.0)]
    assert {w.name for w in what}.isdisjoint({"sky", "moon"})
    assert what[-1].text == "red"


def test_undisturbed_views_are_the_stored_ones(light):
    stripes, sky = disturb(light, Disturbance("none"), None)
    for view in ("box", "optimal"):
        assert torch.equal(see_view(light, view, stripes, sky), light.spectra[view])


def test_a_trace_error_moves_the_light_across_and_keeps_most_of_it(light):
    stripes, _ = disturb(light, Disturbance("trace", 1.0), None)
    pixel = torch.arange(11.0)[:, None]
    place = [(pixel * x.clamp(min=0)).sum(dim=(2, 3)) / x.clamp(min=0).sum(dim=(2, 3))
             for x in (light.stripes, stripes)]  # fmt: skip
    moved = place[1] - place[0]  # the window is short of light at its ends: less than a pixel
    assert 0.2 < moved.abs().min() < moved.abs().max() < 1.1
    assert (moved > 0).any()
    assert (moved < 0).any()


def test_added_sky_is_what_was_asked_and_is_taken_off_again(light):
    stripes, sky = disturb(light, Disturbance("sky", 3.0), None)
    assert torch.allclose(sky, 4 * light.sky)
    added = (stripes - light.stripes).sum(dim=2).mean()
    assert added.item() == pytest.approx(3 * light.sky.mean().item(), rel=0.01)
    grown = (stripes - light.stripes - 3 * light.sky[:, :, None] * light.profile).var()
    assert grown.item() == pytest.approx(3 * 330 / 11, rel=0.05)  # Poisson: variance is the light


def test_moonlight_follows_the_sun_and_the_sky(light, sun):
    stripes, sky = disturb(light, Disturbance("moon", 2.0), sun)
    assert torch.allclose(sky, light.sky + 2 * 330.0)
    assert (stripes - light.stripes).sum(dim=2).mean().item() == pytest.approx(660, rel=0.01)
    with pytest.raises(ValueError, match="sun"):
        disturb(light, Disturbance("moon", 2.0), None)


def test_a_missing_arm_is_missing_and_the_other_is_not(light):
    stripes, _ = disturb(light, Disturbance("missing arm", 1.0), None)
    assert stripes[:, 1].isnan().all()
    assert torch.equal(stripes[:, 0], light.stripes[:, 0])


def test_cosmic_rays_are_so_many_and_bright(light):
    stripes, _ = disturb(light, Disturbance("cosmic rays", 3.0), None)
    struck = ((stripes - light.stripes).abs() > 1).sum(dim=(2, 3)).double()
    assert 4.5 < struck.mean().item() <= 6  # each hits two pixels; few fall together


def test_a_neighbour_spills_a_hundredth_of_its_light(light):
    stripes, _ = disturb(light, Disturbance("neighbor", 30.0), None)
    star = (light.stripes - light.augmenter.scene.keep).sum(dim=(1, 2, 3))
    added = (stripes - light.stripes).sum(dim=(1, 2, 3))
    assert torch.allclose(added / star, torch.full_like(star, 0.3), rtol=0.1)


def test_a_wavelength_shift_moves_star_and_sky_alike(light):
    light.sky[:] = torch.arange(256.0)
    stripes, sky = disturb(light, Disturbance("wavelength", 2.0), None)
    moved = sky - light.sky
    assert torch.allclose(moved[:, :, 3:-3].abs(), torch.tensor(2.0))
    for one, shift in zip(range(len(light)), -moved[:, 0, 100], strict=True):
        expected = torch.roll(light.stripes[one], int(shift), dims=-1)
        assert torch.allclose(stripes[one, ..., 5:-5], expected[..., 5:-5], atol=0.2)


@pytest.mark.parametrize("name", ["trace", "sky", "cosmic rays", "throughput", "reddening"])
def test_a_row_is_disturbed_the_same_in_any_batch(name, small_work, scenes):
    store = open_store(small_work)
    what = Disturbance(name, 0.5 if name != "cosmic rays" else 3.0)
    all_rows, _ = disturb(read_light(store, ROWS, set(), 3), what, None)
    alone, _ = disturb(read_light(store, ROWS[5:6], set(), 3), what, None)
    assert torch.equal(all_rows[5:6], alone)
    other, _ = disturb(read_light(store, ROWS, set(), 4), what, None)
    assert not torch.equal(other, all_rows)  # noise, at least, is drawn anew


def test_the_flat_is_believed_whatever_is_done_to_the_stripe(small_work, scenes, monkeypatch):
    from drcnet.robustness import light as light_module

    flat = np.full((len(ROWS), 2, 11, 256), 1 / 11, np.float32), np.ones((len(ROWS), 2, 11, 256))
    monkeypatch.setattr(light_module, "read_profiles", lambda store, row: flat)
    light = read_light(open_store(small_work), ROWS, {"stripes-flat"}, seed=3)
    plain = see_view(light, "stripes-flat", *disturb(light, Disturbance("none"), None))
    moved = see_view(light, "stripes-flat", *disturb(light, Disturbance("trace", 1.0), None))
    assert plain.shape == (len(ROWS), 2, 34, 256)
    assert not torch.equal(plain[:, :, :11].nan_to_num(), moved[:, :, :11].nan_to_num())
    assert torch.equal(plain[:, :, 11:], moved[:, :, 11:])
    assert torch.equal(plain[:, :, 11], light.sky)
    assert torch.equal(plain[:, :, 12:23], torch.from_numpy(flat[0]))


@pytest.mark.parametrize(("view", "rows"), [("stripes-full", 13), ("optimal-full", 4)])
def test_the_arc_is_believed_whatever_is_done_to_the_stripe(small_work, scenes, view, rows):
    light = read_light(open_store(small_work), ROWS, {view}, seed=3)
    plain = see_view(light, view, *disturb(light, Disturbance("none"), None))
    moved = see_view(light, view, *disturb(light, Disturbance("trace", 1.0), None))
    assert plain.shape == (len(ROWS), 2, rows, 256)
    assert not torch.equal(plain[:, :, 0].nan_to_num(), moved[:, :, 0].nan_to_num())
    assert torch.equal(plain[:, :, -1], moved[:, :, -1])
    assert torch.equal(plain[:, :, -2], light.sky)
    wave = plain[:, :, -1]
    assert (wave.diff(dim=-1) > 0).all()
    assert ((wave > 3000) & (wave < 11000)).all()
