"""Batch normalisation, the sum of two branches and ReLU in two passes over memory, on a CPU.

Apart, they go over the network's largest arrays nine times forward and back, and take two thirds
of a training step once convolutions run in bfloat16. Here one pass adds up means and variances,
one writes the result; backward one adds up, one writes. The numbers are PyTorch's to rounding
(Ioffe & Szegedy 2015, algorithm 1), and the same bits whatever the number of threads, as the
pieces that are summed do not depend on it. Where this does not apply (a GPU, evaluation, another
layout) PyTorch's own operations do the same.

Shapes: M places (stars and wavelengths), C channels beside each other in memory (channels-last).
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import relu

from drcnet.models.kernel_memory import (
    WIDE,
    as_rows,
    gather,
    is_channels_last,
    kernels_apply,
    run,
)
from drcnet.models.norm_kernels import (
    back_sums,
    back_sums_two,
    back_write,
    back_write_two,
    sums,
    write,
    write_sum,
)

__all__ = ["Norm", "norm_relu"]


class Norm(nn.BatchNorm2d):
    """Batch normalisation whose ReLU, or sum with another's and ReLU, `norm_relu` may do as well.

    Parameters
    ----------
    channels : int
        Channels, C.
    """

    def step(self) -> float:
        """Count a batch, and give the share that it has in the running averages.

        Returns
        -------
        float
            `momentum`.
        """
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        return float(self.momentum or 0.0)


def norm_relu(*branches: tuple[Norm, Tensor]) -> Tensor:
    """Normalise one or two branches, add them up and apply ReLU.

    Parameters
    ----------
    *branches : tuple of Norm and Tensor, shape (N, C, H, W)
        One or two, of the same shape.

    Returns
    -------
    Tensor, shape (N, C, H, W)
        ReLU of the sum.
    """
    norms, inputs = zip(*branches, strict=True)
    if not _applies(norms, inputs):
        return relu(sum(norm(x) for norm, x in branches), inplace=True)
    inputs = tuple(x.contiguous(memory_format=torch.channels_last) for x in inputs)
    flat = [part for norm in norms for part in (norm.weight, norm.bias)]
    return _NormReLU.apply(norms, *inputs, *flat)


def _applies(norms: tuple[Norm, ...], inputs: tuple[Tensor, ...]) -> bool:
    """Whether the kernels can do it: training on a CPU, channels last, sizes that fit."""
    first = inputs[0]
    return (
        all(norm.training and norm.affine for norm in norms)
        and kernels_apply(first)
        and WIDE % first.shape[1] == 0
        and first.numel() % WIDE == 0
        and first.numel() // first.shape[1] > 1
        and any(is_channels_last(x) for x in inputs)
        and all(x.dtype == first.dtype and x.shape == first.shape for x in inputs)
    )


class _NormReLU(torch.autograd.Function):
    """Forward and backward by the kernels below."""

    @staticmethod
    def forward(ctx: Any, norms: tuple[Norm, ...], *tensors: Tensor) -> Tensor:
        count = len(norms)
        inputs, affine = tensors[:count], tensors[count:]
        channels = inputs[0].shape[1]
        places = inputs[0].numel() // channels
        rows = [as_rows(x) for x in inputs]
        scales, shifts, saved = [], [], []
        for k, (norm, x, row) in enumerate(zip(norms, inputs, rows, strict=True)):
            origin = _first(x)  # near the mean: else small spreads would be lost beside it
            partial = gather(sums, 2, row, _wide(origin))
            total, squares = (_fold(part, channels) for part in partial)
            variance = np.maximum(squares / places - (total / places) ** 2, 0.0)
            mean = total / places + origin
            _track(norm, mean, variance, places)
            inverse = 1.0 / np.sqrt(variance + norm.eps)
            weight, bias = (affine[2 * k + part].detach().double().numpy() for part in (0, 1))
            scales.append(weight * inverse)
            shifts.append(bias - mean * weight * inverse)
            saved.append((mean, inverse))
        out = torch.empty_like(inputs[0], memory_format=torch.channels_last)
        shift = _wide(sum(shifts))
        if count == 1:
            run(write, rows[0], _wide(scales[0]), shift, as_rows(out))
        else:
            run(write_sum, *rows, *map(_wide, scales), shift, as_rows(out))
        ctx.save_for_backward(*inputs)
        ctx.numbers = scales, shift, saved, places
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        scales, shift, saved, places = ctx.numbers
        channels = inputs[0].shape[1]
        grad = as_rows(grads[0].contiguous(memory_format=torch.channels_last))
        rows = [as_rows(x) for x in inputs]
        wide = [_wide(scale) for scale in scales]
        means = [_wide(mean) for mean, _ in saved]
        if len(inputs) == 1:
            partial = gather(back_sums, 2, rows[0], grad, wide[0], shift, means[0])
        else:
            partial = gather(back_sums_two, 3, *rows, grad, *wide, shift, *means)
        # of dy, and of dy (x - mean) for each branch
        totals = [_fold(part, channels) for part in partial]
        outs, parameters, lines = [], [], []
        for x, scale, (mean, inverse), product in zip(
            inputs, scales, saved, totals[1:], strict=True
        ):
            to_weight = product * inverse
            parameters += [torch.from_numpy(v).float() for v in (to_weight, totals[0])]
            slope = -scale * inverse * to_weight / places
            lines.append((_wide(slope), _wide(-scale * totals[0] / places - slope * mean)))
            outs.append(torch.empty_like(x, memory_format=torch.channels_last))
        if len(inputs) == 1:
            run(back_write, rows[0], grad, wide[0], shift, *lines[0], as_rows(outs[0]))
        else:
            both = (*lines[0], *lines[1], *map(as_rows, outs))
            run(back_write_two, *rows, grad, *wide, shift, *both)
        return None, *outs, *parameters


def _first(x: Tensor) -> NDArray[np.float64]:
    """The channels of the first place."""
    return np.asarray(x.detach()[0, :, 0, 0].double().numpy())


def _wide(values: Any) -> NDArray[np.float32]:
    """Numbers of the channels, as often as they fit into `WIDE`."""
    return np.tile(np.asarray(values, dtype=np.float32), WIDE // len(values))


def _fold(partial: NDArray[np.float32], channels: int) -> NDArray[np.float64]:
    """Sum of the pieces by channel."""
    return np.asarray(partial.sum(axis=0, dtype=np.float64).reshape(-1, channels).sum(axis=0))


def _track(
    norm: Norm, mean: NDArray[np.float64], variance: NDArray[np.float64], places: int
) -> None:
    """Running averages, as PyTorch keeps them."""
    share = norm.step()
    if norm.running_mean is None or norm.running_var is None:
        return
    unbiased = variance * (places / (places - 1))
    norm.running_mean.lerp_(torch.from_numpy(mean).to(norm.running_mean), share)
    norm.running_var.lerp_(torch.from_numpy(unbiased).to(norm.running_var), share)
