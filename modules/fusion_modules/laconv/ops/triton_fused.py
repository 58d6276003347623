"""Kernel projection and convolution in one GPU kernel.

    out[p, c] = sum_j w_j[p, c mod G] x[p + o_j, c]        w_j[p, g] = Z[p] . V[g, j] + bias[g, j]

``Z`` is the condition ``[P, E]`` and ``V`` the weight ``[G, k*k, E]``. A program computes some positions and all
groups. For each tap it computes the kernel values of its positions by one small matrix product
``[positions, E] x [E, G]`` and applies them immediately to the channels: the ``[B, G, k*k, H, W]`` tensor is never
written. Maps are read channels-last, so that for every tap the channels of a position are contiguous and aligned, and
a read is 16 bytes wide. Matrix products use the type of the arguments (float32 is not rounded to TF32); sums are
float32.
"""

# Triton has no type annotations.
# mypy: disable-error-code="import-untyped,untyped-decorator"

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from fusion_modules.laconv.ops.launches import KernelName, LaunchChoice, LaunchShape, chosen_launch
from fusion_modules.laconv.ops.triton_kernels import on_device_of
from fusion_modules.laconv.ops.window import Window

_MOST_CHANNELS = 256  # the largest number of channels of a program, including padding
_MOST_EXTENT = 256  # the largest number of condition channels in one matrix product
LEAST_INNER = 16  # the smallest inner dimension of a matrix product


def launch_fused_aggregate(
    x: Tensor,
    condition: Tensor,
    weight: Tensor,
    bias: Tensor,
    window: Window,
    out: Tensor,
    chosen: LaunchChoice = chosen_launch,
) -> None:
    """Fill ``out`` ``[B, C, H_out, W_out]``, contiguous or channels-last; the condition has its height and width."""
    launch = Launch(x, condition, weight, window)
    with on_device_of(x):
        _aggregate[launch.grid(condition, launch.channel_blocks)](
            as_channels_last(x),
            as_channels_last(condition),
            weight.contiguous(),
            bias.contiguous(),
            out,
            channels_last=not out.is_contiguous(),
            **launch.options("fused_aggregate", padded(launch.groups), chosen),
        )


