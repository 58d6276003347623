"""The operator of LaConv: a convolution with a separate kernel at every position.

    out[b, c, p] = sum_j kernels[b, c mod G, j, p] * x[b, c, s p + d o_j]

``j`` runs row by row over the offsets ``o_j`` of a k x k window centred on the position, ``s`` is the stride and
``d`` the dilation; outside the map ``x`` is zero. The groups are **interleaved** (channel ``c`` uses group
``c mod G``), as in the operator of Zhao, Jia, Koltun, "Exploring Self-attention for Image Recognition" (SAN),
CVPR 2020, which LaConv uses.

Three backends compute it: `reference` (unfold and einsum), `torch` (shift and accumulate, for any device) and
`triton` (for GPUs). The last two are one custom operator, so that compilation, export, ``torch.func`` and the
count of multiply-adds treat it as a single node. The operator is linear in each argument, and its gradients are sums
of the same products. It therefore has derivatives of every order.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Literal

import torch
from torch import Tensor

from fusion_modules.laconv.ops.custom_op import Aggregate, in_autocast_type
from fusion_modules.laconv.ops.reference import aggregate_unfolded
from fusion_modules.laconv.ops.window import TAPS, Window

Backend = Literal["auto", "reference", "torch", "triton"]

_HAS_TRITON = importlib.util.find_spec("triton") is not None
_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # Triton also reads it only once


def dynamic_conv2d(
    x: Tensor, kernels: Tensor, *, stride: int = 1, dilation: int = 1, backend: Backend = "auto"
) -> Tensor:
    """Filter each position of ``x`` with its own kernel.

    The result is differentiable in both arguments, any number of times. bfloat16 and float16 are accumulated in
    float32. Under autocast both arguments are cast to the autocast type, except float64. A channels-last ``x`` gives
    a channels-last result.

    Args:
        x: ``[B, C, H, W]``.
        kernels: ``[B, G, k*k, H_out, W_out]`` with odd ``k`` up to 11, ``G`` a divisor of ``C`` and
            ``H_out = (H - 1) // stride + 1``.
        stride: distance between neighbouring outputs, in positions of ``x``.
        dilation: distance between neighbouring taps, in positions of ``x``.
        backend: name of the backend; ``auto`` uses the result of `chosen_backend`.

    Returns:
        ``[B, C, H_out, W_out]`` in the promoted type of ``x`` and ``kernels``.

    Raises:
        ValueError: the shapes do not fit, or the backend cannot run on this device.
    """
    _check(x, kernels, stride, dilation)
    if backend == "auto":
        backend = chosen_backend(x, kernels, stride, dilation)
    else:
        check_backend(backend, x.device)
    x, kernels = in_autocast_type(x, kernels)
    dtype = torch.promote_types(x.dtype, kernels.dtype)
    x, kernels = x.to(dtype), kernels.to(dtype)
    if backend == "reference":
        return aggregate_unfolded(x, kernels, Window.of(kernels, stride, dilation))
    out: Tensor = Aggregate.apply(x, kernels, stride, dilation, backend)
    return out


def chosen_backend(
    x: Tensor, kernels: Tensor, stride: int = 1, dilation: int = 1
) -> Literal["torch", "triton"]:
    """Return the backend that ``auto`` selects: ``triton`` on a CUDA GPU if Triton is installed, else ``torch``."""
    del kernels, stride, dilation  # every backend supports every window
    return "triton" if x.is_cuda and _HAS_TRITON else "torch"


def check_backend(backend: str, device: torch.device) -> None:
    """Raise ValueError unless ``backend`` is known and runs on ``device``."""
    if backend not in {"reference", "torch", "triton"}:
        raise ValueError(
            f"dynamic_conv2d has no backend {backend!r}; choose auto, reference, torch or triton"
        )
    if backend == "triton" and not _HAS_TRITON:
        raise ValueError("backend 'triton' needs the package triton; install it or use backend='torch'")
    if backend == "triton" and device.type not in {"cuda", "meta"} and not _INTERPRETED:
        raise ValueError(
            f"backend 'triton' needs tensors on a CUDA GPU, not on {device.type}; on other devices it runs only in "
            "Triton's interpreter (set TRITON_INTERPRET=1 before Python starts)"
        )


def check_taps(taps: int) -> None:
    """Raise ValueError unless ``taps`` is ``k*k`` for an odd ``k`` up to 11."""
    if taps not in TAPS:
        raise ValueError(f"kernels must hold k*k taps with odd k up to 11, not {taps}")


def _check(x: Tensor, kernels: Tensor, stride: int, dilation: int) -> None:
    """Raise ValueError unless shapes, types, stride and dilation fit each other."""
    if x.dim() != 4 or kernels.dim() != 5:
        raise ValueError(
            f"x must be [B, C, H, W] and kernels [B, G, k*k, H_out, W_out], not {x.dim()}-D and {kernels.dim()}-D"
        )
    if stride < 1 or dilation < 1:
        raise ValueError(f"stride and dilation must be at least 1, not {stride} and {dilation}")
    groups, taps = kernels.shape[1:3]
    check_taps(taps)
    if x.shape[1] % groups:
        raise ValueError(f"{groups} groups do not divide {x.shape[1]} channels")
    if not x.is_floating_point() or not kernels.is_floating_point():
        raise ValueError(f"x and kernels must be floating-point, not {x.dtype} and {kernels.dtype}")
    outputs = (x.shape[0], *((extent - 1) // stride + 1 for extent in x.shape[2:]))  # (B, H_out, W_out)
    if outputs != (kernels.shape[0], *kernels.shape[3:]):
        raise ValueError(
            f"x {list(x.shape)} at stride {stride} and kernels {list(kernels.shape)} "
            "differ in samples or positions"
        )
