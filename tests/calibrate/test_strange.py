"""What is unlike every class is told, and of the known classes few are refused."""

import numpy as np
import pytest

from drcnet.calibrate.strange import Seen, Space, Surroundings, binned, fit_space, fit_surroundings

SHAPES = np.array([[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0]])


def draw(rng, n, first=0):
    label = rng.integers(0, 3, n)
    light = np.repeat(SHAPES[label], 10, axis=1) + rng.normal(0, 0.1, (n, 40))
    return Seen(light, label, np.arange(first, first + n).astype(str))


def test_strangers_are_told_and_friends_are_not(rng):
    trained, judged, new = draw(rng, 400), draw(rng, 200, 400), draw(rng, 2000, 600)
    space = fit_space(trained.spectrum)
    around = fit_surroundings(space, trained, judged, 0.1)
    refused = (around.excess(space.features(new.spectrum)) > 1).mean()
    assert refused == pytest.approx(0.1, abs=0.05)
    other = np.repeat([[0, 0, 0, 1.0]], 10, axis=1) + rng.normal(0, 0.1, (50, 40))
    assert (around.excess(space.features(other)) > 1).all()
    again = Surroundings.from_dict(around.as_dict())
    twin = Space.from_dict(space.as_dict())
    np.testing.assert_allclose(
        again.excess(twin.features(other)), around.excess(space.features(other)), rtol=1e-3
    )


def test_too_few_stars_to_set_a_limit_refuse_hardly_anything(rng):
    trained, judged = draw(rng, 400), draw(rng, 10, 400)
    space = fit_space(trained.spectrum)
    around = fit_surroundings(space, trained, judged, 0.05)
    assert around.excess(space.features(judged.spectrum)).max() == pytest.approx(1 / 1.5)


def test_bins_are_averages_of_normalised_arms(rng):
    light = rng.normal(100, 10, (2, 2, 95))
    light[1, 1] = np.nan
    found = binned(light)
    assert found.shape == (2, 6)
    z = (light[0, 0] - light[0, 0].mean()) / light[0, 0].std()
    np.testing.assert_allclose(
        found[0, :3], z[:90].reshape(3, 30).mean(axis=1), rtol=2e-2, atol=1e-3
    )
    assert np.isnan(found[1]).all()
