"""A temperature that depends on S/N is found again, and changes no class."""

import numpy as np
import pytest

from drcnet.calibrate.temperature import (
    Temperature,
    fit_temperature,
    scale_logits,
    scale_probabilities,
)

TRUE = Temperature((0.5, -0.8, 0.3), 2.0, 100.0)


@pytest.fixture
def overconfident(rng):
    """Logits that are TRUE.at(S/N) times too large."""
    n = 40_000
    snr = np.exp(rng.uniform(np.log(2), np.log(100), n))
    honest = rng.normal(0, 1.5, (n, 3))
    p = np.exp(honest) / np.exp(honest).sum(axis=1, keepdims=True)
    label = (rng.random((n, 1)) > p.cumsum(axis=1)).sum(axis=1)
    return honest * TRUE.at(snr)[:, None], label, snr, p


def test_the_temperature_that_spoilt_the_logits_is_found(overconfident):
    logits, label, snr, p = overconfident
    found = fit_temperature(logits, label, snr, np.ones(len(label)), len(label))
    places = [2, 5, 10, 20, 50, 95]
    np.testing.assert_allclose(found.at(places), TRUE.at(places), rtol=0.06)
    np.testing.assert_allclose(scale_logits(logits, snr, found), p, atol=0.02)


def test_weights_count(overconfident):
    """Rows of no weight cannot draw the temperature."""
    logits, label, snr, _ = overconfident
    used = snr < 10
    spoilt = np.where(used[:, None], logits, -logits)
    found = fit_temperature(spoilt, label, snr, used.astype(float), len(label))
    np.testing.assert_allclose(found.at([3, 6, 9]), TRUE.at([3, 6, 9]), rtol=0.1)


def test_few_stars_say_less(overconfident):
    """The same rows, of fewer stars: the temperature is nearer to 1."""
    logits, label, snr, _ = overconfident
    found = [fit_temperature(logits, label, snr, np.ones(len(label)), n) for n in (5, 80, 40_000)]
    few, some, many = (np.linalg.norm(one.coefficients) for one in found)
    assert few < 0.8 * many
    assert few < some < many


def test_outside_the_range_its_end_holds():
    t = Temperature((0.0, 1.0, 0.5), 3.0, 30.0)
    assert t.at([1.0])[0] == t.at([3.0])[0] == t.at([np.nan])[0]
    assert t.at([1e4])[0] == t.at([30.0])[0]


def test_probabilities_and_logits_give_the_same(rng):
    logits = rng.normal(0, 5, (200, 3))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    snr = rng.uniform(2, 100, 200)
    scaled = scale_probabilities(p, snr, TRUE)
    np.testing.assert_allclose(scaled, scale_logits(logits, snr, TRUE), rtol=1e-9)
    assert (scaled.argmax(axis=1) == p.argmax(axis=1)).all()
    np.testing.assert_allclose(scaled.sum(axis=1), 1)


def test_unknown_probabilities_stay_unknown():
    p = np.array([[np.nan] * 3, [1.0, 0.0, 0.0]])
    scaled = scale_probabilities(p, [10.0, 10.0], TRUE)
    assert np.isnan(scaled[0]).all()
    np.testing.assert_allclose(scaled[1], [1, 0, 0], atol=1e-12)
