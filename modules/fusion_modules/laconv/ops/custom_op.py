"""The position-wise convolution as a custom operator of torch, for autograd, compilers and multiply-add counters.

The operator ``D(x, w)`` is linear in each argument. Its gradients, and the gradients of these, are sums of the same
products. Two operators, forward and backward, are therefore enough for derivatives of every order.

Under autocast it computes in the autocast type, except for float64. Half-precision types are accumulated in float32.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from fusion_modules.laconv.ops.layout import empty_map
from fusion_modules.laconv.ops.shift import aggregate_shifted, differentiate_shifted
from fusion_modules.laconv.ops.window import Window


@torch.library.custom_op("fusion_modules::dynamic_conv2d", mutates_args=())
def aggregate(x: Tensor, kernels: Tensor, stride: int, dilation: int, backend: str) -> Tensor:
    """Return ``[B, C, H_out, W_out]`` with the memory layout of ``x``; both arguments have the same type."""
    window = Window.of(kernels, stride, dilation)
    out = empty_map(x, *kernels.shape[3:])
    if backend == "triton":
        from fusion_modules.laconv.ops import triton_kernels  # noqa: PLC0415 - Triton may be missing

        triton_kernels.launch_aggregate(x, kernels, window, out)
    else:
        aggregate_shifted(x, kernels, window, out)
    return out


@torch.library.custom_op("fusion_modules::dynamic_conv2d_backward", mutates_args=())
def differentiate(
    grad: Tensor, x: Tensor, kernels: Tensor, stride: int, dilation: int, backend: str
) -> tuple[Tensor, Tensor]:
    """Return the gradients of ``x``, with its memory layout, and of ``kernels``, contiguous."""
    window = Window.of(kernels, stride, dilation)
    grad_x, grad_kernels = _empty_gradients(x, kernels)
    if backend == "triton":
        from fusion_modules.laconv.ops import triton_kernels  # noqa: PLC0415 - Triton may be missing

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
    """Return the values in the type of the enclosing autocast region, if there is one; float64 is not cast."""
    device = values[0].device.type
    if device == "meta" or not torch.is_autocast_enabled(device):  # `meta` has no autocast
        return values
    dtype = torch.get_autocast_dtype(device)
    return tuple(value if value.dtype == torch.float64 else value.to(dtype) for value in values)


def _empty_gradients(x: Tensor, kernels: Tensor) -> tuple[Tensor, Tensor]:
    """Return uninitialised tensors for the gradients of ``x`` and ``kernels``."""
    return empty_map(x, *x.shape[2:]), torch.empty(kernels.shape, dtype=x.dtype, device=x.device)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    """Save the tensor arguments, stride, dilation and backend for the backward pass of either operator."""
    del output
    *tensors, stride, dilation, backend = inputs
    ctx.save_for_backward(*tensors)
    ctx.window = (stride, dilation, backend)


def _fold(value: Tensor, axis: int | None, size: int) -> Tensor:
    """Return a vmapped ``[..., V, ...]`` as ``[V*B, ...]``; a value without a mapped axis is repeated."""
    mapped = value.expand(size, *value.shape) if axis is None else value.movedim(axis, 0)
    return mapped.flatten(0, 1)


class Aggregate(torch.autograd.Function):
    """``D(x, kernels)``, also differentiable under `torch.func`, unlike the bare operator."""

    setup_context = staticmethod(_save)

    @staticmethod
    def forward(x: Tensor, kernels: Tensor, stride: int, dilation: int, backend: str) -> Tensor:
        """Return ``D(x, kernels)`` ``[B, C, H_out, W_out]``."""
        out: Tensor = aggregate(x, kernels, stride, dilation, backend)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of ``x`` and ``kernels``."""
        x, kernels = ctx.saved_tensors
        # The bare operator suffices where nothing differentiates the gradients, and is called faster.
        gradients = Differentiate.apply if torch.is_grad_enabled() else differentiate
        return (*gradients(grad, x, kernels, *ctx.window), None, None, None)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[Tensor, int]:
        """Fold the mapped axis into the batch axis, apply the operator once and unfold."""
        size = info.batch_size
        maps = [_fold(value, axis, size) for value, axis in zip(arguments[:2], in_dims[:2], strict=True)]
        return Aggregate.apply(*maps, *arguments[2:]).unflatten(0, (size, -1)), 0


class Differentiate(torch.autograd.Function):
    """The gradients ``dx(grad, kernels)`` and ``dkernels(grad, x)``, which are differentiable too."""

    setup_context = staticmethod(_save)

    @staticmethod
    def forward(
        grad: Tensor, x: Tensor, kernels: Tensor, stride: int, dilation: int, backend: str
    ) -> tuple[Tensor, Tensor]:
        """Return both gradients."""
        gradients: tuple[Tensor, Tensor] = differentiate(grad, x, kernels, stride, dilation, backend)
        return gradients

    @staticmethod
    def backward(ctx: Any, u: Tensor, v: Tensor) -> tuple[Tensor | None, ...]:
        """Return the derivatives of ``<u, dx(grad, kernels)> + <v, dkernels(grad, x)>``.

        They follow from ``<u, dx(grad, kernels)> = <grad, D(u, kernels)>`` and
        ``<v, dkernels(grad, x)> = <grad, D(x, v)>``.
        """
        grad, x, kernels = ctx.saved_tensors
        grad_x, grad_kernels = Differentiate.apply(grad, u, v, *ctx.window)
        grad_grad = Aggregate.apply(u, kernels, *ctx.window) + Aggregate.apply(x, v, *ctx.window)
        return (grad_grad, grad_x, grad_kernels, None, None, None)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], *arguments: Any
    ) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        """Fold the mapped axis into the batch axis, apply the operator once and unfold."""
        size = info.batch_size
        maps = [_fold(value, axis, size) for value, axis in zip(arguments[:3], in_dims[:3], strict=True)]
        grad_x, grad_kernels = Differentiate.apply(*maps, *arguments[3:])
        return (grad_x.unflatten(0, (size, -1)), grad_kernels.unflatten(0, (size, -1))), (0, 0)


# torch asks for the signature of ``forward`` at each call; a stored one is returned without being built again.
for _function in (Aggregate, Differentiate):
    _function.forward.__signature__ = inspect.signature(_function.forward)  # type: ignore[union-attr]

# An exported program holds the operators without the Python functions above, so it needs these registrations.
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
    """Return two operations for each of the ``C k^2 H_out W_out`` multiply-adds of a sample."""
    batch, _groups, taps, height, width = kernels_shape
    return 2 * batch * x_shape[1] * taps * height * width


@register_flop_formula(torch.ops.fusion_modules.dynamic_conv2d_backward)
def _backward_flops(
    grad_shape: list[int], x_shape: list[int], kernels_shape: list[int], *_: Any, **__: Any
) -> int:
    """Return twice the forward count: each tap has one product for the gradient of ``x``, one for ``kernels``."""
    del grad_shape
    return 2 * _forward_flops(x_shape, kernels_shape)
