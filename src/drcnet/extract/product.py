"""One arm of one exposure, extracted: what the files and the page are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drcnet.config import StripeSettings
from drcnet.errors import FrameError
from drcnet.frames.frame import Frame
from drcnet.stripes.measure import ArmStripes
from drcnet.stripes.polynomial import chebyshev_basis
from drcnet.stripes.trace import TraceSet

__all__ = ["ArmProduct"]


@dataclass(frozen=True, eq=False)
class ArmProduct:
    """Everything measured on one frame; row i of every array is fibre i + 1.

    Parameters
    ----------
    frame : Frame
        The science frame.
    stripes : ArmStripes
        Stripes, extractions, sky, flags.
    traces : TraceSet
        Where the fibres run on this very frame.
    settings : StripeSettings
        Which rows, how wide.
    throughput : ndarray, shape (n,)
        Median throughput relative to the typical fibre; NaN where unknown.
    confidence : float
        Of the fibres' identity, 0 to 1; 1 on a long slit, which has one trace.
    arc_rms : ndarray, shape (n,)
        Rms of the arc's lines about the wavelengths, pixels; NaN where nominal.
    notes : Mapping
        What was done and measured, plain values.
    provenance : Mapping
        From `make_provenance`.
    """

    frame: Frame
    stripes: ArmStripes
    traces: TraceSet
    settings: StripeSettings
    throughput: NDArray[np.float64]
    confidence: float
    arc_rms: NDArray[np.float64]
    notes: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Hold the invariants of shape."""
        n = len(self.traces)
        for name in ("throughput", "arc_rms"):
            came = getattr(self, name).shape
            if came != (n,):
                raise FrameError("ArmProduct", f"{name} of shape ({n},)", str(came))

    @property
    def rows(self) -> NDArray[np.int64]:
        """Frame rows of the stripes; shape (rows,)."""
        return np.arange(self.settings.row_start, self.settings.row_stop)

    @cached_property
    def wavelength(self) -> NDArray[np.float64]:
        """Vacuum angstrom; shape (n, rows)."""
        degree = self.stripes.wavelength.shape[1] - 1
        return self.stripes.wavelength @ chebyshev_basis(self.rows, self.traces.n_wave, degree)

    @property
    def has_sky(self) -> bool:
        """Whether a sky was measured and is taken off the flux."""
        return bool(np.isfinite(self.stripes.sky).any())

    @cached_property
    def flux(self) -> NDArray[np.float32]:
        """Optimal extraction less the sky where there is one, electrons; shape (n, rows)."""
        sky = self.stripes.sky
        return self.stripes.optimal - np.where(np.isfinite(sky), sky, np.float32(0))
