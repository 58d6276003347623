"""What the parts of LaConvNet are joined with: a normalised convolution, and space to depth in Focus order."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn


class ConvNorm(nn.Module):
    """``activation(BN(conv(x)))``: no bias in the convolution, and zeros around the map so that stride 1 keeps it.

    Args:
        in_dim: channels in.
        out_dim: channels out.
        kernel_size: odd.
        stride: halves the map if 2.
        dilation: distance between the taps.
        activation: SiLU throughout the network; the segmentation head has its own.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        kernel_size: int = 1,
        *,
        stride: int = 1,
        dilation: int = 1,
        activation: Callable[[Tensor], Tensor] = F.silu,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_dim,
            out_dim,
            kernel_size,
            stride=stride,
            padding=dilation * (kernel_size // 2),
            dilation=dilation,
            bias=False,
        )
        self.norm = nn.BatchNorm2d(out_dim)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """``[B, in_dim, H, W]`` -> ``[B, out_dim, ceil(H/stride), ceil(W/stride)]``."""
        return self.activation(self.norm(self.conv(x)))


def space_to_depth(x: Tensor) -> Tensor:
    """Squares of 2 x 2 positions become channels: ``[B, C, H, W]`` -> ``[B, 4C, H/2, W/2]``, even sides.

    The order is that of YOLO's Focus layer, quarter by quarter: all channels of the top left positions,
    then of the bottom left, the top right, the bottom right. (`torch.nn.functional.pixel_unshuffle` goes
    channel by channel; weights trained for one order are wrong for the other.)
    """
    batch, channels, height, width = x.shape
    squares = x.view(batch, channels, height // 2, 2, width // 2, 2)  # [B, C, H/2, dy, W/2, dx]
    quarters = squares.permute(0, 5, 3, 1, 2, 4)  # [B, dx, dy, C, H/2, W/2]
    return quarters.reshape(batch, 4 * channels, height // 2, width // 2)
