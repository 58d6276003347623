"""Memory layouts: a result has the layout of its input map, so that channels-last networks stay channels-last."""

from __future__ import annotations

import torch
from torch import Tensor


def layout_of(maps: Tensor) -> torch.memory_format:
    """Return channels-last if ``maps`` ``[B, C, H, W]`` is channels-last and not contiguous, else contiguous."""
    last = maps.is_contiguous(memory_format=torch.channels_last) and not maps.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def empty_map(like: Tensor, height: int, width: int) -> Tensor:
    """Return an uninitialised ``[B, C, height, width]`` of the type, device and layout of ``like``."""
    return torch.empty(
        (*like.shape[:2], height, width),
        dtype=like.dtype,
        device=like.device,
        memory_format=layout_of(like),
    )
