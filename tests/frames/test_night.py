import re

import pytest

from drcnet.errors import NightError
from drcnet.frames.night import scan_night
from drcnet.instruments import load_instrument

LAMOST = load_instrument("lamost-lrs")
NIGHT = 82496145  # local minutes; night 57289


def name(kind, arm, *, lmjm=NIGHT, spid=16, run=1, ending=".fit", stage="r"):
    return f"{stage}{kind}-{spid:02d}{arm}-20150923234527-{run:04d}-{lmjm}{ending}"


@pytest.fixture
def night(tmp_path):
    """Empty files: nothing may be opened."""

    def night(*names, folder="."):
        (tmp_path / folder).mkdir(exist_ok=True, parents=True)
        for one in names:
            (tmp_path / folder / one).touch()
        return tmp_path / folder

    return night


def one_exposure(**changes):
    return [name(kind, arm, **changes) for kind in "of" for arm in "br"]


def only(found):
    assert len(found) == 1, found
    return found[0]


def test_a_whole_night(night):
    folder = night(
        *one_exposure(), name("a", "b"), name("b", "b", run=1), name("b", "b", run=2), "notes.txt"
    )
    found = scan_night(folder, LAMOST)
    assert found.problems == ()
    exposure = only(found.exposures)
    assert (exposure.key, exposure.lmjm, exposure.spid) == (f"{NIGHT}-16", NIGHT, 16)
    assert exposure.complete
    assert exposure.blue.object.name == name("o", "b")
    assert exposure.blue.flat.name == name("f", "b")
    assert exposure.blue.arc.name == name("a", "b")
    assert [p.name for p in exposure.blue.biases] == [name("b", "b", run=r) for r in (1, 2)]
    assert exposure.red.arc is None
    assert exposure.red.biases == ()


def test_exposures_stand_by_minute_then_spectrograph(night):
    folder = night(*one_exposure(spid=2), *one_exposure(spid=1), *one_exposure(lmjm=NIGHT - 30))
    keys = [e.key for e in scan_night(folder, LAMOST).exposures]
    assert keys == [f"{NIGHT - 30}-16", f"{NIGHT}-01", f"{NIGHT}-02"]


def test_the_nearest_flat_of_the_same_spectrograph_arm_and_night(night):
    folder = night(
        name("o", "b"),
        name("o", "r"),
        name("f", "r"),
        name("f", "b", lmjm=NIGHT - 90),
        name("f", "b", lmjm=NIGHT + 40),
        name("f", "b", lmjm=NIGHT + 1, spid=15),
        name("f", "b", lmjm=NIGHT + 1440),
    )
    exposure = only(scan_night(folder, LAMOST).exposures)
    assert exposure.blue.flat.name == name("f", "b", lmjm=NIGHT + 40)


def test_of_two_equally_near_flats_the_earlier(night):
    folder = night(*one_exposure(), name("f", "b", lmjm=NIGHT - 5), name("f", "b", lmjm=NIGHT + 5))
    (folder / name("f", "b")).unlink()
    exposure = only(scan_night(folder, LAMOST).exposures)
    assert exposure.blue.flat.name == name("f", "b", lmjm=NIGHT - 5)


@pytest.mark.parametrize(("gone", "arm", "other"), [("r", "red", "blue"), ("b", "blue", "red")])
def test_an_arm_without_the_other_is_listed_with_a_problem(night, gone, arm, other):
    folder = night(*one_exposure())
    (folder / name("o", gone)).unlink()
    found = scan_night(folder, LAMOST)
    exposure = only(found.exposures)
    assert getattr(exposure, arm) is None
    assert getattr(exposure, other) is not None
    problem = only(found.problems)
    assert (problem.exposure, problem.arm) == (exposure.key, arm)
    assert problem.reason == f"wanted a {arm} frame beside the other arm's, got none"
    assert found.reasons(exposure.key) == (str(problem),)


