"""Fibres to stars by position: right, or refused and listed."""

import numpy as np
import polars as pl
import pytest

from drcnet.errors import CatalogError
from drcnet.frames.catalog import read_catalog
from drcnet.frames.positions import join_positions

ARCSEC = 1 / 3600


def catalog(tmp_path, rows):
    lines = ["obsid|lmjd|planid|spid|fiberid|objra|objdec|snrr|class|subclass"]
    for obsid, ra, dec, snrr, kind in rows:
        lines.append(f"{obsid}|57289|P|1|{obsid % 250}|{ra:.8f}|{dec:.8f}|{snrr}|STAR|{kind}")
    path = tmp_path / "catalog.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def fibers(*places):
    return pl.DataFrame(
        {
            "fiberid": list(range(1, len(places) + 1)),
            "ra": [float(ra) for ra, _ in places],
            "dec": [float(dec) for _, dec in places],
        }
    )


def test_each_fibre_gets_the_star_at_its_place(tmp_path):
    path = catalog(tmp_path, [(11, 10.0, 20.0, 30, "F5"), (12, 200.0, -5.0, 9, "K1")])
    found = join_positions(path, fibers((200.0, -5.0 + 2 * ARCSEC), (10.0, 20.0), (50.0, 50.0)))
    assert found.table["obsid"].to_list() == [12, 11, None]
    assert found.table["class"].to_list() == ["K", "F", None]
    assert found.table["in_catalog"].to_list() == [True, True, False]
    np.testing.assert_allclose(found.table["separation"][:2], [2.0, 0.0], atol=1e-3)
    assert found.refused.is_empty()


def test_a_table_gives_the_same_as_its_file(tmp_path):
    path = catalog(tmp_path, [(11, 10.0, 20.0, 30, "F5"), (12, 200.0, -5.0, 9, "K1")])
    where = fibers((10.0, 20.0), (200.0, -5.0))
    assert join_positions(read_catalog(path), where).table.equals(
        join_positions(path, where).table
    )


@pytest.mark.parametrize(
    ("ra", "dec", "away"),
    [(0.0, 30.0, 359.9999), (10.0, 89.9999, 200.0), (180.0, -90.0, 3.0), (77.0, 0.0, 77.0002)],
)
def test_circles_cross_the_meridian_and_the_poles(tmp_path, ra, dec, away):
    path = catalog(tmp_path, [(1, ra, dec, 30, "F5")])
    assert join_positions(path, fibers((away, dec))).table["obsid"].to_list() == [1]


def test_agreement_with_a_search_of_all_pairs(tmp_path):
    rng = np.random.default_rng(4)
    n = 400
    ra, dec = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    rows = [(k, ra[k], dec[k], 20, "G2") for k in range(n)]
    picked = rng.permutation(n)[:60]
    moved = dec[picked] + np.where(dec[picked] > 0, -1, 1) * 2.5 * ARCSEC
    found = join_positions(catalog(tmp_path, rows), fibers(*zip(ra[picked], moved, strict=True)))
    assert found.table["obsid"].to_list() == picked.tolist()


def test_visits_of_one_star_give_the_best(tmp_path):
    rows = [(1, 10.0, 20.0, 15, "F5"), (2, 10.0, 20.0 + 0.3 * ARCSEC, 40, "F6")]
    found = join_positions(catalog(tmp_path, rows), fibers((10.0, 20.0)))
    assert found.table["obsid"].to_list() == [2]
    assert found.refused.is_empty()


def test_two_stars_in_reach_are_ambiguous(tmp_path):
    rows = [(1, 10.0, 20.0, 15, "F5"), (2, 10.0, 20.0 + 2 * ARCSEC, 40, "F6"), (3, 1, 1, 9, "G1")]
    found = join_positions(catalog(tmp_path, rows), fibers((10.0, 20.0), (1.0, 1.0)))
    assert found.table["obsid"].to_list() == [None, 3]
    assert found.refused.rows() == [(1, "2 stars within 2.0 arcsec (obsid 1, 2)")]


def test_visits_that_disagree_on_the_class_conflict(tmp_path):
    rows = [(1, 10.0, 20.0, 15, "F5"), (2, 10.0, 20.0, 40, "K6")]
    found = join_positions(catalog(tmp_path, rows), fibers((10.0, 20.0)))
    assert not found.table["in_catalog"][0]
    assert found.refused["reason"].to_list() == ["visits of one star disagree: F, K (obsid 1, 2)"]


def test_fibres_that_would_share_a_star_conflict(tmp_path):
    path = catalog(tmp_path, [(1, 10.0, 20.0, 15, "F5")])
    found = join_positions(path, fibers((10.0, 20.0), (10.0, 20.0 + ARCSEC)))
    assert found.table["obsid"].to_list() == [None, None]
    assert found.refused["reason"].to_list() == [
        "its star is also that of fibre 2",
        "its star is also that of fibre 1",
    ]


@pytest.mark.parametrize(
    ("table", "wanted"),
    [
        (pl.DataFrame({"fiberid": [1], "ra": [1.0]}), "the columns dec"),
        (fibers((1, 1), (2, 2)).with_columns(fiberid=pl.lit(7)), "each fibre once"),
        (fibers((1, 95)), "ra and dec in degrees"),
        (fibers((100.0, 80.0)), "a star within 3 arcsec of one of 1 fibres"),
    ],
)
def test_what_cannot_be_joined_is_refused(tmp_path, table, wanted):
    with pytest.raises(CatalogError, match=wanted):
        join_positions(catalog(tmp_path, [(1, 10.0, 20.0, 15, "F5")]), table)
