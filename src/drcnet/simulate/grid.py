"""A grid of synthetic spectra: computed where needed, kept on disk, interpolated.

Only the nodes that some star needs are computed. Each is a file of its own in a folder named by
the hash of everything that made it, so an interrupted run goes on where it stopped and no stale
node is ever read.
"""

import hashlib
import itertools
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drcnet.errors import SpectrumError
from drcnet.provenance import atomic_write
from drcnet.simulate.spectra import rest_grid
from drcnet.simulate.synthesis import all_lines, synthesize

__all__ = ["FEH", "LOGG", "TEFF", "Progress", "SpectrumGrid", "cache_folder"]

TEFF = (
    *(3400.0, 3550.0, 3700.0, 3900.0, 4100.0, 4350.0, 4600.0, 4900.0, 5200.0, 5550.0),
    *(5900.0, 6300.0, 6750.0, 7250.0, 7800.0, 8450.0, 9200.0, 10000.0),
)
LOGG = (0.5, 2.0, 3.25, 4.25, 5.0)
FEH = (-1.5, -0.8, -0.2, 0.4)
_PHYSICS = (
    *("elements.csv", "lines.csv", "veil.csv", "bands.csv", "titanium_oxide.csv"),
    *("elements.py", "opacity.py", "atmosphere.py", "molecules.py", "hydrogen.py", "lines.py"),
    *("voigt.py", "transfer.py", "synthesis.py"),
)

Node = tuple[float, float, float]
Progress = Callable[[int, int], None]


