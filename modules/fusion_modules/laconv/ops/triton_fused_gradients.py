"""The gradients of the fused kernel, which make the kernels again.

    dx[q, c]   = sum_j w_j[p, c mod G] dout[p, c]             with p + o_j = q
    dw_j[p, g] = sum_{c mod G = g} dout[p, c] x[p + o_j, c]
    dZ[p]      = sum_{g, j} dw_j[p, g] V[g, j]
    dV[g, j]   = sum_p dw_j[p, g] Z[p]                        dbias[g, j] = sum_p dw_j[p, g]

Symbols are those of `fusion_modules.laconv.ops.triton_fused`. ``dw_j`` is used up tap by tap like ``w_j``.
Programs add their shares of ``dV`` and ``dbias`` atomically, so these vary in the last bits from run to run.
"""

# Triton brings no types.
# mypy: disable-error-code="import-untyped,untyped-decorator"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fusion_modules.laconv.ops.triton_fused import (
    CONFIGS,
    KEY,
    LEAST_INNER,
    Launch,
    as_channels_last,
    channel_offsets,
    kernels_of_tap,
    padded,
)
from fusion_modules.laconv.ops.triton_kernels import on_device_of
from fusion_modules.laconv.ops.window import Window


def launch_fused_gradients(
    grad: Tensor,
    x: Tensor,
    condition: Tensor,
    weight: Tensor,
    bias: Tensor,
    window: Window,
    targets: tuple[Tensor, Tensor, Tensor, Tensor],
) -> None:
    """Fill the gradients of ``x``, ``condition`` (contiguous or channels-last), ``weight`` and ``bias``."""
    launch = Launch(x, condition, weight, window)
    grads, conditions, weight = as_channels_last(grad), as_channels_last(condition), weight.contiguous()
    for_x, for_condition, for_weight, for_bias = targets
    sums = (
        weight.new_zeros(weight.shape, dtype=torch.float32),
        bias.new_zeros(bias.shape, dtype=torch.float32),
    )
    with on_device_of(x):
        _gradient_of_map[launch.grid(x, launch.channel_blocks)](
            grads,
            conditions,
            weight,
            bias.contiguous(),
            for_x,
            channels_last=not for_x.is_contiguous(),
            **launch.arguments(padded(launch.groups)),
        )
        _other_gradients[launch.grid(condition, launch.extent_blocks)](
            grads,
            as_channels_last(x),
            conditions,
            weight,
            for_condition,
            *sums,
            channels_last=not for_condition.is_contiguous(),
            **launch.arguments(max(LEAST_INNER, padded(launch.groups))),
        )
    for_weight.copy_(sums[0])
    for_bias.copy_(sums[1])


