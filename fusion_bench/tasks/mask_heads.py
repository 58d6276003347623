"""Heads that predict one mask per image; both return logits ``[B, H, W]`` over the network's input."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.contract import Head
from fusion_bench.samples.geometry import Resizing
from fusion_bench.tasks.referring import concat_sentence

_SLOPE = 0.1
_RATES = (6, 12, 18)


class ConvMaskHead(Head):
    """The head ``conv1x1(ReLU(BN(conv3x3(F))))``, upsampled to the input's size with bilinear interpolation.

    Args:
        in_dim: channels of the fused map.
        input_size: height and width of the network's input.
        sentence_dim: channels of the sentence vector that is concatenated at every position; 0 for none.
        hidden: channels between the convolutions.
    """

    def __init__(
        self, in_dim: int, input_size: Resizing, sentence_dim: int = 0, *, hidden: int = 256
    ) -> None:
        super().__init__()
        self._size = (input_size.height, input_size.width)
        self.predict = nn.Sequential(
            *_view(in_dim + sentence_dim, hidden, 3, nn.ReLU()), nn.Conv2d(hidden, 1, 1)
        )

    def forward(self, fused: Tensor, sentence: Tensor | None) -> Tensor:
        """Return logits ``[B, H, W]`` of the fused map ``[B, in_dim, h, w]``."""
        coarse = self.predict(concat_sentence(fused, sentence)).float()
        return F.interpolate(coarse, size=self._size, mode="bilinear", align_corners=False)[:, 0]


class LaConvNetMaskHead(Head):
    """LaConvNet's mask head: the atrous spatial pyramid of DeepLabv3, five views of the map side by side.

        V_0 = conv1x1(F),  V_1, V_2, V_3 = conv3x3(F) dilated 6, 12, 18,  V_4 = conv1x1(mean of F) everywhere
        logits = up( conv1x1([V_0; V_1; V_2; V_3; V_4]) )

    each view with batch norm and LeakyReLU (slope 0.1); ``up`` is bilinear with aligned corners. The batch norm of
    ``V_4`` sees one position per image, so a training batch needs at least two images.

    Luo et al., IJCV 2024 (arXiv 2110.08797); Chen et al., arXiv 1706.05587.

    Args:
        in_dim: channels of the fused map ``F``.
        input_size: height and width of the network's input.
        sentence_dim: channels of the sentence vector that is concatenated at every position; 0 for none.
        hidden: channels of each view; 128 in the paper's network.
    """

    def __init__(
        self, in_dim: int, input_size: Resizing, sentence_dim: int = 0, *, hidden: int = 256
    ) -> None:
        super().__init__()
        self._size = (input_size.height, input_size.width)
        input_dim = in_dim + sentence_dim
        kernels = [(1, 1), *((3, rate) for rate in _RATES), (1, 1)]
        self.views = nn.ModuleList(
            nn.Sequential(*_view(input_dim, hidden, size, nn.LeakyReLU(_SLOPE), rate))
            for size, rate in kernels
        )
        self.project = nn.Conv2d(len(kernels) * hidden, 1, 1)

    def forward(self, fused: Tensor, sentence: Tensor | None) -> Tensor:
        """Return logits ``[B, H, W]`` of the fused map ``[B, in_dim, h, w]``."""
        joined = concat_sentence(fused, sentence)
        *local, pooled = self.views
        views = [view(joined) for view in local]
        context = pooled(joined.mean((2, 3), keepdim=True)).expand_as(views[0])
        coarse = self.project(torch.cat((*views, context), 1)).float()
        return F.interpolate(coarse, size=self._size, mode="bilinear", align_corners=True)[:, 0]


def _view(
    in_dim: int, out_dim: int, kernel_size: int, activation: nn.Module, dilation: int = 1
) -> tuple[nn.Module, ...]:
    padding = dilation * (kernel_size // 2)
    return (
        nn.Conv2d(in_dim, out_dim, kernel_size, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(out_dim),
        activation,
    )
