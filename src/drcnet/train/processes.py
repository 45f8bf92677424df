"""One training in several processes: which of them this one is, as torchrun says."""

import os
from dataclasses import dataclass

import torch.distributed

__all__ = ["Processes"]


@dataclass(frozen=True)
class Processes:
    """Which process among those that train together it is.

    Parameters
    ----------
    rank : int
        Number of this one; the first, 0, writes the files.
    count : int
        How many there are.
    local : int
        How many of them run on this machine.
    """

    rank: int = 0
    count: int = 1
    local: int = 1

    @classmethod
    def here(cls) -> "Processes":
        """Read what torchrun has put into the environment.

        Returns
        -------
        Processes
            One alone where nothing is there.
        """
        names = ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
        rank, count, local = (int(os.environ.get(n, d)) for n, d in zip(names, "011", strict=True))
        return cls(rank, count, local)

    @property
    def first(self) -> bool:
        """Whether this one writes the files."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all have come here."""
        if self.count > 1:
            torch.distributed.barrier()
