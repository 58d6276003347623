"""The 1x1 convolution of ``fusion.coordinates: shared``, which reads the position beside the map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LocatedConv(nn.Conv2d):
    """A 1x1 convolution of a map with two more channels: the column and the row, each linear in [-1, 1].

    A coordinate is 0 if the map has only one position in that direction.

    The coordinates are not appended, which would copy the map. Their product with the weight is the same for all
    samples, so it is computed once and added like a bias. The layout of the map is kept: on a CPU, ``channels_last``
    is faster throughout a slot, and ``torch.cat`` of a map and an expanded one would undo it.

    Args:
        in_dim: channels ``C`` of the map, without the coordinates; the weight is ``[out_dim, C + 2, 1, 1]``.
        out_dim: channels of the result.
    """

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__(in_dim + 2, out_dim, 1)

    def forward(self, visual: Tensor) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, out_dim, H, W]``."""
        of_map, of_grid = self.weight.tensor_split([visual.shape[1]], 1)
        at_positions = F.linear(_coordinates(visual), of_grid.flatten(1), self.bias)  # [H, W, out_dim]
        return F.conv2d(visual, of_map) + at_positions.permute(2, 0, 1)


def _coordinates(like: Tensor) -> Tensor:
    """Return ``[H, W, 2]``: the column and the row of each position of a map ``[B, C, H, W]``."""
    height, width = like.shape[2:]
    columns = _linear(width, like).expand(height, width)
    rows = _linear(height, like)[:, None].expand(height, width)
    return torch.stack([columns, rows], 2)


def _linear(length: int, like: Tensor) -> Tensor:
    if length == 1:
        return like.new_zeros(1)
    return torch.linspace(-1, 1, length, device=like.device, dtype=like.dtype)
