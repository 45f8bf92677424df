"""Find which instrument wrote a file."""

from pathlib import Path

from drcnet.errors import FrameError
from drcnet.frames.fitsfile import read_header
from drcnet.instruments import instrument_names, load_instrument, recognise_name

__all__ = ["recognise"]


def recognise(path: Path) -> str | None:
    """Find the shipped instrument that wrote a raw file, by its name, else by its shape.

    Parameters
    ----------
    path : Path
        A raw file; where its name says nothing, its header is opened.

    Returns
    -------
    str or None
        The profile's name; None where no shipped profile knows the file, or it cannot be read.
    """
    path = Path(path)
    named = recognise_name(path.name)
    if named is not None:
        return named
    try:
        header = read_header(path)
    except FrameError:
        return None
    shape = (header.get("NAXIS2"), header.get("NAXIS1"))
    return next((n for n in instrument_names() if load_instrument(n).shape == shape), None)