@triton.autotune(configs=CONFIGS, key=KEY)
@triton.jit
def _gradient_of_map(
    grads: tl.tensor,
    conditions: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    grad_x: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    out_height: tl.tensor,
    out_width: tl.tensor,
    groups: tl.constexpr,
    per_group: tl.constexpr,
    extent: tl.constexpr,
    size: tl.constexpr,
    stride: tl.constexpr,
    dilation: tl.constexpr,
    channels_last: tl.constexpr,
    block_groups: tl.constexpr,
    block_channels: tl.constexpr,
    block_extent: tl.constexpr,
    block_positions: tl.constexpr,
) -> None:
    """Some positions of one sample's ``x``, a block of every group's channels."""
    positions = height * width
    channels: tl.constexpr = groups * per_group
    blocks = tl.cdiv(positions, block_positions)
    sample = (tl.program_id(0) // blocks).to(tl.int64)
    position = tl.program_id(0) % blocks * block_positions + tl.arange(0, block_positions)
    member = tl.program_id(1) * block_channels + tl.arange(0, block_channels)
    group = tl.arange(0, block_groups)
    channel = member[:, None] * groups + group[None, :]  # [C/G, G]
    real = (member < per_group)[:, None] & (group < groups)[None, :]
    here = position < positions
    bottom = position // width + size // 2 * dilation
    right = position % width + size // 2 * dilation
    grads += sample * out_height * out_width * channels
    conditions += sample * out_height * out_width * extent
    grad_x += sample * positions * channels

    total = tl.zeros((block_positions, block_channels, block_groups), dtype=tl.float32)
    for tap in range(size * size):
        below = bottom - tap // size * dilation  # stride times the output's row
        beside = right - tap % size * dilation
        row, column = below // stride, beside // stride
        inside = here & (below >= 0) & (row < out_height) & (beside >= 0) & (column < out_width)
        if stride > 1:
            inside = inside & (below % stride == 0) & (beside % stride == 0)
        source = row * out_width + column
        made = kernels_of_tap(
            conditions,
            weight,
            bias,
            source,
            inside,
            tap,
            groups,
            extent,
            size * size,
            block_groups,
            block_extent,
            block_positions,
        )
        read = channel_offsets(source, channel, 0, channels, True)
        grad = tl.load(grads + read, mask=inside[:, None, None] & real[None, :, :], other=0.0)
        total += made[:, None, :] * grad.to(tl.float32)
    target = channel_offsets(position, channel, positions, channels, channels_last)
    tl.store(grad_x + target, total.to(grad_x.dtype.element_ty), mask=here[:, None, None] & real[None, :, :])


@triton.autotune(configs=CONFIGS, key=KEY, reset_to_zero=["grad_weight", "grad_bias"])
@triton.jit
def _other_gradients(
    grads: tl.tensor,
    x: tl.tensor,
    conditions: tl.tensor,
    weight: tl.tensor,
    grad_condition: tl.tensor,
    grad_weight: tl.tensor,
    grad_bias: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    out_height: tl.tensor,
    out_width: tl.tensor,
    groups: tl.constexpr,
    per_group: tl.constexpr,
    extent: tl.constexpr,
    size: tl.constexpr,
    stride: tl.constexpr,
    dilation: tl.constexpr,
    channels_last: tl.constexpr,
    block_groups: tl.constexpr,
    block_channels: tl.constexpr,
    block_extent: tl.constexpr,
    block_positions: tl.constexpr,
) -> None:
    """Some positions of one sample, a block of the condition's channels; weight and bias add up over programs."""
    positions = out_height * out_width
    channels: tl.constexpr = groups * per_group
    blocks = tl.cdiv(positions, block_positions)
    sample = (tl.program_id(0) // blocks).to(tl.int64)
    position = tl.program_id(0) % blocks * block_positions + tl.arange(0, block_positions)
    column = tl.program_id(1) * block_extent + tl.arange(0, block_extent)
    group = tl.arange(0, block_groups)
    here = position < positions
    top = position // out_width * stride - size // 2 * dilation
    left = position % out_width * stride - size // 2 * dilation
    grads += sample * positions * channels
    x += sample * height * width * channels
    conditions += sample * positions * extent
    grad_condition += sample * positions * extent

    heard = tl.load(
        conditions + position[:, None] * extent + column[None, :],
        mask=here[:, None] & (column < extent)[None, :],
        other=0.0,
    )
    total = tl.zeros((block_positions, block_extent), dtype=tl.float32)
    for tap in range(size * size):
        tap_row = top + tap // size * dilation
        tap_column = left + tap % size * dilation
        inside = here & (tap_row >= 0) & (tap_row < height) & (tap_column >= 0) & (tap_column < width)
        made = tl.zeros((block_positions, block_groups), dtype=tl.float32)
        for start in tl.static_range(0, per_group, block_channels):
            member = start + tl.arange(0, block_channels)
            channel = member[:, None] * groups + group[None, :]  # [C/G, G]
            mask = (
                inside[:, None, None]
                & ((member < per_group)[:, None] & (group < groups)[None, :])[None, :, :]
            )
            grad = tl.load(
                grads + channel_offsets(position, channel, 0, channels, True), mask=mask, other=0.0
            )
            read = channel_offsets(tap_row * width + tap_column, channel, 0, channels, True)
            value = tl.load(x + read, mask=mask, other=0.0)
            made += tl.sum(grad.to(tl.float32) * value.to(tl.float32), axis=1)
        line = group * (size * size) + tap
        lines = line[:, None] * extent + column[None, :]
        real = (group < groups)[:, None] & (column < extent)[None, :]
        rows = tl.load(weight + lines, mask=real, other=0.0)
        narrow = made.to(weight.dtype.element_ty)
        total = tl.dot(narrow, rows, total, input_precision="ieee")
        share = tl.dot(tl.trans(narrow), heard, input_precision="ieee")
        tl.atomic_add(grad_weight + lines, share, mask=real, sem="relaxed")
        if tl.program_id(1) == 0:
            tl.atomic_add(grad_bias + line, tl.sum(made, axis=0), mask=group < groups, sem="relaxed")
    if channels_last:
        target = position[:, None] * extent + column[None, :]
    else:
        target = column[None, :] * positions + position[:, None]
    tl.store(
        grad_condition + target,
        total.to(grad_condition.dtype.element_ty),
        mask=here[:, None] & (column < extent)[None, :],
    )
