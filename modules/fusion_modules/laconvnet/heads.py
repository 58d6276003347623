"""The heads of the authors' networks: one box (referring expression comprehension) or one mask (segmentation).

Luo, Zhou, Sun, Wu, Gao, Ji, "Towards Language-guided Visual Recognition via Dynamic Convolutions",
IJCV 132, 2024 (arXiv 2110.08797), as released. The detection head is that of YOLOX (Ge, Liu, Wang, Li, Sun,
arXiv 2107.08430) with one branch for box and objectness, without classes, and with boxes decoded relative to the
top left corner of a position. The segmentation head is the atrous spatial pyramid of Chen, Papandreou, Schroff,
Adam (DeepLabv3, arXiv 1706.05587). The heads are for inference and have no loss.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_modules.laconvnet.convolution import ConvNorm

BOX_STRIDE = 32
"""The number of input pixels between two positions of the map from which the box is predicted."""


class DetectionHead(nn.Module):
    """One box per image, from the coarsest map of the neck.

    Symbols: ``b`` the four numbers and ``o`` the objectness of position ``(i, j)`` (column, row).

        R = conv3x3(conv3x3(conv1x1(L)))        each with BN and SiLU
        b = conv1x1(R),  o = conv1x1(R)
        centre = 32 (b_x + i, b_y + j),  size = 32 (exp b_w, exp b_h)

    The box and its score are those of the position with the highest ``sigmoid(o)``; no suppression is needed.

    Args:
        in_dim: channels of the map ``L``.
        dim: channels of the branch ``R``.
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
    """Convert ``(b_x, b_y, b_w, b_h)`` of each position to corners in input pixels.

    ``[B, 4, H, W]`` -> ``[B, 4, H, W]``: x1, y1, x2, y2.
    """
    height, width = raw.shape[2:]
    column = torch.arange(width, device=raw.device, dtype=raw.dtype)  # [W]
    row = torch.arange(height, device=raw.device, dtype=raw.dtype)[:, None]  # [H, 1]
    x, y, log_width, log_height = raw.unbind(dim=1)  # each [B, H, W]
    box_width, box_height = log_width.exp() * BOX_STRIDE, log_height.exp() * BOX_STRIDE
    left = (x + column) * BOX_STRIDE - box_width / 2
    top = (y + row) * BOX_STRIDE - box_height / 2
    return torch.stack((left, top, left + box_width, top + box_height), dim=1)


class SegmentationHead(nn.Module):
    """One mask per image, from the finest map of the neck.

    Five views of the map ``F`` are concatenated, each a convolution with BN and LeakyReLU (slope 0.1):

        V_0 = conv1x1(F),  V_1, V_2, V_3 = conv3x3(F) dilated 6, 12, 18,  V_4 = conv1x1(mean of F)
        mask = sigmoid( up( conv1x1([V_0; V_1; V_2; V_3; V_4]) ) ) > 1/2

    ``V_4`` is the same at every position. ``up`` is bilinear upsampling by 8 with aligned corners.

    Args:
        dim: channels of the map and of each view.
    """

    def __init__(self, dim: int = 128) -> None:
        super().__init__()
        view = partial(ConvNorm, dim, dim, activation=_leaky_relu)
        self.views = nn.ModuleList((view(1), *(view(3, dilation=rate) for rate in (6, 12, 18)), view(1)))
        self.project = nn.Conv2d(5 * dim, 1, 1)

    def forward(self, fine: Tensor) -> Tensor:
        """``[B, dim, H, W]`` at stride 8 -> ``[B, 8H, 8W]``, bool."""
        return self.logits(fine).sigmoid() > 0.5

    def logits(self, fine: Tensor) -> Tensor:
        """Return the mask logits: ``[B, dim, H, W]`` -> ``[B, 8H, 8W]``."""
        *local, pooled = self.views
        global_view = pooled(fine.mean(dim=(2, 3), keepdim=True)).expand_as(fine)  # [B, dim, H, W]
        views = torch.cat((*(view(fine) for view in local), global_view), dim=1)  # [B, 5 dim, H, W]
        coarse = self.project(views)  # [B, 1, H, W]
        return F.interpolate(coarse, scale_factor=8.0, mode="bilinear", align_corners=True)[:, 0]


def _leaky_relu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.1)
