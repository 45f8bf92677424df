import numpy as np
import pytest

from drcnet.errors import FrameError
from drcnet.stripes.arc import fit_arc
from drcnet.stripes.linefit import fit_lines, isolated, line_list
from drcnet.stripes.trace import TraceSet
from drcnet.stripes.wavelength import (
    WavelengthSet,
    fit_sky,
    nominal_wavelengths,
)

N_WAVE = 1600


@pytest.fixture(scope="module")
def bench(renderer):
    """An instrument with rows enough for an arc, its optics and traces."""
    profile = renderer.tiny_profile(10, N_WAVE, block=5)
    optics = renderer.make_optics(profile, bow=1.0, tilt=0.5)
    basis = np.linspace(-1, 1, N_WAVE)
    coef = np.polynomial.chebyshev.chebfit(basis, optics.center.T, 4).T
    traces = TraceSet(
        fiber_id=np.arange(1, 11),
        center=coef,
        fwhm=np.full((10, 1), 7.0),
        alive=np.arange(10) != 3,
        rms=np.zeros(10),
        n_wave=N_WAVE,
        level=np.ones(10),
    )
    return profile, optics, traces


def true_wavelengths(profile, arm, *, offset=9.0, bend=7.0, smile=6.0):
    """Nominal wavelengths moved by pixels: offset, bend along rows and smile over fibres."""
    arm = profile.arms[arm]
    y = np.linspace(-1, 1, N_WAVE)
    x = np.linspace(-1, 1, profile.fibers.count)[:, None]
    step = (arm.wavelength_stop - arm.wavelength_start) / N_WAVE
    moved = offset + bend * (1 - y**2) + 2.0 * y**3 + smile * x**2 + 1.5 * x
    return arm.wavelength_start + (np.arange(N_WAVE) + moved) * step


def line_light(wavelength, kind, scale=300.0, sigma=2.1):
    """Spectra of a line list, lines 5 px wide, on the given wavelengths."""
    lines = line_list(kind)
    light = np.zeros(wavelength.shape)
    step = np.median(np.diff(wavelength[0]))
    for wave, strength in zip(lines.wavelength, lines.strength, strict=True):
        light += scale * strength * np.exp(-0.5 * ((wavelength - wave) / step / sigma) ** 2)
    return light


@pytest.mark.parametrize("arm", ["blue", "red"])
def test_arc_lines_give_wavelengths_to_a_tenth_of_a_pixel(renderer, bench, scene, arm, rng):
    profile, optics, traces = bench
    truth = true_wavelengths(profile, arm)
    light = line_light(truth, "arc")
    light[3] = 0.0
    image = renderer.render_light(profile, optics, light)
    arc = renderer.make_frame(profile, image, rng, kind="arc", arm=arm)
    found = fit_arc(arc, traces, profile, scene.settings)
    assert found.source == "arc"
    assert found.n_lines >= 8
    step = np.median(np.diff(truth[0]))
    error = (found.wavelengths(np.arange(N_WAVE)) - truth) / step
    inner = error[:, 100:-100]
    assert np.sqrt((inner[traces.alive] ** 2).mean()) < 0.1
    assert np.abs(inner[3]).max() < 1.5  # the dead fibre, from its neighbours


def test_a_frame_without_lines_is_no_arc(renderer, bench, scene, rng):
    profile, optics, traces = bench
    image = renderer.render_light(profile, optics, np.full((10, N_WAVE), 300.0))
    lamp = renderer.make_frame(profile, image, rng, kind="arc")
    with pytest.raises(FrameError, match="known lines"):
        fit_arc(lamp, traces, profile, scene.settings)


