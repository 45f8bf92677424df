"""One star on a drawn long slit: its light comes back, without bias and with honest errors."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drcnet.config import StripeSettings
from drcnet.errors import FrameError
from drcnet.frames.frame import Frame, FrameName
from drcnet.instruments import load_instrument
from drcnet.stripes.cut import COSMIC
from drcnet.stripes.flags import FiberFlag
from drcnet.stripes.longslit import measure_slit

KAST = load_instrument("kast")
SETTINGS = StripeSettings(row_start=0, row_stop=2048)
ROWS = np.arange(2048)
CENTER = 150.3 + 3.0 * (ROWS / 1024 - 1) + 0.8 * (ROWS / 1024 - 1) ** 2


def make_frame(electrons, kind="object"):
    counts = electrons / 1.2 + 1000.0
    return Frame(
        path=Path(f"{kind}.fits"),
        name=FrameName(82313052, 1, "blue", kind, "20150519201216"),
        profile=KAST,
        counts=counts.astype(np.float32),
        pedestal=np.full((2, 2048), 1000.0, np.float32),
        amplifier=np.broadcast_to((ROWS >= 1024).astype(np.uint8), counts.shape),
        gain=KAST.gains("blue"),
        read_noise=KAST.read_noises("blue"),
    )


def star(light, sky=60.0, fwhm=5.0):
    """Noiseless electrons: Moffat star of total `light` a row, sky with a slope."""
    pixel = np.arange(350)[:, None]
    alpha = fwhm / 2 / np.sqrt(2 ** (1 / 4.0) - 1)
    shape = (1 + ((pixel - CENTER) / alpha) ** 2) ** -4.0
    shape /= shape.sum(axis=0)
    lines = 1 + 5 * np.exp(-0.5 * ((ROWS - 800) / 2.0) ** 2)
    tilt = 1 + 0.0005 * (pixel - 175)
    inside = (pixel > 20) & (pixel < 330)
    return light * shape + np.where(inside, sky * lines * tilt, 0.0), shape


def window_share(shape, half=5):
    first = np.floor(CENTER + 0.5).astype(int) - half
    return shape[first + np.arange(2 * half + 1)[:, None], ROWS].sum(axis=0)


def noisy(image, rng):
    return rng.poisson(image) + rng.normal(0, 3.7, image.shape)


@pytest.fixture(scope="module")
def flat():
    pixel = np.arange(350)[:, None]
    lit = (pixel > 20) & (pixel < 330)
    return make_frame(np.where(lit, 10000.0, 5.0) * np.ones(2048), "flat")


@pytest.mark.parametrize("light", [100.0, 5000.0])
def test_light_and_its_error_are_true(flat, rng, light):
    image, shape = star(light)
    found = measure_slit(make_frame(noisy(image, rng)), flat, None, SETTINGS)
    stripes = found.stripes
    truth = light * window_share(shape)
    for name in ("optimal", "box"):
        net = getattr(stripes, name)[0] - stripes.sky[0]
        ivar = getattr(stripes, f"{name}_ivar")[0]
        bias = np.average(net / truth - 1, weights=ivar * truth**2)
        assert abs(bias) < 0.01, name
        chi2 = np.median((net - truth) ** 2 * ivar) / 0.4549
        assert chi2 == pytest.approx(1.0, abs=0.12), name
    assert (stripes.optimal_ivar >= 0.98 * stripes.box_ivar).mean() > 0.95
    away = found.traces.centers(ROWS)[0] - CENTER
    assert np.sqrt(np.mean(away**2)) < (0.1 if light < 1000 else 0.02)
    assert stripes.fwhm[0] == pytest.approx(5.0, abs=0.4)


def test_sky_is_a_line_under_the_star(flat, rng):
    found = measure_slit(make_frame(noisy(star(3000.0)[0], rng)), flat, None, SETTINGS)
    expected = 11 * 60.0 * (1 + 0.0005 * (CENTER - 175))
    quiet = abs(ROWS - 800) > 15
    np.testing.assert_allclose(
        np.median(found.stripes.sky[0][quiet] / expected[quiet]), 1, atol=0.01
    )
    assert found.stripes.sky[0][800] == pytest.approx(6 * expected[800], rel=0.05)


def test_cosmic_rays_are_found_and_change_nothing(flat, rng):
    image = noisy(star(1000.0)[0], rng)
    clean = measure_slit(make_frame(image), flat, None, SETTINGS).stripes
    hit = image.copy()
    rows = np.arange(100, 2000, 50)
    place = np.rint(CENTER[rows]).astype(int) + (np.arange(len(rows)) % 5 - 2)
    hit[place, rows] += 4000.0
    found = measure_slit(make_frame(hit), flat, None, SETTINGS).stripes
    caught = (found.mask[0] == COSMIC).any(axis=0)
    assert caught[rows].mean() > 0.95
    assert np.delete(caught, rows).mean() < 0.002
    away = (found.optimal[0] - clean.optimal[0])[rows] * np.sqrt(clean.optimal_ivar[0][rows])
    assert abs(away).max() < 4
    assert np.median(abs(away)) < 1


def test_without_an_arc_the_wavelengths_are_nominal_and_say_so(flat, rng):
    found = measure_slit(make_frame(noisy(star(1000.0)[0], rng)), flat, None, SETTINGS)
    assert found.wavelengths.source == "nominal"
    assert found.reason == "no arc"
    assert found.stripes.flags[0] & FiberFlag.NOMINAL_WAVELENGTH


def test_an_arc_without_lines_is_told(flat, rng):
    dark = make_frame(rng.normal(0, 3.7, (350, 2048)), "arc")
    found = measure_slit(make_frame(noisy(star(1000.0)[0], rng)), flat, dark, SETTINGS)
    assert found.wavelengths.source == "nominal"
    assert "lines" in found.reason


def test_an_empty_slit_is_refused(flat, rng):
    empty = noisy(star(0.0)[0], rng)
    with pytest.raises(FrameError, match="a star 5 standard deviations above the sky"):
        measure_slit(make_frame(empty), flat, None, SETTINGS)


def test_saturated_pixels_are_not_used(flat, rng):
    image = noisy(star(1000.0)[0], rng)
    frame = make_frame(image)
    counts = frame.counts.copy()
    counts[np.rint(CENTER[600:610]).astype(int), np.arange(600, 610)] = 65535.0
    found = measure_slit(replace(frame, counts=counts), flat, None, SETTINGS).stripes
    assert found.flags[0] & FiberFlag.SATURATED
    net = (found.optimal - found.sky)[0][600:610]
    np.testing.assert_allclose(net, 1000.0 * window_share(star(1.0)[1])[600:610], rtol=0.25)


def test_more_rows_than_the_chip_has_are_refused(flat, rng):
    with pytest.raises(FrameError, match="at least 3500 rows"):
        measure_slit(make_frame(star(1000.0)[0]), flat, None, StripeSettings())


def test_without_a_flat_the_sky_shows_the_slit(flat, rng):
    frame = make_frame(noisy(star(300.0)[0], rng))
    with_flat, without = (measure_slit(frame, f, None, SETTINGS) for f in (flat, None))
    assert with_flat.stripes.notes["slit_ends"] == "from the flat"
    assert without.stripes.notes["slit_ends"] == "no flat: from the sky's own light"
    np.testing.assert_allclose(without.traces.center, with_flat.traces.center, atol=0.02)
    np.testing.assert_allclose(without.stripes.snr, with_flat.stripes.snr, rtol=0.01)


def test_without_a_flat_and_a_sky_the_whole_chip_is_slit(rng):
    image, shape = star(2000.0, sky=0.0)
    found = measure_slit(make_frame(noisy(image, rng)), None, None, SETTINGS).stripes
    assert "the whole chip" in found.notes["slit_ends"]
    net = found.optimal[0] - found.sky[0]
    assert np.median(net / (2000.0 * window_share(shape))) == pytest.approx(1, abs=0.01)
