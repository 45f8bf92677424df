"""The bytes of a FITS file to its one image, refusing whatever is not whole.

Parsed here and not by a general reader, for three reasons: every fault gets a message of its
own, nothing is reported through process-wide warnings (frames are read ahead in threads), and
the 16-bit image is turned into unsigned counts in one pass.
"""

import gzip
import io
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from drcnet.errors import FrameError

__all__ = ["Image", "read_header", "read_image"]

_BLOCK = 2880
_CARD = 80
_ONES = 0xFFFFFFFF
_MAX_PIXELS = 1 << 30  # no chip has more; a header that says so would exhaust the memory
_MAX_HEADER_BLOCKS = 1000  # 36,000 cards: more is no header
_NO_VALUE = {"", "COMMENT", "HISTORY", "CONTINUE", "END"}


@dataclass(frozen=True, eq=False)
class Image:
    """The image of a FITS file.

    Parameters
    ----------
    data : ndarray, shape (y, x), uint16 or float32
        Counts as the raw file orders them.
    header : dict
        Keyword to value; commentary cards are left out.
    """

    data: NDArray[Any]
    header: dict[str, Any]


@dataclass(frozen=True)
class _Hdu:
    header: dict[str, Any]
    start: int
    data_start: int
    data_size: int

    @property
    def stop(self) -> int:
        return self.data_start + _padded(self.data_size)


def read_image(path: Path) -> Image:
    """Read the one image of a FITS file.

    Parameters
    ----------
    path : Path
        A FITS file, plain, gzipped (recognised by its first bytes) or Rice-compressed.

    Returns
    -------
    Image
        The first HDU with an image: HDU 0, or extension 1 of a Rice-compressed file.

    Raises
    ------
    FrameError
        The file is missing, unreadable, cut short, damaged, or holds no 16-bit unsigned or
        32-bit real image.
    """
    blob = _read_bytes(Path(path))
    hdus = _parse(path, blob)
    for number, hdu in enumerate(hdus):
        _verify_sums(path, blob, hdu, number)
    for number, hdu in enumerate(hdus):
        if hdu.header.get("ZIMAGE") is True:
            return _decompress(path, blob, hdu, number)
        if hdu.data_size and str(hdu.header.get("XTENSION", "IMAGE")).strip() == "IMAGE":
            return Image(_decode(path, blob, hdu), hdu.header)
    raise FrameError(path, "a FITS file with an image", f"{len(hdus)} HDUs without one")


def read_header(path: Path) -> dict[str, Any]:
    """Read the header of a file's image and not its pixels.

    Parameters
    ----------
    path : Path
        A FITS file, plain, gzipped or Rice-compressed.

    Returns
    -------
    dict
        Keyword to value; of a Rice-compressed image, NAXIS1 and NAXIS2 are the image's own.

    Raises
    ------
    FrameError
        The file is missing, unreadable or not FITS.
    """
    path = Path(path)
    try:
        with path.open("rb") as raw:
            magic = raw.read(2)
            raw.seek(0)
            stream = gzip.GzipFile(fileobj=raw) if magic == b"\x1f\x8b" else raw
            return _first_image_header(path, stream)
    except (OSError, EOFError, zlib.error) as err:
        raise FrameError(path, "a readable FITS file", _os_reason(err)) from err


def _first_image_header(path: Path, stream: Any) -> dict[str, Any]:
    header, _ = _read_header(path, stream.read, 0)
    if _data_size(path, header):
        return header
    blocks = stream.read(_BLOCK)
    if not blocks:
        return header
    extension, _ = _read_header(path, _chained(blocks, stream.read), 1)
    if extension.get("ZIMAGE") is True:
        extension |= {f"NAXIS{i}": extension.get(f"ZNAXIS{i}") for i in (1, 2)}
    return extension


def _chained(head: bytes, read: Any) -> Any:
    waiting = [head]
    return lambda size: waiting.pop() if waiting else read(size)


