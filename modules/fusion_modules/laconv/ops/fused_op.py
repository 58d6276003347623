"""The fused kernel as a custom operator of torch, differentiable once.

Its equation is that of `fusion_modules.laconv.ops.fused`.
"""

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
    """Return ``[B, C, H_out, W_out]``, laid out as ``x``, from a condition ``[B, E, H_out, W_out]`` of its type."""
    from fusion_modules.laconv.ops import triton_fused  # noqa: PLC0415 - Triton may be missing

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
    """Return the gradients of ``x``, ``condition``, ``weight`` and ``bias``."""
    from fusion_modules.laconv.ops import triton_fused_gradients  # noqa: PLC0415 - Triton may be missing

    targets = _empty_gradients(x, condition, weight, bias)
    window = _window(weight, groups, stride, dilation)
    triton_fused_gradients.launch_fused_gradients(grad, x, condition, weight, bias, window, targets)
    return targets


def _window(weight: Tensor, groups: int, stride: int, dilation: int) -> Window:
    """Return the window of the kernels that ``weight`` ``[G*k*k, E]`` projects to."""
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
    """Return uninitialised gradients: of maps in their memory layout, of weight and bias contiguous."""
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


def _apply_per_sample(
    function: Any, info: Any, in_dims: tuple[int | None, ...], arguments: tuple[Any, ...]
) -> list[Any]:
    """Apply ``function`` to each vmapped sample: every sample needs a separate gradient of the weight anyway."""
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
    """Projection and convolution, also differentiable under `torch.func`, unlike the bare operator."""

    setup_context = staticmethod(_save)

    @staticmethod
    def forward(
        x: Tensor, condition: Tensor, weight: Tensor, bias: Tensor, groups: int, stride: int, dilation: int
    ) -> Tensor:
        """Return ``[B, C, H_out, W_out]``."""
        out: Tensor = fused(x, condition, weight, bias, groups, stride, dilation)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the four tensors."""
        return (*FusedGradients.apply(grad, *ctx.saved_tensors, *ctx.window), None, None, None)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[Tensor, int]:
        """Apply the operator to one mapped sample after the other."""
        return torch.stack(_apply_per_sample(Fused.apply, info, in_dims, arguments)), 0


class FusedGradients(torch.autograd.Function):
    """The gradients of `Fused`; they have no derivative."""

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
        """Return the gradients of ``x``, ``condition``, ``weight`` and ``bias``."""
        gradients: tuple[Tensor, ...] = fused_backward(
            grad, x, condition, weight, bias, groups, stride, dilation
        )
        return gradients

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Raise an error: there is no second derivative.

        Raises:
            RuntimeError: every call.
        """
        del ctx, grads
        raise RuntimeError(
            "the fused kernel of fused_dynamic_conv2d can be differentiated only once; "
            "for second derivatives use backend='triton' or 'torch'"
        )

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], *arguments: Any
    ) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        """Apply the operator to one mapped sample after the other."""
        gradients = zip(*_apply_per_sample(FusedGradients.apply, info, in_dims, arguments), strict=True)
        return tuple(torch.stack(gradient) for gradient in gradients), (0, 0, 0, 0)


# An exported program holds the operators without the Python functions above, so it needs these registrations.
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
    """Return two operations for each of the ``(E G + C) k^2 H_out W_out`` multiply-adds of a sample."""
    del bias_shape
    batch, width, height, columns = condition_shape
    rows = weight_shape[0]
    return 2 * batch * height * columns * (rows * width + x_shape[1] * rows // groups)


@register_flop_formula(torch.ops.fusion_modules.fused_dynamic_conv2d_backward)
def _fused_backward_flops(grad_shape: Any, *arguments: Any, **__: Any) -> int:
    """Return twice the forward count; the recomputation of the kernels is an implementation detail, not counted."""
    del grad_shape
    return 2 * _fused_flops(*arguments)
