"""Heads that predict one box per image from the fused map; both return ``[B, 5, h, w]``.

Channel 0 is the logit of each position's score, channels 1 to 4 are its box ``x1, y1, x2, y2`` in pixels of the
network's input. The prediction is the box with the highest score. Boxes are decoded in single precision, because
half precision cannot represent fractions of a pixel above 256.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.contract import Head
from fusion_bench.samples.geometry import Resizing
from fusion_bench.tasks.boxes import Grid
from fusion_bench.tasks.referring import concat_sentence

_PRIOR = 0.05
"""Initial score of every position; it is small because few positions are positive."""


class DenseBoxHead(Head):
    """A head without anchors: every position predicts a score and its distances to the four sides of the box.

    It follows FCOS (Tian et al., ICCV 2019, arXiv 1904.01355) on a single map. Let ``c`` be the centre of a
    position, ``s`` its stride and ``d`` its four outputs:

        x1, y1 = c - s softplus(d_1, d_2)      x2, y2 = c + s softplus(d_3, d_4)

    FCOS uses ``exp``. Softplus grows linearly, so large boxes on a coarse map do not need a smaller learning rate.

    Args:
        in_dim: channels of the fused map.
        input_size: height and width of the network's input.
        sentence_dim: channels of the sentence vector that is concatenated at every position; 0 for none.
        hidden: channels between the two layers.
    """

    def __init__(
        self, in_dim: int, input_size: Resizing, sentence_dim: int = 0, *, hidden: int = 256
    ) -> None:
        super().__init__()
        self._size = input_size
        self.stem = nn.Sequential(
            nn.Conv2d(in_dim + sentence_dim, hidden, 3, padding=1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
        )
        self.predict = nn.Conv2d(hidden, 5, 1)
        assert self.predict.bias is not None  # noqa: S101 - narrows the type
        with torch.no_grad():
            self.predict.bias[0] = -math.log((1 - _PRIOR) / _PRIOR)

    def forward(self, fused: Tensor, sentence: Tensor | None) -> Tensor:
        """Return scores and boxes ``[B, 5, h, w]`` of the fused map ``[B, in_dim, h, w]``."""
        raw = self.predict(self.stem(concat_sentence(fused, sentence))).float()
        grid = Grid(raw.shape[2], raw.shape[3], self._size.height, self._size.width)
        logits, distances = raw.flatten(2).split((1, 4), 1)  # [B, 1, P], [B, 4, P]
        boxes = decode_distances(distances.transpose(1, 2), grid).transpose(1, 2)
        return torch.cat((logits, boxes), 1).view_as(raw)


def decode_distances(raw: Tensor, grid: Grid) -> Tensor:
    """Decode the distances ``[B, P, 4]`` of `DenseBoxHead` to boxes ``[B, P, 4]`` in input pixels."""
    distances = F.softplus(raw) * grid.stride(raw).repeat(2)
    centres = grid.centres(raw)
    return torch.cat((centres - distances[..., :2], centres + distances[..., 2:]), -1)


class LaConvNetBoxHead(Head):
    """LaConvNet's box head: YOLOX's head with one branch for box and objectness, and without classes.

        R = conv3x3(conv3x3(conv1x1(L)))        each with batch norm and SiLU
        centre = s (p_x + i, p_y + j),  size = s (exp p_w, exp p_h)

    for the position in column ``i`` and row ``j`` with stride ``s``. As in the released code, the offset of the
    centre is measured from the upper left corner of the position, not from its centre.

    Luo et al., IJCV 2024 (arXiv 2110.08797); Ge et al., arXiv 2107.08430.

    Args:
        in_dim: channels of the fused map ``L``.
        input_size: height and width of the network's input.
        sentence_dim: channels of the sentence vector that is concatenated at every position; 0 for none.
        hidden: channels of the branch.
    """

    def __init__(
        self, in_dim: int, input_size: Resizing, sentence_dim: int = 0, *, hidden: int = 256
    ) -> None:
        super().__init__()
        self._size = input_size
        self.branch = nn.Sequential(
            *_convolution(in_dim + sentence_dim, hidden, 1),
            *_convolution(hidden, hidden, 3),
            *_convolution(hidden, hidden, 3),
        )
        self.box, self.objectness = nn.Conv2d(hidden, 4, 1), nn.Conv2d(hidden, 1, 1)

    def forward(self, fused: Tensor, sentence: Tensor | None) -> Tensor:
        """Return scores and boxes ``[B, 5, h, w]`` of the fused map ``[B, in_dim, h, w]``."""
        branch = self.branch(concat_sentence(fused, sentence))
        logits, raw = self.objectness(branch).float(), self.box(branch).float()
        grid = Grid(raw.shape[2], raw.shape[3], self._size.height, self._size.width)
        boxes = decode_offsets(raw.flatten(2).transpose(1, 2), grid).transpose(1, 2)
        return torch.cat((logits, boxes.reshape(raw.shape)), 1)


def decode_offsets(raw: Tensor, grid: Grid) -> Tensor:
    """Decode the offsets and log sizes ``[B, P, 4]`` of `LaConvNetBoxHead` to boxes ``[B, P, 4]`` in input pixels."""
    stride = grid.stride(raw)
    centres = (raw[..., :2] + grid.indices(raw)) * stride
    half = raw[..., 2:].exp() * stride / 2
    return torch.cat((centres - half, centres + half), -1)


def _convolution(in_dim: int, out_dim: int, kernel_size: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(in_dim, out_dim, kernel_size, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_dim),
        nn.SiLU(),
    )
