import numpy as np

from drcnet.evaluate.subclasses import away_from_borders, subclass_number, subclasses_off


def test_numbers_of_the_types_that_catalogues_hold():
    types = ["F5", "G3V", "K7", "A7V", "dM2", "gM0", "sdG8", "K2.5", "Non", "", None, "GB", "5"]
    expected = [5, 3, 7, 7, 2, 0, 8, 2.5] + [np.nan] * 5
    assert np.array_equal(subclass_number(types), expected, equal_nan=True)


def test_core_is_two_to_seven():
    types = [f"G{i}" for i in range(10)] + ["Non", "K7.5", "K1.5"]
    assert away_from_borders(types).tolist() == [False] * 2 + [True] * 6 + [False] * 3 + [
        True,
        False,
    ]


def test_distance_is_to_the_nearest_edge_and_symmetric():
    assert subclasses_off(["F9"], ["F"], ["G"])[0] == 1
    assert subclasses_off(["G0"], ["G"], ["F"])[0] == 1
    assert subclasses_off(["F5"], ["F"], ["K"])[0] == 15
    assert subclasses_off(["K5"], ["K"], ["F"])[0] == 16
    assert subclasses_off(["G4"], ["G"], ["G"])[0] == 0


def test_what_has_no_place_is_unknown():
    off = subclasses_off(["Non", "F5", "F5"], ["F", "F", "F"], ["G", None, "carbon"])
    assert np.isnan(off).all()
