"""Kernel projection and convolution in one operator: the kernels of LaConv are computed where they are used.

    kernels[b, g, j, p] = sum_e weight[g k^2 + j, e] condition[b, e, s p] + bias[g k^2 + j]
    out = dynamic_conv2d(x, kernels)

Symbols are those of `fusion_modules.laconv.ops.operator`; ``E`` is the number of condition channels. On a GPU the
``[B, G, k*k, H, W]`` tensor is never stored in memory: the kernel values of one tap are a small matrix product that
is used immediately, and the backward pass computes them again. On other devices the projection runs first, then the
operator.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fusion_modules.laconv.ops.custom_op import in_autocast_type
from fusion_modules.laconv.ops.fused_op import Fused
from fusion_modules.laconv.ops.operator import check_backend, check_taps, chosen_backend, dynamic_conv2d

FusedBackend = Literal["auto", "fused", "reference", "torch", "triton"]


def fused_dynamic_conv2d(
    x: Tensor,
    condition: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    groups: int,
    stride: int = 1,
    dilation: int = 1,
    backend: FusedBackend = "auto",
) -> Tensor:
    """Project a condition map to kernels and filter each position of ``x`` with its own kernel.

    The result is differentiable in all tensors: once with the fused kernel, any number of times with the other
    backends. Under autocast it computes in the autocast type; sums are float32.

    Args:
        x: ``[B, C, H, W]``.
        condition: ``[B, E, H, W]``.
        weight: ``[G*k*k, E]``; row ``g k^2 + j`` projects to tap ``j`` of group ``g``.
        bias: ``[G*k*k]`` or None.
        groups: ``G``, a divisor of ``C``.
        stride: distance between neighbouring outputs, in positions of ``x`` and of the condition.
        dilation: distance between neighbouring taps, in positions of ``x``.
        backend: name of the backend; ``fused`` is the kernel for GPUs; ``reference``, ``torch`` and ``triton`` are
            the projection followed by that backend of `dynamic_conv2d`; ``auto`` uses the result of
            `chosen_fused_backend`.

    Returns:
        ``[B, C, H_out, W_out]`` with ``H_out = (H - 1) // stride + 1``.

    Raises:
        ValueError: the shapes do not fit, or the backend cannot run on this device.
    """
    _check(x, condition, weight, bias, groups)
    if backend == "auto":
        backend = chosen_fused_backend(x, condition, weight)
    condition = condition[..., ::stride, ::stride]  # [B, E, H_out, W_out]
    if backend != "fused":
        projected = F.conv2d(condition, weight[:, :, None, None], bias)  # [B, G k^2, H_out, W_out]
        kernels = projected.unflatten(1, (groups, -1))  # [B, G, k^2, H_out, W_out]
        return dynamic_conv2d(x, kernels, stride=stride, dilation=dilation, backend=backend)
    check_backend("triton", x.device)
    inputs = in_autocast_type(x, condition, weight, weight.new_zeros(len(weight)) if bias is None else bias)
    dtype = torch.promote_types(inputs[0].dtype, inputs[1].dtype)
    if dtype == torch.float64:
        raise ValueError("the fused kernel does not support float64; use backend='torch'")
    out: Tensor = Fused.apply(*(value.to(dtype) for value in inputs), groups, stride, dilation)
    return out


def chosen_fused_backend(x: Tensor, condition: Tensor, weight: Tensor) -> Literal["fused", "torch", "triton"]:
    """Return the backend of ``backend="auto"``: ``fused`` on a CUDA GPU with Triton, else that of `chosen_backend`.

    The result is not ``fused`` for float64, which the matrix units of GPUs do not support, and under
    `torch.use_deterministic_algorithms`, because the fused gradients of weight and bias are summed in no fixed order.
    """
    unfused = chosen_backend(x, condition)
    has_float64 = torch.float64 in {value.dtype for value in (x, condition, weight)}
    if unfused == "torch" or has_float64 or torch.are_deterministic_algorithms_enabled():
        return unfused
    return "fused"


def _check(x: Tensor, condition: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> None:
    """Raise ValueError unless the shapes fit each other."""
    if x.dim() != 4 or condition.dim() != 4 or weight.dim() != 2:
        raise ValueError(
            "x must be [B, C, H, W], condition [B, E, H, W] and weight [G*k*k, E], "
            f"not {x.dim()}-D, {condition.dim()}-D and {weight.dim()}-D"
        )
    if (x.shape[0], *x.shape[2:]) != (condition.shape[0], *condition.shape[2:]):
        raise ValueError(
            f"x {list(x.shape)} and condition {list(condition.shape)} differ in samples or positions"
        )
    rows, width = weight.shape
    if width != condition.shape[1]:
        raise ValueError(
            f"weight {list(weight.shape)} does not fit a condition of {condition.shape[1]} channels"
        )
    if groups < 1 or x.shape[1] % groups:
        raise ValueError(f"{groups} groups do not divide {x.shape[1]} channels")
    if rows % groups:
        raise ValueError(
            f"weight must have groups * k*k rows, and {rows} rows are not a multiple of {groups} groups"
        )
    check_taps(rows // groups)
    if bias is not None and bias.shape != (rows,):
        raise ValueError(f"bias {list(bias.shape)} must have one value for each of the {rows} rows of weight")
