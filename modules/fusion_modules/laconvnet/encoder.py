"""The visual encoder of LaConvNet: language-conditioned stages from the pixels on, without a pretrained backbone.

Luo, Zhou, Sun, Wu, Gao, Ji, "Towards Language-guided Visual Recognition via Dynamic Convolutions",
IJCV 132, 2024 (arXiv 2110.08797). The tables are those of the authors' released networks.

Symbols: ``s`` the space-to-depth of 2 x 2 positions, ``Y`` the words, ``k`` kernel size, ``G`` groups, ``t``
packing, ``E`` the condition's width, ``C`` channels. Each stage halves the map and applies LaConv blocks, so that
the words affect every resolution:

    X_1 = LaConvBlocks( SiLU(BN(conv3x3(s(image)))), Y )          stride 2
    X_i = LaConvBlocks( SiLU(BN(conv1x1(s(X_{i-1})))), Y )        strides 4, 8, 16, 32

    stage   C    G   t    E    k, small     k, base          at 416 x 416   queries on
    1       16   4   8   64    3 5          3 5 7            208 x 208      26 x 26
    2       64   4   4  128    7            7 7 7            104 x 104      26 x 26
    3      128   8   2  128    7 7          7 7 7 7           52 x 52       26 x 26
    4      256   8   1  256    7 7 7 7      7 7 7 7 7 7       26 x 26       26 x 26
    5      512  16   1  512    7            7 7 7             13 x 13       13 x 13
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from fusion_bench.contract import Language
from fusion_modules.laconv import LaConvBlock, LaConvConfig
from fusion_modules.laconvnet.convolution import ConvNorm, space_to_depth

SIDE_MULTIPLE = 32  # the coarsest stride of the paper's networks, required for every size of network


@dataclass(frozen=True)
class StageConfig:
    """The settings of a stage: one row of the table.

    Attributes:
        channels: ``C``.
        groups: ``G``.
        packing: ``t``.
        kernel_sizes: ``k`` of each block; a stage without blocks only halves the map.
    """

    channels: int
    groups: int
    packing: int
    kernel_sizes: tuple[int, ...]


SMALL_STAGES = (
    StageConfig(16, groups=4, packing=8, kernel_sizes=(3, 5)),
    StageConfig(64, groups=4, packing=4, kernel_sizes=(7,)),
    StageConfig(128, groups=8, packing=2, kernel_sizes=(7, 7)),
    StageConfig(256, groups=8, packing=1, kernel_sizes=(7, 7, 7, 7)),
    StageConfig(512, groups=16, packing=1, kernel_sizes=(7,)),
)

BASE_STAGES = (
    StageConfig(16, groups=4, packing=8, kernel_sizes=(3, 5, 7)),
    StageConfig(64, groups=4, packing=4, kernel_sizes=(7, 7, 7)),
    StageConfig(128, groups=8, packing=2, kernel_sizes=(7, 7, 7, 7)),
    StageConfig(256, groups=8, packing=1, kernel_sizes=(7, 7, 7, 7, 7, 7)),
    StageConfig(512, groups=16, packing=1, kernel_sizes=(7, 7, 7)),
)


class Stage(nn.Module):
    """A stage of the encoder: halved resolution, then LaConv blocks.

    Args:
        in_dim: channels of the input map.
        language_dim: ``D``.
        config: the row of the table.
        kernel_size: kernel size of the convolution after the space-to-depth: 3 on the image, else 1.
        dropout: dropout probability on attention weights.
        kernel_dropout: dropout probability on kernel values.
    """

    def __init__(
        self,
        in_dim: int,
        language_dim: int,
        config: StageConfig,
        kernel_size: int,
        dropout: float,
        kernel_dropout: float,
    ) -> None:
        super().__init__()
        self.down = ConvNorm(4 * in_dim, config.channels, kernel_size)
        blocks = [
            LaConvConfig(
                kernel_size=size,
                groups=config.groups,
                packing=config.packing,
                dropout=dropout,
                kernel_dropout=kernel_dropout,
            )
            for size in config.kernel_sizes
        ]
        self.blocks = nn.ModuleList(LaConvBlock(config.channels, language_dim, block) for block in blocks)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, in_dim, H, W]`` -> ``[B, C, H/2, W/2]``."""
        visual = self.down(space_to_depth(visual))  # [B, C, H/2, W/2]
        for block in self.blocks:
            visual = block(visual, language)  # [B, C, H/2, W/2]
        return visual


class VisualEncoder(nn.Module):
    """The sequence of stages, which returns the map of every stage.

    Args:
        language_dim: ``D`` (512 in the authors' networks, whose text encoder fixes it).
        stages: `SMALL_STAGES`, `BASE_STAGES` or others, from fine to coarse.
        dropout: dropout probability on the attention weights of the blocks.
        kernel_dropout: dropout probability on the kernel values of the blocks.
    """

    def __init__(
        self,
        language_dim: int,
        stages: tuple[StageConfig, ...],
        *,
        dropout: float = 0.1,
        kernel_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.out_dims = tuple(stage.channels for stage in stages)
        self.strides = tuple(2 ** (number + 1) for number in range(len(stages)))
        in_dims = (3, *self.out_dims[:-1])
        self.stages = nn.ModuleList(
            Stage(in_dim, language_dim, stage, 3 if number == 0 else 1, dropout, kernel_dropout)
            for number, (in_dim, stage) in enumerate(zip(in_dims, stages, strict=True))
        )

    def forward(self, image: Tensor, language: Language) -> tuple[Tensor, ...]:
        """Return the maps of ``image`` ``[B, 3, H, W]``; map ``i`` is ``[B, C_i, H / 2^(i+1), W / 2^(i+1)]``.

        Raises:
            ValueError: a side is not a multiple of 32.
        """
        height, width = image.shape[-2:]
        if height % SIDE_MULTIPLE or width % SIDE_MULTIPLE:
            raise ValueError(
                f"LaConvNet: the sides of an image must be multiples of {SIDE_MULTIPLE}, not {height} x {width}; "
                "resize or pad it"
            )
        maps: list[Tensor] = []
        visual = image
        for stage in self.stages:
            visual = stage(visual, language)
            maps.append(visual)
        return tuple(maps)
