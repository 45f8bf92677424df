"""The errors a user can cause, each with one clear sentence.

Every message says where (the file), what was wanted and what came. The command line turns a
`DrcnetError` into one line on standard error and a non-zero exit code; a batch records it as a
row and goes on.
"""

from pathlib import Path

__all__ = [
    "CatalogError",
    "CheckpointError",
    "ConfigError",
    "DrcnetError",
    "FrameError",
    "NightError",
    "RunError",
    "SpectrumError",
    "StoreError",
    "TrainingError",
]


class DrcnetError(Exception):
    """Something a user can mend.

    Parameters
    ----------
    where : path-like or str
        The file, folder or setting the error is about.
    wanted : str
        What was expected there.
    came : str
        What was found instead.
    """

    def __init__(self, where: str | Path, wanted: str, came: str) -> None:
        self.where = str(where)
        self.wanted = wanted
        self.came = came
        super().__init__(where, wanted, came)

    def __str__(self) -> str:
        """One sentence: where, wanted, came."""
        return f"{self.where}: wanted {self.wanted}, got {self.came}"


class FrameError(DrcnetError):
    """A raw frame cannot be read or used."""


class NightError(DrcnetError):
    """A set of frames cannot be put together: no flat, no red partner, no arc."""


class CatalogError(DrcnetError):
    """A catalogue cannot be read or joined."""


class ConfigError(DrcnetError):
    """A setting is unknown or out of range."""


class RunError(DrcnetError):
    """A run folder lacks what is needed, or its predictions are wrong."""


class SpectrumError(DrcnetError):
    """A 1-D spectrum or a library of spectra cannot be read."""


class StoreError(DrcnetError):
    """A dataset store, index or split is damaged, of another version, or in use."""


class TrainingError(DrcnetError):
    """A training cannot start or go on."""


class CheckpointError(DrcnetError):
    """A checkpoint is damaged or belongs to another model or normalisation."""
