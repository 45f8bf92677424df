"""Stars that several runs of one process read: a small model learns faster than they are read."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from drcnet.dataset.loader import Samples

__all__ = ["Parts"]


@dataclass(frozen=True, eq=False)
class Parts:
    """Parts of stores as they were read, the latest used kept; nobody changes them in place.

    Parameters
    ----------
    limit : int, default 0
        Most bytes to keep. A part that alone takes more is read each time.
    """

    limit: int = 0
    _kept: dict[Hashable, Samples] = field(default_factory=dict)

    def get(self, key: Hashable, read: Callable[[], Samples]) -> Samples:
        """Give a part, read if it is not at hand.

        Parameters
        ----------
        key : hashable
            All that the stars follow from.
        read : callable
            Reads them.

        Returns
        -------
        Samples
            To be left as they are.
        """
        samples = self._kept.pop(key, None)
        if samples is None:
            samples = read()
        if samples.x.nbytes <= self.limit:
            self._kept[key] = samples
        while sum(one.x.nbytes for one in self._kept.values()) > self.limit:
            del self._kept[next(iter(self._kept))]
        return samples
