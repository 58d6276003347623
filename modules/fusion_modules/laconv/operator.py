"""The aggregation of LaConv: a convolution whose kernel differs at every position.

    out[b, c, p] = sum_j kernels[b, c mod G, j, p] * x[b, c, p + offset_j]

``j`` runs row by row over a k x k window centred on ``p``; outside the map ``x`` is zero. The groups are
**interleaved** (channel ``c`` uses group ``c mod G``), as in the operator of Zhao, Jia, Koltun, "Exploring
Self-attention for Image Recognition" (SAN), CVPR 2020, which LaConv uses.

Shift and accumulate. A tap is one multiply-add of two views of memory: with a group's planes laid end to
end, tap ``(dy, dx)`` reads ``dy * W + dx`` elements further on. Reads that leave the plane meet a kernel
value that was set to zero before, so no copy of ``x`` per tap is made, and none with a border. (A value of
``x`` that is not finite can therefore spread through its own sample, never to another one.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula


def dynamic_conv2d(x: Tensor, kernels: Tensor) -> Tensor:
    """Filter each position of ``x`` with its own kernel.

    Differentiable once in both arguments. bfloat16 and float16 are accumulated in float32.

    Args:
        x: ``[B, C, H, W]``.
        kernels: ``[B, G, k*k, H, W]`` with odd ``k`` and ``G`` dividing ``C``.

    Returns:
        ``[B, C, H, W]`` in the type that ``x`` and ``kernels`` promote to.

    Raises:
        ValueError: the shapes do not fit.
    """
    if x.dim() != 4 or kernels.dim() != 5:
        raise ValueError(
            f"x must be [B, C, H, W] and kernels [B, G, k*k, H, W], not {x.dim()}-D and {kernels.dim()}-D"
        )
    groups, taps = kernels.shape[1:3]
    size = math.isqrt(taps)
    if size * size != taps or size % 2 == 0:
        raise ValueError(f"kernels must hold k*k taps with odd k, not {taps}")
    if x.shape[1] % groups:
        raise ValueError(f"{groups} groups do not divide {x.shape[1]} channels")
    if (x.shape[0], *x.shape[2:]) != (kernels.shape[0], *kernels.shape[3:]):
        raise ValueError(
            f"x {list(x.shape)} and kernels {list(kernels.shape)} differ in samples or positions"
        )
    dtype = torch.promote_types(x.dtype, kernels.dtype)
    out: Tensor = _forward(x.to(dtype), kernels.to(dtype))
    return out


@torch.library.custom_op("fusion_modules::dynamic_conv2d", mutates_args=())
def _forward(x: Tensor, kernels: Tensor) -> Tensor:
    batch, channels = x.shape[:2]
    planes = _accumulator(x).view(batch, channels // kernels.shape[1], -1)  # [B, C/G, G*H*W]
    weights = _masked_taps(_accumulator(kernels))  # [B, k*k, 1, G*H*W]
    out = torch.zeros_like(planes)
    for tap, here, there in _taps(kernels):
        out[..., here].addcmul_(weights[:, tap, :, here], planes[..., there])
    return _laid_out(out, x)


@torch.library.custom_op("fusion_modules::dynamic_conv2d_backward", mutates_args=())
def _backward(grad: Tensor, x: Tensor, kernels: Tensor) -> tuple[Tensor, Tensor]:
    batch, channels, height, width = x.shape
    groups, taps = kernels.shape[1:3]
    shape = (batch, channels // groups, groups * height * width)
    planes, grads = _accumulator(x).view(shape), _accumulator(grad).view(shape)
    weights = _masked_taps(_accumulator(kernels))  # [B, k*k, 1, G*H*W]
    grad_planes = torch.zeros_like(planes)
    grad_taps = planes.new_zeros(batch, taps, shape[-1])  # [B, k*k, G*H*W]
    product = torch.empty_like(planes)
    for tap, here, there in _taps(kernels):
        grad_planes[..., there].addcmul_(weights[:, tap, :, here], grads[..., here])
        torch.mul(grads[..., here], planes[..., there], out=product[..., here])
        torch.sum(product[..., here], dim=1, out=grad_taps[:, tap, here])
    by_group = grad_taps.view(batch, taps, groups, -1).transpose(1, 2)  # [B, G, k*k, H*W]
    grad_kernels = torch.empty_like(by_group, memory_format=torch.contiguous_format)
    torch.mul(by_group, _inside(kernels, planes.dtype)[:, 0], out=grad_kernels)
    return _laid_out(grad_planes, x), grad_kernels.view(kernels.shape).to(kernels.dtype)


def _accumulator(value: Tensor) -> Tensor:
    """``value`` contiguous, the half-precision types as float32."""
    half = value.dtype in {torch.bfloat16, torch.float16}
    return (value.float() if half else value).contiguous()


def _laid_out(value: Tensor, like: Tensor) -> Tensor:
    """``value`` in the shape, type and memory layout of ``like``, so that channels-last maps stay so."""
    if like.is_contiguous() and like.dtype == value.dtype:
        return value.view(like.shape)
    return torch.empty_like(like).copy_(value.view(like.shape))


def _taps(kernels: Tensor) -> Iterator[tuple[int, slice, slice]]:
    """Each tap with the stretch of outputs that it reaches and the stretch of inputs that these read."""
    groups, taps, height, width = kernels.shape[1:]
    size, length = math.isqrt(taps), groups * height * width
    for tap in range(taps):
        shift = (tap // size - size // 2) * width + tap % size - size // 2
        start, stop = max(0, -shift), min(length, length - shift)
        if start < stop:
            yield tap, slice(start, stop), slice(start + shift, stop + shift)


def _inside(kernels: Tensor, dtype: torch.dtype) -> Tensor:
    """``[k*k, 1, H*W]``, 1 where a position's tap falls on the map and 0 where it falls beside it."""
    taps, height, width = kernels.shape[2:]
    offsets = torch.arange(math.isqrt(taps), device=kernels.device)[:, None] - math.isqrt(taps) // 2
    rows = torch.arange(height, device=kernels.device) + offsets  # [k, H]
    columns = torch.arange(width, device=kernels.device) + offsets  # [k, W]
    on_rows, on_columns = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    inside = on_rows[:, None, :, None] & on_columns[None, :, None, :]  # [k, k, H, W]
    return inside.reshape(taps, 1, height * width).to(dtype)