def _read_bytes(path: Path) -> bytes:
    """Read and, where gzipped, unpack a whole file."""
    try:
        if path.exists() and not path.is_file():
            raise FrameError(path, "a FITS file", "a folder or a special file")
        blob = path.read_bytes()
    except OSError as err:
        raise FrameError(path, "a readable file", _os_reason(err)) from err
    if not blob:
        raise FrameError(path, "a FITS file", "an empty file")
    if not blob.startswith(b"\x1f\x8b"):
        return blob
    try:
        return gzip.decompress(blob)
    except EOFError as err:
        raise FrameError(path, "a whole gzip file", "a gzip file cut short") from err
    except (OSError, zlib.error) as err:
        raise FrameError(path, "a whole gzip file", f"a damaged one ({err})") from err


def _os_reason(err: BaseException) -> str:
    reason = getattr(err, "strerror", None) or str(err)
    return reason[:1].lower() + reason[1:]


def _parse(path: Path, blob: bytes) -> list[_Hdu]:
    """Find the HDUs and make sure that the file ends where the last one does."""
    hdus: list[_Hdu] = []
    position = 0
    while position < len(blob):
        if hdus and not blob.startswith(b"XTENSION", position):
            break
        stream = io.BytesIO(blob)
        stream.seek(position)
        header, length = _read_header(path, stream.read, len(hdus))
        hdu = _Hdu(header, position, position + length, _data_size(path, header))
        if hdu.data_start + hdu.data_size > len(blob):
            missing = hdu.data_start + hdu.data_size - len(blob)
            raise FrameError(path, "a whole FITS file", f"one cut short by {missing} bytes")
        hdus.append(hdu)
        position = hdu.stop
    rest = blob[position:]
    if rest.strip(b"\0"):
        second = " (a second file begins there)" if rest.startswith(b"SIMPLE") else ""
        came = f"{len(rest)} bytes after its end{second}"
        raise FrameError(path, "one FITS file and nothing more", came)
    return hdus


def _read_header(path: Path, read: Any, number: int) -> tuple[dict[str, Any], int]:
    """Read blocks up to the END card; give the cards and how many bytes they took."""
    text = b""
    for _ in range(_MAX_HEADER_BLOCKS):
        block = read(_BLOCK)
        if number == 0 and not text and not block.startswith(b"SIMPLE  ="):
            raise FrameError(path, "a FITS file", f"a file that begins with {block[:12]!r}")
        if len(block) < _BLOCK:
            raise FrameError(path, "a whole FITS file", f"one cut short in header {number}")
        text += block
        if any(block[i : i + 8] == b"END     " for i in range(0, _BLOCK, _CARD)):
            return _cards(path, text, number), len(text)
    raise FrameError(path, "a FITS header that ends", f"{_MAX_HEADER_BLOCKS} blocks without END")


def _cards(path: Path, text: bytes, number: int) -> dict[str, Any]:
    """Keyword to value; of a keyword that stands twice the first counts."""
    try:
        lines = text.decode("ascii")
    except UnicodeDecodeError as err:
        raise FrameError(path, "a legible FITS header", f"a damaged header {number}") from err
    cards: dict[str, Any] = {}
    for start in range(0, len(lines), _CARD):
        line = lines[start : start + _CARD]
        if line.startswith("END     "):
            break
        if line[8:10] == "= " or line.startswith("HIERARCH "):
            cards.setdefault(*_card(line))
    return cards


def _card(line: str) -> tuple[str, Any]:
    """One card; a value that cannot be parsed stays text, for whoever needs it to refuse."""
    try:
        card = fits.Card.fromstring(line)
        value = card.value
        return card.keyword, None if isinstance(value, fits.card.Undefined) else value
    except (fits.VerifyError, ValueError):
        return line[:8].rstrip(), line[10:].strip()


