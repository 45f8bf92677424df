"""Sky fibres tell the true read noise and the scattered light of a frame."""

import numpy as np
import pytest

from drcnet.dataset.augment_haze import SKY_CHOICES, Haze, held_noise
from drcnet.dataset.augment_rays import PIXEL_RAYS, RAYS, differences

M, S, L, READ, COMMON, FLAT = 12, 11, 3000, 4.0, 1.0, 2.5


@pytest.fixture(scope="module")
def skies():
    rng = np.random.default_rng(3)
    profile = np.exp(-0.5 * ((np.arange(S) - 5) / 3) ** 2)
    profile = np.broadcast_to((profile / profile.sum())[:, None], (M, S, L))
    sky = np.full((M, L), 120.0) + 4000 * np.exp(-0.5 * ((np.arange(L) - 1500) / 2.1) ** 2)
    stripes = np.empty((M, 2, S, L))
    for arm in range(2):
        light = sky[:, None] * profile + FLAT
        stripes[:, arm] = rng.poisson(light) + rng.normal(0, READ, light.shape)
        stripes[:, arm] += rng.normal(0, COMMON, (1, 1, L))  # of the row, for all its pixels
    box = stripes.sum(axis=2)
    seen = np.repeat(sky[:, None], 2, axis=1)
    return (
        profile,
        {"box": box, "optimal": seen, "sky": seen, "offset": 0 * seen, "width": S},
        stripes,
    )


def test_read_noise_of_pixels(skies):
    _, spectra, stripes = skies
    pixels = Haze(**spectra, stripes=stripes)
    assert pixels.floor(0) == pytest.approx(READ**2 + COMMON**2, rel=0.06)


@pytest.mark.parametrize("scattered", [0.0, 6.0])
def test_read_noise_of_pixels_under_a_forest_of_sky_lines(scattered):
    rng = np.random.default_rng(5)
    at = np.arange(20, L, 25)[:, None]
    forest = (
        rng.uniform(200, 3000, at.shape) * np.exp(-0.5 * ((np.arange(L) - at) / 1.8) ** 2)
    ).sum(0)
    profile = np.exp(-0.5 * ((np.arange(S) - 5) / 2.5) ** 2)
    sky = np.broadcast_to(300.0 + forest, (2 * M, 2, L))
    light = sky[:, :, None] * (profile / profile.sum())[:, None] + scattered
    stripes = rng.poisson(light) + rng.normal(0, READ, light.shape)
    spectra = {"box": stripes.sum(axis=2), "optimal": sky, "sky": sky, "offset": 0 * sky}
    haze = Haze(**spectra, stripes=stripes, width=S)
    assert [haze.floor(arm) for arm in (0, 1)] == pytest.approx([READ**2] * 2, rel=0.02)


def test_read_noise_of_sums_whose_sky_was_measured_on_the_same_fibres():
    rng = np.random.default_rng(8)
    sky = np.full((M, 2, L), 120.0)
    # what is common to a row adds up: 11^2 times in the sum of 11 pixels
    variance = sky + S * READ**2 + S**2 * COMMON**2
    box = sky + rng.normal(size=sky.shape) * np.sqrt(variance)
    measured = np.broadcast_to(box.mean(axis=0), sky.shape)
    spectra = {"box": box, "optimal": box, "sky": measured, "offset": 0 * sky, "width": S}
    said = 1 / (variance - S**2 * COMMON**2)
    floor = Haze(**spectra, stripes=None, box_ivar=said).floor(1)
    assert floor == pytest.approx(READ**2 + S * COMMON**2, rel=0.06)
    known = Haze(**spectra, stripes=None, box_ivar=1 / variance).floor(1)
    assert known == pytest.approx(READ**2 + S * COMMON**2, rel=0.06)


def test_noise_beyond_what_the_extraction_says_is_seen_in_sky_fibres():
    rng = np.random.default_rng(10)
    sky = np.full((M, 2, L), 300.0)
    said = np.array([500.0, 700.0])[:, None] + 0 * sky
    true = said * np.array([1.2, 0.8])[:, None]
    light = sky + rng.normal(size=sky.shape) * np.sqrt(true)
    light[3, 0, 700:760] += 5000  # stands out: no noise
    measured = np.broadcast_to(light.mean(axis=0), sky.shape)
    ivar = 1 / said
    ivar[:, :, 50] = 0  # unknown
    spectra = {"box": light, "optimal": light, "sky": measured, "offset": 0 * sky, "width": S}
    haze = Haze(**spectra, stripes=None, ivar=ivar)
    assert haze.excess(0) == pytest.approx(1.2, abs=0.03)
    assert haze.excess(1) == 1.0
    assert Haze(**spectra, stripes=None).excess(0) == 1.0