def test_no_flat_costs_the_arm(night):
    folder = night(*one_exposure())
    (folder / name("f", "b")).unlink()
    night(name("f", "b", lmjm=NIGHT - 1440))
    found = scan_night(folder, LAMOST)
    assert only(found.exposures).blue is None
    problem = only(found.problems)
    assert problem.reason == (
        "wanted a flat of spectrograph 16 blue of night 57289, got only of other nights ([57288])"
    )


def test_an_exposure_without_any_flat_is_still_listed(night):
    found = scan_night(night(name("o", "b"), name("o", "r")), LAMOST)
    exposure = only(found.exposures)
    assert (exposure.blue, exposure.red, exposure.complete) == (None, None, False)
    assert [p.reason.endswith("got none") for p in found.problems] == [True, True]


def test_flats_of_another_folder(night):
    folder = night(name("o", "b"), name("o", "r"))
    flats = night(name("f", "b"), name("f", "r"), name("o", "b", spid=3), folder="flats")
    found = scan_night(folder, LAMOST, flats=flats)
    assert only(found.exposures).complete
    assert found.problems == ()


@pytest.mark.parametrize("ending", [".fit.gz", ".fits", ".fits.gz", ".fits.fz"])
def test_of_doubled_objects_neither_is_used(night, ending):
    folder = night(*one_exposure(), name("o", "b", ending=ending))
    found = scan_night(folder, LAMOST)
    assert only(found.exposures).blue is None
    problem = only(found.problems)
    assert name("o", "b") in problem.where
    assert name("o", "b", ending=ending) in problem.where
    assert problem.reason == "wanted one object frame, got 2 of the same name; none is used"


def test_both_arms_doubled_still_gives_the_exposure(night):
    names = one_exposure() + one_exposure(ending=".fit.gz")
    found = scan_night(night(*names), LAMOST)
    exposure = only(found.exposures)
    assert (exposure.key, exposure.blue, exposure.red) == (f"{NIGHT}-16", None, None)
    assert len(found.problems) == 4  # two objects and two flats


def test_two_flats_of_one_minute_are_no_doubles(night):
    found = scan_night(night(*one_exposure(), name("f", "b", run=2)), LAMOST)
    assert found.problems == ()


def test_unknown_names_products_and_other_instruments_are_listed(night):
    extra = ["image.fits", "sdR-b1-00123456.fit", name("o", "b", stage="p")]
    found = scan_night(night(*one_exposure(), *extra), LAMOST)
    assert only(found.exposures).complete
    reasons = {re.split("[/]", p.where)[-1]: p.reason for p in found.problems}
    assert sorted(reasons) == sorted(extra)
    assert "a name of boss" in reasons["sdR-b1-00123456.fit"]
    assert "a product" in reasons[extra[2]]


def test_a_list_a_folder_and_a_mix_are_the_same(night):
    folder = night(*one_exposure())
    files = sorted(folder.iterdir())
    whole = scan_night(folder, LAMOST)
    assert scan_night(files, LAMOST) == whole
    assert scan_night([folder, files[0]], LAMOST) == whole


def test_the_folder_raw_inside_stands_for_the_night(night, tmp_path):
    night(*one_exposure(), folder="raw")
    night("catalog.fits")
    found = scan_night(tmp_path, LAMOST)
    assert only(found.exposures).complete
    assert found.problems == ()


def test_hidden_and_partial_files_are_not_seen(night):
    folder = night(*one_exposure(), ".123.partial." + name("o", "b"))
    assert scan_night(folder, LAMOST).problems == ()


@pytest.mark.parametrize(
    ("names", "came"),
    [
        ([], "no FITS files"),
        ([name("f", "b"), name("b", "b")], "2 files (bias, flat)"),
        (["image.fits"], "1 files of other names"),
    ],
)
def test_nothing_to_do_is_an_error(night, names, came):
    with pytest.raises(NightError, match=re.escape(came)):
        scan_night(night(*names), LAMOST)


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(NightError, match="got nothing there"):
        scan_night(tmp_path / "gone", LAMOST)


def test_a_broken_link_is_found_by_its_name(night):
    folder = night(*one_exposure())
    (folder / name("o", "b")).unlink()
    (folder / name("o", "b")).symlink_to(folder / "gone")
    assert only(scan_night(folder, LAMOST).exposures).complete
