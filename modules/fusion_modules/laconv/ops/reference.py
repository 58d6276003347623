"""The readable truth: every window is copied out, multiplied by its kernel and summed.

    out[b, c, p] = sum_j kernels[b, c mod G, j, p] * unfolded(x)[b, c, j, p]

Plain differentiable torch, so it has derivatives of every order; the copy is ``k*k`` times the map.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

from fusion_modules.laconv.ops.layout import layout_of
from fusion_modules.laconv.ops.window import Window


def _exactly(device: str) -> AbstractContextManager[None]:
    """Autocast off; nothing on a device that has none (``meta``)."""
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


def aggregate_unfolded(x: Tensor, kernels: Tensor, window: Window) -> Tensor:
    """``[B, C, H, W]`` with kernels ``[B, G, k*k, H_out, W_out]`` of the same type -> ``[B, C, H_out, W_out]``."""
    batch, channels = x.shape[:2]
    groups, taps, rows, columns = kernels.shape[1:]
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    with _exactly(x.device.type):
        unfolded = F.unfold(
            x.to(wide),
            window.size,
            dilation=window.dilation,
            padding=window.dilation * (window.size // 2),
            stride=window.stride,
        )  # [B, C k^2, H_out W_out]
        unfolded = unfolded.view(batch, channels // groups, groups, taps, rows, columns)
        out = torch.einsum("bcgjyx,bgjyx->bcgyx", unfolded, kernels.to(wide))  # [B, C/G, G, H_out, W_out]
    out = out.reshape(batch, channels, rows, columns).to(x.dtype)
    return out.contiguous(memory_format=layout_of(x))
