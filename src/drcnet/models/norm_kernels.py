"""Kernels of `drcnet.models.fused`, compiled for the processor at their first use and kept.

Numbers of the channels (`scale`, `shift`, ...) are repeated to the length of a wide row
(`drcnet.models.kernel_memory`). Each kernel is a loop over pieces, in parallel, and what is done
to a piece, compiled apart: in one, numbers would be taken one at a time.
"""

from typing import Any

import numpy as np
from numba import njit, prange

from drcnet.models.kernel_memory import FAST, PIECES, WIDE, bounds, cut, keep, load

__all__ = [
    "back_sums",
    "back_sums_two",
    "back_write",
    "back_write_two",
    "sums",
    "write",
    "write_sum",
]


@njit(parallel=True, cache=True)
def sums(x: Any, origin: Any, total: Any, squares: Any) -> None:  # pragma: no cover (compiled)
    """Add up values and squares.

    Parameters
    ----------
    x : ndarray, shape (size,)
        What the convolution gave: the one branch.
    origin : ndarray, shape (WIDE,)
        Taken off first, near the mean.
    total : ndarray, shape (PIECES, WIDE)
        Filled: sums of values.
    squares : ndarray, shape (PIECES, WIDE)
        Filled: sums of squares.
    """
    for piece in prange(PIECES):
        _sums(x, origin, total, squares, piece)


@njit(parallel=True, cache=True)
def write(x: Any, scale: Any, shift: Any, out: Any) -> None:  # pragma: no cover (compiled)
    """Write ReLU(scale x + shift).

    Parameters
    ----------
    x : ndarray, shape (size,)
        What the convolution gave: the one branch.
    scale : ndarray, shape (WIDE,)
        Factor of `x`.
    shift : ndarray, shape (WIDE,)
        Added to the sum, before ReLU.
    out : ndarray
        Filled: the result.
    """
    for piece in prange(PIECES):
        _write(x, scale, shift, out, piece)


@njit(parallel=True, cache=True)
def write_sum(  # noqa: PLR0917
    x: Any, z: Any, scale: Any, other: Any, shift: Any, out: Any
) -> None:  # pragma: no cover (compiled)
    """Write ReLU(scale x + other z + shift).

    Parameters
    ----------
    x : ndarray, shape (size,)
        What the convolution gave: the one branch.
    z : ndarray, shape (size,)
        The other branch.
    scale : ndarray, shape (WIDE,)
        Factor of `x`.
    other : ndarray, shape (WIDE,)
        Factor of `z`.
    shift : ndarray, shape (WIDE,)
        Added to the sum, before ReLU.
    out : ndarray
        Filled: the result.
    """
    for piece in prange(PIECES):
        _write_sum(x, z, scale, other, shift, out, piece)


@njit(parallel=True, cache=True)
def back_sums(  # noqa: PLR0917
    x: Any, grad: Any, scale: Any, shift: Any, mean: Any, plain: Any, product: Any
) -> None:  # pragma: no cover (compiled)
    """Add up what the gradients of weight and bias need.

    Parameters
    ----------
    x : ndarray, shape (size,)
        What the convolution gave: the one branch.
    grad : ndarray, shape (size,)
        Gradient of the result.
    scale : ndarray, shape (WIDE,)
        Factor of `x`.
    shift : ndarray, shape (WIDE,)
        Added to the sum, before ReLU.
    mean : ndarray, shape (WIDE,)
        Mean of `x`.
    plain : ndarray, shape (PIECES, WIDE)
        Filled: sums of the gradient that ReLU lets through, g.
    product : ndarray, shape (PIECES, WIDE)
        Filled: sums of g (x - mean).
    """
    for piece in prange(PIECES):
        _back_sums(x, grad, scale, shift, mean, plain, product, piece)


@njit(parallel=True, cache=True)
def back_write(  # noqa: PLR0917
    x: Any, grad: Any, scale: Any, shift: Any, slope_x: Any, rest: Any, out: Any
) -> None:  # pragma: no cover (compiled)
    """Write the gradient of the one branch.

    Parameters
    ----------
    x : ndarray, shape (size,)
        What the convolution gave: the one branch.
    grad : ndarray, shape (size,)
        Gradient of the result.
    scale : ndarray, shape (WIDE,)
        Factor of `x`.
    shift : ndarray, shape (WIDE,)
        Added to the sum, before ReLU.
    slope_x : ndarray, shape (WIDE,)
        What of the gradient goes with `x`.
    rest : ndarray, shape (WIDE,)
        What is the same for all places.
    out : ndarray
        Filled: the result.
    """
    for piece in prange(PIECES):
        _back_write(x, grad, scale, shift, slope_x, rest, out, piece)


