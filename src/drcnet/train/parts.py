"""What several runs of one process read: a small model learns faster than its stars are read."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Parts"]

AnyPart = TypeVar("AnyPart")


@dataclass(frozen=True, eq=False)
class Parts:
    """Parts of stores as they were read, the latest used kept; nobody changes them in place.

    Parameters
    ----------
    limit : int, default 0
        Most bytes to keep. A part that alone takes more is read each time.
    rows : ndarray of int64, optional
        Rows of the store that the runs will ask for in all, increasing: what costs as much for
        many rows as for few is then read for all of them at once.
    """

    limit: int = 0
    rows: NDArray[np.int64] | None = None
    _kept: dict[Hashable, tuple[Any, int]] = field(default_factory=dict)

    def get(
        self, key: Hashable, read: Callable[[], AnyPart], size: Callable[[AnyPart], int]
    ) -> AnyPart:
        """Give a part, read if it is not at hand.

        Parameters
        ----------
        key : hashable
            All that the part follows from.
        read : callable
            Reads it.
        size : callable
            Counts its bytes.

        Returns
        -------
        Samples or Augmenter
            What `read` gives; to be left as it is.
        """
        part, taken = self._kept.pop(key, (None, 0))
        if part is None:
            part = read()
            taken = size(part)
        if taken <= self.limit:
            self._kept[key] = (part, taken)
        while sum(one for _, one in self._kept.values()) > self.limit:
            del self._kept[next(iter(self._kept))]
        return part
