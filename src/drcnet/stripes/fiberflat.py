"""Every fibre's light over its throughput: as if all fibres were alike."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from drcnet.errors import FrameError
from drcnet.stripes.measure import ArmStripes

__all__ = ["divide_fibers"]


def divide_fibers(measured: ArmStripes, throughput: NDArray[np.float32]) -> ArmStripes:
    """Divide stripes, extractions and sky by the fibres' relative throughput.

    Parameters
    ----------
    measured : ArmStripes
        One arm of one exposure.
    throughput : ndarray, shape (n, rows), float32
        Light of each fibre on the flat relative to the typical fibre, for the stripes' rows; NaN
        for dead fibres, which stay as they are.

    Returns
    -------
    ArmStripes
        In electrons of the typical fibre; inverse variances, gain and read noise follow (the
        last two by the median over rows), so that S/N is the same.

    Raises
    ------
    FrameError
        The throughput is of another shape.
    """
    if throughput.shape != measured.optimal.shape:
        wanted = f"a throughput of shape {measured.optimal.shape}"
        raise FrameError("divide_fibers", wanted, str(throughput.shape))
    share = np.where(throughput > 0, throughput, 1).astype(np.float32)
    typical = np.median(share, axis=1)
    stripes = measured.stripes / share[:, None]
    return replace(
        measured,
        stripes=(np.rint(4 * stripes) / 4).astype(np.float32),  # as stripes are kept
        box=(measured.box / share).astype(np.float32),
        box_ivar=measured.box_ivar * share**2,
        optimal=(measured.optimal / share).astype(np.float32),
        optimal_ivar=measured.optimal_ivar * share**2,
        gain=(measured.gain / typical).astype(np.float32),
        read_noise=(measured.read_noise / typical).astype(np.float32),
        sky=(measured.sky / share).astype(np.float32),
        notes={**measured.notes, "fiber_flat": True},
    )