def test_sky_lines_move_the_wavelengths_onto_the_exposure(bench, rng):
    profile, _, _ = bench
    nominal = nominal_wavelengths(profile, "red", 10, 4)
    rows = np.arange(100, 1500)
    light = line_light(nominal.wavelengths(rows - 0.37), "sky", scale=5.0) + 100.0
    light = rng.poisson(light).astype(float)
    moved, found = fit_sky(light, np.full(light.shape, 0.01), nominal, rows)
    assert found["wavelength_shift"] == pytest.approx(0.37, abs=0.05)
    assert moved.source == "sky"
    step = np.median(np.diff(nominal.wavelengths(rows)[0]))
    error = (moved.wavelengths(rows) - nominal.wavelengths(rows - 0.37)) / step
    assert np.abs(error).max() < 0.05


def test_many_sky_lines_bend_nominal_wavelengths(renderer, rng):
    profile = renderer.tiny_profile(10, 2 * N_WAVE, block=5)
    rows = np.arange(150, 3050)
    nominal = nominal_wavelengths(profile, "red", 10, 4)
    y, x = np.linspace(-1, 1, 2 * N_WAVE), np.linspace(-1, 1, 10)[:, None]
    moved = 7.0 + 4.0 * (1 - y**2) + 2.0 * y**3 + 4.0 * x**2 + 1.5 * x
    arm = profile.arms["red"]
    step = (arm.wavelength_stop - arm.wavelength_start) / (2 * N_WAVE)
    truth = (arm.wavelength_start + (np.arange(2 * N_WAVE) + moved) * step)[:, rows]
    light = rng.poisson(line_light(truth, "sky", scale=5.0) + 100.0).astype(float)
    found, notes = fit_sky(light, np.full(light.shape, 0.01), nominal, rows)
    assert notes["sky_bends"]
    assert found.source == "sky"
    error = (found.wavelengths(rows) - truth) / step
    assert np.sqrt((error**2).mean()) < 0.1


def test_few_sky_lines_only_move_nominal_wavelengths(bench, rng):
    profile, _, _ = bench
    nominal = nominal_wavelengths(profile, "blue", 10, 4)
    rows = np.arange(100, 1500)
    light = rng.poisson(line_light(nominal.wavelengths(rows - 0.4), "sky", scale=5.0) + 100.0)
    _, notes = fit_sky(light.astype(float), np.full(light.shape, 0.01), nominal, rows)
    assert not notes["sky_bends"]


def test_without_sky_lines_wavelengths_stay(bench, rng):
    profile, _, _ = bench
    nominal = nominal_wavelengths(profile, "red", 10, 4)
    rows = np.arange(100, 1500)
    light = rng.normal(100, 10, (10, 1400))
    moved, found = fit_sky(light, np.full(light.shape, 0.01), nominal, rows)
    assert moved is nominal
    assert found["wavelength_shift_error"] == np.inf


def test_nominal_wavelengths_are_the_profile_s(bench):
    profile, _, _ = bench
    nominal = nominal_wavelengths(profile, "blue", 10, 4)
    ends = nominal.wavelengths(np.array([0, N_WAVE - 1]))
    np.testing.assert_allclose(ends, [[4000.0, 4000.0 + 0.57 * N_WAVE]] * 10)
    assert nominal.source == "nominal"


def test_lines_are_fitted_where_they_are(rng):
    row = np.arange(200.0)
    center = rng.uniform(50, 150, (5, 1))
    spectra = 1000.0 * np.exp(-0.5 * ((row - center) / 2.3) ** 2) + 50.0
    fit = fit_lines(spectra, np.rint(center))
    np.testing.assert_allclose(fit.row, center, atol=1e-3)
    np.testing.assert_allclose(fit.sigma, 2.3, atol=1e-3)
    absent = fit_lines(np.full((5, 200), 50.0), np.rint(center))
    assert np.isnan(absent.row).all()


def test_lines_with_strong_neighbors_are_not_isolated():
    lines = line_list("arc")
    alone = isolated(lines, 5.0)
    gaps = np.diff(lines.wavelength)
    assert alone.sum() > 50
    assert not alone.all()
    assert alone[:-1][gaps > 20][1:].any()


def test_shapes_are_held():
    with pytest.raises(FrameError, match="rms of 3 fibres"):
        WavelengthSet(np.zeros((3, 5)), np.zeros(2), "arc", 9, 100)
