"""Memory layouts: a map's results lie in memory as it does, so that channels-last networks stay so."""

from __future__ import annotations

import torch
from torch import Tensor


def layout_of(maps: Tensor) -> torch.memory_format:
    """Channels-last if ``maps`` ``[B, C, H, W]`` is that and nothing else, else contiguous."""
    last = maps.is_contiguous(memory_format=torch.channels_last) and not maps.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def empty_map(like: Tensor, height: int, width: int) -> Tensor:
    """An uninitialised ``[B, C, height, width]`` of the type, device and layout of ``like``."""
    return torch.empty(
        (*like.shape[:2], height, width),
        dtype=like.dtype,
        device=like.device,
        memory_format=layout_of(like),
    )