class Launch:
    """The arguments of the fused kernels other than their tensors."""

    def __init__(self, x: Tensor, condition: Tensor, weight: Tensor, window: Window) -> None:
        self.x, self.condition, self.window = x, condition, window
        self.groups = len(weight) // window.size**2
        self.per_group = x.shape[1] // self.groups
        self.block_extent = max(LEAST_INNER, min(_MOST_EXTENT, padded(weight.shape[1])))
        self.channel_blocks = triton.cdiv(self.per_group, self._block_channels(padded(self.groups)))
        self.extent_blocks = triton.cdiv(weight.shape[1], self.block_extent)

    def options(self, kernel: KernelName, block_groups: int, chosen: LaunchChoice) -> dict[str, Any]:
        """Return all arguments of a kernel that pads the groups to ``block_groups``, other than its tensors."""
        filled = self.x if kernel == "fused_gradient_of_map" else self.condition
        shape = LaunchShape(
            kernel,
            filled.shape[2] * filled.shape[3],
            self.per_group,
            self.window.size,
            self.window.stride,
            self.window.dilation,
            self.x.element_size(),
            self.condition.shape[1],
        )
        return {
            **chosen(shape).options(),
            "height": self.x.shape[2],
            "width": self.x.shape[3],
            "out_height": self.condition.shape[2],
            "out_width": self.condition.shape[3],
            "groups": self.groups,
            "per_group": self.per_group,
            "extent": self.condition.shape[1],
            "size": self.window.size,
            "stride": self.window.stride,
            "dilation": self.window.dilation,
            "block_groups": block_groups,
            "block_channels": self._block_channels(block_groups),
            "block_extent": self.block_extent,
            "enable_fp_fusion": True,  # fused multiply-adds, which Triton does not enable by default here
        }

    def grid(self, maps: Tensor, blocks: int) -> Any:
        """Return the grid of programs: blocks of positions of each sample of ``maps``, and ``blocks`` of channels."""
        batch, _, height, width = maps.shape
        return lambda meta: (batch * triton.cdiv(height * width, meta["block_positions"]), blocks)

    def _block_channels(self, block_groups: int) -> int:
        """Return the number of channels per group of one program."""
        return min(padded(self.per_group), max(1, _MOST_CHANNELS // block_groups))


def padded(count: int) -> int:
    """Return the next power of 2, the required size of a block."""
    power: int = triton.next_power_of_2(count)
    return power


def as_channels_last(maps: Tensor) -> Tensor:
    """Return ``[B, C, H, W]`` stored as ``[B, H, W, C]``."""
    return maps.contiguous(memory_format=torch.channels_last)


@triton.jit
def channel_offsets(
    position: tl.tensor,
    channel: tl.tensor,
    positions: tl.tensor,
    channels: tl.tensor,
    channels_last: tl.constexpr,
) -> tl.tensor:
    """Return the offsets of ``channel`` ``[m, n]`` and ``position`` ``[l]`` in one sample: ``[l, m, n]``."""
    if channels_last:
        offsets = position[:, None, None] * channels + channel[None, :, :]
    else:
        offsets = channel[None, :, :] * positions + position[:, None, None]
    return offsets


@triton.jit
def kernels_of_tap(
    conditions: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    source: tl.tensor,
    valid: tl.tensor,
    tap: tl.tensor,
    groups: tl.constexpr,
    extent: tl.constexpr,
    taps: tl.constexpr,
    block_groups: tl.constexpr,
    block_extent: tl.constexpr,
    block_positions: tl.constexpr,
) -> tl.tensor:
    """Return ``w_j`` at the positions ``source``: ``[positions, groups]``, float32."""
    group = tl.arange(0, block_groups)
    weight_row = group * taps + tap
    kernel = tl.zeros((block_positions, block_groups), dtype=tl.float32)
    for start in tl.static_range(0, extent, block_extent):
        column = start + tl.arange(0, block_extent)
        condition_block = tl.load(
            conditions + source[:, None] * extent + column[None, :],
            mask=valid[:, None] & (column < extent)[None, :],
            other=0.0,
        )
        rows = tl.load(
            weight + weight_row[None, :] * extent + column[:, None],
            mask=(group < groups)[None, :] & (column < extent)[:, None],
            other=0.0,
        )
        kernel = tl.dot(condition_block, rows, kernel, input_precision="ieee")
    return kernel + tl.load(bias + weight_row, mask=group < groups, other=0.0).to(tl.float32)[None, :]


@triton.jit
def _aggregate(
    x: tl.tensor,
    conditions: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    out: tl.tensor,
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
    """Compute ``out`` for some positions of one sample and a block of the channels of every group."""
    positions = out_height * out_width
    channels: tl.constexpr = groups * per_group
    blocks = tl.cdiv(positions, block_positions)
    sample = (tl.program_id(0) // blocks).to(tl.int64)
    position = tl.program_id(0) % blocks * block_positions + tl.arange(0, block_positions)
    member = tl.program_id(1) * block_channels + tl.arange(0, block_channels)
    group = tl.arange(0, block_groups)
    channel = member[:, None] * groups + group[None, :]  # [C/G, G]
    real = (member < per_group)[:, None] & (group < groups)[None, :]
    valid = position < positions
    top = position // out_width * stride - size // 2 * dilation
    left = position % out_width * stride - size // 2 * dilation
    x += sample * height * width * channels
    conditions += sample * positions * extent
    out += sample * positions * channels

    total = tl.zeros((block_positions, block_channels, block_groups), dtype=tl.float32)
    for tap in range(size * size):
        kernel = kernels_of_tap(
            conditions,
            weight,
            bias,
            position,
            valid,
            tap,
            groups,
            extent,
            size * size,
            block_groups,
            block_extent,
            block_positions,
        )
        row = top + tap // size * dilation
        column = left + tap % size * dilation
        inside = valid & (row >= 0) & (row < height) & (column >= 0) & (column < width)
        read = channel_offsets(row * width + column, channel, 0, channels, True)
        value = tl.load(x + read, mask=inside[:, None, None] & real[None, :, :], other=0.0)
        total += kernel[:, None, :] * value.to(tl.float32)
    target = channel_offsets(position, channel, positions, channels, channels_last)
    tl.store(out + target, total.to(out.dtype.element_ty), mask=valid[:, None, None] & real[None, :, :])
