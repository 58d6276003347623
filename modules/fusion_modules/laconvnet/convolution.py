"""Basic layers of LaConvNet: a convolution with batch norm, and space to depth in the order of YOLO's Focus layer."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn


class ConvNorm(nn.Module):
    """A convolution with batch norm and activation, ``activation(BN(conv(x)))``.

    The convolution has no bias and pads with zeros, so that the map keeps its size at stride 1.

    Args:
        in_dim: channels of the input.
        out_dim: channels of the output.
        kernel_size: size of the kernel, odd.
        stride: stride of the convolution; 2 halves the map.
        dilation: distance between the taps.
        activation: function after the norm; SiLU in the whole network except the segmentation head.
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
    """Move squares of 2 x 2 positions into channels: ``[B, C, H, W]`` -> ``[B, 4C, H/2, W/2]``, with even sides.

    The order is that of YOLO's Focus layer: all channels of the top left positions, then of the bottom left, the top
    right, the bottom right. (`torch.nn.functional.pixel_unshuffle` orders by channel instead; weights trained for one
    order are wrong for the other.)
    """
    batch, channels, height, width = x.shape
    squares = x.view(batch, channels, height // 2, 2, width // 2, 2)  # [B, C, H/2, dy, W/2, dx]
    quarters = squares.permute(0, 5, 3, 1, 2, 4)  # [B, dx, dy, C, H/2, W/2]
    return quarters.reshape(batch, 4 * channels, height // 2, width // 2)  # [B, 4C, H/2, W/2]