@njit(parallel=True, cache=True)
def back_sums_two(  # noqa: PLR0917
    x: Any,
    z: Any,
    grad: Any,
    scale: Any,
    other: Any,
    shift: Any,
    mean_x: Any,
    mean_z: Any,
    plain: Any,
    of_x: Any,
    of_z: Any,
) -> None:  # pragma: no cover (compiled)
    """Add up what the gradients of both weights and biases need.

    Parameters
    ----------
    x : ndarray, shape (size,)
        What the convolution gave: the one branch.
    z : ndarray, shape (size,)
        The other branch.
    grad : ndarray, shape (size,)
        Gradient of the result.
    scale : ndarray, shape (WIDE,)
        Factor of `x`.
    other : ndarray, shape (WIDE,)
        Factor of `z`.
    shift : ndarray, shape (WIDE,)
        Added to the sum, before ReLU.
    mean_x : ndarray, shape (WIDE,)
        Mean of `x`.
    mean_z : ndarray, shape (WIDE,)
        Mean of `z`.
    plain : ndarray, shape (PIECES, WIDE)
        Filled: sums of the gradient that ReLU lets through, g.
    of_x : ndarray, shape (PIECES, WIDE)
        Filled: sums of g (x - mean_x).
    of_z : ndarray, shape (PIECES, WIDE)
        Filled: sums of g (z - mean_z).
    """
    for piece in prange(PIECES):
        _back_sums_two(x, z, grad, scale, other, shift, mean_x, mean_z, plain, of_x, of_z, piece)


@njit(parallel=True, cache=True)
def back_write_two(  # noqa: PLR0917
    x: Any,
    z: Any,
    grad: Any,
    scale: Any,
    other: Any,
    shift: Any,
    slope_x: Any,
    rest_x: Any,
    slope_z: Any,
    rest_z: Any,
    out_x: Any,
    out_z: Any,
) -> None:  # pragma: no cover (compiled)
    """Write the gradients of both branches.

    Parameters
    ----------
    x : ndarray, shape (size,)
        What the convolution gave: the one branch.
    z : ndarray, shape (size,)
        The other branch.
    grad : ndarray, shape (size,)
        Gradient of the result.
    scale : ndarray, shape (WIDE,)
        Factor of `x`.
    other : ndarray, shape (WIDE,)
        Factor of `z`.
    shift : ndarray, shape (WIDE,)
        Added to the sum, before ReLU.
    slope_x : ndarray, shape (WIDE,)
        What of the gradient goes with `x`.
    rest_x : ndarray, shape (WIDE,)
        What of that of `x` is the same for all places.
    slope_z : ndarray, shape (WIDE,)
        What of the gradient goes with `z`.
    rest_z : ndarray, shape (WIDE,)
        What of that of `z` is the same for all places.
    out_x : ndarray, shape (size,)
        Filled: gradient of `x`.
    out_z : ndarray, shape (size,)
        Filled: gradient of `z`.
    """
    for piece in prange(PIECES):
        _back_write_two(
            x, z, grad, scale, other, shift, slope_x, rest_x, slope_z, rest_z, out_x, out_z, piece
        )


# Rows are cut out first: of a cut the compiler knows length and beginning, and takes many numbers
# at once (8 times faster).
# Sums are gathered in arrays that nothing else can point to.


@njit(fastmath=FAST, cache=True, nogil=True)
def _sums(x: Any, origin: Any, total: Any, squares: Any, piece: int) -> None:  # pragma: no cover
    """Add up values and squares, of one piece."""
    start, stop = bounds(x.size, piece)
    one, two = np.zeros(WIDE, np.float32), np.zeros(WIDE, np.float32)
    for row in range(start, stop):
        x_row = cut(x, row)
        for c in range(WIDE):
            value = load(x_row[c]) - origin[c]
            one[c] += value
            two[c] += value * value
    total[piece], squares[piece] = one, two


@njit(fastmath=FAST, cache=True, nogil=True)
def _write(x: Any, scale: Any, shift: Any, out: Any, piece: int) -> None:  # pragma: no cover
    """Write ReLU(scale x + shift), of one piece."""
    start, stop = bounds(x.size, piece)
    for row in range(start, stop):
        x_row = cut(x, row)
        out_row = cut(out, row)
        for c in range(WIDE):
            value = load(x_row[c]) * scale[c] + shift[c]
            value = np.float32(0) if value < 0 else value
            keep(out_row, c, value)