def _masked_taps(kernels: Tensor) -> Tensor:
    """``[B, G, k*k, H, W]`` -> ``[B, k*k, 1, G*H*W]``, zero for taps beside the map."""
    batch, groups, taps, height, width = kernels.shape
    masked = kernels.new_empty(batch, taps, groups, height * width)
    by_tap = kernels.view(batch, groups, taps, height * width).transpose(1, 2)
    torch.mul(by_tap, _inside(kernels, kernels.dtype), out=masked)
    return masked.view(batch, taps, 1, -1)


@_forward.register_fake
def _(x: Tensor, kernels: Tensor) -> Tensor:
    del kernels
    return torch.empty_like(x)


@_backward.register_fake
def _(grad: Tensor, x: Tensor, kernels: Tensor) -> tuple[Tensor, Tensor]:
    del grad
    return torch.empty_like(x), torch.empty_like(kernels, memory_format=torch.contiguous_format)


def _save(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    del output
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
    x, kernels = ctx.saved_tensors
    gradients: tuple[Tensor, Tensor] = _backward(grad, x, kernels)
    return gradients


_forward.register_autograd(_differentiate, setup_context=_save)


@register_flop_formula(torch.ops.fusion_modules.dynamic_conv2d)
def _forward_flops(x_shape: list[int], kernels_shape: list[int], *_: Any, **__: Any) -> int:
    """Two operations for each of the ``C k^2 H W`` multiply-adds of a sample."""
    return 2 * math.prod(x_shape) * kernels_shape[2]


@register_flop_formula(torch.ops.fusion_modules.dynamic_conv2d_backward)
def _backward_flops(
    grad_shape: list[int], x_shape: list[int], kernels_shape: list[int], *_: Any, **__: Any
) -> int:
    """Each tap is multiplied once for the gradient of ``x`` and once for that of ``kernels``."""
    del grad_shape
    return 4 * math.prod(x_shape) * kernels_shape[2]
