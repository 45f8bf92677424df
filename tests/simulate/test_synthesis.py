import numpy as np
import pytest
from scipy.special import expn, wofz

from drcnet.errors import SpectrumError
from drcnet.simulate.hydrogen import add_hydrogen, oscillator_strength, vacuum_wavelength
from drcnet.simulate.lines import read_lines, shipped_lines, veil_lines
from drcnet.simulate.molecules import (
    molecule_lines,
    molecule_numbers,
    titanium_oxide_opacity,
)
from drcnet.simulate.synthesis import all_lines, fine_grid, synthesize
from drcnet.simulate.transfer import emergent_flux, smooth
from drcnet.simulate.voigt import voigt

BANDS = {  # vacuum angstrom: the feature, and clean stretches beside it
    "H beta": ((4849.0, 4878.0), (4829.0, 4849.0, 4878.0, 4893.0)),
    "Mg b": ((5161.5, 5194.0), (5119.0, 5144.0, 5193.0, 5208.0)),
    "Na D": ((5878.5, 5911.0), (5862.0, 5877.0, 5924.0, 5950.0)),
}


@pytest.fixture(scope="module")
def wave():
    return np.arange(4000.0, 6700.0, 1.0)


@pytest.fixture(scope="module")
def spectra(wave):
    lines = all_lines()
    stars = {"F": (7000.0, 4.2, 0.0), "G": (5777.0, 4.44, 0.0), "K": (4500.0, 4.6, 0.0)}
    return {name: synthesize(*star, wave, lines) for name, star in stars.items()}


def depth(wave, flux, name):
    (low, high), (a, b, c, d) = BANDS[name]
    side = flux[((wave > a) & (wave < b)) | ((wave > c) & (wave < d))].mean()
    return 1.0 - flux[(wave > low) & (wave < high)].mean() / side


@pytest.mark.parametrize("a", [1e-4, 0.01, 0.3, 2.0])
def test_voigt_is_the_faddeeva_function(a):
    v = np.linspace(0.0, 30.0, 301)
    found = np.array([voigt(a, x) for x in v])
    assert found == pytest.approx(wofz(v + 1j * a).real, abs=2e-5)


def test_voigt_is_normalised():
    v = np.linspace(0.0, 400.0, 200001)
    total = 2.0 * np.trapezoid([voigt(0.05, x) for x in v], v)
    assert total == pytest.approx(np.sqrt(np.pi), rel=1e-3)


def layers_with(source):
    tau = 10.0 ** np.linspace(-5.0, 2.0, 120)
    third = expn(3, 1e-3 * np.arange(20001))
    opacity = np.ones((120, 33))
    coarse = np.repeat(source(tau)[:, None], 3, axis=1)
    return emergent_flux(opacity, (np.ones(120), tau), coarse, third, 1e-3)


def test_isothermal_layers_shine_as_a_black_body():
    assert layers_with(lambda tau: np.full_like(tau, 3.0)) == pytest.approx(np.full(33, 3.0))


def test_a_linear_source_gives_eddington_and_barbier():
    # F = a + 2/3 b for S = a + b tau
    assert layers_with(lambda tau: 1.0 + 3.0 * tau) == pytest.approx(np.full(33, 3.0), rel=0.01)


def test_smoothing_keeps_a_constant_and_widens_a_line():
    fine = 5000.0 * np.exp(1e-5 * np.arange(8000))
    wave = np.arange(5100.0, 5300.0, 0.5)
    assert smooth(np.ones(8000), fine, wave, 1.19) == pytest.approx(np.ones(wave.size))
    line = smooth(1.0 * (np.abs(fine - 5200.0) < 0.05), fine, wave, 1.19)
    mean = (line * wave).sum() / line.sum()
    spread = np.sqrt((line * (wave - mean) ** 2).sum() / line.sum())
    assert mean == pytest.approx(5200.0, abs=0.05)
    assert spread == pytest.approx(1.19, rel=0.02)


@pytest.mark.parametrize(("upper", "f"), [(3, 0.6407), (4, 0.1193), (5, 0.04467), (6, 0.02209)])
def test_balmer_oscillator_strengths(upper, f):
    assert oscillator_strength(2, upper) == pytest.approx(f, rel=0.01)


def test_balmer_wavelengths():
    assert vacuum_wavelength(2, 3) == pytest.approx(6564.6, abs=0.1)
    assert vacuum_wavelength(2, 4) == pytest.approx(4862.7, abs=0.1)


