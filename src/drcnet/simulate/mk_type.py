"""Spectral types as people write them: which give one class and one subclass, which do not."""

import re
from dataclasses import dataclass

__all__ = ["MKType", "UnclearTypeError", "parse_mk"]

_TYPE = re.compile(
    r"""(?P<prefix>sd|d|g)? \s* :? \s*
        (?P<letter>[OBAFGKMLT]) \s* :? \s*
        (?P<digit>\d(?:\.\d+)?)
        (?P<rest>.*)""",
    re.VERBOSE,
)
_RANGE = re.compile(r"^\s*:?\s*[/-]\s*(?P<letter>[OBAFGKM])?\s*\d")
_LUMINOSITY = re.compile(r"(?<![A-Z])(?:III|II|IV|VI|V|I)")
_PREFIX_LUMINOSITY = {"sd": "VI", "d": "V", "g": "III"}


class UnclearTypeError(ValueError):
    """A spectral type that is not one plain subclass; its text is the reason."""


@dataclass(frozen=True)
class MKType:
    """One plain MK type.

    Parameters
    ----------
    letter : str
        The class, one of O B A F G K M L T.
    number : float
        Position inside the class, 0 to less than 10 (G9.5 has 9.5).
    luminosity : str
        "I" to "VI" without its suffix (Ia, Ib and Iab give "I"; IV-V gives "IV"); subdwarfs
        ("sd") are "VI"; empty where the type does not say.
    """

    letter: str
    number: float
    luminosity: str

    @property
    def subclass(self) -> str:
        """Letter and number, as in "F5" or "G8.5"."""
        return f"{self.letter}{self.number:g}"


def parse_mk(text: str) -> MKType:
    """Read a spectral type of the literature or of LAMOST.

    Peculiarities, colons and companions of unknown type ("F6V+?") are passed over; of a
    composite ("G6 IV + M6 V") the primary counts. 'sdF2' is an F star, 'dM2' and 'gM0' are M
    stars.

    Parameters
    ----------
    text : str
        Such as "G8IIIa", "F0 V", "sd:F0", "K3Ib-II+?" or LAMOST's "G3".

    Returns
    -------
    MKType
        Class, number and luminosity class.

    Raises
    ------
    UnclearTypeError
        There is no subclass digit ("GB", "sd:F"), or the type spans two classes or subclasses
        ("G8/K0", "F3-5V"). "GB" in particular means a giant-branch star of any class.

    Examples
    --------
    >>> parse_mk("G8.5 IIIb").subclass
    'G8.5'
    >>> parse_mk("sdF2:").luminosity
    'VI'
    """
    match = _TYPE.match(text.strip())
    if match is None:
        raise UnclearTypeError("no subclass digit")
    span = _RANGE.match(match["rest"])
    if span is not None:
        same = span["letter"] in (None, match["letter"])
        raise UnclearTypeError(f"spans two {'subclasses' if same else 'classes'}")
    return MKType(
        letter=match["letter"],
        number=float(match["digit"]),
        luminosity=_luminosity(match["rest"], match["prefix"]),
    )


def _luminosity(rest: str, prefix: str | None) -> str:
    primary = rest.split("+", maxsplit=1)[0]
    found = _LUMINOSITY.search(primary)
    if found is not None:
        return found[0]
    return _PREFIX_LUMINOSITY.get(prefix or "", "")
