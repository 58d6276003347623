"""LaConv as a fusion module: one `LaConvBlock` of stride 1, with every choice of the paper as an argument.

Luo, Zhou, Sun, Wu, Gao, Ji, "Towards Language-guided Visual Recognition via Dynamic Convolutions",
IJCV 132, 2024 (arXiv 2110.08797). The equations and symbols are those of `fusion_modules.laconv.block`:

    U   = X *_W,    W = conv1x1(Z),    Z the condition map from the words
    a   = SiLU( X + norm(U) )
    out = SiLU( a + norm(conv1x1(SiLU(norm(conv1x1(a))))) )
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from fusion_bench.contract import (
    Choice,
    Citation,
    Float,
    FusionModule,
    Listens,
    PositionCode,
    Space,
    Width,
)
from fusion_modules.laconv.block import ConditionSource, LaConvBlock, LaConvConfig, Variant
from fusion_modules.laconv.condition import Norm, PositionEncoding


class LaConv(LaConvBlock, FusionModule):
    """A block that convolves every position with its own kernel, predicted from the words.

    The ``listens`` and ``position_code`` of an instance depend on its arguments: with ``condition="sentence"`` the
    instance reads the sentence instead of the words, and without a position code ``position_code`` is "none".

    Args:
        visual_dim: ``C``, a multiple of ``groups``, and of 4 for the sine position code.
        language_dim: ``D``.
        kernel_size, groups, heads, cond_dim, packing, mlp_dim, position, kernel_softmax, dropout,
        kernel_dropout, dynamic_bias, condition, norm, variant: the settings of `LaConvConfig`.

    Raises:
        ValueError: a value is out of range, a value has no effect given the other values, or the widths do not
            fit each other.
    """

    citation: ClassVar[Citation] = Citation(
        "Towards Language-guided Visual Recognition via Dynamic Convolutions",
        "Luo et al.",
        "IJCV",
        2024,
        "https://arxiv.org/abs/2110.08797",
    )
    width: ClassVar[Width | None] = Width("mlp_dim", step=8, minimum=8)
    listens: ClassVar[Listens] = "words"
    position_code: ClassVar[PositionCode] = "sine"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The kernel size, the groups and both dropouts; the width of the condition follows the paper's rule."""
        del language_dim
        groups = tuple(count for count in (1, 2, 4, 8, 16) if visual_dim % count == 0)
        return {
            "kernel_size": Choice((3, 5, 7)),
            "groups": Choice(groups),
            "dropout": Float(0.0, 0.3),
            "kernel_dropout": Float(0.0, 0.3),
        }

    def __init__(
        self,
        visual_dim: int,
        language_dim: int,
        *,
        kernel_size: int = LaConvConfig.kernel_size,
        groups: int = LaConvConfig.groups,
        heads: int = LaConvConfig.heads,
        cond_dim: int | None = LaConvConfig.cond_dim,
        packing: int = LaConvConfig.packing,
        mlp_dim: int | None = LaConvConfig.mlp_dim,
        position: PositionEncoding = LaConvConfig.position,
        kernel_softmax: bool = LaConvConfig.kernel_softmax,
        dropout: float = LaConvConfig.dropout,
        kernel_dropout: float = LaConvConfig.kernel_dropout,
        dynamic_bias: bool = LaConvConfig.dynamic_bias,
        condition: ConditionSource = LaConvConfig.condition,
        norm: Norm = LaConvConfig.norm,
        variant: Variant = LaConvConfig.variant,
    ) -> None:
        config = LaConvConfig(
            kernel_size=kernel_size,
            groups=groups,
            heads=heads,
            cond_dim=cond_dim,
            packing=packing,
            mlp_dim=mlp_dim,
            position=position,
            kernel_softmax=kernel_softmax,
            dropout=dropout,
            kernel_dropout=kernel_dropout,
            dynamic_bias=dynamic_bias,
            condition=condition,
            norm=norm,
            variant=variant,
        )
        super().__init__(visual_dim, language_dim, config)
        self.out_dim = visual_dim
        self.listens = config.condition  # type: ignore[misc]
        self.position_code = "sine" if config.has_position_code else "none"  # type: ignore[misc]
