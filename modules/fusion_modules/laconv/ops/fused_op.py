"""The fused kernel as a custom operator of torch, differentiable once."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from fusion_modules.laconv.ops.custom_op import in_autocast_type
from fusion_modules.laconv.ops.layout import empty_map
from fusion_modules.laconv.ops.window import Window


@torch.library.custom_op("fusion_modules::fused_dynamic_conv2d", mutates_args=())
def fused(
    x: Tensor, condition: Tensor, weight: Tensor, bias: Tensor, groups: int, stride: int, dilation: int
) -> Tensor:
    """``[B, C, H_out, W_out]``, laid out like ``x``, from a condition ``[B, E, H_out, W_out]`` of its type."""
    from fusion_modules.laconv.ops import triton_fused  # noqa: PLC0415 - only where Triton is

    out = empty_map(x, *condition.shape[2:])
    triton_fused.launch_fused_aggregate(
        x, condition, weight, bias, _window(weight, groups, stride, dilation), out
    )
    return out


@torch.library.custom_op("fusion_modules::fused_dynamic_conv2d_backward", mutates_args=())
def fused_backward(
    grad: Tensor,
    x: Tensor,
    condition: Tensor,
    weight: Tensor,
    bias: Tensor,
    groups: int,
    stride: int,
    dilation: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients of ``x``, ``condition``, ``weight`` and ``bias``."""
    from fusion_modules.laconv.ops import triton_fused_gradients  # noqa: PLC0415 - only where Triton is

    targets = _empty_gradients(x, condition, weight, bias)
    window = _window(weight, groups, stride, dilation)
    triton_fused_gradients.launch_fused_gradients(grad, x, condition, weight, bias, window, targets)
    return targets


def _window(weight: Tensor, groups: int, stride: int, dilation: int) -> Window:
    return Window(math.isqrt(len(weight) // groups), stride, dilation)


@fused.register_fake
def _(
    x: Tensor, condition: Tensor, weight: Tensor, bias: Tensor, groups: int, stride: int, dilation: int
) -> Tensor:
    del weight, bias, groups, stride, dilation
    return empty_map(x, *condition.shape[2:])


@fused_backward.register_fake
def _(
    grad: Tensor,
    x: Tensor,
    condition: Tensor,
    weight: Tensor,
    bias: Tensor,
    groups: int,
    stride: int,
    dilation: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    del grad, groups, stride, dilation
    return _empty_gradients(x, condition, weight, bias)


def _empty_gradients(
    x: Tensor, condition: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Maps laid out like their arguments, weight and bias contiguous."""
    return (
        empty_map(x, *x.shape[2:]),
        empty_map(condition, *condition.shape[2:]),
        weight.new_empty(weight.shape),
        bias.new_empty(bias.shape),
    )


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    ctx.save_for_backward(*inputs[:4])
    ctx.window = inputs[4:]


def _save_nothing(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    del ctx, inputs, output


def _one_by_one(
    function: Any, info: Any, in_dims: tuple[int | None, ...], arguments: tuple[Any, ...]
) -> list[Any]:
    """``function`` of each of the vmapped arguments: they need gradients of the weight of their own anyway."""
    return [
        function(
            *(
                value if axis is None else value.select(axis, index)
                for value, axis in zip(arguments, in_dims, strict=True)
            )
        )
        for index in range(info.batch_size)
    ]


class Fused(torch.autograd.Function):
    """Projection and aggregation, differentiable also under `torch.func`, which registered formulas are not."""

    setup_context = staticmethod(_save)

    @staticmethod
    def forward(
        x: Tensor, condition: Tensor, weight: Tensor, bias: Tensor, groups: int, stride: int, dilation: int
    ) -> Tensor:
        """``[B, C, H_out, W_out]``."""
        out: Tensor = fused(x, condition, weight, bias, groups, stride, dilation)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the four tensors."""
        return (*FusedGradients.apply(grad, *ctx.saved_tensors, *ctx.window), None, None, None)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[Tensor, int]:
        """One after the other."""
        return torch.stack(_one_by_one(Fused.apply, info, in_dims, arguments)), 0


class FusedGradients(torch.autograd.Function):
    """The gradients of `Fused`, which have none."""

    setup_context = staticmethod(_save_nothing)

    @staticmethod
    def forward(
        grad: Tensor,
        x: Tensor,
        condition: Tensor,
        weight: Tensor,
        bias: Tensor,
        groups: int,
        stride: int,
        dilation: int,
    ) -> tuple[Tensor, ...]:
        """Of ``x``, ``condition``, ``weight`` and ``bias``."""
        gradients: tuple[Tensor, ...] = fused_backward(
            grad, x, condition, weight, bias, groups, stride, dilation
        )
        return gradients

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Refuse.

        Raises:
            RuntimeError: always.
        """
        del ctx, grads
        raise RuntimeError(
            "the fused kernel of fused_dynamic_conv2d can be differentiated once only; "
            "for second derivatives use backend='triton' or 'torch'"
        )

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], *arguments: Any
    ) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        """One after the other."""
        gradients = zip(*_one_by_one(FusedGradients.apply, info, in_dims, arguments), strict=True)
        return tuple(torch.stack(gradient) for gradient in gradients), (0, 0, 0, 0)


# The operators as nodes of an exported program, with no Python function around them.
fused.register_autograd(Fused.backward, setup_context=_save)
fused_backward.register_autograd(FusedGradients.backward, setup_context=_save_nothing)
fused.register_vmap(Fused.vmap)
fused_backward.register_vmap(FusedGradients.vmap)


def _fused_under_autocast(
    x: Tensor, condition: Tensor, weight: Tensor, bias: Tensor, groups: int, stride: int, dilation: int
) -> Tensor:
    cast = in_autocast_type(x, condition, weight, bias)
    with torch.autocast(x.device.type, enabled=False):
        out: Tensor = fused(*cast, groups, stride, dilation)
    return out


_LIBRARY = torch.library.Library("fusion_modules", "FRAGMENT")
for _key in ("AutocastCPU", "AutocastCUDA"):
    _LIBRARY.impl("fused_dynamic_conv2d", _fused_under_autocast, _key)


@register_flop_formula(torch.ops.fusion_modules.fused_dynamic_conv2d)
def _fused_flops(
    x_shape: list[int],
    condition_shape: list[int],
    weight_shape: list[int],
    bias_shape: Any,
    groups: int,
    *_: Any,
    **__: Any,
) -> int:
    """Two operations for each of ``(E G + C) k^2 H_out W_out`` multiply-adds of a sample."""
    del bias_shape
    batch, width, height, columns = condition_shape
    rows = weight_shape[0]
    return 2 * batch * height * columns * (rows * width + x_shape[1] * rows // groups)


@register_flop_formula(torch.ops.fusion_modules.fused_dynamic_conv2d_backward)
def _fused_backward_flops(grad_shape: Any, *arguments: Any, **__: Any) -> int:
    """Twice the forward pass; making the kernels again is a matter of this implementation and not counted."""
    del grad_shape
    return 2 * _fused_flops(*arguments)
