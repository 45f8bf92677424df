"""Normalisation: arithmetic answers, holes, and one meaning in NumPy and torch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drcnet.stripes.normalize import NORMALIZATIONS, normalize

KINDS = [np.asarray, torch.from_numpy]


@pytest.fixture
def electrons(rng):
    return rng.normal(500, 20, (4, 2, 11, 30)).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_zscore_is_the_papers_equation_1(electrons, kind):
    z = np.asarray(normalize(kind(electrons), "zscore"))
    mean = electrons.mean(axis=(2, 3), keepdims=True, dtype=float)
    std = electrons.std(axis=(2, 3), keepdims=True, dtype=float)
    np.testing.assert_allclose(z, (electrons - mean) / std, atol=2e-4)
    assert z.dtype == np.float32


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 5, 30])
def test_robust_is_median_and_mad(rng, kind, n):
    x = rng.normal(0, 3, (3, 2, n))
    z = np.asarray(normalize(kind(x), "robust"))
    median = np.median(x, axis=2, keepdims=True)
    mad = np.median(np.abs(x - median), axis=2, keepdims=True)
    expected = (x - median) / (1.4826 * mad) if n > 1 else np.zeros_like(x)
    np.testing.assert_allclose(z, expected, rtol=1e-4)


@pytest.mark.parametrize("how", ["zscore", "robust"])
@given(scale=st.floats(0.01, 1e3), shift=st.floats(-1e4, 1e4))
def test_brightness_and_pedestal_do_not_matter(how, scale, shift):
    x = np.random.default_rng(1).normal(0, 1, (2, 2, 50))
    np.testing.assert_allclose(normalize(x * scale + shift, how), normalize(x, how), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["zscore", "robust"])
def test_holes_count_nowhere_and_come_out_as_zero(electrons, kind, how):
    full = electrons[:, :, :, :20]
    holed = electrons.copy()
    holed[:, :, :, 20:] = [np.nan, np.inf, -np.inf, np.nan, np.nan] * 2
    z = np.asarray(normalize(kind(holed), how))
    np.testing.assert_allclose(z[..., :20], normalize(full, how), atol=2e-3)
    assert (z[..., 20:] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_masked_pixels_are_treated_as_holes(electrons, kind):
    good = np.ones(electrons.shape, dtype=bool)
    good[:, :, 3, 4] = False
    struck = electrons.copy()
    struck[:, :, 3, 4] = 1e6
    holed = electrons.copy()
    holed[:, :, 3, 4] = np.nan
    z = np.asarray(normalize(kind(struck), "zscore", good=kind(good)))
    np.testing.assert_array_equal(z, normalize(kind(holed), "zscore"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["zscore", "robust"])
def test_stripe_without_spread_is_zeros(kind, how):
    x = np.stack([np.full((2, 11, 6), 7.0), np.full((2, 11, 6), np.nan)])
    assert (np.asarray(normalize(kind(x), how)) == 0).all()


def test_arms_and_stars_do_not_touch_each_other(electrons):
    z = normalize(electrons, "zscore")
    np.testing.assert_array_equal(z[1:2], normalize(electrons[1:2], "zscore"))
    brighter = electrons.copy()
    brighter[:, 1] *= 9
    np.testing.assert_array_equal(normalize(brighter, "zscore")[:, 0], z[:, 0])


def test_none_only_fills_holes(electrons):
    electrons[0, 0, 0, 0] = np.nan
    z = normalize(electrons, "none")
    assert z[0, 0, 0, 0] == 0
    np.testing.assert_array_equal(z[1:], electrons[1:])


@pytest.mark.parametrize("how", NORMALIZATIONS)
def test_input_is_left_alone_and_numpy_agrees_with_torch(electrons, how):
    before = electrons.copy()
    a, b = normalize(electrons, how), normalize(torch.from_numpy(electrons), how)
    np.testing.assert_array_equal(electrons, before)
    np.testing.assert_allclose(a, b.numpy(), atol=1e-5)


def test_what_cannot_be_asked():
    with pytest.raises(ValueError, match="'how' of normalize"):
        normalize(np.zeros((1, 2, 3)), "minmax")
    with pytest.raises(ValueError, match=r"shape \(n, 2"):
        normalize(np.zeros((2, 3)))
