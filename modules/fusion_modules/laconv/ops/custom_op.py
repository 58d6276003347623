"""The position-wise convolution as a custom operator of torch: what autograd, compilers and counters see.

The operator ``D(x, w)`` is linear in each argument, so its gradients are sums of the same products and so are
theirs: two operators, forward and backward, differentiate each other.

Under autocast it computes in the autocast type (float64 stays), accumulating in float32 like everywhere.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from fusion_modules.laconv.ops.layout import empty_map
from fusion_modules.laconv.ops.shift import aggregate_shifted, differentiate_shifted
from fusion_modules.laconv.ops.window import Window


@torch.library.custom_op("fusion_modules::dynamic_conv2d", mutates_args=())
def aggregate(x: Tensor, kernels: Tensor, stride: int, dilation: int, backend: str) -> Tensor:
    """``[B, C, H_out, W_out]``, laid out like ``x``; both arguments are of one type."""
    window = Window.of(kernels, stride, dilation)
    out = empty_map(x, *kernels.shape[3:])
    if backend == "triton":
        from fusion_modules.laconv.ops import triton_kernels  # noqa: PLC0415 - only where Triton is

        triton_kernels.launch_aggregate(x, kernels, window, out)
    else:
        aggregate_shifted(x, kernels, window, out)
    return out


@torch.library.custom_op("fusion_modules::dynamic_conv2d_backward", mutates_args=())
def differentiate(
    grad: Tensor, x: Tensor, kernels: Tensor, stride: int, dilation: int, backend: str
) -> tuple[Tensor, Tensor]:
    """The gradients of ``x``, laid out like it, and of ``kernels``, contiguous."""
    window = Window.of(kernels, stride, dilation)
    grad_x, grad_kernels = _empty_gradients(x, kernels)
    if backend == "triton":
        from fusion_modules.laconv.ops import triton_kernels  # noqa: PLC0415 - only where Triton is

        triton_kernels.launch_gradients(grad, x, kernels, window, grad_x, grad_kernels)
    else:
        differentiate_shifted(grad, x, kernels, window, grad_x, grad_kernels)
    return grad_x, grad_kernels


@aggregate.register_fake
def _(x: Tensor, kernels: Tensor, stride: int, dilation: int, backend: str) -> Tensor:
    del stride, dilation, backend
    return empty_map(x, *kernels.shape[3:])


@differentiate.register_fake
def _(
    grad: Tensor, x: Tensor, kernels: Tensor, stride: int, dilation: int, backend: str
) -> tuple[Tensor, Tensor]:
    del grad, stride, dilation, backend
    return _empty_gradients(x, kernels)


def in_autocast_type(*values: Tensor) -> tuple[Tensor, ...]:
    """The values in the type of the autocast region around, if there is one; float64 stays as it is."""
    device = values[0].device.type
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return values
    dtype = torch.get_autocast_dtype(device)
    return tuple(value if value.dtype == torch.float64 else value.to(dtype) for value in values)


def _empty_gradients(x: Tensor, kernels: Tensor) -> tuple[Tensor, Tensor]:
    return empty_map(x, *x.shape[2:]), torch.empty(kernels.shape, dtype=x.dtype, device=x.device)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    """Keep the tensor arguments and remember stride, dilation and backend, for either operator."""
    del output
    *tensors, stride, dilation, backend = inputs
    ctx.save_for_backward(*tensors)
    ctx.window = (stride, dilation, backend)


def _fold(value: Tensor, axis: int | None, size: int) -> Tensor:
    """A vmapped ``[..., V, ...]`` as ``[V*B, ...]``; what is not mapped over is repeated."""
    mapped = value.expand(size, *value.shape) if axis is None else value.movedim(axis, 0)
    return mapped.flatten(0, 1)


class Aggregate(torch.autograd.Function):
    """``D(x, kernels)``, differentiable also under `torch.func`, which registered formulas are not."""

    setup_context = staticmethod(_save)

    @staticmethod
    def forward(x: Tensor, kernels: Tensor, stride: int, dilation: int, backend: str) -> Tensor:
        """``[B, C, H_out, W_out]``."""
        out: Tensor = aggregate(x, kernels, stride, dilation, backend)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of ``x`` and ``kernels``."""
        x, kernels = ctx.saved_tensors
        return (*Differentiate.apply(grad, x, kernels, *ctx.window), None, None, None)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[Tensor, int]:
        """Samples of samples are samples."""
        size = info.batch_size
        maps = [_fold(value, axis, size) for value, axis in zip(arguments[:2], in_dims[:2], strict=True)]
        return Aggregate.apply(*maps, *arguments[2:]).unflatten(0, (size, -1)), 0


