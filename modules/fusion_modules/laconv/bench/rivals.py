"""What the operator is compared with on a GPU, beside unfold, multiply, sum: each with inputs in its own layout."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fusion_modules.laconv.bench.measurement import Function
from fusion_modules.laconv.ops.operator import dynamic_conv2d


@dataclass(frozen=True)
class Rival:
    """An implementation of the aggregation.

    Attributes:
        name: its name in the table.
        function: maps a map and kernels to a map, differentiable in both.
        layout: turns ``x`` ``[B, C, H, W]`` and kernels ``[B, G, k*k, H, W]`` into what the function takes.
        needs_triton: True if it runs on a GPU or in Triton's interpreter only.
    """

    name: str
    function: Function
    layout: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    needs_triton: bool = False


def as_given(x: Tensor, kernels: Tensor) -> tuple[Tensor, Tensor]:
    """Return both as they are."""
    return x, kernels


def san_aggregation(x: Tensor, kernels: Tensor) -> Tensor:
    """Return SAN's aggregation; see `fusion_modules.laconv.bench.rival_kernels`."""
    from fusion_modules.laconv.bench.rival_kernels import ElementAggregation  # noqa: PLC0415 - Triton may be missing

    out: Tensor = ElementAggregation.apply(x, kernels, True)
    return out


def involution_aggregation(x: Tensor, kernels: Tensor) -> Tensor:
    """Return involution's aggregation, in which neighbouring channels share a kernel."""
    from fusion_modules.laconv.bench.rival_kernels import ElementAggregation  # noqa: PLC0415 - Triton may be missing

    out: Tensor = ElementAggregation.apply(x, kernels, False)
    return out


def natten_layout(x: Tensor, kernels: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``x`` as ``[B, G, H, W, C/G]`` and the kernels as ``[B, G, H, W, k*k]``, contiguous."""
    groups = kernels.shape[1]
    values = x.unflatten(1, (-1, groups)).permute(0, 2, 3, 4, 1).contiguous()
    return values, kernels.permute(0, 1, 3, 4, 2).contiguous()


def natten_aggregation(values: Tensor, weights: Tensor) -> Tensor:
    """Return NATTEN's ``na2d_av``; at the border its windows move inwards, so the result differs there.

    Raises:
        ImportError: the package natten is missing, or its release has no such operator.
    """
    operator = _natten_operator()
    if operator is None:
        raise ImportError("natten.functional.na2d_av is missing")
    out: Tensor = operator(weights, values, kernel_size=int(weights.shape[-1] ** 0.5), dilation=1)
    return out


def _natten_operator() -> Callable[..., Tensor] | None:
    try:
        functional = importlib.import_module("natten.functional")
    except Exception:  # a build for another version of torch may raise anything
        return None
    operator: Callable[..., Tensor] | None = getattr(functional, "na2d_av", None)
    return operator


def rivals_on_gpu() -> tuple[list[Rival], str]:
    """Return the rivals, and what is left out and why; empty if nothing is."""
    compiled = torch.compile(functools.partial(dynamic_conv2d, backend="reference"), dynamic=False)
    rivals = [
        Rival("torch.compile of the reference", compiled, as_given),
        Rival("SAN, one thread a value", san_aggregation, as_given, needs_triton=True),
        Rival("involution, one thread a value", involution_aggregation, as_given, needs_triton=True),
    ]
    if _natten_operator() is None:
        return (
            rivals,
            "NATTEN is left out: there is no natten.functional.na2d_av (releases up to 0.17 have it).",
        )
    return [*rivals, Rival("NATTEN", natten_aggregation, natten_layout)], ""
