import numpy as np
import pytest

from drcnet.simulate.atmosphere import electron_pressure, grey_temperature, layered_atmosphere
from drcnet.simulate.elements import abundances, ion_shares, partition, solar_elements
from drcnet.simulate.opacity import continuum_opacity, planck


def test_saha_gives_half_ionised_hydrogen_where_the_equation_says_so():
    temperature = 10000.0
    # log N1/N0 Pe = -0.1762 + log(1/2) + 2.5 log T - 5040 I / T
    pressure = 10 ** (-0.1762 + np.log10(0.5) + 10.0 - 0.504 * 13.60)
    shares = ion_shares(np.array([temperature]), np.array([pressure]))
    assert shares[0, :, 0] == pytest.approx([0.5, 0.5, 0.0], abs=1e-4)


def test_ion_shares_add_to_one_and_metals_ionise_with_heat():
    temperature = np.linspace(3000.0, 12000.0, 7)
    shares = ion_shares(temperature, np.full(7, 10.0))
    assert shares.sum(axis=1) == pytest.approx(np.ones((27, 7)))
    iron = solar_elements().names.index("Fe")
    assert np.all(np.diff(shares[iron, 0]) < 0)


def test_partition_functions_follow_the_published_ones():
    names = solar_elements().names
    u = partition(np.array([5777.0]))[:, :, 0]
    # Barklem & Collet (2016)
    assert u[names.index("Fe"), 0] == pytest.approx(30.9, rel=0.01)
    assert u[names.index("Ca"), 1] == pytest.approx(2.35, rel=0.01)
    assert u[names.index("H"), 0] == pytest.approx(2.0, rel=0.01)


def test_alpha_elements_and_dredge_up():
    names = solar_elements().names
    poor, sun = abundances(-1.0), abundances(0.0)
    assert np.log10(poor / sun)[names.index("Fe")] == pytest.approx(-1.0)
    assert np.log10(poor / sun)[names.index("Mg")] == pytest.approx(-0.6)
    giant = abundances(0.0, giant=1.0)
    assert giant[names.index("N")] > sun[names.index("N")]
    assert giant[names.index("C")] < sun[names.index("C")]


def test_deep_down_the_temperature_is_grey():
    tau = np.array([50.0, 100.0])
    grey = 5777.0 * (0.75 * (tau + 1.0361)) ** 0.25
    assert grey_temperature(5777.0, tau) == pytest.approx(grey, rel=1e-9)


def test_cold_hydrogen_has_the_electrons_of_its_own_saha_equation():
    number = np.zeros(len(solar_elements().names))
    number[:2] = 1.0, 0.1
    electrons, nuclei, neutral = electron_pressure(3500.0, 1e4, number)
    # Pe = P(H+), so Pe^2 = K P(H)
    constant = 10 ** (-0.1762 + np.log10(0.5) + 2.5 * np.log10(3500.0) - 1.44 * 13.60)
    assert electrons == pytest.approx(np.sqrt(constant * nuclei * neutral), rel=0.05)
    # P = P(H) + P(H2) + P(He), with P(H2) half of the nuclei that are bound
    assert nuclei * (neutral + (1.0 - neutral) / 2.0 + 0.1) == pytest.approx(1e4, rel=0.01)


def test_hot_thin_gas_is_fully_ionised():
    number = np.zeros(len(solar_elements().names))
    number[0] = 1.0
    electrons, nuclei, neutral = electron_pressure(20000.0, 1.0, number)
    assert electrons == pytest.approx(0.5, rel=0.02)
    assert nuclei == pytest.approx(0.5, rel=0.02)
    assert neutral < 1e-3


def test_layers_stand_in_hydrostatic_equilibrium():
    sun = layered_atmosphere(5777.0, 4.44, 0.0)
    weight = 10**4.44 * 1.6735e-24 * 1.37
    slope = np.gradient(np.log(sun.pressure), np.log(sun.tau))
    assert slope == pytest.approx(weight * sun.tau / sun.reference / sun.pressure, rel=0.15)


def test_the_sun_at_unit_depth():
    sun = layered_atmosphere(5777.0, 4.44, 0.0)
    log_gas = np.interp(0.0, np.log10(sun.tau), np.log10(sun.pressure))
    log_electrons = np.interp(0.0, np.log10(sun.tau), np.log10(sun.electron_pressure))
    # Vernazza, Avrett & Loeser (1981), model C
    assert log_gas == pytest.approx(5.07, abs=0.15)
    assert log_electrons == pytest.approx(1.76, abs=0.25)


def test_planck_peaks_where_wien_says():
    wave = np.linspace(3000.0, 9000.0, 60001)
    peak = wave[np.argmax(planck(wave, np.array(5777.0)))]
    assert peak * 5777.0 == pytest.approx(2.8978e7, rel=1e-3)


def test_hydrogen_opacity_jumps_at_the_balmer_edge():
    def at(teff, pressure):
        waves = np.array([3600.0, 3720.0])
        layer = np.array([teff]), np.array([pressure]), np.array([0.99])
        return continuum_opacity(waves, *layer, haze=(0.0, 5000.0))[0]

    hot, cool = at(9000.0, 100.0), at(5000.0, 1.0)
    assert hot[0] / hot[1] > 4.0
    assert cool[0] / cool[1] == pytest.approx(1.0, abs=0.2)