@njit(fastmath=FAST, cache=True, nogil=True)
def _write_sum(  # noqa: PLR0917
    x: Any, z: Any, scale: Any, other: Any, shift: Any, out: Any, piece: int
) -> None:  # pragma: no cover
    """Write ReLU(scale x + other z + shift), of one piece."""
    start, stop = bounds(x.size, piece)
    for row in range(start, stop):
        x_row = cut(x, row)
        z_row = cut(z, row)
        out_row = cut(out, row)
        for c in range(WIDE):
            value = load(x_row[c]) * scale[c] + load(z_row[c]) * other[c] + shift[c]
            value = np.float32(0) if value < 0 else value
            keep(out_row, c, value)


@njit(fastmath=FAST, cache=True, nogil=True)
def _back_sums(  # noqa: PLR0917
    x: Any,
    grad: Any,
    scale: Any,
    shift: Any,
    mean: Any,
    plain: Any,
    product: Any,
    piece: int,
) -> None:  # pragma: no cover
    """Add up what the gradients of weight and bias need, of one piece."""
    start, stop = bounds(x.size, piece)
    one, two = np.zeros(WIDE, np.float32), np.zeros(WIDE, np.float32)
    for row in range(start, stop):
        x_row = cut(x, row)
        grad_row = cut(grad, row)
        for c in range(WIDE):
            value, slope = load(x_row[c]), load(grad_row[c])
            slope = slope if value * scale[c] + shift[c] > 0 else np.float32(0)
            one[c] += slope
            two[c] += slope * (value - mean[c])
    plain[piece], product[piece] = one, two


@njit(fastmath=FAST, cache=True, nogil=True)
def _back_write(  # noqa: PLR0917
    x: Any,
    grad: Any,
    scale: Any,
    shift: Any,
    slope_x: Any,
    rest: Any,
    out: Any,
    piece: int,
) -> None:  # pragma: no cover
    """Write the gradient of the one branch, of one piece."""
    start, stop = bounds(x.size, piece)
    for row in range(start, stop):
        x_row = cut(x, row)
        grad_row = cut(grad, row)
        out_row = cut(out, row)
        for c in range(WIDE):
            value, slope = load(x_row[c]), load(grad_row[c])
            slope = slope if value * scale[c] + shift[c] > 0 else np.float32(0)
            keep(out_row, c, slope * scale[c] + value * slope_x[c] + rest[c])


@njit(fastmath=FAST, cache=True, nogil=True)
def _back_sums_two(  # noqa: PLR0917
    x: Any,
    z: Any,
    grad: Any,
    scale: Any,
    other: Any,
    shift: Any,
    mean_x: Any,
    mean_z: Any,
    plain: Any,
    of_x: Any,
    of_z: Any,
    piece: int,
) -> None:  # pragma: no cover
    """Add up what the gradients of both weights and biases need, of one piece."""
    start, stop = bounds(x.size, piece)
    one, two = np.zeros(WIDE, np.float32), np.zeros(WIDE, np.float32)
    three = np.zeros(WIDE, np.float32)
    for row in range(start, stop):
        x_row = cut(x, row)
        z_row = cut(z, row)
        grad_row = cut(grad, row)
        for c in range(WIDE):
            a, b, slope = load(x_row[c]), load(z_row[c]), load(grad_row[c])
            slope = slope if a * scale[c] + b * other[c] + shift[c] > 0 else np.float32(0)
            one[c] += slope
            two[c] += slope * (a - mean_x[c])
            three[c] += slope * (b - mean_z[c])
    plain[piece], of_x[piece], of_z[piece] = one, two, three


@njit(fastmath=FAST, cache=True, nogil=True)
def _back_write_two(  # noqa: PLR0917
    x: Any,
    z: Any,
    grad: Any,
    scale: Any,
    other: Any,
    shift: Any,
    slope_x: Any,
    rest_x: Any,
    slope_z: Any,
    rest_z: Any,
    out_x: Any,
    out_z: Any,
    piece: int,
) -> None:  # pragma: no cover
    """Write the gradients of both branches, of one piece."""
    start, stop = bounds(x.size, piece)
    for row in range(start, stop):
        x_row = cut(x, row)
        z_row = cut(z, row)
        grad_row = cut(grad, row)
        out_x_row = cut(out_x, row)
        out_z_row = cut(out_z, row)
        for c in range(WIDE):
            a, b, slope = load(x_row[c]), load(z_row[c]), load(grad_row[c])
            slope = slope if a * scale[c] + b * other[c] + shift[c] > 0 else np.float32(0)
            keep(out_x_row, c, slope * scale[c] + a * slope_x[c] + rest_x[c])
            keep(out_z_row, c, slope * other[c] + b * slope_z[c] + rest_z[c])
