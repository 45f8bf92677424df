"""Maxima of pairs along wavelength: on a CPU by a kernel, in a quarter of PyTorch's time."""

from typing import Any

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor, nn

from drcnet.models.kernel_memory import (
    FAST,
    PIECES,
    as_rows,
    is_channels_last,
    kernels_apply,
    load,
    run,
)

__all__ = ["Pool"]


class Pool(nn.MaxPool2d):
    """Maximum of pairs along wavelength; on a CPU by a kernel, a quarter of PyTorch's time."""

    def __init__(self) -> None:
        super().__init__((1, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Take the greater of two neighbours.

        Parameters
        ----------
        x : Tensor, shape (N, C, 1, L)
            Features.

        Returns
        -------
        Tensor, shape (N, C, 1, L // 2)
            Features; the last place of an odd length is left out.
        """
        if kernels_apply(x) and x.shape[2] == 1 and x.shape[3] > 1 and is_channels_last(x):
            return _MaxOfPairs.apply(x)
        return super().forward(x)


class _MaxOfPairs(torch.autograd.Function):
    """Forward and backward of `Pool`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        n, channels, _, length = x.shape
        out = x.new_empty(n, channels, 1, length // 2)
        out = out.contiguous(memory_format=torch.channels_last)
        run(_pool, as_rows(x), as_rows(out), n, length, channels)
        ctx.save_for_backward(x)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        n, channels, _, length = x.shape
        out = torch.empty_like(x, memory_format=torch.channels_last)
        grad = as_rows(grads[0].contiguous(memory_format=torch.channels_last))
        run(_back_pool, as_rows(x), grad, as_rows(out), n, length, channels)
        return out


@njit(fastmath=FAST, cache=True, nogil=True)
def _pool_piece(  # noqa: PLR0917
    x: Any, out: Any, stars: int, length: int, channels: int, piece: int
) -> None:  # pragma: no cover
    """Write the greater of each two neighbours."""
    half = length // 2
    for star in range(stars * piece // PIECES, stars * (piece + 1) // PIECES):
        for pair in range(half):
            here = (star * length + 2 * pair) * channels
            a, b = x[here : here + channels], x[here + channels : here + 2 * channels]
            to = (star * half + pair) * channels
            greater = out[to : to + channels]
            for c in range(channels):
                greater[c] = a[c] if load(a[c]) >= load(b[c]) else b[c]


@njit(fastmath=FAST, cache=True, nogil=True)
def _back_pool_piece(  # noqa: PLR0917
    x: Any, grad: Any, out: Any, stars: int, length: int, channels: int, piece: int
) -> None:  # pragma: no cover
    """Give the gradient to the greater of each two neighbours, the first where they are equal."""
    half = length // 2
    nothing = np.zeros(1, grad.dtype)[0]
    for star in range(stars * piece // PIECES, stars * (piece + 1) // PIECES):
        for pair in range(half):
            here = (star * length + 2 * pair) * channels
            a, b = x[here : here + channels], x[here + channels : here + 2 * channels]
            to_a, to_b = out[here : here + channels], out[here + channels : here + 2 * channels]
            at = (star * half + pair) * channels
            slope = grad[at : at + channels]
            for c in range(channels):
                of_a = load(a[c]) >= load(b[c])
                to_a[c] = slope[c] if of_a else nothing
                to_b[c] = nothing if of_a else slope[c]
        if length % 2:
            end = (star + 1) * length * channels
            out[end - channels : end] = nothing


@njit(parallel=True, cache=True)
def _pool(x: Any, out: Any, stars: int, length: int, channels: int) -> None:  # pragma: no cover
    for piece in prange(PIECES):
        _pool_piece(x, out, stars, length, channels, piece)


@njit(parallel=True, cache=True)
def _back_pool(  # noqa: PLR0917
    x: Any, grad: Any, out: Any, stars: int, length: int, channels: int
) -> None:  # pragma: no cover
    for piece in prange(PIECES):
        _back_pool_piece(x, grad, out, stars, length, channels, piece)