def test_a_hydrogen_line_holds_its_oscillator_strength():
    fine = fine_grid()
    opacity = np.zeros((1, len(fine)))
    faint = np.full((1, len(fine) // 16 + 1), 1e-32)
    layer = (np.array([9000.0]), np.array([1e14]), np.array([0.0]), np.array([2e5]))
    layer = (*layer, layer[0])
    add_hydrogen(opacity, faint, layer, np.array([0.5]), (fine[0], 1e-5, 16))
    inside = (fine > 6400.0) & (fine < 6730.0)
    total = np.trapezoid(opacity[0, inside], fine[inside])
    lower = 0.5 * 8 * 0.6407 * np.exp(-10.1985 * 11604.5 / 9000.0)
    emission = 1.0 - np.exp(-1.43878e8 / (6564.6 * 9000.0))
    assert total == pytest.approx(0.02654 * lower * emission * 6564.6**2 / 2.99792e18, rel=0.05)


def test_the_continuum_alone_is_smooth(wave):
    flux = synthesize(5777.0, 4.44, 0.0, wave, None)
    assert np.abs(np.diff(np.log(flux))).max() < 2e-3


def test_lines_only_take_light_away(wave, spectra):
    assert np.all(spectra["G"] <= synthesize(5777.0, 4.44, 0.0, wave, None) * 1.0001)


def test_balmer_lines_fade_and_metals_grow_towards_cool_stars(wave, spectra):
    for name, order in (("H beta", "FGK"), ("Mg b", "KGF"), ("Na D", "KGF")):
        depths = [depth(wave, spectra[c], name) for c in order]
        assert depths == sorted(depths, reverse=True), name


def test_titanium_oxide_only_in_the_coolest(wave):
    gap = (wave > 6161.0) & (wave < 6185.0)
    side = (wave > 6130.0) & (wave < 6152.0)
    oxide = np.array([1e-9])
    cool = titanium_oxide_opacity(wave, np.array([3500.0]), oxide)[0]
    assert cool[gap].mean() > 5.0 * cool[side].mean()
    atoms = np.zeros((27, 2))
    atoms[:] = 1e-6
    numbers = molecule_numbers(np.array([3300.0, 6500.0]), np.full(2, 1e17), np.ones(2), atoms)
    assert numbers["TiO"][0] > 1e3 * numbers["TiO"][1]


def test_carbon_monoxide_leaves_no_carbon_for_others_in_oxygen_rich_gas():
    atoms = np.full((27, 1), 1e-8)
    atoms[2], atoms[4] = 1e-4, 5e-4  # C and O
    rich = molecule_numbers(np.array([3500.0]), np.array([1e17]), np.ones(1), atoms)
    atoms[4] = 1e-8
    poor = molecule_numbers(np.array([3500.0]), np.array([1e17]), np.ones(1), atoms)
    assert rich["CH"][0] < 0.1 * poor["CH"][0]


def test_molecular_bands_lie_where_they_are_seen():
    lines = molecule_lines(54)
    strength = 10.0 ** (lines.log_gf - lines.energy)  # at 5040 K
    ch = (lines.species == 54) & (lines.wave > 4100.0)
    centre = (strength * lines.wave)[ch].sum() / strength[ch].sum()
    assert centre == pytest.approx(4300.0, abs=40.0)
    mgh = lines.species == 56
    assert strength[mgh & (lines.wave < 5213.0) & (lines.wave > 5050.0)].sum() > (
        0.5 * strength[mgh].sum()
    )


def test_shipped_lines_are_some_four_hundred_known_ones():
    lines = shipped_lines()
    assert 380 <= len(lines.wave) <= 460
    assert np.all(np.diff(lines.wave) >= 0)
    for known in (3934.78, 4227.92, 5185.05, 5891.58, 8544.44):
        assert np.abs(lines.wave - known).min() < 0.1


def test_the_veil_is_the_same_each_time_and_another_for_another_seed():
    first, again, other = veil_lines(1), veil_lines(1), veil_lines(2)
    assert np.array_equal(first.wave, again.wave)
    assert not np.array_equal(first.wave, other.wave)
    assert np.median(veil_lines(1, strength=10.0).log_gf - first.log_gf) == pytest.approx(
        1.0, abs=0.01
    )


def test_a_line_list_may_use_either_names(tmp_path):
    ours, theirs = tmp_path / "ours.csv", tmp_path / "theirs.csv"
    ours.write_text("vacuum,species,energy,log_gf\n5000.0,Fe 1,1.0,-1.0\n4862.7,H 1,10.2,0.0\n")
    theirs.write_text("wave_vac_A,species,e_low_eV,log_gf,gamma_rad\n5000.0,Fe 1,1.0,-1.0,\n")
    for path in (ours, theirs):
        lines = read_lines(path)
        assert lines.wave.tolist() == [5000.0]
        assert lines.energy.tolist() == [1.0]


@pytest.mark.parametrize(
    "text", ["a,b\n1,2\n", "vacuum,species,energy,log_gf\n5000,Fe 1,x,1\n", "vacuum,species\n"]
)
def test_a_bad_line_list_is_refused_by_name(tmp_path, text):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(SpectrumError, match=r"bad\.csv"):
        read_lines(path)


def test_an_absent_line_list_is_refused(tmp_path):
    with pytest.raises(SpectrumError, match="absent"):
        read_lines(tmp_path / "absent.csv")
