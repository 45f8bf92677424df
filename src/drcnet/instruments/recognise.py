"""Whose file is this? By name alone; the frames room also looks at shapes."""

import re
from functools import cache

from drcnet.instruments.profile import instrument_names, load_instrument

__all__ = ["recognise_name"]


def recognise_name(name: str) -> str | None:
    """Find the shipped instrument that names its raw files so.

    Parameters
    ----------
    name : str
        A file's name, without its folder.

    Returns
    -------
    str or None
        The profile's name; None where no shipped profile knows it.

    Examples
    --------
    >>> recognise_name("rb-16r-20150923234527-10000-82496145.fit.gz")
    'lamost-lrs'
    >>> recognise_name("holiday.jpg") is None
    True
    """
    return next((who for who, pattern in _patterns() if re.match(pattern, name)), None)


@cache
def _patterns() -> tuple[tuple[str, str], ...]:
    return tuple((name, load_instrument(name).file_pattern) for name in instrument_names())
