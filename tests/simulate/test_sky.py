import numpy as np
import pytest

from drcnet.simulate.sky import (
    DARK_SKY,
    SkyModel,
    arc_lines,
    lines_on_grid,
    sky_lines,
    smear,
    telluric_transmission,
)


@pytest.mark.parametrize(("low", "high", "row"), [(3590, 5950, 0.57), (5700, 9174, 0.84)])
def test_each_arm_has_isolated_arc_lines_to_its_ends(low, high, row):
    lines = arc_lines()
    wave = lines["wavelength_vacuum"].to_numpy()
    strength = lines["strength"].to_numpy()
    isolated = [
        w
        for w, s in zip(wave, strength, strict=True)
        if low < w < high
        and not (strength[(np.abs(wave - w) < 12 * row) & (wave != w)] > 0.1 * s).any()
    ]
    assert len(isolated) >= 20
    assert min(isolated) < low + 70
    assert max(isolated) > high - 70
    assert np.diff(isolated).max() < 300


@pytest.mark.parametrize("table", [arc_lines, sky_lines])
def test_line_tables_are_sorted_and_positive(table):
    lines = table()
    assert lines.columns == ["wavelength_vacuum", "species", "strength"]
    assert (np.diff(lines["wavelength_vacuum"]) > 0).all()
    assert (lines["strength"] > 0).all()


@pytest.mark.parametrize(
    ("table", "vacuum"),
    # published vacuum wavelengths: Hg 4358.34 and 5460.75 air, O I auroral, Ne 6402.248 air
    [(arc_lines, 4359.560), (arc_lines, 5462.268), (arc_lines, 6404.018), (sky_lines, 5578.887)],
)
def test_line_tables_are_in_vacuum(table, vacuum):
    assert np.abs(table()["wavelength_vacuum"].to_numpy() - vacuum).min() < 0.02


@pytest.mark.shared
def test_arc_and_sky_lines_agree_with_other_lists(shared_data):
    known = {}
    for name in ("HgI", "CdI", "NeI"):
        text = (shared_data / "sky" / f"pypeit-{name}_lines.dat").read_text(encoding="utf-8")
        rows = [line.split("|") for line in text.splitlines() if line.startswith("| " + name)]
        known[f"{name[:2]} I"] = np.array([float(row[2]) for row in rows])
    checked = 0
    for wave, species, _ in arc_lines().iter_rows():
        near = known.get(species, np.array([]))
        near = near[np.abs(near - wave) < 0.5]
        if len(near):
            assert np.abs(near - wave).min() < 0.03, f"{species} {wave}"
            checked += 1
    assert checked > 30


def test_lines_keep_strength_and_centroid():
    grid = np.arange(5000.0, 6500.0, 0.13)
    lines = sky_lines()
    density = smear(lines_on_grid(lines, grid), 3.0, 0.13)
    near = np.abs(grid - 5578.887) < 8
    assert density[near].sum() * 0.13 == pytest.approx(226, rel=1e-3)
    assert np.average(grid[near], weights=density[near]) == pytest.approx(5578.887, abs=5e-3)


def test_smear_of_no_width_changes_nothing():
    values = np.arange(5.0)
    np.testing.assert_array_equal(smear(values, 0.0, 1.0), values)


def test_telluric_bands_deepen_with_airmass_and_leave_windows():
    wave = np.array([5500.0, 6870.0, 7600.0, 7610.0, 8600.0])
    one, two = telluric_transmission(wave, 1.0), telluric_transmission(wave, 2.0)
    np.testing.assert_allclose(two, one**2)
    np.testing.assert_allclose(one[[0, 4]], 1.0)
    assert one[2] < 0.45
    assert one[1] < 0.75


def test_sky_scales_with_level_moon_and_airglow():
    wave = np.arange(5500.0, 5600.0, 0.1)
    dark, moon = SkyModel(1.0, 0.0), SkyModel(2.0, 0.5, airglow=1.5)
    np.testing.assert_allclose(moon.continuum(wave), 2 * dark.continuum(wave))
    assert moon.lines(wave).sum() == pytest.approx(3 * dark.lines(wave).sum())
    solar = np.ones_like(wave)
    assert dark.moonlight(wave, solar).max() == 0
    assert moon.moonlight(wave, solar)[0] == pytest.approx(4 * DARK_SKY)
