"""LaConvNet: the visual encoder and its neck as an end-to-end network.

Luo, Zhou, Sun, Wu, Gao, Ji, "Towards Language-guided Visual Recognition via Dynamic Convolutions",
IJCV 132, 2024 (arXiv 2110.08797):

    X_1 ... X_5 = visual(image, Y)
    F, M, L = neck(X_3, X_4, X_5)

Symbols: ``Y`` the words ``[B, T, D]``; ``X_i`` the maps of the visual encoder; ``F``, ``M``, ``L`` the fine, middle
and coarse output map. The network has no text encoder and no head: a study adds its own, and
`fusion_modules.laconvnet.official` adds those of the authors.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from fusion_bench.contract import Citation, Language, Pyramid, VisionLanguageNetwork
from fusion_modules.laconvnet.encoder import BASE_STAGES, SMALL_STAGES, StageConfig, VisualEncoder
from fusion_modules.laconvnet.neck import PathAggregation


class LaConvNet(VisionLanguageNetwork):
    """The base class of all sizes; use one of its subclasses.

    Args:
        language_dim: ``D``, the width of the words from the text encoder.
        dropout: dropout probability on the attention weights of the blocks.
        kernel_dropout: dropout probability on the kernel values of the blocks.

    Class attributes:
        stages: the stages of the visual encoder; the neck reads the last three maps.
        bottlenecks: number of bottlenecks of each CSP layer of the neck.
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
        """Return three maps with ``out_dims`` channels from ``[B, 3, H, W]``, whose sides are multiples of 32.

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
    """LaConvNet-Tiny: a reduction by this project, for images of about 64 x 96 on a CPU; it is not in the paper.

    The network has four stages instead of five, a fifth to a half of the width, and one bottleneck per CSP layer. The
    first stage only reads the pixels, which halves the time of a step; the words are used from the second stage on:

        stage   C   G   t   E   k        at 64 x 96   queries on
        1      16                        32 x 48
        2      32   4   2  32   5        16 x 24      8 x 12
        3      64   8   1  32   5 5       8 x 12      8 x 12
        4      96   8   1  48   3 3       4 x 6       4 x 6

    The maps have 32, 64 and 96 channels at strides 4, 8 and 16. As for the other sizes, the sides of an image must be
    multiples of 32, so that a study can exchange the sizes.
    """

    stages: ClassVar[tuple[StageConfig, ...]] = (
        StageConfig(16, groups=4, packing=4, kernel_sizes=()),
        StageConfig(32, groups=4, packing=2, kernel_sizes=(5,)),
        StageConfig(64, groups=8, packing=1, kernel_sizes=(5, 5)),
        StageConfig(96, groups=8, packing=1, kernel_sizes=(3, 3)),
    )
    bottlenecks: ClassVar[int] = 1
