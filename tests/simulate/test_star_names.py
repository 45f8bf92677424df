"""One star is one star."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drcnet.frames.lamost_spectrum import read_lamost_spectrum
from drcnet.simulate.star_names import group_by_position, position_name, star_name


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (("HD025291", "HD 25291", "hd025291", "HD  025291", "HD_25291"), "HD 25291"),
        (("HD023439A", "HD 23439A"), "HD 23439A"),
        (("HD 020902         Cl", "HD20902"), "HD 20902"),
        (("BD+290366", "BD+29 366", "BD +29 0366", "BD+29_366", "BD+29°366"), "BD+29 366"),
        (("BD+002058A", "BD+00 2058A"), "BD+00 2058A"),
        (("BD-010306", "BD-01 306", "BD -1 306"), "BD-01 306"),
        (("CD-2610417", "CD-26 10417"), "CD-26 10417"),
        (("G004-036", "G_4-36", "G 4-36"), "G 4-36"),
        (("G_243-63", "HD006755"), "HD 6755"),
        (("M92 III 13        Cl", "M92 III 13"), "M92 III 13"),
        (("25291",), "25291"),
        (("Gaia 12-3",), "Gaia 12-3"),
    ],
)
def test_all_spellings_of_a_star_become_one(names, wanted):
    assert {star_name(name) for name in names} == {wanted}


def test_components_and_declination_signs_stay_apart():
    names = ["HD023439A", "HD023439B", "HD023439", "BD+010306", "BD-010306"]
    assert len({star_name(name) for name in names}) == len(names)


@given(st.text(alphabet="HDBCG+-_ 0123456789AabM", max_size=16))
def test_naming_twice_changes_nothing(name):
    once = star_name(name)
    assert star_name(once) == once


@given(st.integers(1, 359_083), st.integers(0, 6))
def test_leading_zeros_and_spaces_of_a_number_do_not_matter(number, width):
    assert star_name(f"HD{number:0{width}d}") == star_name(f" HD  {number} ") == f"HD {number}"


def test_stars_within_three_arcseconds_are_one():
    second = 1 / 3600
    ra = np.array([10.0, 10.0, 10.0, 0.2 * second, 360 - 0.2 * second, np.nan, np.nan])
    dec = np.array([20.0, 20 + 2.9 * second, 20 + 6.1 * second, 0.0, 0.0, np.nan, 5.0])
    group = group_by_position(ra, dec)
    assert group[0] == group[1] != group[2]
    assert group[3] == group[4]
    assert len(set(group)) == 5


def test_right_ascension_shrinks_towards_the_pole():
    dec = np.full(2, 89.0)
    near = group_by_position(np.array([0.0, 100 / 3600]), dec)
    assert near[0] == near[1]
    on_equator = group_by_position(np.array([0.0, 100 / 3600]), np.zeros(2))
    assert on_equator[0] != on_equator[1]


def test_no_position_at_all_leaves_all_alone():
    nothing = np.full(3, np.nan)
    assert len(set(group_by_position(nothing, nothing))) == 3


@pytest.mark.parametrize(
    ("ra", "dec", "wanted"),
    [
        (99.316263, 27.23237, "J063715.90+271356.5"),
        (330.909453, -0.17471, "J220338.26-001028.9"),
        (0.0, -89.5, "J000000.00-893000.0"),
    ],
)
def test_positions_are_named_as_lamost_does(ra, dec, wanted):
    assert position_name(ra, dec) == wanted


@pytest.mark.shared
def test_lamost_designations_come_out(shared_data):
    files = sorted((shared_data / "lamost-files" / "grd349-dr1").glob("*.fits.gz"))
    assert len(files) == 18
    for path in files:
        spectrum = read_lamost_spectrum(path)
        # The header's position has six decimals, so the last digit may differ by one.
        assert spectrum.name[:-1] == f"LAMOST {position_name(spectrum.ra, spectrum.dec)}"[:-1]