class Differentiate(torch.autograd.Function):
    """The gradients ``dx(grad, kernels)`` and ``dkernels(grad, x)``, themselves differentiable."""

    setup_context = staticmethod(_save)

    @staticmethod
    def forward(
        grad: Tensor, x: Tensor, kernels: Tensor, stride: int, dilation: int, backend: str
    ) -> tuple[Tensor, Tensor]:
        """Both gradients."""
        gradients: tuple[Tensor, Tensor] = differentiate(grad, x, kernels, stride, dilation, backend)
        return gradients

    @staticmethod
    def backward(ctx: Any, for_x: Tensor, for_kernels: Tensor) -> tuple[Tensor | None, ...]:
        """Derivatives of ``<for_x, dx(grad, kernels)> + <for_kernels, dkernels(grad, x)>``.

        Since ``<u, dx(grad, kernels)> = <grad, D(u, kernels)>`` and ``<v, dkernels(grad, x)> = <grad, D(x, v)>``.
        """
        grad, x, kernels = ctx.saved_tensors
        grad_x, grad_kernels = Differentiate.apply(grad, for_x, for_kernels, *ctx.window)
        grad_grad = Aggregate.apply(for_x, kernels, *ctx.window) + Aggregate.apply(
            x, for_kernels, *ctx.window
        )
        return (grad_grad, grad_x, grad_kernels, None, None, None)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], *arguments: Any
    ) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        """Samples of samples are samples."""
        size = info.batch_size
        maps = [_fold(value, axis, size) for value, axis in zip(arguments[:3], in_dims[:3], strict=True)]
        grad_x, grad_kernels = Differentiate.apply(*maps, *arguments[3:])
        return (grad_x.unflatten(0, (size, -1)), grad_kernels.unflatten(0, (size, -1))), (0, 0)


# The operators as nodes of an exported program, with no Python function around them.
aggregate.register_autograd(Aggregate.backward, setup_context=_save)
differentiate.register_autograd(Differentiate.backward, setup_context=_save)
aggregate.register_vmap(Aggregate.vmap)
differentiate.register_vmap(Differentiate.vmap)


def _forward_under_autocast(x: Tensor, kernels: Tensor, stride: int, dilation: int, backend: str) -> Tensor:
    x, kernels = in_autocast_type(x, kernels)
    with torch.autocast(x.device.type, enabled=False):
        out: Tensor = aggregate(x, kernels, stride, dilation, backend)
    return out


_LIBRARY = torch.library.Library("fusion_modules", "FRAGMENT")
for _key in ("AutocastCPU", "AutocastCUDA"):
    _LIBRARY.impl("dynamic_conv2d", _forward_under_autocast, _key)


@register_flop_formula(torch.ops.fusion_modules.dynamic_conv2d)
def _forward_flops(x_shape: list[int], kernels_shape: list[int], *_: Any, **__: Any) -> int:
    """Two operations for each of the ``C k^2 H_out W_out`` multiply-adds of a sample."""
    batch, _groups, taps, height, width = kernels_shape
    return 2 * batch * x_shape[1] * taps * height * width


@register_flop_formula(torch.ops.fusion_modules.dynamic_conv2d_backward)
def _backward_flops(
    grad_shape: list[int], x_shape: list[int], kernels_shape: list[int], *_: Any, **__: Any
) -> int:
    """Each tap is multiplied once for the gradient of ``x`` and once for that of ``kernels``."""
    del grad_shape
    return 2 * _forward_flops(x_shape, kernels_shape)
