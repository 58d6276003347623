"""LaConvNet: the visual encoder and its neck as an end-to-end network.

Luo, Zhou, Sun, Wu, Gao, Ji, "Towards Language-guided Visual Recognition via Dynamic Convolutions",
IJCV 132, 2024 (arXiv 2110.08797). The text encoder and the head belong to whoever uses it: a study, or the
authors' own networks.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from fusion_bench.contract import Citation, Language, Pyramid, VisionLanguageNetwork
from fusion_modules.laconvnet.encoder import BASE_STAGES, SMALL_STAGES, StageConfig, VisualEncoder
from fusion_modules.laconvnet.neck import PathAggregation


class LaConvNet(VisionLanguageNetwork):
    """What the sizes share; not to be used itself.

    Args:
        language_dim: ``D``, whatever the text encoder gives.
        dropout: on the blocks' attention weights.
        kernel_dropout: on the blocks' kernel values.

    Class attributes:
        stages: of the visual encoder; the neck reads the last three.
        bottlenecks: of each CSP layer of the neck.
    """

    citation: ClassVar[Citation] = Citation(
        "Towards Language-guided Visual Recognition via Dynamic Convolutions",
        "Luo et al.",
        "IJCV",
        2024,
        "https://arxiv.org/abs/2110.08797",
    )
    stages: ClassVar[tuple[StageConfig, ...]]
    bottlenecks: ClassVar[int] = 3

    def __init__(self, language_dim: int, *, dropout: float = 0.1, kernel_dropout: float = 0.1) -> None:
        super().__init__()
        self.visual = VisualEncoder(language_dim, self.stages, dropout=dropout, kernel_dropout=kernel_dropout)
        fine, middle, coarse = self.visual.out_dims[-3:]
        self.out_dims = (fine, middle, coarse)
        self.neck = PathAggregation((fine, middle, coarse), bottlenecks=self.bottlenecks)

    def forward(self, image: Tensor, language: Language) -> Pyramid:
        """``[B, 3, H, W]``, sides multiples of 32, to three maps of ``out_dims``.

        Raises:
            ValueError: a side is not a multiple of 32.
        """
        maps = self.visual(image, language)
        return Pyramid(self.neck(maps[-3:]), self.visual.strides[-3:])


class LaConvNetS(LaConvNet):
    """LaConvNet-S: ten blocks; maps of 128, 256 and 512 channels at strides 8, 16 and 32."""

    stages: ClassVar[tuple[StageConfig, ...]] = SMALL_STAGES


class LaConvNetB(LaConvNet):
    """LaConvNet-B: nineteen blocks; maps of 128, 256 and 512 channels at strides 8, 16 and 32."""

    stages: ClassVar[tuple[StageConfig, ...]] = BASE_STAGES


class LaConvNetTiny(LaConvNet):
    """This project's own reduction, for training from scratch at about 64 x 96 on a CPU; not in the paper.

    Four stages instead of five, a fifth to a half of the width, one bottleneck per CSP layer. The first
    stage only reads the pixels, which halves the time of a training step; words enter from the second on:

        stage   C   G   t   E   k        at 64 x 96   words asked on
        1      16                        32 x 48
        2      32   4   2  32   5        16 x 24      8 x 12
        3      64   8   1  32   5 5       8 x 12      8 x 12
        4      96   8   1  48   3 3       4 x 6       4 x 6

    Maps of 32, 64 and 96 channels at strides 4, 8 and 16. Like the others it takes sides that are
    multiples of 32, so that a study can put any of them in its place.
    """

    stages: ClassVar[tuple[StageConfig, ...]] = (
        StageConfig(16, groups=4, packing=4, kernel_sizes=()),
        StageConfig(32, groups=4, packing=2, kernel_sizes=(5,)),
        StageConfig(64, groups=8, packing=1, kernel_sizes=(5, 5)),
        StageConfig(96, groups=8, packing=1, kernel_sizes=(3, 3)),
    )
    bottlenecks: ClassVar[int] = 1
