"""What several commands read alike: settings (file, then flags) and lists of run folders."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drcnet.config import Settings, load_settings
from drcnet.errors import RunError

__all__ = ["find_runs", "read_settings"]


def read_settings(config: Path | None, flags: Mapping[str, Any]) -> Settings:
    """Read the file and lay the flags over it.

    Parameters
    ----------
    config : Path or None
        TOML file.
    flags : Mapping
        Dotted key to value; None means the flag was not given.

    Returns
    -------
    Settings
        All stages.
    """
    given = {key: value for key, value in flags.items() if value is not None}
    return load_settings(config, Settings, given)


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """Find run folders.

    Parameters
    ----------
    paths : sequence of Path
        Run folders, or folders of run folders.

    Returns
    -------
    list of Path
        Every run folder once, in the order given, then by name.

    Raises
    ------
    RunError
        A path is neither.
    """
    found: list[Path] = []
    for path in paths:
        inside = [path] if _is_run(path) else sorted(filter(_is_run, path.glob("*")))
        if not inside:
            came = "a folder without predictions.parquet" if path.is_dir() else "no such folder"
            raise RunError(path, "a run folder, or a folder of runs", came)
        found += inside
    return list(dict.fromkeys(found))


def _is_run(path: Path) -> bool:
    return (path / "predictions.parquet").exists()
