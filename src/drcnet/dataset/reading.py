"""What is asked of a part of a split that is to be read in batches."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from drcnet.dataset.loader import BESIDE, FLAT_BESIDE, FULL, VIEWS, WEIGHED
from drcnet.dataset.profiles import FLAT_ARRAYS
from drcnet.dataset.shards import ARMS
from drcnet.dataset.store import Store, open_arrays
from drcnet.errors import StoreError

__all__ = ["DTYPES", "Batch", "Reading", "part_bytes", "row_bytes"]

_CPU = torch.device("cpu")

DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
"""How pixels lie in memory. The halves hold normalised pixels only: of electrons, bfloat16 would
keep no more than 1 in 256, the depth of a weak line."""


@dataclass(frozen=True)
class Reading:
    """How a part is read.

    Parameters
    ----------
    view : str
        One of `drcnet.dataset.loader.VIEWS`.
    classes : tuple of str
        Class names, in the order of the labels.
    batch_size : int
        Rows a batch.
    seed : int
        Of the order.
    normalize : {'zscore', 'robust', 'none'}
        Per stripe and arm.
    dtype : {'float32', 'bfloat16', 'float16'}
        Of the batches; a half needs normalised pixels.
    memory : int
        Bytes that the pixels may take.
    device : torch.device
        Where the batches shall be.
    """

    view: str
    classes: tuple[str, ...]
    batch_size: int = 32
    seed: int = 1
    normalize: str = "zscore"
    dtype: str = "float32"
    memory: int = 4_000_000_000
    device: torch.device = _CPU

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.view not in VIEWS:
            raise StoreError("view", f"one of {', '.join(VIEWS)}", repr(self.view))
        if self.dtype not in DTYPES:
            raise StoreError("dtype", f"one of {', '.join(DTYPES)}", repr(self.dtype))
        if self.dtype != "float32" and self.normalize == "none":
            raise StoreError("dtype", "float32 for pixels that are not normalised", self.dtype)
        if self.batch_size < 1:
            raise StoreError("batch_size", "an int >= 1", str(self.batch_size))


@dataclass(frozen=True, eq=False)
class Batch:
    """Some stars.

    Parameters
    ----------
    x : Tensor, shape (k, 2, 11, 3000) or (k, 2, 3000)
        Normalised as asked for.
    label : Tensor, shape (k,), int64
        Position of each star's class.
    position : Tensor, shape (k,), int64
        Position of each star in the part, whose rows increase.
    """

    x: Tensor
    label: Tensor
    position: Tensor


def part_bytes(store: Store, n: int, view: str, dtype: str = "float32") -> int:
    """Count the bytes of rows in memory.

    Parameters
    ----------
    store : Store
        Gives the size of a row.
    n : int
        Rows.
    view : str
        One of `drcnet.dataset.loader.VIEWS`.
    dtype : str
        One of `DTYPES`.

    Returns
    -------
    int
        Bytes of the pixels.
    """
    return n * row_bytes(store, view) * DTYPES[dtype].itemsize // 4


def row_bytes(store: Store, view: str) -> int:
    """Count the bytes of one row.

    Parameters
    ----------
    store : Store
        Gives the size of a row.
    view : str
        One of `drcnet.dataset.loader.VIEWS`.

    Returns
    -------
    int
        Bytes of both arms as float32.
    """
    array = open_arrays(store.work)[f"{ARMS[0]}/{VIEWS[view][0]}"]
    values = int(np.prod(array.shape[1:]))
    values *= 1 + len(FLAT_ARRAYS) if view == FLAT_BESIDE else 1
    values *= 2 if view in WEIGHED else 1
    values += array.shape[-1] * ((view in BESIDE) + len(FULL.get(view, ())))
    return len(ARMS) * 4 * values
