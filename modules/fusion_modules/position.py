"""Position codes as channels: the sine code of Vaswani et al. (NeurIPS 2017) in 2-D, and plain coordinates."""

from __future__ import annotations

import torch
from torch import Tensor


def sine_position_code(visual: Tensor) -> Tensor:
    """Return the fixed sine code ``[C, H, W]`` for a map ``[B, C, H, W]``.

    The first half of the channels encodes the row, the second half the column. Channel ``2i`` of a half is
    ``sin(n / 10000^(2i / d))`` and channel ``2i + 1`` the cosine, where ``d = C / 2`` and ``n`` counts rows
    (columns) from 1. This is the unnormalised code of DETR (Carion et
    al., ECCV 2020) with the two channels of a frequency side by side. It is computed in float32 (float64
    for a float64 map) and returned in the map's type.

    Raises:
        ValueError: ``C`` is not a multiple of 4 (rows and columns each need a sine and a cosine).
    """
    _, channels, height, width = visual.shape
    if channels % 4:
        raise ValueError(f"a 2-D sine position code needs a multiple of 4 channels, not {channels}")
    half = channels // 2
    dtype = torch.promote_types(visual.dtype, torch.float32)
    exponent = torch.arange(0, half, 2, device=visual.device, dtype=dtype) / half
    frequency = 10000.0**-exponent  # [C / 4]
    row = _waves(height, frequency)[:, :, None].expand(half, height, width)  # [C / 2, H, W]
    column = _waves(width, frequency)[:, None, :].expand(half, height, width)
    return torch.cat((row, column)).to(visual.dtype)  # [C, H, W]


def _waves(length: int, frequency: Tensor) -> Tensor:
    """Return ``[2 * frequencies, length]``: the sine and cosine of each frequency in turn, at 1, 2, ... length."""
    steps = torch.arange(1, length + 1, device=frequency.device, dtype=frequency.dtype)
    angle = frequency[:, None] * steps  # [frequencies, length]
    return torch.stack((angle.sin(), angle.cos()), dim=1).flatten(0, 1)


def with_coordinates(visual: Tensor) -> Tensor:
    """Append x, then y, each linear from -1 to 1 over the map: ``[B, C, H, W]`` -> ``[B, C + 2, H, W]``.

    A map in the layout ``channels_last``, in which a CPU convolves faster, gives one in that layout.
    """
    batch, _, height, width = visual.shape
    x = torch.linspace(-1, 1, width, device=visual.device, dtype=visual.dtype)
    y = torch.linspace(-1, 1, height, device=visual.device, dtype=visual.dtype)
    grid = torch.stack((x.expand(height, width), y[:, None].expand(height, width)), dim=2)  # [H, W, 2]
    if visual.is_contiguous(memory_format=torch.channels_last):
        located = torch.cat((visual.permute(0, 2, 3, 1), grid.expand(batch, -1, -1, -1)), dim=3)
        return located.permute(0, 3, 1, 2)
    return torch.cat((visual, grid.permute(2, 0, 1).expand(batch, -1, -1, -1)), dim=1)
