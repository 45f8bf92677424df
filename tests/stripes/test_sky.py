import numpy as np
import pytest

from drcnet.stripes.sky import choose_sky_fibers, measure_sky


@pytest.fixture
def field(rng):
    """Twenty fibres, six on sky, each at its own wavelengths and throughput."""
    n, rows = 20, 600
    wave = 6000.0 + 0.84 * np.arange(rows) + rng.uniform(-3, 3, (n, 1))
    through = rng.uniform(0.7, 1.2, (n, 1)) * np.ones(rows)
    sky = 80.0 + 400.0 * np.exp(-0.5 * ((wave - 6250.0) / 1.8) ** 2)
    star = np.zeros((n, 1))
    star[6:] = rng.uniform(100, 900, (14, 1))
    model = through * (sky + star)
    light = model + rng.normal(size=model.shape) * np.sqrt(model + 50)
    return wave, through, sky, light, 1.0 / (model + 50.0)


def test_the_sky_of_every_fiber_comes_from_the_sky_fibers(field):
    wave, through, sky, light, ivar = field
    used = np.arange(20) < 6
    light[0, 100:110] += 5000.0  # a cosmic ray that the mask missed
    found = measure_sky(light, ivar, wave, through, used)
    inner = slice(10, -10)
    error = found.light[:, inner] - (through * sky)[:, inner]
    assert np.abs(error.mean(axis=1)).max() < 2.0
    assert error.std() < 8.0  # one fibre alone has an error of 11
    np.testing.assert_array_equal(found.used, used)
    assert 0.8 < found.scatter < 1.2


def test_dead_fibers_have_no_sky_and_do_not_give_it(field):
    wave, through, _, light, ivar = field
    through[0] = np.nan
    found = measure_sky(light, ivar, wave, through, np.arange(20) < 6)
    assert not found.used[0]
    assert np.isnan(found.light[0]).all()
    assert np.isfinite(found.light[1:]).all()


@pytest.mark.parametrize("count", [0, 1])
def test_without_two_sky_fibers_there_is_no_sky(field, count):
    wave, through, _, light, ivar = field
    found = measure_sky(light, ivar, wave, through, np.arange(20) < count)
    assert np.isnan(found.light).all()
    assert not found.used.any()
    assert found.spline is None


def test_the_faintest_fibers_that_agree_are_sky(field):
    _, through, _, light, _ = field
    found = choose_sky_fibers(light, through, np.ones(20, dtype=bool), share=0.3)
    np.testing.assert_array_equal(found, np.arange(20) < 6)


def test_fibers_that_disagree_are_not_sky(rng):
    light = np.geomspace(10, 1e4, 12)[:, None] * np.ones(50)
    found = choose_sky_fibers(light, np.ones((12, 50)), np.ones(12, dtype=bool))
    assert not found.any()


def test_each_fiber_s_sky_is_scaled(field, rng):
    wave, through, sky, light, ivar = field
    true = np.ones(20)
    true[:6] = 1.0 + np.array([0.03, -0.03, 0.02, -0.02, 0.025, -0.025])
    true[6:] = 1.0 + np.where(np.arange(14) % 2, 0.03, -0.03)
    light = light + (true - 1.0)[:, None] * through * sky
    faint = light.copy()
    faint[6:] -= np.median(light[6:] - through[6:] * sky[6:], axis=1)[:, None]
    found = measure_sky(faint, ivar, wave, through, np.arange(20) < 6)
    np.testing.assert_allclose(found.scale[:6], true[:6], atol=0.01)
    plain = np.abs(true[6:] - 1.0).mean()
    assert np.abs(found.scale[6:] - true[6:]).mean() < 0.8 * plain
    assert 0.8 < found.scatter < 1.2


def test_noise_among_crowded_lines_does_not_make_the_sky_of_faint_stars_smaller(rng):
    """A median over a crowd of lines is lifted by noise, that of what is left is not."""
    n, rows = 60, 1500
    wave = 8000.0 + 0.8 * np.arange(rows) + rng.uniform(-0.2, 0.2, (n, 1))
    places = np.random.default_rng(2).uniform(8000, 9200, 90)
    lines = np.exp(-0.5 * ((wave[..., None] - places) / 1.7) ** 2).sum(axis=-1)
    sky = 300.0 + 400.0 * lines
    variance = sky + 150.0
    light = sky + 20.0 + rng.normal(size=sky.shape) * np.sqrt(variance)
    used = np.arange(n) < 20
    light[used] -= 20.0
    found = measure_sky(light, 1.0 / variance, wave, np.ones((n, rows)), used)
    assert np.mean(found.scale[~used]) == pytest.approx(1.0, abs=0.008)  # else .983


def test_stars_beside_the_bands_of_the_air_have_no_larger_sky(rng):
    """What the air takes is not known; the star's running median must not see it as dark."""
    n, rows = 60, 400
    wave = 7310.0 + 0.8 * np.arange(rows) + rng.uniform(-0.2, 0.2, (n, 1))
    places = np.array([7366.0, 7379, 7391, 7404, 7550, 7562, 7573, 7584])
    lines = np.exp(-0.5 * ((wave[..., None] - places) / 1.7) ** 2).sum(axis=-1)
    sky = 400.0 + 800.0 * lines
    used = np.arange(n) < 20
    star = np.where(used, 0.0, 200.0)[:, None]
    variance = sky + star + 200.0
    light = sky + star + rng.normal(size=sky.shape) * np.sqrt(variance)
    found = measure_sky(light, 1.0 / variance, wave, np.ones((n, rows)), used)
    assert np.mean(found.scale[~used]) == pytest.approx(1.0, abs=0.009)  # else 1.02
