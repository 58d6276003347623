"""The reference backend: every window is copied, multiplied by its kernel and summed.

    out[b, c, p] = sum_j kernels[b, c mod G, j, p] * unfolded(x)[b, c, j, p]

Symbols are those of `fusion_modules.laconv.ops.operator`. The code is plain differentiable torch, so it has
derivatives of every order. The copy has ``k*k`` times the size of the map.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

from fusion_modules.laconv.ops.layout import layout_of
from fusion_modules.laconv.ops.window import Window


def _without_autocast(device: str) -> AbstractContextManager[None]:
    """Return a context without autocast; an empty context on ``meta``, which has none."""
    return nullcontext() if device == "meta" else torch.autocast(device, enabled=False)


def aggregate_unfolded(x: Tensor, kernels: Tensor, window: Window) -> Tensor:
    """Filter ``[B, C, H, W]`` with kernels ``[B, G, k*k, H_out, W_out]`` of its type to ``[B, C, H_out, W_out]``."""
    batch, channels = x.shape[:2]
    groups, taps, rows, columns = kernels.shape[1:]
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    with _without_autocast(x.device.type):
        unfolded = F.unfold(
            x.to(wide),
            window.size,
            dilation=window.dilation,
            padding=window.dilation * (window.size // 2),
            stride=window.stride,
        )  # [B, C k^2, H_out W_out]
        unfolded = unfolded.view(
            batch, channels // groups, groups, taps, rows, columns
        )  # [B, C/G, G, k^2, ...]
        out = torch.einsum("bcgjyx,bgjyx->bcgyx", unfolded, kernels.to(wide))  # [B, C/G, G, H_out, W_out]
    out = out.reshape(batch, channels, rows, columns).to(x.dtype)  # [B, C, H_out, W_out]
    return out.contiguous(memory_format=layout_of(x))
