"""The position-wise convolution and its two gradients for GPUs.

The equations are those of `fusion_modules.laconv.ops.shift`. A program computes some positions of one sample and
group, for all channels of the group or a block of them. Most memory reads are kernel values, ``k*k G / C`` for each
value of ``x``; neighbouring threads read the values of neighbouring positions, 16 bytes at a time. ``x`` is first
copied to ``[B, G, H, W, C/G]``. For every tap, the channels of a position are then contiguous and aligned, so these
reads are 16 bytes wide as well.

All sums are float32 (float64 for float64). There are no atomic additions, so results do not vary from run to run.
"""

# Triton has no type annotations.
# mypy: disable-error-code="import-untyped,untyped-decorator"

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from fusion_modules.laconv.ops.launches import KernelName, LaunchChoice, LaunchShape, chosen_launch
from fusion_modules.laconv.ops.window import Window

_MOST_CHANNELS = 16  # the largest number of channels of a program


def launch_aggregate(
    x: Tensor, kernels: Tensor, window: Window, out: Tensor, chosen: LaunchChoice = chosen_launch
) -> None:
    """Fill ``out`` ``[B, C, H_out, W_out]``, contiguous or channels-last, from ``x`` and ``kernels`` of its type."""
    launch = _Launch(x, kernels, window, out)
    with on_device_of(x):
        _aggregate[launch.grid(launch.positions, launch.channel_blocks)](
            grouped(x, launch.groups), kernels.contiguous(), out, **launch.options("aggregate", chosen)
        )


def launch_gradients(
    grad: Tensor,
    x: Tensor,
    kernels: Tensor,
    window: Window,
    grad_x: Tensor,
    grad_kernels: Tensor,
    chosen: LaunchChoice = chosen_launch,
) -> None:
    """Fill ``grad_x``, contiguous or channels-last, and ``grad_kernels``, contiguous, from ``grad`` of the output."""
    launch = _Launch(x, kernels, window, grad_x)
    grads, kernels = grouped(grad, launch.groups), kernels.contiguous()
    with on_device_of(x):
        _gradient_of_map[launch.grid(x.shape[2] * x.shape[3], launch.channel_blocks)](
            grads, kernels, grad_x, **launch.options("gradient_of_map", chosen)
        )
        _gradient_of_kernels[launch.grid(launch.positions, 1)](
            grads, grouped(x, launch.groups), grad_kernels, **launch.options("gradient_of_kernels", chosen)
        )


class _Launch:
    """The arguments of the three kernels other than their tensors."""

    def __init__(self, x: Tensor, kernels: Tensor, window: Window, target: Tensor) -> None:
        batch, channels, height, width = x.shape
        self.groups = kernels.shape[1]
        self.planes = batch * self.groups
        self.positions = kernels.shape[3] * kernels.shape[4]
        per_group = channels // self.groups
        block = min(_MOST_CHANNELS, triton.next_power_of_2(per_group))
        self.channel_blocks = triton.cdiv(per_group, block)
        align = alignment(self.positions)
        self._map_positions, self._window, self._element = height * width, window, x.element_size()
        self._arguments: dict[str, Any] = {
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
            "accumulator": tl.float64 if x.dtype == torch.float64 else tl.float32,
            "block_channels": block,
            "enable_fp_fusion": True,  # fused multiply-adds, which Triton does not enable by default here
        }

    def options(self, kernel: KernelName, chosen: LaunchChoice) -> dict[str, Any]:
        """Return all arguments of a kernel other than its tensors, with the launch parameters that are chosen."""
        window = self._window
        shape = LaunchShape(
            kernel,
            self._map_positions if kernel == "gradient_of_map" else self.positions,
            self._arguments["per_group"],
            window.size,
            window.stride,
            window.dilation,
            self._element,
        )
        return {**self._arguments, **chosen(shape).options()}

    def grid(self, positions: int, channel_blocks: int) -> Any:
        """Return the grid of programs: blocks of positions of all planes, blocks of channels."""
        return lambda meta: (self.planes * triton.cdiv(positions, meta["block_positions"]), channel_blocks)


def grouped(maps: Tensor, groups: int) -> Tensor:
    """Return ``[B, C, H, W]`` as ``[B, G, H, W, C/G]``, contiguous."""
    by_group: Tensor = maps.unflatten(1, (-1, groups))  # [B, C/G, G, H, W]
    return by_group.permute(0, 2, 3, 4, 1).contiguous()  # [B, G, H, W, C/G]


def alignment(length: int) -> int:
    """Return the largest power of 2, at most 16, that divides ``length``; the compiler can use this alignment."""
    return min(16, length & -length) if length else 1


