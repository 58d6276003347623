"""The gradients of the fused kernel, which compute the kernel values again.

    dx[q, c]   = sum_j w_j[p, c mod G] dout[p, c]             with p + o_j = q
    dw_j[p, g] = sum_{c mod G = g} dout[p, c] x[p + o_j, c]
    dZ[p]      = sum_{g, j} dw_j[p, g] V[g, j]
    dV[g, j]   = sum_p dw_j[p, g] Z[p]                        dbias[g, j] = sum_p dw_j[p, g]

Symbols are those of `fusion_modules.laconv.ops.triton_fused`. Like ``w_j``, ``dw_j`` is used tap by
tap and never stored. Programs add their parts of ``dV`` and ``dbias`` atomically, so the last bits of these vary from
run to run.
"""

# Triton has no type annotations.
# mypy: disable-error-code="import-untyped,untyped-decorator"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fusion_modules.laconv.ops.launches import LaunchChoice, chosen_launch
from fusion_modules.laconv.ops.triton_fused import (
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
    chosen: LaunchChoice = chosen_launch,
) -> None:
    """Fill the gradients of ``x``, ``condition`` (contiguous or channels-last), ``weight`` and ``bias``."""
    launch = Launch(x, condition, weight, window)
    grads, conditions, weight = as_channels_last(grad), as_channels_last(condition), weight.contiguous()
    grad_x, grad_condition, grad_weight, grad_bias = targets
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
            grad_x,
            channels_last=not grad_x.is_contiguous(),
            **launch.options("fused_gradient_of_map", padded(launch.groups), chosen),
        )
        _other_gradients[launch.grid(condition, launch.extent_blocks)](
            grads,
            as_channels_last(x),
            conditions,
            weight,
            grad_condition,
            *sums,
            channels_last=not grad_condition.is_contiguous(),
            **launch.options("fused_other_gradients", max(LEAST_INNER, padded(launch.groups)), chosen),
        )
    grad_weight.copy_(sums[0])
    grad_bias.copy_(sums[1])


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
    """Compute ``dx`` for some positions of one sample and a block of the channels of every group."""
    positions = height * width
    channels: tl.constexpr = groups * per_group
    blocks = tl.cdiv(positions, block_positions)
    sample = (tl.program_id(0) // blocks).to(tl.int64)
    position = tl.program_id(0) % blocks * block_positions + tl.arange(0, block_positions)
    member = tl.program_id(1) * block_channels + tl.arange(0, block_channels)
    group = tl.arange(0, block_groups)
    channel = member[:, None] * groups + group[None, :]  # [C/G, G]
    real = (member < per_group)[:, None] & (group < groups)[None, :]
    valid = position < positions
    bottom = position // width + size // 2 * dilation
    right = position % width + size // 2 * dilation
    grads += sample * out_height * out_width * channels
    conditions += sample * out_height * out_width * extent
    grad_x += sample * positions * channels

    total = tl.zeros((block_positions, block_channels, block_groups), dtype=tl.float32)
    for tap in range(size * size):
        scaled_row = bottom - tap // size * dilation  # the output's row times the stride
        scaled_column = right - tap % size * dilation
        row, column = scaled_row // stride, scaled_column // stride
        inside = valid & (scaled_row >= 0) & (row < out_height) & (scaled_column >= 0) & (column < out_width)
        if stride > 1:
            inside = inside & (scaled_row % stride == 0) & (scaled_column % stride == 0)
        source = row * out_width + column
        kernel = kernels_of_tap(
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
        total += kernel[:, None, :] * grad.to(tl.float32)
    target = channel_offsets(position, channel, positions, channels, channels_last)
    tl.store(grad_x + target, total.to(grad_x.dtype.element_ty), mask=valid[:, None, None] & real[None, :, :])


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
    """Compute ``dZ`` for some positions and condition channels of one sample; add to ``dV`` and ``dbias``."""
    positions = out_height * out_width
    channels: tl.constexpr = groups * per_group
    blocks = tl.cdiv(positions, block_positions)
    sample = (tl.program_id(0) // blocks).to(tl.int64)
    position = tl.program_id(0) % blocks * block_positions + tl.arange(0, block_positions)
    column = tl.program_id(1) * block_extent + tl.arange(0, block_extent)
    group = tl.arange(0, block_groups)
    valid = position < positions
    top = position // out_width * stride - size // 2 * dilation
    left = position % out_width * stride - size // 2 * dilation
    grads += sample * positions * channels
    x += sample * height * width * channels
    conditions += sample * positions * extent
    grad_condition += sample * positions * extent

    condition_block = tl.load(
        conditions + position[:, None] * extent + column[None, :],
        mask=valid[:, None] & (column < extent)[None, :],
        other=0.0,
    )
    total = tl.zeros((block_positions, block_extent), dtype=tl.float32)
    for tap in range(size * size):
        tap_row = top + tap // size * dilation
        tap_column = left + tap % size * dilation
        inside = valid & (tap_row >= 0) & (tap_row < height) & (tap_column >= 0) & (tap_column < width)
        kernel_grad = tl.zeros((block_positions, block_groups), dtype=tl.float32)
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
            kernel_grad += tl.sum(grad.to(tl.float32) * value.to(tl.float32), axis=1)
        weight_row = group * (size * size) + tap
        weight_offset = weight_row[:, None] * extent + column[None, :]
        real = (group < groups)[:, None] & (column < extent)[None, :]
        rows = tl.load(weight + weight_offset, mask=real, other=0.0)
        narrow = kernel_grad.to(weight.dtype.element_ty)
        total = tl.dot(narrow, rows, total, input_precision="ieee")
        share = tl.dot(tl.trans(narrow), condition_block, input_precision="ieee")
        tl.atomic_add(grad_weight + weight_offset, share, mask=real, sem="relaxed")
        if tl.program_id(1) == 0:
            tl.atomic_add(
                grad_bias + weight_row, tl.sum(kernel_grad, axis=0), mask=group < groups, sem="relaxed"
            )
    if channels_last:
        target = position[:, None] * extent + column[None, :]
    else:
        target = column[None, :] * positions + position[:, None]
    tl.store(
        grad_condition + target,
        total.to(grad_condition.dtype.element_ty),
        mask=valid[:, None] & (column < extent)[None, :],
    )
