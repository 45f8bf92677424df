import numpy as np
import polars as pl
import pytest

from drcnet.frames.stars import group_positions, name_stars

ARCSEC = 1 / 3600


def table(**columns):
    n = len(next(iter(columns.values())))
    schema = {
        "star": pl.String,
        "designation": pl.String,
        "ra": pl.Float64,
        "dec": pl.Float64,
        "obsid": pl.Int64,
    }
    return pl.DataFrame({c: columns.get(c, [None] * n) for c in schema}, schema=schema)


def names(**columns):
    return name_stars(table(**columns))["star"].to_list()


def test_a_name_stays_and_the_designation_is_next():
    assert names(star=["HD 1", None], designation=["J1", "LAMOST J2"]) == ["HD 1", "J2"]


def test_positions_within_three_arcsec_are_one_star():
    found = names(ra=[10.0, 10.0 + 2 * ARCSEC, 10.0 + 9 * ARCSEC], dec=[0.0] * 3, obsid=[1, 2, 3])
    assert found[0] == found[1] != found[2]
    assert found[0] == "J10.0+0.0"


def test_a_nameless_row_takes_the_designation_of_its_neighbour():
    found = names(
        designation=[None, "J1", None],
        ra=[10.0, 10.0, 50.0],
        dec=[-5.0, -5.0 + ARCSEC, -5.0],
    )
    assert found == ["J1", "J1", "J50.0-5.0"]


def test_the_name_does_not_hang_on_the_order_of_rows(rng):
    ra = np.repeat(rng.uniform(0, 360, 40), 3) + rng.uniform(-0.3, 0.3, 120) * ARCSEC
    dec = np.repeat(rng.uniform(-60, 60, 40), 3) + rng.uniform(-0.3, 0.3, 120) * ARCSEC
    first = names(ra=ra.tolist(), dec=dec.tolist())
    order = rng.permutation(120)
    second = names(ra=ra[order].tolist(), dec=dec[order].tolist())
    assert [first[i] for i in order] == second
    assert len(set(first)) == 40


def test_without_any_position_the_obsid_names_the_star():
    assert names(obsid=[7, None]) == ["obsid 7", None]


@pytest.mark.parametrize("dec", [0.0, 60.0, 89.9999])
def test_distances_are_on_the_sky_and_cross_zero(dec):
    step = 2 * ARCSEC / np.cos(np.radians(dec))
    groups = group_positions(np.array([360 - step / 2, step / 2, 180.0]), np.full(3, dec))
    assert groups.tolist()[:2] == [0, 0]


def test_chains_are_one_group_and_groups_are_numbered_by_appearance():
    ra = np.array([5.0, 5.0 + 2.5 * ARCSEC, 1.0, 5.0 + 5 * ARCSEC])
    assert group_positions(ra, np.zeros(4)).tolist() == [0, 0, 1, 0]
