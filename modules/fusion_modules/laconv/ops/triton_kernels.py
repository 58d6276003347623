"""The position-wise convolution and its two gradients for GPUs.

A program takes some positions of one sample and group and all channels of the group (or a block of them). Most of
what comes from memory are kernel values, ``k*k G / C`` for each value of ``x``; neighbouring threads read those of
neighbouring positions, 16 bytes at a time. ``x`` is first laid out as ``[B, G, H, W, C/G]``: whatever the tap, a
position's channels then lie side by side and aligned, so those reads are 16 bytes wide as well.

All sums are float32 (float64 for float64). Nothing is added atomically: results do not vary from run to run.
"""

# Triton brings no types.
# mypy: disable-error-code="import-untyped,untyped-decorator"

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from fusion_modules.laconv.ops.window import Window

# A thread takes 16 bytes of kernel values where a warp has 128 positions of float32. Triton's interpreter has no
# clock to tune by: it takes the first.
_CONFIGS = [
    triton.Config({"block_positions": positions}, num_warps=warps, num_stages=stages)
    for positions, warps, stages in (
        (128, 1, 3),
        (128, 1, 2),
        (64, 1, 3),
        (128, 2, 3),
        (256, 2, 3),
        (256, 2, 2),
        (256, 4, 3),
        (512, 4, 2),
    )
][: 1 if os.environ.get("TRITON_INTERPRET") == "1" else None]
_KEY = ["units", "per_group", "size", "stride", "dilation"]
_MOST_CHANNELS = 16  # of a program


def launch_aggregate(x: Tensor, kernels: Tensor, window: Window, out: Tensor) -> None:
    """Fill ``out`` ``[B, C, H_out, W_out]``, contiguous or channels-last, from ``x`` and ``kernels`` of its type."""
    launch = _Launch(x, kernels, window, out)
    with on_device_of(x):
        _aggregate[launch.grid(launch.positions, launch.channel_blocks)](
            grouped(x, launch.groups), kernels.contiguous(), out, **launch.arguments
        )


def launch_gradients(
    grad: Tensor, x: Tensor, kernels: Tensor, window: Window, grad_x: Tensor, grad_kernels: Tensor
) -> None:
    """Fill ``grad_x``, contiguous or channels-last, and ``grad_kernels``, contiguous, from the output's ``grad``."""
    launch = _Launch(x, kernels, window, grad_x)
    grads, kernels = grouped(grad, launch.groups), kernels.contiguous()
    with on_device_of(x):
        _gradient_of_map[launch.grid(x.shape[2] * x.shape[3], launch.channel_blocks)](
            grads, kernels, grad_x, **launch.arguments
        )
        _gradient_of_kernels[launch.grid(launch.positions, 1)](
            grads, grouped(x, launch.groups), grad_kernels, **launch.arguments
        )


class _Launch:
    """What the three kernels are told beside their tensors."""

    def __init__(self, x: Tensor, kernels: Tensor, window: Window, target: Tensor) -> None:
        batch, channels, height, width = x.shape
        self.groups = kernels.shape[1]
        self.planes = batch * self.groups
        self.positions = kernels.shape[3] * kernels.shape[4]
        per_group = channels // self.groups
        block = min(_MOST_CHANNELS, triton.next_power_of_2(per_group))
        self.channel_blocks = triton.cdiv(per_group, block)
        align = alignment(self.positions)
        self.arguments: dict[str, Any] = {
            "groups": self.groups,
            "height": height,
            "width": width,
            "out_height": kernels.shape[3],
            "out_width": kernels.shape[4],
            "units": self.positions // align,
            "align": align,
            "map_units": height * width // alignment(height * width),
            "map_align": alignment(height * width),
            "per_group": per_group,
            "size": window.size,
            "stride": window.stride,
            "dilation": window.dilation,
            "channels_last": not target.is_contiguous(),
            "wide": tl.float64 if x.dtype == torch.float64 else tl.float32,
            "block_channels": block,
            "enable_fp_fusion": True,  # multiply-adds are what this is made of; Triton wants it said
        }

    def grid(self, positions: int, channel_blocks: int) -> Any:
        """Programs: blocks of positions of each plane, blocks of channels."""
        return lambda meta: (self.planes * triton.cdiv(positions, meta["block_positions"]), channel_blocks)