def test_the_noise_that_an_extraction_counted_with_is_read_off_its_sums():
    rng = np.random.default_rng(9)
    light = np.array([[60.0], [8000.0], [60.0]]) + np.zeros((3, L))
    variance = light + S * READ**2
    box = light + rng.normal(size=light.shape) * np.sqrt(variance)
    ivar = 1 / variance
    ivar[0, ::7] = 0  # unknown
    box[1, ::50], ivar[1, ::50] = 0, 1e-3  # a masked pixel
    box[2], ivar[2] = np.nan, 0  # no light
    found = held_noise(box, ivar, S)
    assert found == pytest.approx([READ**2, READ**2, 0], abs=0.6)
    assert found[0] == pytest.approx(READ**2, abs=0.15)


def test_flat_light_is_left_over(skies):
    profile, spectra, stripes = skies
    spilt = np.zeros((M, S, L))
    left = Haze(**spectra, stripes=stripes).left_over(0, profile, spilt)
    assert left.shape == (S, L)
    np.testing.assert_allclose(left, FLAT, atol=0.6)
    assert left.mean() == pytest.approx(FLAT, abs=0.1)
    summed = Haze(**spectra, stripes=None).left_over(1, profile, spilt)
    assert summed.shape == (1, L)
    np.testing.assert_allclose(summed, S * FLAT, atol=3)


def test_sky_errors_of_fibres_are_found(skies):
    _, spectra, _ = skies
    rng = np.random.default_rng(4)
    sky = spectra["sky"]
    first, second = differences(sky)
    share = rng.normal(0, [0.05, 0.2, 0.1], (M, 1, 3))
    true = share - np.median(share, axis=0)
    seen = sky * (1 + share[..., :1]) + share[..., 1:2] * first + share[..., 2:] * second
    seen = seen + rng.normal(0, 15, sky.shape)
    found = Haze(**(spectra | {"optimal": seen}), stripes=None).sky_errors()
    assert found.shape == (SKY_CHOICES, 2, 3)
    np.testing.assert_allclose(found[:M, 0], true[:, 0], atol=0.03)
    np.testing.assert_array_equal(found[M:], found[: SKY_CHOICES - M])


def test_rays_in_sky_fibres_are_found(skies):
    _, spectra, _ = skies
    rng = np.random.default_rng(5)
    seen = spectra["sky"] + rng.normal(0, 15, spectra["sky"].shape)
    seen[2, 1, 700] += 400
    seen[2, 1, 2000] += 250
    found = Haze(**(spectra | {"optimal": seen}), stripes=None).rays(1, summed=False)
    assert found.shape == (SKY_CHOICES, RAYS, 2)
    assert found[2, :2, 0].tolist() == [700, 2000]
    np.testing.assert_allclose(found[2, :2, 1], [400, 250], atol=60)
    assert not found[2, 2:].any()
    assert not found[[0, 1, *range(3, M)]].any()
    np.testing.assert_array_equal(found[M:], found[: SKY_CHOICES - M])


def test_rays_in_stripes_of_sky_fibres_are_found_and_sky_lines_are_none(skies):
    profile, spectra, stripes = skies
    struck = stripes.copy()
    struck[2, 0, 4, 700] += 400
    struck[2, 0, 5, 701] += 250
    struck[:, :, 5, 1500] *= 1.08  # a sky line through a profile that is a little off
    haze = Haze(**spectra, stripes=struck)
    left = haze.left_over(0, profile, 0 * profile)
    found = haze.pixel_rays(0, profile, 0 * profile, left, haze.floor(0))
    assert found.shape == (SKY_CHOICES, PIXEL_RAYS, 2)
    assert found[2, :2, 0].tolist() == [4 * L + 700, 5 * L + 701]
    np.testing.assert_allclose(found[2, :2, 1], [400, 250], atol=40)
    assert (found[..., 1] > 0).sum() <= 2 * 2  # nothing else, and fibres come again from 12 on
    assert not found[:, 2:].any()


def test_too_few_fibres_tell_nothing(skies):
    profile, spectra, _ = skies
    few = {k: v if k == "width" else v[:3] for k, v in spectra.items()}
    haze = Haze(**few, stripes=None)
    assert haze.floor(0) == 0
    assert not haze.rays(0, summed=True).any()
    assert not haze.left_over(0, profile[:3], 0 * profile[:3]).any()
    assert not haze.pixel_rays(0, profile[:3], 0 * profile[:3], profile[0], 0.0).any()
