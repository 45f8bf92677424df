"""The shards of a store: which arrays there are, and which file holds which."""

from pathlib import Path

from drcnet.provenance import file_digest

__all__ = ["ARMS", "ARRAYS", "shard_digests", "shard_path"]

ARMS = ("blue", "red")

# Name to (kind of shape, type). 'stripe' arrays hold one row a chunk, so that one row can be
# read alone; the others one exposure a chunk, which is five times faster to read.
ARRAYS: dict[str, tuple[str, str]] = {
    "stripes": ("stripe", "float32"),
    "mask": ("stripe", "uint8"),
    "box": ("spectrum", "float32"),
    "box_ivar": ("spectrum", "float32"),
    "optimal": ("spectrum", "float32"),
    "optimal_ivar": ("spectrum", "float32"),
    "sky": ("spectrum", "float32"),
    "wavelength": ("polynomial", "float64"),
    "offset": ("spectrum", "float32"),
}


def shard_path(work: Path, arm: str, name: str, number: int) -> Path:
    """Say which file holds an array of one exposure and arm.

    Parameters
    ----------
    work : Path
        The work folder.
    arm : str
        'blue' or 'red'.
    name : str
        An array's name.
    number : int
        Position of the exposure in the store.

    Returns
    -------
    Path
        The shard; it exists only once written.
    """
    depth = 2 if ARRAYS[name][0] == "stripe" else 1
    chunk = "/".join(["c", str(number)] + ["0"] * depth)
    return work / "dataset.zarr" / arm / name / chunk


def shard_digests(work: Path, number: int) -> dict[str, str]:
    """Name the shards of one exposure by their content.

    Parameters
    ----------
    work : Path
        The work folder.
    number : int
        Position of the exposure in the store.

    Returns
    -------
    dict of str to str
        'ARM/ARRAY' to the digest of its file; an array that has no file (an arm that was
        refused, or nothing but fill values) is not in it.
    """
    paths = {
        f"{arm}/{name}": shard_path(work, arm, name, number) for arm in ARMS for name in ARRAYS
    }
    return {name: file_digest(path) for name, path in paths.items() if path.is_file()}