def grouped(maps: Tensor, groups: int) -> Tensor:
    """``[B, C, H, W]`` as ``[B, G, H, W, C/G]``, contiguous."""
    by_group: Tensor = maps.unflatten(1, (-1, groups))  # [B, C/G, G, H, W]
    return by_group.permute(0, 2, 3, 4, 1).contiguous()


def alignment(length: int) -> int:
    """The largest power of 2, at most 16, that divides ``length``: what the compiler may assume of its multiples."""
    return min(16, length & -length) if length else 1


def on_device_of(value: Tensor) -> AbstractContextManager[Any]:
    """The GPU that ``value`` lies on, as the current one; nothing in the interpreter."""
    return torch.cuda.device(value.device) if value.is_cuda else nullcontext()


@triton.jit
def _offsets(
    position: tl.tensor,
    channel: tl.tensor,
    plane: tl.tensor,
    positions: tl.tensor,
    groups: tl.tensor,
    per_group: tl.constexpr,
    channels_last: tl.constexpr,
) -> tl.tensor:
    """Where channel ``channel`` of a group's positions lies in ``[B, C, H, W]``, as ``[positions, channels]``."""
    of_map = plane // groups * positions * groups * per_group
    global_channel = channel * groups + plane % groups
    if channels_last:
        offsets = of_map + position[:, None].to(tl.int64) * groups * per_group + global_channel[None, :]
    else:
        offsets = of_map + global_channel[None, :] * positions + position[:, None]
    return offsets


