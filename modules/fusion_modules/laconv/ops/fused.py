"""Kernel projection and aggregation in one: the kernels of LaConv are made where they are used.

    kernels[b, g, j, p] = sum_e weight[g k^2 + j, e] condition[b, e, s p] + bias[g k^2 + j]
    out = dynamic_conv2d(x, kernels)

On a GPU the ``[B, G, k*k, H, W]`` tensor never reaches memory: a tap's kernels are one small matrix product, used
at once; the gradients make them again. Elsewhere this is the projection, then the operator.
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
    """Project a condition map to kernels and filter each position of ``x`` with its own.

    Differentiable in all tensors: once by the fused kernel, any number of times by the other backends. Under
    autocast it computes in the autocast type; sums are float32.

    Args:
        x: ``[B, C, H, W]``.
        condition: ``[B, E, H, W]``.
        weight: ``[G*k*k, E]``; row ``g k^2 + j`` makes tap ``j`` of group ``g``.
        bias: ``[G*k*k]`` or None.
        groups: ``G``, dividing ``C``.
        stride: positions from one output to the next, in ``x`` and in the condition.
        dilation: positions from one tap to the next.
        backend: ``fused`` is the kernel for GPUs; ``reference``, ``torch`` and ``triton`` are the projection
            followed by that backend of `dynamic_conv2d`; ``auto`` is what `chosen_fused_backend` names.

    Returns:
        ``[B, C, H_out, W_out]`` with ``H_out = (H - 1) // stride + 1``.

    Raises:
        ValueError: the shapes do not fit, or the backend cannot run here.
    """
    _check(x, condition, weight, bias, groups)
    if backend == "auto":
        backend = chosen_fused_backend(x, condition, weight)
    condition = condition[..., ::stride, ::stride]  # [B, E, H_out, W_out]
    if backend != "fused":
        projected = F.conv2d(condition, weight[:, :, None, None], bias)  # [B, G k^2, H_out, W_out]
        kernels = projected.unflatten(1, (groups, -1))
        return dynamic_conv2d(x, kernels, stride=stride, dilation=dilation, backend=backend)
    check_backend("triton", x.device)
    given = in_autocast_type(x, condition, weight, weight.new_zeros(len(weight)) if bias is None else bias)
    dtype = torch.promote_types(given[0].dtype, given[1].dtype)
    if dtype == torch.float64:
        raise ValueError("the fused kernel has no float64; use backend='torch'")
    out: Tensor = Fused.apply(*(value.to(dtype) for value in given), groups, stride, dilation)
    return out


def chosen_fused_backend(x: Tensor, condition: Tensor, weight: Tensor) -> Literal["fused", "torch", "triton"]:
    """What ``backend="auto"`` runs: ``fused`` on a CUDA GPU that has Triton, else what `chosen_backend` names.

    Not fused are float64, for which GPUs' matrix units are not made, and everything under
    `torch.use_deterministic_algorithms`: the fused gradients of weight and bias are summed in no fixed order.
    """
    unfused = chosen_backend(x, condition)
    wide = torch.float64 in {value.dtype for value in (x, condition, weight)}
    if unfused == "torch" or wide or torch.are_deterministic_algorithms_enabled():
        return unfused
    return "fused"


def _check(x: Tensor, condition: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> None:
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
        raise ValueError(f"weight must have groups * k*k rows, which {rows} rows are not for {groups} groups")
    check_taps(rows // groups)
    if bias is not None and bias.shape != (rows,):
        raise ValueError(f"bias {list(bias.shape)} must have one value for each of the {rows} rows of weight")
