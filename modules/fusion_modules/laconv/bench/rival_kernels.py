"""The aggregation of SAN and of involution on a GPU, one thread for each value, written from the papers' equation.

    out[b, c, p] = sum_j kernels[b, g(c), j, p] x[b, c, p + o_j]

SAN (Zhao, Jia, Koltun, CVPR 2020) shares a kernel by interleaved channels, ``g(c) = c mod G``, for pairwise and for
patchwise weights alike; involution (Li et al., CVPR 2021) by neighbouring channels, ``g(c) = c // (C/G)``. Both are
computed with one thread for each value of the result, of the map's gradient (a sum over taps) and of the kernels'
gradient (a sum over the channels of a group), on ``[B, C, H, W]`` as it lies. These kernels do so in Triton: 1024
values a program, with 32 warps. Sums are float32 (float64 for float64). Stride and dilation are 1.
"""

# Triton has no type annotations.
# mypy: disable-error-code="import-untyped,untyped-decorator"

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from fusion_modules.laconv.ops.triton_kernels import on_device_of

_VALUES, _WARPS = 1024, 32


class ElementAggregation(torch.autograd.Function):
    """The aggregation with ``interleaved`` groups (SAN) or groups of neighbouring channels (involution)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernels: Tensor, interleaved: bool) -> Tensor:
        """Return ``[B, C, H, W]`` for ``x`` of this shape and kernels ``[B, G, k*k, H, W]``."""
        ctx.save_for_backward(x, kernels)
        ctx.interleaved = interleaved
        out = torch.empty_like(x)
        _launch(_aggregate, (x, kernels, out), x, kernels, interleaved, out.numel())
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of ``x`` and ``kernels``."""
        x, kernels = ctx.saved_tensors
        grad, grad_x, grad_kernels = grad.contiguous(), torch.empty_like(x), torch.empty_like(kernels)
        _launch(_gradient_of_map, (grad, kernels, grad_x), x, kernels, ctx.interleaved, x.numel())
        _launch(_gradient_of_kernels, (grad, x, grad_kernels), x, kernels, ctx.interleaved, kernels.numel())
        return grad_x, grad_kernels, None


def _launch(
    kernel: Any, tensors: tuple[Tensor, ...], x: Tensor, kernels: Tensor, interleaved: bool, values: int
) -> None:
    groups = kernels.shape[1]
    with on_device_of(x):
        kernel[(triton.cdiv(values, _VALUES),)](
            *tensors,
            values,
            groups,
            x.shape[2],
            x.shape[3],
            per_group=x.shape[1] // groups,
            size=int(kernels.shape[2] ** 0.5),
            interleaved=interleaved,
            accumulator=tl.float64 if x.dtype == torch.float64 else tl.float32,
            block=_VALUES,
            num_warps=_WARPS,
        )


@triton.jit
def _group_of(
    channel: tl.tensor, groups: tl.tensor, per_group: tl.constexpr, interleaved: tl.constexpr
) -> tl.tensor:
    """Return ``g(c)``."""
    return channel % groups if interleaved else channel // per_group


@triton.jit
def _aggregate(
    x: tl.tensor,
    kernels: tl.tensor,
    out: tl.tensor,
    values: tl.tensor,
    groups: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    per_group: tl.constexpr,
    size: tl.constexpr,
    interleaved: tl.constexpr,
    accumulator: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """Compute ``out``, one value a thread."""
    index = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    valid = index < values
    plane, position = index // (height * width), index % (height * width)
    row, column = position // width, position % width
    channels = groups * per_group
    group = _group_of(plane % channels, groups, per_group, interleaved)
    weights = (plane // channels * groups + group) * (size * size) * height * width + position
    total = tl.zeros((block,), dtype=accumulator)
    for tap in range(size * size):
        y, z = row + tap // size - size // 2, column + tap % size - size // 2
        inside = valid & (y >= 0) & (y < height) & (z >= 0) & (z < width)
        weight = tl.load(kernels + weights + tap * height * width, mask=inside, other=0.0)
        value = tl.load(x + plane * height * width + y * width + z, mask=inside, other=0.0)
        total += weight.to(accumulator) * value.to(accumulator)
    tl.store(out + index, total.to(out.dtype.element_ty), mask=valid)


@triton.jit
def _gradient_of_map(
    grad: tl.tensor,
    kernels: tl.tensor,
    grad_x: tl.tensor,
    values: tl.tensor,
    groups: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    per_group: tl.constexpr,
    size: tl.constexpr,
    interleaved: tl.constexpr,
    accumulator: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """Compute ``grad_x[q] = sum_j kernels[j, q - o_j] grad[q - o_j]``, one value a thread."""
    index = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    valid = index < values
    plane, position = index // (height * width), index % (height * width)
    row, column = position // width, position % width
    channels = groups * per_group
    group = _group_of(plane % channels, groups, per_group, interleaved)
    weights = (plane // channels * groups + group) * (size * size) * height * width
    total = tl.zeros((block,), dtype=accumulator)
    for tap in range(size * size):
        y, z = row - tap // size + size // 2, column - tap % size + size // 2
        inside = valid & (y >= 0) & (y < height) & (z >= 0) & (z < width)
        source = y * width + z
        weight = tl.load(kernels + weights + tap * height * width + source, mask=inside, other=0.0)
        value = tl.load(grad + plane * height * width + source, mask=inside, other=0.0)
        total += weight.to(accumulator) * value.to(accumulator)
    tl.store(grad_x + index, total.to(grad_x.dtype.element_ty), mask=valid)


@triton.jit
def _gradient_of_kernels(
    grad: tl.tensor,
    x: tl.tensor,
    grad_kernels: tl.tensor,
    values: tl.tensor,
    groups: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    per_group: tl.constexpr,
    size: tl.constexpr,
    interleaved: tl.constexpr,
    accumulator: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """Compute ``grad_kernels[g, j, p] = sum_{g(c) = g} grad[c, p] x[c, p + o_j]``, one value a thread."""
    index = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    valid = index < values
    positions = height * width
    position, tap = index % positions, index // positions % (size * size)
    group, sample = index // (positions * size * size) % groups, index // (positions * size * size * groups)
    y = position // width + tap // size - size // 2
    z = position % width + tap % size - size // 2
    inside = valid & (y >= 0) & (y < height) & (z >= 0) & (z < width)
    total = tl.zeros((block,), dtype=accumulator)
    for number in range(per_group):
        channel = number * groups + group if interleaved else group * per_group + number
        plane = (sample * groups * per_group + channel) * positions
        value = tl.load(x + plane + y * width + z, mask=inside, other=0.0)
        of_out = tl.load(grad + plane + position, mask=inside, other=0.0)
        total += value.to(accumulator) * of_out.to(accumulator)
    tl.store(grad_kernels + index, total.to(grad_kernels.dtype.element_ty), mask=valid)
