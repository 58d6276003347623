"""The neck of LaConvNet: a path aggregation network over the three coarsest maps, as in YOLOX.

Liu, Qi, Qin, Shi, Jia, "Path Aggregation Network for Instance Segmentation" (PANet), CVPR 2018; Ge, Liu,
Wang, Li, Sun, "YOLOX: Exceeding YOLO Series in 2021" (arXiv 2107.08430), with its cross stage partial
layers (Wang et al., "CSPNet", CVPR Workshops 2020). As in the authors' released networks, bottlenecks have no
shortcut, and batch norm has torch's defaults.

Symbols: ``F``, ``M``, ``L`` the fine, middle and coarse map, of channels ``f``, ``m``, ``l``; ``up``
nearest-neighbour upsampling by 2, ``;`` concatenation of channels. Batch norm and SiLU follow every ``conv``.

    L' = conv1x1(L)                                    l -> m
    M' = conv1x1( CSP([up(L'); M]) )                   m -> f
    F* = CSP([up(M'); F])                              f     end of the top-down path
    M* = CSP([conv3x3_stride2(F*); M'])                m     bottom-up path
    L* = CSP([conv3x3_stride2(M*); L'])                l

    CSP(x) = conv1x1([B_n(...B_1(conv1x1(x))...); conv1x1(x)]),    B_i(x) = conv3x3(conv1x1(x))
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_modules.laconvnet.convolution import ConvNorm


class CrossStagePartial(nn.Module):
    """A cross stage partial layer ``CSP``: only half of the channels pass through the bottlenecks.

    Args:
        in_dim: channels of the input.
        out_dim: channels of the output, even; each half has ``out_dim / 2``.
        bottlenecks: ``n``.
    """

    def __init__(self, in_dim: int, out_dim: int, bottlenecks: int) -> None:
        super().__init__()
        half = out_dim // 2
        self.through = ConvNorm(in_dim, half)
        self.around = ConvNorm(in_dim, half)
        self.bottlenecks = nn.Sequential(
            *(nn.Sequential(ConvNorm(half, half), ConvNorm(half, half, 3)) for _ in range(bottlenecks))
        )
        self.join = ConvNorm(2 * half, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, in_dim, H, W]`` -> ``[B, out_dim, H, W]``."""
        halves = (self.bottlenecks(self.through(x)), self.around(x))  # each [B, out_dim / 2, H, W]
        joined: Tensor = self.join(torch.cat(halves, dim=1))  # [B, out_dim, H, W]
        return joined


class TopDown(nn.Module):
    """The top-down path, ``L'``, ``M'`` and ``F*``; it is also the second neck of the segmentation network.

    Args:
        dims: channels ``(f, m, l)``.
        bottlenecks: number of bottlenecks of each CSP layer.
    """

    def __init__(self, dims: tuple[int, int, int], *, bottlenecks: int = 3) -> None:
        super().__init__()
        fine, middle, coarse = dims
        self.lateral_coarse = ConvNorm(coarse, middle)
        self.fuse_middle = CrossStagePartial(2 * middle, middle, bottlenecks)
        self.lateral_middle = ConvNorm(middle, fine)
        self.fuse_fine = CrossStagePartial(2 * fine, fine, bottlenecks)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """``(F, M, L)`` -> ``(F*, M', L')``: ``[B, f, 4h, 4w]``, ``[B, f, 2h, 2w]``, ``[B, m, h, w]``."""
        fine, middle, coarse = maps
        lateral_coarse = self.lateral_coarse(coarse)  # [B, m, h, w]
        middle = self.fuse_middle(_upsample_and_join(lateral_coarse, middle))  # [B, m, 2h, 2w]
        lateral_middle = self.lateral_middle(middle)  # [B, f, 2h, 2w]
        fine = self.fuse_fine(_upsample_and_join(lateral_middle, fine))  # [B, f, 4h, 4w]
        return fine, lateral_middle, lateral_coarse


class PathAggregation(nn.Module):
    """The whole neck: a top-down path, then a bottom-up path; channels and sizes of the maps stay the same.

    Args:
        dims: channels ``(f, m, l)``.
        bottlenecks: number of bottlenecks of each CSP layer.
    """

    def __init__(self, dims: tuple[int, int, int], *, bottlenecks: int = 3) -> None:
        super().__init__()
        fine, middle, coarse = dims
        self.top_down = TopDown(dims, bottlenecks=bottlenecks)
        self.down_fine = ConvNorm(fine, fine, 3, stride=2)
        self.fuse_middle = CrossStagePartial(2 * fine, middle, bottlenecks)
        self.down_middle = ConvNorm(middle, middle, 3, stride=2)
        self.fuse_coarse = CrossStagePartial(2 * middle, coarse, bottlenecks)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """``(F, M, L)`` -> ``(F*, M*, L*)``: ``[B, f, 4h, 4w]``, ``[B, m, 2h, 2w]``, ``[B, l, h, w]``."""
        fine, lateral_middle, lateral_coarse = self.top_down(maps)
        middle = self.fuse_middle(torch.cat((self.down_fine(fine), lateral_middle), dim=1))  # [B, m, 2h, 2w]
        coarse = self.fuse_coarse(
            torch.cat((self.down_middle(middle), lateral_coarse), dim=1)
        )  # [B, l, h, w]
        return fine, middle, coarse


def _upsample_and_join(coarse: Tensor, fine: Tensor) -> Tensor:
    """Return ``[up(coarse); fine]``: ``[B, a, h, w]`` and ``[B, b, 2h, 2w]`` -> ``[B, a + b, 2h, 2w]``."""
    return torch.cat((F.interpolate(coarse, scale_factor=2.0, mode="nearest"), fine), dim=1)