def cache_folder() -> Path:
    """Choose the folder in which grids are kept between runs.

    Returns
    -------
    Path
        `DRCNET_CACHE` where set, else `drcnet` in `XDG_CACHE_HOME` or in `~/.cache`.
    """
    named = os.environ.get("DRCNET_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "drcnet"


def _fingerprint(lines: Path | None) -> str:
    """Hash the tables and the code of the physics, the wavelengths and a user's line list."""
    sha = hashlib.sha256(rest_grid().tobytes())
    room = resources.files("drcnet.simulate")
    for name in _PHYSICS:
        sha.update(room.joinpath(name).read_bytes())
    if lines is not None:
        try:
            sha.update(lines.read_bytes())
        except OSError as err:
            raise SpectrumError(lines, "a CSV table of lines", str(err)) from err
    return sha.hexdigest()[:16]


def _window(axis: tuple[float, ...], value: float) -> tuple[int, NDArray[np.float64]]:
    """First of four neighbouring nodes, and their Lagrange weights at `value`."""
    right = int(np.searchsorted(axis, value))
    first = min(max(right - 2, 0), len(axis) - 4)
    nodes = np.array(axis[first : first + 4])
    weights = [np.prod([(value - q) / (p - q) for q in nodes if q != p]) for p in nodes]
    return first, np.array(weights)


@dataclass(frozen=True)
class SpectrumGrid:
    """Spectra of any star by cubic interpolation of ln(flux) in 1/Teff, log g and [Fe/H].

    Parameters
    ----------
    lines : Path, optional
        A fuller line list in place of the shipped one.
    folder : Path, optional
        Where nodes are kept; None: `cache_folder`.
    workers : int, optional
        Threads that compute nodes (the work holds no interpreter lock); None: one a core.
    """

    lines: Path | None = None
    folder: Path | None = None
    workers: int | None = None

    @property
    def home(self) -> Path:
        """Folder of this grid's nodes, named by what made them."""
        return (self.folder or cache_folder()) / f"builtin-{_fingerprint(self.lines)}"

    def interpolate(
        self, parameters: NDArray[np.float64], progress: Progress | None = None
    ) -> NDArray[np.float64]:
        """Make the spectra of many stars.

        Parameters
        ----------
        parameters : ndarray, shape (n_star, 3)
            Teff (K), log g, [Fe/H], inside the grid.
        progress : callable, optional
            Called with the nodes done and wanted as they are computed.

        Returns
        -------
        ndarray, shape (n_star, n_pix)
            Flux per angstrom on `rest_grid`.

        Raises
        ------
        SpectrumError
            A star lies outside the grid.
        """
        parameters = np.asarray(parameters, float)
        low, high = np.array([(a[0], a[-1]) for a in (TEFF, LOGG, FEH)]).T
        if np.any((parameters < low) | (parameters > high)):
            wanted = f"Teff, log g, [Fe/H] within {low.tolist()} and {high.tolist()}"
            worst = parameters[np.any((parameters < low) | (parameters > high), axis=1)][0]
            raise SpectrumError("built-in stars", wanted, str(worst.tolist()))
        stencils = [self._stencil(*row) for row in parameters]
        nodes = self.compute({node for stencil in stencils for node in stencil}, progress)
        order = {node: i for i, node in enumerate(nodes)}
        table = np.stack(list(nodes.values()))
        out = np.empty((len(parameters), table.shape[1]))
        for i, stencil in enumerate(stencils):
            rows = [order[node] for node in stencil]
            out[i] = np.exp(np.array(list(stencil.values())) @ table[rows])
        return out

    @staticmethod
    def _stencil(teff: float, logg: float, feh: float) -> dict[Node, float]:
        """Sixty-four nodes around a star and their weights."""
        inverse = tuple(-1e4 / t for t in TEFF)
        spans = [_window(inverse, -1e4 / teff), _window(LOGG, logg), _window(FEH, feh)]
        (i, a), (j, b), (k, c) = spans
        found = {}
        for p, q, r in itertools.product(range(4), repeat=3):
            weight = float(a[p] * b[q] * c[r])
            if abs(weight) > 1e-12:
                found[TEFF[i + p], LOGG[j + q], FEH[k + r]] = weight
        return found

    def compute(
        self, nodes: Iterable[Node], progress: Progress | None = None
    ) -> dict[Node, NDArray[np.float32]]:
        """Read the nodes that are on disk and compute the others.

        Parameters
        ----------
        nodes : iterable of tuple
            Teff, log g, [Fe/H].
        progress : callable, optional
            Called with the nodes done and wanted.

        Returns
        -------
        dict of tuple to ndarray, shape (n_pix,)
            Natural logarithm of flux over its median.
        """
        home = self.home
        wanted = sorted(set(nodes))
        done = {node: _read_node(_node_path(home, node)) for node in wanted}
        missing = [node for node in wanted if done[node] is None]
        if missing:
            lines = all_lines(self.lines)
            pool = ThreadPoolExecutor(self.workers or _cores())
            try:
                tasks = {pool.submit(_make_node, home, node, lines): node for node in missing}
                for count, task in enumerate(as_completed(tasks), start=1):
                    done[tasks[task]] = task.result()
                    if progress is not None:
                        progress(count, len(missing))
            finally:
                # After an interrupt or an error, nodes that have not begun are not begun.
                pool.shutdown(cancel_futures=True)
        return {node: flux for node, flux in done.items() if flux is not None}


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _node_path(home: Path, node: Node) -> Path:
    teff, logg, feh = node
    return home / f"t{teff:05.0f}_g{logg:.2f}_m{feh:+.2f}.npy"


def _read_node(path: Path) -> NDArray[np.float32] | None:
    """Return a node, or None where it is absent or damaged, and so to be made again."""
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    fits = values.shape == rest_grid().shape and values.dtype == np.float32
    return values if fits and bool(np.isfinite(values).all()) else None


def _make_node(home: Path, node: Node, lines: object) -> NDArray[np.float32]:
    flux = synthesize(*node, rest_grid(), lines)  # type: ignore[arg-type]
    values = np.log(flux / np.median(flux)).astype(np.float32)
    with atomic_write(_node_path(home, node)) as path:
        np.save(path, values)
    return values
