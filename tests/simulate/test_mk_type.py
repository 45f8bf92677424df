"""Spectral types as the literature writes them."""

import pytest

from drcnet.simulate.mk_type import UnclearTypeError, parse_mk


@pytest.mark.parametrize(
    ("text", "subclass", "luminosity"),
    [
        ("G2V", "G2", "V"),
        ("F0 V", "F0", "V"),
        ("G8.5 IIIb", "G8.5", "III"),
        ("F1 Vp", "F1", "V"),
        ("F5Vawva", "F5", "V"),
        ("F3 VI", "F3", "VI"),
        ("F6V-VI", "F6", "V"),
        ("F7 IV", "F7", "IV"),
        ("G0Ib-II", "G0", "I"),
        ("G2Iab", "G2", "I"),
        ("G8III/IVw", "G8", "III"),
        ("K0IIICNpvar", "K0", "III"),
        ("K3Ib-II+?", "K3", "I"),
        ("G4Ibp...", "G4", "I"),
        ("F6:w?", "F6", ""),
        ("G8:V:", "G8", "V"),
        ("G5IIIwe", "G5", "III"),
        ("K2", "K2", ""),
        ("G6 IV + M6 V", "G6", "IV"),
        ("sdF2:", "F2", "VI"),
        ("sd:F0", "F0", "VI"),
        ("sdF3", "F3", "VI"),
        ("dM2", "M2", "V"),
        ("gM0", "M0", "III"),
        ("A7V", "A7", "V"),
        ("K5Ib...", "K5", "I"),
    ],
)
def test_plain_types_give_class_number_and_luminosity(text, subclass, luminosity):
    parsed = parse_mk(text)
    assert (parsed.subclass, parsed.luminosity) == (subclass, luminosity)
    assert parsed.letter == subclass[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("GB", "no subclass digit"),
        ("sd:F", "no subclass digit"),
        ("Fm", "no subclass digit"),
        ("KIIvw", "no subclass digit"),
        ("G:w?", "no subclass digit"),
        ("Non", "no subclass digit"),
        ("Carbon", "no subclass digit"),
        ("", "no subclass digit"),
        ("G8/K0III", "spans two classes"),
        ("G8/K0w+...", "spans two classes"),
        ("O8/O9", "spans two subclasses"),
        ("F3-5V", "spans two subclasses"),
        ("K4-5 III-II", "spans two subclasses"),
        ("K0/K1III/IV", "spans two subclasses"),
    ],
)
def test_unclear_types_say_why(text, reason):
    with pytest.raises(UnclearTypeError, match=reason):
        parse_mk(text)


@pytest.mark.parametrize("letter", "OBAFGKM")
@pytest.mark.parametrize("number", ["0", "2.5", "9"])
def test_a_subclass_reads_back_to_itself(letter, number):
    assert parse_mk(letter + number).subclass == letter + number
