"""The heads of the authors' networks: one box (referring expression comprehension) or one mask (segmentation).

Luo, Zhou, Sun, Wu, Gao, Ji, "Towards Language-guided Visual Recognition via Dynamic Convolutions",
IJCV 132, 2024 (arXiv 2110.08797), as released. The detection head is YOLOX's (Ge, Liu, Wang, Li, Sun,
arXiv 2107.08430) with one branch for box and objectness, no class, and cells decoded from their corner; the
segmentation head is the atrous spatial pyramid of Chen, Papandreou, Schroff, Adam (DeepLabv3, arXiv
1706.05587). For inference: neither holds a loss.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_modules.laconvnet.convolution import ConvNorm

CELL = 32
"""Input pixels between two cells of the map that the box is read from."""


class DetectionHead(nn.Module):
    """One box an image, from the coarsest map of the neck.

    Symbols: ``b`` the four numbers and ``o`` the objectness that cell ``(i, j)`` (column, row) gives.

        R = conv3x3(conv3x3(conv1x1(L)))        each with BN and SiLU
        b = conv1x1(R),  o = conv1x1(R)
        centre = 32 (b_x + i, b_y + j),  size = 32 (exp b_w, exp b_h)

    The cell of the highest ``sigmoid(o)`` gives the box and its score; there is nothing to suppress.

    Args:
        in_dim: channels of the map ``L``.
        dim: channels of the branch.
    """

    def __init__(self, in_dim: int = 512, dim: int = 256) -> None:
        super().__init__()
        self.stem = ConvNorm(in_dim, dim)
        self.branch = nn.Sequential(ConvNorm(dim, dim, 3), ConvNorm(dim, dim, 3))
        self.box = nn.Conv2d(dim, 4, 1)
        self.objectness = nn.Conv2d(dim, 1, 1)

    def forward(self, coarse: Tensor) -> Tensor:
        """``[B, in_dim, H, W]`` at stride 32 -> ``[B, 5]``: x1, y1, x2, y2 in input pixels, and the score."""
        branch = self.branch(self.stem(coarse))  # [B, dim, H, W]
        boxes = decode_boxes(self.box(branch)).flatten(2)  # [B, 4, HW]
        scores = self.objectness(branch).sigmoid().flatten(2)  # [B, 1, HW]
        best = scores.argmax(dim=2, keepdim=True).expand(-1, 5, -1)  # [B, 5, 1]
        return torch.cat((boxes, scores), dim=1).gather(2, best)[..., 0]  # [B, 5]


def decode_boxes(raw: Tensor) -> Tensor:
    """Each cell's ``(b_x, b_y, b_w, b_h)`` as corners: ``[B, 4, H, W]`` -> ``[B, 4, H, W]`` in input pixels."""
    height, width = raw.shape[2:]
    column = torch.arange(width, device=raw.device, dtype=raw.dtype)  # [W]
    row = torch.arange(height, device=raw.device, dtype=raw.dtype)[:, None]  # [H, 1]
    x, y, log_width, log_height = raw.unbind(dim=1)  # each [B, H, W]
    box_width, box_height = log_width.exp() * CELL, log_height.exp() * CELL
    left = (x + column) * CELL - box_width / 2
    top = (y + row) * CELL - box_height / 2
    return torch.stack((left, top, left + box_width, top + box_height), dim=1)


class SegmentationHead(nn.Module):
    """One mask an image, from the finest map of the neck.

    Five views of the map ``F`` side by side, each a convolution with BN and LeakyReLU (slope 0.1):

        V_0 = conv1x1(F),  V_1, V_2, V_3 = conv3x3(F) dilated 6, 12, 18,  V_4 = conv1x1(mean of F) everywhere
        mask = sigmoid( up( conv1x1([V_0; V_1; V_2; V_3; V_4]) ) ) > 1/2

    where ``up`` is bilinear, 8 times as large, corners on corners.

    Args:
        dim: channels of the map and of each view.
    """

    def __init__(self, dim: int = 128) -> None:
        super().__init__()
        view = partial(ConvNorm, dim, dim, activation=_leaky_relu)
        self.views = nn.ModuleList((view(1), *(view(3, dilation=rate) for rate in (6, 12, 18)), view(1)))
        self.project = nn.Conv2d(5 * dim, 1, 1)

    def forward(self, fine: Tensor) -> Tensor:
        """``[B, dim, H, W]`` at stride 8 -> ``[B, 8H, 8W]`` bool."""
        return self.logits(fine).sigmoid() > 0.5

    def logits(self, fine: Tensor) -> Tensor:
        """What the mask is cut from: ``[B, dim, H, W]`` -> ``[B, 8H, 8W]``."""
        *local, pooled = self.views
        around = pooled(fine.mean(dim=(2, 3), keepdim=True)).expand_as(fine)  # [B, dim, H, W]
        views = torch.cat((*(view(fine) for view in local), around), dim=1)  # [B, 5 dim, H, W]
        coarse = self.project(views)  # [B, 1, H, W]
        return F.interpolate(coarse, scale_factor=8.0, mode="bilinear", align_corners=True)[:, 0]


def _leaky_relu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.1)
