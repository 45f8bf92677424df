"""Numbers as they lie in memory, and threads that share a kernel's work: for compiled kernels.

Arrays are channels-last tensors, flat; bfloat16 as its bits. A wide row of `WIDE` numbers holds
the channels of some places one after the other; arrays are whole rows. Work is cut into `PIECES`,
which any number of threads share.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from numba import njit
from numba.extending import intrinsic, overload
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "FAST",
    "LEAST",
    "PIECES",
    "WIDE",
    "as_rows",
    "bounds",
    "cut",
    "gather",
    "is_channels_last",
    "keep",
    "kernels_apply",
    "load",
    "run",
]

WIDE = 128
"""Numbers at once: a multiple of every number of channels that is taken."""

LEAST = 2**18
"""Numbers of the smallest tensor that a kernel is called for: below, calling it takes longer."""

PIECES = 64
"""Partial sums, whatever the number of threads."""

FAST = {"nsz", "contract", "reassoc"}
"""What a compiled sum may be freed of; not of NaN, which must reach the loss."""

_MOST: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]


def kernels_apply(x: Tensor) -> bool:
    """Tell whether something is learnt from a tensor that kernels can read, and are faster with.

    Parameters
    ----------
    x : Tensor
        What a layer is given.

    Returns
    -------
    bool
        False on a GPU, where nothing is learnt, under vmap and under a compiler, which fuses
        by itself; and for a small tensor, which lies in the cache anyway.
    """
    return (
        not torch.compiler.is_compiling()
        and torch.is_grad_enabled()
        and x.numel() >= LEAST
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and not torch._C._functorch.is_functorch_wrapped_tensor(x)  # noqa: SLF001  no vmap
    )


def is_channels_last(x: Tensor) -> bool:
    """Tell how an image lies in memory.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W)
        The image.

    Returns
    -------
    bool
        Whether the channels of a place lie beside each other.
    """
    return x.is_contiguous(memory_format=torch.channels_last)


def as_rows(x: Tensor) -> NDArray[Any]:
    """Give a channels-last tensor as it lies in memory.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W)
        Channels-last.

    Returns
    -------
    ndarray, shape (size,)
        The same memory; bfloat16 as uint16.
    """
    flat = x.detach().permute(0, 2, 3, 1).reshape(-1)
    return flat.view(torch.uint16).numpy() if flat.dtype == torch.bfloat16 else flat.numpy()


@intrinsic
def _bits_to_float(_typing: Any, _bits: Any) -> Any:
    """Take the bits of a uint32 for a float32."""
    return _cast(numba.types.float32, numba.types.uint32)


@intrinsic
def _float_to_bits(_typing: Any, _value: Any) -> Any:
    """Take a float32 for its bits."""
    return _cast(numba.types.uint32, numba.types.float32)


def _cast(into: Any, out_of: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.bitcast(values[0], context.get_value_type(into))

    return into(out_of), generate


def load(value: Any) -> Any:
    """Make a number of how it lies in memory; in compiled code only.

    Parameters
    ----------
    value : float32 or uint16
        The latter: the bits of a bfloat16.

    Returns
    -------
    float32
        The number.
    """
    raise NotImplementedError


@overload(load, inline="always", strict=False)
def _load_compiled(value: Any) -> Callable[[Any], Any]:
    if isinstance(value, numba.types.Integer):
        return lambda value: _bits_to_float(np.uint32(np.uint32(value) << np.uint32(16)))  # type: ignore[call-arg]
    return lambda value: value


def keep(out: Any, place: Any, value: Any) -> None:
    """Put a number into memory, as bfloat16 the nearest, ties to even; in compiled code only.

    Parameters
    ----------
    out : ndarray of float32 or uint16
        Where to.
    place : int
        At which place.
    value : float32
        The number.
    """
    raise NotImplementedError


@overload(keep, inline="always", strict=False)
def _keep_compiled(  # the names are those of `keep`
    out: Any,
    place: Any,  # noqa: ARG001
    value: Any,  # noqa: ARG001
) -> Callable[[Any, Any, Any], None]:
    if isinstance(out.dtype, numba.types.Integer):

        def keep(out: Any, place: Any, value: Any) -> None:
            bits: Any = _float_to_bits(np.float32(value))  # type: ignore[call-arg]
            odd = np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1))
            rounded = np.uint32(bits + np.uint32(np.uint32(0x7FFF) + odd))
            out[place] = np.uint16(np.uint32(rounded >> np.uint32(16)))

        return keep

    def keep_float(out: Any, place: Any, value: Any) -> None:
        out[place] = value

    return keep_float


@njit(cache=True)
def bounds(size: int, piece: int) -> tuple[int, int]:  # pragma: no cover (compiled)
    """Find first and last wide row of a piece.

    Parameters
    ----------
    size : int
        Numbers in all.
    piece : int
        Which.

    Returns
    -------
    tuple of int
        First row, and the row to stop at.
    """
    rows = size // WIDE
    return piece * rows // PIECES, (piece + 1) * rows // PIECES


@njit(inline="always")
def cut(values: Any, row: int) -> Any:  # pragma: no cover (compiled)
    """Cut out a wide row.

    Parameters
    ----------
    values : ndarray, shape (size,)
        All.
    row : int
        Which row.

    Returns
    -------
    ndarray, shape (WIDE,)
        No copy.
    """
    return values[row * WIDE : (row + 1) * WIDE]


def run(kernel: Callable[..., None], *arrays: Any) -> None:
    """Run a kernel with as many threads as torch has.

    Numba and PyTorch share OpenMP's threads where both use it; Numba, as it starts, sets their
    number for both.

    Parameters
    ----------
    kernel : callable
        Compiled, parallel.
    *arrays : ndarray or int
        Its arguments.
    """
    threads = torch.get_num_threads()
    numba.set_num_threads(min(threads, _MOST))
    kernel(*arrays)
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def gather(kernel: Callable[..., None], count: int, *arrays: Any) -> list[NDArray[np.float32]]:
    """Run a kernel that fills partial sums.

    Parameters
    ----------
    kernel : callable
        Compiled, parallel; its last arguments are `count` partial sums.
    count : int
        How many.
    *arrays : ndarray
        Its arguments before those.

    Returns
    -------
    list of ndarray, shape (PIECES, WIDE)
        Filled.
    """
    partial = [np.zeros((PIECES, WIDE), np.float32) for _ in range(count)]
    run(kernel, *arrays, *partial)
    return partial