def _data_size(path: Path, header: dict[str, Any]) -> int:
    try:
        axes = [int(header[f"NAXIS{i + 1}"]) for i in range(int(header["NAXIS"]))]
        bits = abs(int(header["BITPIX"]))
        heap, groups = int(header.get("PCOUNT", 0)), int(header.get("GCOUNT", 1))
    except (KeyError, TypeError, ValueError) as err:
        raise FrameError(path, "a FITS header with BITPIX and NAXIS", f"none ({err})") from err
    if not axes or min(axes) < 0 or heap < 0 or groups < 0:
        return 0
    return bits // 8 * groups * (heap + math.prod(axes))


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _verify_sums(path: Path, blob: bytes, hdu: _Hdu, number: int) -> None:
    """Hold DATASUM and CHECKSUM to the bytes, where the header has them (FITS 4.0, App. J)."""
    wanted = str(hdu.header.get("DATASUM", "")).strip()
    if wanted and wanted != str(_ones_sum(blob[hdu.data_start : hdu.stop])):
        raise FrameError(path, f"data that sum to DATASUM {wanted}", f"damaged data, HDU {number}")
    if str(hdu.header.get("CHECKSUM", "")).strip():
        total = _ones_sum(blob[hdu.start : hdu.stop])
        if total not in (0, _ONES):
            raise FrameError(path, "an HDU that agrees with its CHECKSUM", f"HDU {number} damaged")


def _ones_sum(part: bytes) -> int:
    """Add 32-bit words in ones' complement."""
    padded = part + b"\0" * (-len(part) % 4)
    total = int(np.frombuffer(padded, ">u4").sum(dtype=np.uint64))
    while total > _ONES:
        total = (total & _ONES) + (total >> 32)
    return total


def _decode(path: Path, blob: bytes, hdu: _Hdu) -> NDArray[Any]:
    """Turn an uncompressed image's bytes into counts."""
    header = hdu.header
    shape = tuple(int(header[f"NAXIS{i}"]) for i in range(int(header["NAXIS"]), 0, -1))
    if len(shape) != 2:
        raise FrameError(path, "a two-dimensional image", f"an image of shape {shape}")
    scale = (header["BITPIX"], header.get("BZERO", 0), header.get("BSCALE", 1))
    count = shape[0] * shape[1]
    if scale == (16, 32768, 1):
        raw = np.frombuffer(blob, ">u2", count, hdu.data_start).reshape(shape)
        return np.bitwise_xor(raw, np.uint16(0x8000), dtype=np.uint16)
    if scale == (-32, 0, 1):
        return np.frombuffer(blob, ">f4", count, hdu.data_start).reshape(shape).astype(np.float32)
    came = "BITPIX {}, BZERO {}, BSCALE {}".format(*scale)
    raise FrameError(path, "16-bit unsigned or 32-bit real pixels", came)


def _decompress(path: Path, blob: bytes, hdu: _Hdu, number: int) -> Image:
    """Unpack a tile-compressed image through astropy."""
    try:
        pixels = math.prod(int(hdu.header[f"ZNAXIS{i}"]) for i in (1, 2))
        if pixels > _MAX_PIXELS:
            raise ValueError(f"{pixels} pixels")  # noqa: TRY301 - one way out of a damaged file
        with fits.open(io.BytesIO(blob), memmap=False) as hdus:
            data = np.asarray(hdus[number].data)
            header = {c.keyword: c.value for c in hdus[number].header.cards}
    except Exception as err:
        # The decompressor raises whatever its C code meets in damaged tiles.
        raise FrameError(path, "a whole compressed image", f"a damaged one ({err})") from err
    if data.ndim != 2:
        raise FrameError(path, "a two-dimensional image", f"an image of shape {data.shape}")
    if data.dtype.newbyteorder("=") not in (np.uint16, np.float32):
        raise FrameError(path, "16-bit unsigned or 32-bit real pixels", str(data.dtype))
    native = data.astype(data.dtype.newbyteorder("="), copy=False)
    return Image(native, {k: v for k, v in header.items() if k not in _NO_VALUE})