def on_device_of(value: Tensor) -> AbstractContextManager[Any]:
    """Return a context with the GPU of ``value`` as the current device; an empty context in the interpreter."""
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
    """Return the offsets of a group's ``channel`` and ``position`` in ``[B, C, H, W]``: ``[positions, channels]``."""
    sample = plane // groups * positions * groups * per_group
    global_channel = channel * groups + plane % groups
    if channels_last:
        offsets = sample + position[:, None].to(tl.int64) * groups * per_group + global_channel[None, :]
    else:
        offsets = sample + global_channel[None, :] * positions + position[:, None]
    return offsets


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
    accumulator: tl.constexpr,
    block_channels: tl.constexpr,
    block_positions: tl.constexpr,
) -> None:
    """Compute ``out[p, c] = sum_j kernels[j, p] x[p + o_j, c]`` for some positions and channels of one plane."""
    positions = units * align  # this form shows the compiler a divisor
    blocks = tl.cdiv(positions, block_positions)
    plane = (tl.program_id(0) // blocks).to(tl.int64)
    position = tl.program_id(0) % blocks * block_positions + tl.arange(0, block_positions)
    channel = tl.program_id(1) * block_channels + tl.arange(0, block_channels)
    valid = position < positions
    top = position // out_width * stride - size // 2 * dilation
    left = position % out_width * stride - size // 2 * dilation
    x += plane * height * width * per_group
    kernels += plane * (size * size) * positions

    total = tl.zeros((block_positions, block_channels), dtype=accumulator)
    for tap in range(size * size):
        row = top + tap // size * dilation
        column = left + tap % size * dilation
        inside = valid & (row >= 0) & (row < height) & (column >= 0) & (column < width)
        weight = tl.load(kernels + tap * positions + position, mask=valid, other=0.0)
        read = (row * width + column)[:, None] * per_group + channel[None, :]
        value = tl.load(x + read, mask=inside[:, None] & (channel < per_group)[None, :], other=0.0)
        total += weight.to(accumulator)[:, None] * value.to(accumulator)
    target = _offsets(position, channel, plane, positions, groups, per_group, channels_last)
    tl.store(
        out + target,
        total.to(out.dtype.element_ty),
        mask=valid[:, None] & (channel < per_group)[None, :],
    )


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
    accumulator: tl.constexpr,
    block_channels: tl.constexpr,
    block_positions: tl.constexpr,
) -> None:
    """Compute ``grad_x[q, c] = sum_j kernels[j, p] grads[p, c]`` over outputs ``p`` whose tap ``j`` reads ``q``."""
    positions = units * align
    map_positions = map_units * map_align
    blocks = tl.cdiv(map_positions, block_positions)
    plane = (tl.program_id(0) // blocks).to(tl.int64)
    position = tl.program_id(0) % blocks * block_positions + tl.arange(0, block_positions)
    channel = tl.program_id(1) * block_channels + tl.arange(0, block_channels)
    valid = position < map_positions
    bottom = position // width + size // 2 * dilation
    right = position % width + size // 2 * dilation
    grads += plane * positions * per_group
    kernels += plane * (size * size) * positions

    total = tl.zeros((block_positions, block_channels), dtype=accumulator)
    for tap in range(size * size):
        scaled_row = bottom - tap // size * dilation  # the output's row times the stride
        scaled_column = right - tap % size * dilation
        row, column = scaled_row // stride, scaled_column // stride
        inside = valid & (scaled_row >= 0) & (row < out_height) & (scaled_column >= 0) & (column < out_width)
        if stride > 1:
            inside = inside & (scaled_row % stride == 0) & (scaled_column % stride == 0)
        source = row * out_width + column
        weight = tl.load(kernels + tap * positions + source, mask=inside, other=0.0)
        read = source[:, None] * per_group + channel[None, :]
        grad = tl.load(grads + read, mask=inside[:, None] & (channel < per_group)[None, :], other=0.0)
        total += weight.to(accumulator)[:, None] * grad.to(accumulator)
    target = _offsets(position, channel, plane, map_positions, groups, per_group, channels_last)
    tl.store(
        grad_x + target,
        total.to(grad_x.dtype.element_ty),
        mask=valid[:, None] & (channel < per_group)[None, :],
    )


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
    accumulator: tl.constexpr,
    block_channels: tl.constexpr,
    block_positions: tl.constexpr,
) -> None:
    """Compute ``grad_kernels[j, p] = sum_c grads[p, c] x[p + o_j, c]`` for some positions of one plane."""
    positions = units * align
    blocks = tl.cdiv(positions, block_positions)
    plane = (tl.program_id(0) // blocks).to(tl.int64)
    position = tl.program_id(0) % blocks * block_positions + tl.arange(0, block_positions)
    valid = position < positions
    top = position // out_width * stride - size // 2 * dilation
    left = position % out_width * stride - size // 2 * dilation
    x += plane * height * width * per_group
    grads += plane * positions * per_group
    grad_kernels += plane * (size * size) * positions

    for tap in range(size * size):
        row = top + tap // size * dilation
        column = left + tap % size * dilation
        inside = valid & (row >= 0) & (row < height) & (column >= 0) & (column < width)
        total = tl.zeros((block_positions,), dtype=accumulator)
        for start in tl.static_range(0, per_group, block_channels):
            channel = start + tl.arange(0, block_channels)
            real = (channel < per_group)[None, :]
            # The gradients do not depend on the tap: after the first tap they are in the first-level cache.
            grad = tl.load(
                grads + position[:, None] * per_group + channel[None, :],
                mask=valid[:, None] & real,
                other=0.0,
            )
            read = (row * width + column)[:, None] * per_group + channel[None, :]
            value = tl.load(x + read, mask=inside[:, None] & real, other=0.0)
            total += tl.sum(grad.to(accumulator) * value.to(accumulator), axis=1)
        tl.store(
            grad_kernels + tap * positions + position,
            total.to(grad_kernels.dtype.element_ty),
            mask=valid,
        )