@triton.autotune(configs=_CONFIGS, key=_KEY)
@triton.jit
def _aggregate(
    x: tl.tensor,
    kernels: tl.tensor,
    out: tl.tensor,
    groups: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    out_height: tl.tensor,
    out_width: tl.tensor,
    units: tl.tensor,
    map_units: tl.tensor,
    align: tl.constexpr,
    map_align: tl.constexpr,
    per_group: tl.constexpr,
    size: tl.constexpr,
    stride: tl.constexpr,
    dilation: tl.constexpr,
    channels_last: tl.constexpr,
    wide: tl.constexpr,
    block_channels: tl.constexpr,
    block_positions: tl.constexpr,
) -> None:
    """``out[p, c] = sum_j kernels[j, p] x[p + o_j, c]`` for a block of positions and channels of one plane."""
    positions = units * align  # written so that the compiler knows what divides it
    blocks = tl.cdiv(positions, block_positions)
    plane = (tl.program_id(0) // blocks).to(tl.int64)
    position = tl.program_id(0) % blocks * block_positions + tl.arange(0, block_positions)
    channel = tl.program_id(1) * block_channels + tl.arange(0, block_channels)
    here = position < positions
    top = position // out_width * stride - size // 2 * dilation
    left = position % out_width * stride - size // 2 * dilation
    x += plane * height * width * per_group
    kernels += plane * (size * size) * positions

    total = tl.zeros((block_positions, block_channels), dtype=wide)
    for tap in range(size * size):
        row = top + tap // size * dilation
        column = left + tap % size * dilation
        inside = here & (row >= 0) & (row < height) & (column >= 0) & (column < width)
        weight = tl.load(kernels + tap * positions + position, mask=here, other=0.0)
        read = (row * width + column)[:, None] * per_group + channel[None, :]
        value = tl.load(x + read, mask=inside[:, None] & (channel < per_group)[None, :], other=0.0)
        total += weight.to(wide)[:, None] * value.to(wide)
    target = _offsets(position, channel, plane, positions, groups, per_group, channels_last)
    tl.store(
        out + target,
        total.to(out.dtype.element_ty),
        mask=here[:, None] & (channel < per_group)[None, :],
    )


@triton.autotune(configs=_CONFIGS, key=_KEY)
@triton.jit
def _gradient_of_map(
    grads: tl.tensor,
    kernels: tl.tensor,
    grad_x: tl.tensor,
    groups: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    out_height: tl.tensor,
    out_width: tl.tensor,
    units: tl.tensor,
    map_units: tl.tensor,
    align: tl.constexpr,
    map_align: tl.constexpr,
    per_group: tl.constexpr,
    size: tl.constexpr,
    stride: tl.constexpr,
    dilation: tl.constexpr,
    channels_last: tl.constexpr,
    wide: tl.constexpr,
    block_channels: tl.constexpr,
    block_positions: tl.constexpr,
) -> None:
    """``grad_x[q, c] = sum_j kernels[j, p] grads[p, c]`` over the outputs ``p`` whose tap ``j`` reads ``q``."""
    positions = units * align
    map_positions = map_units * map_align
    blocks = tl.cdiv(map_positions, block_positions)
    plane = (tl.program_id(0) // blocks).to(tl.int64)
    position = tl.program_id(0) % blocks * block_positions + tl.arange(0, block_positions)
    channel = tl.program_id(1) * block_channels + tl.arange(0, block_channels)
    here = position < map_positions
    bottom = position // width + size // 2 * dilation
    right = position % width + size // 2 * dilation
    grads += plane * positions * per_group
    kernels += plane * (size * size) * positions

    total = tl.zeros((block_positions, block_channels), dtype=wide)
    for tap in range(size * size):
        below = bottom - tap // size * dilation  # stride times the output's row
        beside = right - tap % size * dilation
        row, column = below // stride, beside // stride
        inside = here & (below >= 0) & (row < out_height) & (beside >= 0) & (column < out_width)
        if stride > 1:
            inside = inside & (below % stride == 0) & (beside % stride == 0)
        source = row * out_width + column
        weight = tl.load(kernels + tap * positions + source, mask=inside, other=0.0)
        read = source[:, None] * per_group + channel[None, :]
        grad = tl.load(grads + read, mask=inside[:, None] & (channel < per_group)[None, :], other=0.0)
        total += weight.to(wide)[:, None] * grad.to(wide)
    target = _offsets(position, channel, plane, map_positions, groups, per_group, channels_last)
    tl.store(
        grad_x + target,
        total.to(grad_x.dtype.element_ty),
        mask=here[:, None] & (channel < per_group)[None, :],
    )


@triton.autotune(configs=_CONFIGS, key=_KEY)
@triton.jit
def _gradient_of_kernels(
    grads: tl.tensor,
    x: tl.tensor,
    grad_kernels: tl.tensor,
    groups: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    out_height: tl.tensor,
    out_width: tl.tensor,
    units: tl.tensor,
    map_units: tl.tensor,
    align: tl.constexpr,
    map_align: tl.constexpr,
    per_group: tl.constexpr,
    size: tl.constexpr,
    stride: tl.constexpr,
    dilation: tl.constexpr,
    channels_last: tl.constexpr,
    wide: tl.constexpr,
    block_channels: tl.constexpr,
    block_positions: tl.constexpr,
) -> None:
    """``grad_kernels[j, p] = sum_c grads[p, c] x[p + o_j, c]`` for a block of positions of one plane."""
    positions = units * align
    blocks = tl.cdiv(positions, block_positions)
    plane = (tl.program_id(0) // blocks).to(tl.int64)
    position = tl.program_id(0) % blocks * block_positions + tl.arange(0, block_positions)
    here = position < positions
    top = position // out_width * stride - size // 2 * dilation
    left = position % out_width * stride - size // 2 * dilation
    x += plane * height * width * per_group
    grads += plane * positions * per_group
    grad_kernels += plane * (size * size) * positions

    for tap in range(size * size):
        row = top + tap // size * dilation
        column = left + tap % size * dilation
        inside = here & (row >= 0) & (row < height) & (column >= 0) & (column < width)
        total = tl.zeros((block_positions,), dtype=wide)
        for start in tl.static_range(0, per_group, block_channels):
            channel = start + tl.arange(0, block_channels)
            real = (channel < per_group)[None, :]
            # Gradients do not depend on the tap: after the first they come from the nearest cache.
            grad = tl.load(
                grads + position[:, None] * per_group + channel[None, :], mask=here[:, None] & real, other=0.0
            )
            read = (row * width + column)[:, None] * per_group + channel[None, :]
            value = tl.load(x + read, mask=inside[:, None] & real, other=0.0)
            total += tl.sum(grad.to(wide) * value.to(wide), axis=1)
        tl.store(
            grad_kernels + tap * positions + position,
            total.to(grad_kernels.dtype.element_ty),
            mask=here,
        )
