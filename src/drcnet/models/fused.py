"""Normalisation, the sum of two branches and ReLU in two passes over memory, and pools, on a CPU.

Apart, they go over the network's largest arrays nine times forward and back, and take two thirds
of a training step once convolutions run in bfloat16. Here one pass adds up means and variances,
one writes the result; backward one adds up, one writes. The numbers are PyTorch's to rounding
(Ioffe & Szegedy 2015, algorithm 1), and the same bits whatever the number of threads, as the
pieces that are summed do not depend on it. Where this does not apply (a GPU, evaluation, another
layout) PyTorch's own operations do the same.

Shapes: M places (stars and wavelengths), C channels beside each other in memory (channels-last).
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import torch
from numba import njit
from numba.extending import intrinsic, overload
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import relu

__all__ = ["Norm", "Pool", "norm_relu"]

_WIDE = 128  # numbers at once: a multiple of every number of channels that is taken
_PIECES = 64  # partial sums, whatever the number of threads
_POOL = ThreadPoolExecutor(_PIECES, thread_name_prefix="norm")  # started as they are needed
_FAST = {"nnan", "ninf", "nsz", "contract", "reassoc"}


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
        if _on_cpu(x) and x.shape[2] == 1 and x.shape[3] > 1 and _is_channels_last(x):
            return _MaxOfPairs.apply(x)
        return super().forward(x)


def _applies(norms: tuple[Norm, ...], inputs: tuple[Tensor, ...]) -> bool:
    """Whether the kernels can do it: training on a CPU, channels last, sizes that fit."""
    first = inputs[0]
    return (
        all(norm.training and norm.affine for norm in norms)
        and _on_cpu(first)
        and _WIDE % first.shape[1] == 0
        and first.numel() // first.shape[1] > 1
        and any(_is_channels_last(x) for x in inputs)
        and all(x.dtype == first.dtype and x.shape == first.shape for x in inputs)
    )


def _on_cpu(x: Tensor) -> bool:
    """Whether something is learnt from a tensor that the kernels can read."""
    return (
        not torch.compiler.is_compiling()  # which fuses by itself
        and torch.is_grad_enabled()
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and not torch._C._functorch.is_functorch_wrapped_tensor(x)  # noqa: SLF001  no vmap
    )


def _is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)


class _NormReLU(torch.autograd.Function):
    """Forward and backward by the kernels below."""

    @staticmethod
    def forward(ctx: Any, norms: tuple[Norm, ...], *tensors: Tensor) -> Tensor:
        count = len(norms)
        inputs, affine = tensors[:count], tensors[count:]
        channels = inputs[0].shape[1]
        places = inputs[0].numel() // channels
        rows = [_rows(x) for x in inputs]
        scales, shifts, saved = [], [], []
        for k, (norm, x, row) in enumerate(zip(norms, inputs, rows, strict=True)):
            origin = _first(x)  # near the mean: else small spreads would be lost beside it
            partial = _gather(_sums, 2, row, _wide(origin))
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
            _run(_write, rows[0], _wide(scales[0]), shift, _rows(out))
        else:
            _run(_write_sum, *rows, *map(_wide, scales), shift, _rows(out))
        ctx.save_for_backward(*inputs)
        ctx.numbers = scales, shift, saved, places
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        scales, shift, saved, places = ctx.numbers
        channels = inputs[0].shape[1]
        grad = _rows(grads[0].contiguous(memory_format=torch.channels_last))
        rows = [_rows(x) for x in inputs]
        wide = [_wide(scale) for scale in scales]
        means = [_wide(mean) for mean, _ in saved]
        if len(inputs) == 1:
            partial = _gather(_back_sums, 2, rows[0], grad, wide[0], shift, means[0])
        else:
            partial = _gather(_back_sums_two, 3, *rows, grad, *wide, shift, *means)
        # of dy, and of dy (x - mean) for each branch
        sums = [_fold(part, channels) for part in partial]
        outs, parameters, lines = [], [], []
        for x, scale, (mean, inverse), product in zip(
            inputs, scales, saved, sums[1:], strict=True
        ):
            to_weight = product * inverse
            parameters += [torch.from_numpy(v).float() for v in (to_weight, sums[0])]
            slope = -scale * inverse * to_weight / places
            lines.append((_wide(slope), _wide(-scale * sums[0] / places - slope * mean)))
            outs.append(torch.empty_like(x, memory_format=torch.channels_last))
        if len(inputs) == 1:
            _run(_back_write, rows[0], grad, wide[0], shift, *lines[0], _rows(outs[0]))
        else:
            both = (*lines[0], *lines[1], *map(_rows, outs))
            _run(_back_write_two, *rows, grad, *wide, shift, *both)
        return None, *outs, *parameters


class _MaxOfPairs(torch.autograd.Function):
    """Forward and backward of `Pool`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        n, channels, _, length = x.shape
        out = x.new_empty(n, channels, 1, length // 2)
        out = out.contiguous(memory_format=torch.channels_last)
        _run(_pool, _rows(x), _rows(out), n, length, channels)
        ctx.save_for_backward(x)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        n, channels, _, length = x.shape
        out = torch.empty_like(x, memory_format=torch.channels_last)
        grad = _rows(grads[0].contiguous(memory_format=torch.channels_last))
        _run(_back_pool, _rows(x), grad, _rows(out), n, length, channels)
        return out


def _rows(x: Tensor) -> NDArray[Any]:
    """A channels-last tensor as it lies in memory; bfloat16 as its bits."""
    flat = x.detach().permute(0, 2, 3, 1).reshape(-1)
    return flat.view(torch.uint16).numpy() if flat.dtype == torch.bfloat16 else flat.numpy()


def _first(x: Tensor) -> NDArray[np.float64]:
    """The channels of the first place."""
    return np.asarray(x.detach()[0, :, 0, 0].double().numpy())


def _wide(values: Any) -> NDArray[np.float32]:
    """Numbers of the channels, as often as they fit into `_WIDE`."""
    return np.tile(np.asarray(values, dtype=np.float32), _WIDE // len(values))


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


def _load(value: Any) -> Any:
    """A number from how it lies in memory."""
    raise NotImplementedError


@overload(_load, inline="always", strict=False)
def _load_compiled(value: Any) -> Callable[[Any], Any]:
    if isinstance(value, numba.types.Integer):
        return lambda value: _bits_to_float(np.uint32(np.uint32(value) << np.uint32(16)))  # type: ignore[call-arg]
    return lambda value: value


def _keep(out: Any, place: Any, value: Any) -> None:
    """Put a number into memory; into bfloat16 the nearest, ties to even."""
    raise NotImplementedError


@overload(_keep, inline="always", strict=False)
def _keep_compiled(  # the names are those of `_keep`
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
def _bounds(size: int, piece: int) -> tuple[int, int]:  # pragma: no cover (compiled)
    """First and last wide row of a piece."""
    rows = size // _WIDE
    return piece * rows // _PIECES, (piece + 1) * rows // _PIECES


# Each kernel has two loops: over wide rows, and over what does not fill one. Rows are cut out
# first: of a cut the compiler knows length and beginning, and takes many numbers at once (8 times
# faster).
# Sums are gathered in arrays that nothing else can point to.


@njit(inline="always")
def _cut(values: Any, row: int) -> Any:  # pragma: no cover (compiled)
    return values[row * _WIDE : (row + 1) * _WIDE]


@njit(fastmath=_FAST, cache=True, nogil=True)
def _sums(  # noqa: PLR0917
    x: Any, origin: Any, total: Any, squares: Any, first: int, last: int
) -> None:  # pragma: no cover
    for piece in range(first, last):
        start, stop = _bounds(x.size, piece)
        one, two = np.zeros(_WIDE, np.float32), np.zeros(_WIDE, np.float32)
        for row in range(start, stop):
            x_row = _cut(x, row)
            for c in range(_WIDE):
                value = _load(x_row[c]) - origin[c]
                one[c] += value
                two[c] += value * value
        total[piece], squares[piece] = one, two
    base = x.size // _WIDE * _WIDE
    for c in range(x.size - base if last == _PIECES else 0):
        value = _load(x[base + c]) - origin[c]
        total[_PIECES, c] += value
        squares[_PIECES, c] += value * value


@njit(fastmath=_FAST, cache=True, nogil=True)
def _write(  # noqa: PLR0917
    x: Any, scale: Any, shift: Any, out: Any, first: int, last: int
) -> None:  # pragma: no cover
    for piece in range(first, last):
        start, stop = _bounds(x.size, piece)
        for row in range(start, stop):
            x_row = _cut(x, row)
            out_row = _cut(out, row)
            for c in range(_WIDE):
                value = _load(x_row[c]) * scale[c] + shift[c]
                _keep(out_row, c, max(value, np.float32(0)))
    base = x.size // _WIDE * _WIDE
    for c in range(x.size - base if last == _PIECES else 0):
        value = _load(x[base + c]) * scale[c] + shift[c]
        _keep(out, base + c, max(value, np.float32(0)))


@njit(fastmath=_FAST, cache=True, nogil=True)
def _write_sum(  # noqa: PLR0917
    x: Any, z: Any, scale: Any, other: Any, shift: Any, out: Any, first: int, last: int
) -> None:  # pragma: no cover
    for piece in range(first, last):
        start, stop = _bounds(x.size, piece)
        for row in range(start, stop):
            x_row = _cut(x, row)
            z_row = _cut(z, row)
            out_row = _cut(out, row)
            for c in range(_WIDE):
                value = _load(x_row[c]) * scale[c] + _load(z_row[c]) * other[c] + shift[c]
                _keep(out_row, c, max(value, np.float32(0)))
    base = x.size // _WIDE * _WIDE
    for c in range(x.size - base if last == _PIECES else 0):
        value = _load(x[base + c]) * scale[c] + _load(z[base + c]) * other[c] + shift[c]
        _keep(out, base + c, max(value, np.float32(0)))


@njit(fastmath=_FAST, cache=True, nogil=True)
def _back_sums(  # noqa: PLR0917
    x: Any,
    grad: Any,
    scale: Any,
    shift: Any,
    mean: Any,
    plain: Any,
    product: Any,
    first: int,
    last: int,
) -> None:  # pragma: no cover
    for piece in range(first, last):
        start, stop = _bounds(x.size, piece)
        one, two = np.zeros(_WIDE, np.float32), np.zeros(_WIDE, np.float32)
        for row in range(start, stop):
            x_row = _cut(x, row)
            grad_row = _cut(grad, row)
            for c in range(_WIDE):
                value, slope = _load(x_row[c]), _load(grad_row[c])
                slope = slope if value * scale[c] + shift[c] > 0 else np.float32(0)
                one[c] += slope
                two[c] += slope * (value - mean[c])
        plain[piece], product[piece] = one, two
    base = x.size // _WIDE * _WIDE
    for c in range(x.size - base if last == _PIECES else 0):
        value, slope = _load(x[base + c]), _load(grad[base + c])
        slope = slope if value * scale[c] + shift[c] > 0 else np.float32(0)
        plain[_PIECES, c] += slope
        product[_PIECES, c] += slope * (value - mean[c])


@njit(fastmath=_FAST, cache=True, nogil=True)
def _back_write(  # noqa: PLR0917
    x: Any,
    grad: Any,
    scale: Any,
    shift: Any,
    slope_x: Any,
    rest: Any,
    out: Any,
    first: int,
    last: int,
) -> None:  # pragma: no cover
    for piece in range(first, last):
        start, stop = _bounds(x.size, piece)
        for row in range(start, stop):
            x_row = _cut(x, row)
            grad_row = _cut(grad, row)
            out_row = _cut(out, row)
            for c in range(_WIDE):
                value, slope = _load(x_row[c]), _load(grad_row[c])
                slope = slope if value * scale[c] + shift[c] > 0 else np.float32(0)
                _keep(out_row, c, slope * scale[c] + value * slope_x[c] + rest[c])
    base = x.size // _WIDE * _WIDE
    for c in range(x.size - base if last == _PIECES else 0):
        value, slope = _load(x[base + c]), _load(grad[base + c])
        slope = slope if value * scale[c] + shift[c] > 0 else np.float32(0)
        _keep(out, base + c, slope * scale[c] + value * slope_x[c] + rest[c])


@njit(fastmath=_FAST, cache=True, nogil=True)
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
    first: int,
    last: int,
) -> None:  # pragma: no cover
    for piece in range(first, last):
        start, stop = _bounds(x.size, piece)
        one, two = np.zeros(_WIDE, np.float32), np.zeros(_WIDE, np.float32)
        three = np.zeros(_WIDE, np.float32)
        for row in range(start, stop):
            x_row = _cut(x, row)
            z_row = _cut(z, row)
            grad_row = _cut(grad, row)
            for c in range(_WIDE):
                a, b, slope = _load(x_row[c]), _load(z_row[c]), _load(grad_row[c])
                slope = slope if a * scale[c] + b * other[c] + shift[c] > 0 else np.float32(0)
                one[c] += slope
                two[c] += slope * (a - mean_x[c])
                three[c] += slope * (b - mean_z[c])
        plain[piece], of_x[piece], of_z[piece] = one, two, three
    base = x.size // _WIDE * _WIDE
    for c in range(x.size - base if last == _PIECES else 0):
        a, b, slope = _load(x[base + c]), _load(z[base + c]), _load(grad[base + c])
        slope = slope if a * scale[c] + b * other[c] + shift[c] > 0 else np.float32(0)
        plain[_PIECES, c] += slope
        of_x[_PIECES, c] += slope * (a - mean_x[c])
        of_z[_PIECES, c] += slope * (b - mean_z[c])


@njit(fastmath=_FAST, cache=True, nogil=True)
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
    first: int,
    last: int,
) -> None:  # pragma: no cover
    for piece in range(first, last):
        start, stop = _bounds(x.size, piece)
        for row in range(start, stop):
            x_row = _cut(x, row)
            z_row = _cut(z, row)
            grad_row = _cut(grad, row)
            out_x_row = _cut(out_x, row)
            out_z_row = _cut(out_z, row)
            for c in range(_WIDE):
                a, b, slope = _load(x_row[c]), _load(z_row[c]), _load(grad_row[c])
                slope = slope if a * scale[c] + b * other[c] + shift[c] > 0 else np.float32(0)
                _keep(out_x_row, c, slope * scale[c] + a * slope_x[c] + rest_x[c])
                _keep(out_z_row, c, slope * other[c] + b * slope_z[c] + rest_z[c])
    base = x.size // _WIDE * _WIDE
    for c in range(x.size - base if last == _PIECES else 0):
        a, b, slope = _load(x[base + c]), _load(z[base + c]), _load(grad[base + c])
        slope = slope if a * scale[c] + b * other[c] + shift[c] > 0 else np.float32(0)
        _keep(out_x, base + c, slope * scale[c] + a * slope_x[c] + rest_x[c])
        _keep(out_z, base + c, slope * other[c] + b * slope_z[c] + rest_z[c])


@njit(fastmath=_FAST, cache=True, nogil=True)
def _pool(  # noqa: PLR0917
    x: Any, out: Any, stars: int, length: int, channels: int, first: int, last: int
) -> None:  # pragma: no cover
    half = length // 2
    for star in range(stars * first // _PIECES, stars * last // _PIECES):
        for pair in range(half):
            here = (star * length + 2 * pair) * channels
            a, b = x[here : here + channels], x[here + channels : here + 2 * channels]
            to = (star * half + pair) * channels
            greater = out[to : to + channels]
            for c in range(channels):
                greater[c] = a[c] if _load(a[c]) >= _load(b[c]) else b[c]


@njit(fastmath=_FAST, cache=True, nogil=True)
def _back_pool(  # noqa: PLR0917
    x: Any, grad: Any, out: Any, stars: int, length: int, channels: int, first: int, last: int
) -> None:  # pragma: no cover
    half = length // 2
    nothing = np.zeros(1, grad.dtype)[0]
    for star in range(stars * first // _PIECES, stars * last // _PIECES):
        for pair in range(half):
            here = (star * length + 2 * pair) * channels
            a, b = x[here : here + channels], x[here + channels : here + 2 * channels]
            to_a, to_b = out[here : here + channels], out[here + channels : here + 2 * channels]
            at = (star * half + pair) * channels
            slope = grad[at : at + channels]
            for c in range(channels):
                of_a = _load(a[c]) >= _load(b[c])
                to_a[c] = slope[c] if of_a else nothing
                to_b[c] = nothing if of_a else slope[c]
        if length % 2:
            end = (star + 1) * length * channels
            out[end - channels : end] = nothing


def _run(kernel: Callable[..., None], *arrays: Any) -> None:
    """Let as many threads as torch has share the pieces out."""
    threads = min(torch.get_num_threads(), _PIECES)
    cuts = [_PIECES * k // threads for k in range(threads + 1)]
    others = [_POOL.submit(kernel, *arrays, cuts[k], cuts[k + 1]) for k in range(1, threads)]
    kernel(*arrays, cuts[0], cuts[1])
    for other in others:
        other.result()


def _gather(kernel: Callable[..., None], count: int, *arrays: Any) -> list[NDArray[np.float32]]:
    """Run a kernel that fills partial sums; give them."""
    partial = [np.zeros((_PIECES + 1, _WIDE), np.float32) for _ in range(count)]
    _run(kernel, *arrays, *partial)
    return partial
