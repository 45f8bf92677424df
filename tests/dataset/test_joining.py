"""Fibres that the catalogue does not number are found by where they pointed, and it is said."""

import polars as pl
import pytest

from drcnet.dataset.joining import read_pointings
from drcnet.dataset.plan import check
from drcnet.errors import CatalogError

ARCSEC = 1 / 3600


@pytest.fixture
def moved_night(fakes, tmp_path):
    """The catalogue numbers other fibres; fibre 3 has a second star beside it, 5 another night."""
    night = fakes.make_night(tmp_path / "night")
    path = night / "catalog.csv"
    head, *lines = path.read_text().splitlines()
    rows = [line.split("|") for line in lines]
    for row in rows:
        row[3] = "14"
        if row[4] == "5":
            row[1], row[-1] = "57300", "82512000"
    twin = list(rows[2])
    twin[0], twin[6] = "999", str(20.5 + 2 * ARCSEC)
    path.write_text("\n".join([head, *("|".join(row) for row in [*rows, twin])]) + "\n")
    fibers = pl.DataFrame(
        {
            "spid": [1] * 7,
            "fiberid": [1, 2, 3, 4, 5, 6, 7],
            "ra": [10.1, 10.2, 10.3, 10.4, 10.5, 10.6, 200.0],
            "dec": [20.5 + 0.5 * ARCSEC] * 7,
        }
    )
    fibers.write_csv(night / "fibers.csv")
    return night


def test_stars_are_found_by_position_and_it_is_said(fakes, moved_night):
    plan = check(moved_night, settings=fakes.make_settings(moved_night))
    assert len(plan.joined) == 3
    for rows in plan.joined.values():
        assert rows["fiberid"].to_list() == list(range(1, 9))
        assert rows["in_catalog"].to_list() == [True, True, False, True, True, True, False, False]
        assert rows["obsid"].to_list()[:2] == [101, 102]
        assert rows["class"].to_list()[:2] == ["G", "K"]
        # Fibre 5 was seen in another night: that S/N is not this exposure's.
        known = rows["snrr"].is_not_null() & rows["snrr"].is_not_nan()
        assert known.to_list() == [True, True, False, True, False, True, False, False]
    assert len(plan.problems) == 3
    said = str(plan.problems[0])
    assert "5 of 7 fibres joined by position, 1 of them without an S/N of this night" in said
    assert "refused 1: fibre 3: 2 stars within" in said


def test_numbers_come_first(fakes, toy_night):
    """Where the catalogue numbers the fibres, wrong pointings do no harm."""
    fibers = pl.DataFrame({"spid": [1], "fiberid": [1], "ra": [10.2], "dec": [20.5]})
    fibers.write_parquet(toy_night / "fibers.parquet")
    plan = check(toy_night, settings=fakes.make_settings(toy_night))
    assert plan.problems == ()
    assert plan.joined[f"{fakes.LMJM}-01"]["obsid"][0] == 101


def test_pointings_of_one_exposure(fakes, moved_night):
    """Fibres moved before the second exposure: only the first one is joined."""
    path = moved_night / "fibers.csv"
    pl.read_csv(path).with_columns(lmjm=fakes.LMJM).write_csv(path)
    plan = check(moved_night, settings=fakes.make_settings(moved_night))
    found = [int(rows["in_catalog"].sum()) for rows in plan.joined.values()]
    assert found == [5, 0, 0]
    assert sum("its rows have no class" in str(one) for one in plan.problems) == 2


def test_places_without_a_star_are_told(fakes, moved_night):
    path = moved_night / "fibers.csv"
    pl.read_csv(path).with_columns(dec=pl.lit(-40.0)).write_csv(path)
    with pytest.raises(CatalogError, match="rows of this night's 3 exposures"):
        check(moved_night, settings=fakes.make_settings(moved_night))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("spid,fiberid,ra\n1,1,2\n", "the columns dec"), ("spid,fiberid,ra,dec\n1,1,x,2\n", "numb")],
)
def test_a_bad_file_of_pointings_is_refused(tmp_path, text, wanted):
    (tmp_path / "fibers.csv").write_text(text)
    with pytest.raises(CatalogError, match=wanted):
        read_pointings(tmp_path)


def test_no_file_of_pointings(tmp_path):
    assert read_pointings(tmp_path) is None
