"""One star is one star: names in one spelling, and stars that stand at one place."""

import re

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

__all__ = ["group_by_position", "position_name", "star_name"]

_HD = re.compile(r"^HD_?0*(?P<number>\d+)(?P<component>[A-D]?)$")
_DURCHMUSTERUNG = re.compile(
    r"^(?P<catalog>BD|CD|CPD)(?P<sign>[+-])(?P<zone>\d{1,2})[ _°]+0*(?P<number>\d+)"
    r"(?P<component>[A-D]?)$"
)
# Without a separator the zone has two digits: BD+002058A is zone +00, number 2058, A.
_PACKED = re.compile(
    r"^(?P<catalog>BD|CD|CPD)(?P<sign>[+-])(?P<zone>\d{2})0*(?P<number>\d+)(?P<component>[A-D]?)$"
)
_GICLAS = re.compile(r"^G[ _]?0*(?P<field>\d+)-0*(?P<number>\d+)(?P<component>[A-D]?)$")
# Stars that MILES and Indo-US share under different names. Inferred, not looked up: of all MILES
# stars these follow the Indo-US spectra best, stand in the Giclas fields and have such types.
_ALIASES = {"G 19-24": "HD 157881", "G 243-63": "HD 6755"}
_CLUSTER_MARK = re.compile(r"\s+Cl$")


def star_name(name: str) -> str:
    """Bring a star's name into one spelling.

    Parameters
    ----------
    name : str
        A name in the HD ("HD025291", "hd 25291"), Bonner Durchmusterung and its southern
        continuations ("BD+290366", "BD +29 366") or Giclas ("G_84-29", "G084-029") catalogue;
        any other name is only freed of surplus spaces and of the mark 'Cl' that MILES puts
        behind cluster stars. A bare number stays one: only the reader of a library knows
        whether it is an HD number.

    Returns
    -------
    str
        "HD 25291", "BD+29 366", "G 84-29", and the HD name of a Giclas star where the libraries
        are known to hold one star under both; applying the function twice changes nothing.

    Examples
    --------
    >>> star_name("HD023439A"), star_name("BD+002058A"), star_name("G_84-29")
    ('HD 23439A', 'BD+00 2058A', 'G 84-29')
    """
    text = " ".join(_CLUSTER_MARK.sub("", name.strip()).split())
    packed = text.replace(" ", "").upper()
    if match := _HD.match(packed):
        return f"HD {match['number']}{match['component']}"
    spaced = re.sub(r"^(BD|CD|CPD)[ _]*([+-])[ _]*", r"\1\2", text.upper())
    if match := _DURCHMUSTERUNG.match(spaced) or _PACKED.match(packed):
        zone = int(match["zone"])
        return f"{match['catalog']}{match['sign']}{zone:02d} {match['number']}{match['component']}"
    if match := _GICLAS.match(text.upper()):
        giclas = f"G {match['field']}-{match['number']}{match['component']}"
        return _ALIASES.get(giclas, giclas)
    return text


def position_name(ra: float, dec: float) -> str:
    """Name a star by its place, as LAMOST's designations do (digits cut off, not rounded).

    Parameters
    ----------
    ra, dec : float
        Degrees.

    Returns
    -------
    str
        "J" and hhmmss.ss+ddmmss.s.

    Examples
    --------
    >>> position_name(99.316263, 27.23237)
    'J063715.90+271356.5'
    """
    # The small number keeps decimal fractions such as 0.1 s from falling below themselves.
    hundredths = int(ra / 15 * 360_000 + 1e-4)
    tenths = int(abs(dec) * 36_000 + 1e-4)
    hours = f"{hundredths // 360_000:02d}{hundredths // 6000 % 60:02d}"
    degrees = f"{tenths // 36_000:02d}{tenths // 600 % 60:02d}"
    sign = "-" if dec < 0 else "+"
    return f"J{hours}{hundredths % 6000 / 100:05.2f}{sign}{degrees}{tenths % 600 / 10:04.1f}"


def group_by_position(
    ra: NDArray[np.float64], dec: NDArray[np.float64], *, radius: float = 3.0
) -> NDArray[np.int64]:
    """Find stars that stand at one place.

    Parameters
    ----------
    ra, dec : ndarray, shape (n,)
        Degrees; NaN where unknown.
    radius : float
        Arcseconds within which two positions are one star; chains are followed.

    Returns
    -------
    ndarray of int, shape (n,)
        Equal numbers for one star; a star without a position is alone.
    """
    ra, dec = np.asarray(ra, dtype=float), np.asarray(dec, dtype=float)
    known = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    if len(known) == 0:
        return np.arange(len(ra), dtype=np.int64)
    alpha, delta = np.radians(ra[known]), np.radians(dec[known])
    unit = np.stack(
        [np.cos(delta) * np.cos(alpha), np.cos(delta) * np.sin(alpha), np.sin(delta)], axis=1
    )
    chord = 2 * np.sin(np.radians(radius / 3600) / 2)
    pairs = known[cKDTree(unit).query_pairs(chord, output_type="ndarray")]
    links = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(ra),) * 2)
    return connected_components(links, directed=False)[1].astype(np.int64)
