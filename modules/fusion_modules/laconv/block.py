"""The LaConv block: a convolution kernel for every position of the image, predicted from the words of a sentence.

Luo, Zhou, Sun, Wu, Gao, Ji, "Towards Language-guided Visual Recognition via Dynamic Convolutions",
IJCV 132, 2024 (arXiv 2110.08797).

Symbols: ``X`` the map ``[B, C, H, W]``, ``Y`` the words ``[B, T, D]``, ``P`` a 2-D sine position code,
``t`` the packing, ``E`` the condition's width, ``h`` the heads, ``k`` the kernel size, ``G`` the groups.

Condition map, computed by attention from each position to the words (``condition.py``):

    A = softmax_words( Q(pack_t(X + P)) K(Y)^T / sqrt(E / h) )
    Z = ReLU(norm( unpack_t( ReLU( M(A V(Y)) ) ) ))

Kernels, one per position and group, neither normalised nor scaled, and the convolution with these kernels
(``aggregation.py``):

    W = conv1x1(Z)                                                  [B, G, k^2, H, W]
    U[b, c, p] = sum_j W[b, c mod G, j, p] X[b, c, p + offset_j]

Block, in which only the 1x1 convolutions of the last part mix channels. The shortcut is the identity, or with a
stride a depthwise 3x3 convolution of that stride followed by a 1x1 convolution:

    a   = SiLU( shortcut(X) + norm(U) )
    out = SiLU( a + norm(conv1x1(SiLU(norm(conv1x1(a))))) )
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.contract import Explanation, Language
from fusion_modules.laconv.aggregation import (
    AddedCondition,
    Aggregation,
    ImageKernels,
    KernelOptions,
    LanguageKernels,
    StaticKernel,
)
from fusion_modules.laconv.condition import (
    LanguageCondition,
    Norm,
    PositionEncoding,
    SentenceCondition,
    WordCondition,
    norm_layer,
)

ConditionSource = Literal["words", "sentence"]
Variant = Literal["full", "static_kernel", "z_add", "no_language_kernel", "no_mlp"]


@dataclass(frozen=True)
class LaConvConfig:
    """All settings of a LaConv block; the defaults are the paper's.

    Attributes:
        kernel_size: ``k``, odd, at most 11.
        groups: ``G``; channel ``c`` is filtered by kernel ``c mod G``.
        heads: ``h``, number of attention heads.
        cond_dim: ``E``, a multiple of ``heads``; None is the paper's rule: ``C t / 2`` below 128 channels,
            else ``C``.
        packing: ``t``; each square of ``t x t`` positions attends to the words with one query. A map whose sides
            are not multiples of ``t`` is padded with zeros internally.
        mlp_dim: hidden channels of the 1x1 convolutions; None is the paper's ``4 C``.
        position: the position code of the query.
        kernel_softmax: normalise each kernel over its ``k^2`` taps.
        dropout: dropout probability on the attention weights.
        kernel_dropout: dropout probability on the kernel values, independent for each tap.
        dynamic_bias: add a bias map projected from ``Z`` to ``U``.
        condition: source of the condition map: the words that a position attends to, or the sentence vector.
        norm: norm of the condition, of ``U`` and in the 1x1 convolutions: batch norm, group norm (8 groups, or
            4, 2, 1 where more do not divide the channels), or none (the 1x1 convolutions then have biases).
        variant: part of the block that is replaced or removed; see `fusion_modules.laconv.aggregation`.

    Raises:
        ValueError: a value is out of range, or a setting differs from its default although the chosen variant
            or condition does not use it.
    """

    kernel_size: int = 7
    groups: int = 8
    heads: int = 8
    cond_dim: int | None = None
    packing: int = 1
    mlp_dim: int | None = None
    position: PositionEncoding = "sine"
    kernel_softmax: bool = False
    dropout: float = 0.1
    kernel_dropout: float = 0.1
    dynamic_bias: bool = False
    condition: ConditionSource = "words"
    norm: Norm = "batch"
    variant: Variant = "full"

    def __post_init__(self) -> None:
        choices = {
            "position": PositionEncoding,
            "condition": ConditionSource,
            "norm": Norm,
            "variant": Variant,
        }
        for name, known in choices.items():
            if getattr(self, name) not in get_args(known):
                raise ValueError(
                    f"LaConv: {name} must be one of {', '.join(get_args(known))}, not {getattr(self, name)!r}"
                )
        for name in ("kernel_size", "groups", "heads", "cond_dim", "packing", "mlp_dim"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"LaConv: {name} must be at least 1, not {value}")
        if self.kernel_size % 2 == 0 or self.kernel_size > 11:
            raise ValueError(f"LaConv: kernel_size must be odd and at most 11, not {self.kernel_size}")
        for name in ("dropout", "kernel_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"LaConv: {name} must be in [0, 1), not {getattr(self, name)}")
        for field in fields(self):
            disabling = self._choice_disabling(field.name)
            if disabling and getattr(self, field.name) != field.default:
                raise ValueError(
                    f"LaConv: {disabling} does not use {field.name}; leave it at {field.default}"
                )

    @property
    def has_position_code(self) -> bool:
        """True if any part of the block adds the position code."""
        return self.position == "sine" and not self._choice_disabling("position")

    def _choice_disabling(self, setting: str) -> str:
        """Return the choice that removes the effect of ``setting``; an empty string if it has an effect."""
        by_variant: dict[str, tuple[Variant, ...]] = {
            "kernel_size": ("z_add",),
            "groups": ("z_add",),
            "kernel_softmax": ("z_add",),
            "kernel_dropout": ("z_add",),
            # FiLM already has beta, and without kernels U is a projection of Z already.
            "dynamic_bias": ("z_add", "static_kernel", "no_language_kernel"),
            "mlp_dim": ("no_mlp",),
        }
        if self.variant in by_variant.get(setting, ()):
            return f"variant {self.variant}"
        only_attention = setting in {"heads", "packing", "dropout"}
        only_attention |= setting == "position" and self.variant != "no_language_kernel"
        return "condition sentence" if only_attention and self.condition == "sentence" else ""


class LaConvBlock(nn.Module):
    """A LaConv block of any stride: ``[B, C, H, W]`` -> ``[B, C, H_out, W_out]``.

    Args:
        visual_dim: ``C``, a multiple of ``groups``, and of 4 for the sine position code.
        language_dim: ``D``.
        config: the settings of the block.
        stride: stride of the output: ``H_out = (H - 1) // stride + 1``.

    Raises:
        ValueError: the widths do not fit each other, or the stride is below 1.
    """

    def __init__(self, visual_dim: int, language_dim: int, config: LaConvConfig, stride: int = 1) -> None:
        super().__init__()
        _check_widths(visual_dim, config, stride)
        cond_dim = _condition_width(visual_dim, config)
        self.condition = _condition(visual_dim, language_dim, cond_dim, config)
        self.kernels = _aggregation(visual_dim, cond_dim, config, stride)
        self.norm = norm_layer(config.norm, visual_dim)
        has_mlp = config.variant != "no_mlp"
        self.mlp = ChannelMixing(visual_dim, config.mlp_dim, config.norm) if has_mlp else nn.Identity()
        self.shortcut = nn.Identity() if stride == 1 else _strided_shortcut(visual_dim, stride)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H_out, W_out]``."""
        condition = self.condition(visual, language)  # [B, E, H, W]
        filtered = self.kernels(visual, condition)  # [B, C, H_out, W_out]
        return self.mlp(F.silu(self.shortcut(visual) + self.norm(filtered)))  # type: ignore[no-any-return]

    def explain(self, visual: Tensor, language: Language) -> Explanation:
        """Word attention averaged over heads ``[B, T, H, W]``, kernels ``[B, G, k*k, H_out, W_out]``.

        The attention is that of every position before dropout. With the sentence as condition, all real words get
        equal weights. Kernels are None if positions have no kernels of their own (``static_kernel``, ``z_add``).
        """
        words = self.condition.attention(visual, language)
        return Explanation(words, self.kernels.build(visual, self.condition(visual, language)))


class ChannelMixing(nn.Sequential):
    """The block's last part: ``SiLU( a + norm(conv1x1(SiLU(norm(conv1x1(a))))) )``.

    Args:
        visual_dim: ``C``.
        hidden: channels between the two convolutions; None is ``4 C``.
        norm: norm after each convolution; the convolutions have a bias only without a norm.
    """

    def __init__(self, visual_dim: int, hidden: int | None, norm: Norm) -> None:
        hidden = 4 * visual_dim if hidden is None else hidden
        super().__init__(
            nn.Conv2d(visual_dim, hidden, 1, bias=norm == "none"),
            norm_layer(norm, hidden),
            nn.SiLU(),
            nn.Conv2d(hidden, visual_dim, 1, bias=norm == "none"),
            norm_layer(norm, visual_dim),
        )

    def forward(self, features: Tensor) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``."""
        return F.silu(features + super().forward(features))  # type: ignore[no-untyped-call]


def _condition(visual_dim: int, language_dim: int, cond_dim: int, config: LaConvConfig) -> LanguageCondition:
    """Return the module that computes ``Z``."""
    if config.condition == "sentence":
        return SentenceCondition(language_dim, dim=cond_dim, norm=config.norm)
    return WordCondition(
        visual_dim,
        language_dim,
        dim=cond_dim,
        packing=config.packing,
        heads=config.heads,
        dropout=config.dropout,
        position=config.position,
        norm=config.norm,
    )


def _aggregation(visual_dim: int, cond_dim: int, config: LaConvConfig, stride: int) -> Aggregation:
    """Return the module that computes ``U``."""
    options = KernelOptions(
        config.kernel_size, config.groups, stride, config.kernel_softmax, config.kernel_dropout
    )
    match config.variant:
        case "static_kernel":
            return StaticKernel(visual_dim, cond_dim, options)
        case "no_language_kernel":
            return ImageKernels(visual_dim, cond_dim, options, position=config.position, norm=config.norm)
        case "z_add":
            return AddedCondition(visual_dim, cond_dim, stride=stride)
        case "full" | "no_mlp":
            return LanguageKernels(visual_dim, cond_dim, options, dynamic_bias=config.dynamic_bias)


def _strided_shortcut(visual_dim: int, stride: int) -> nn.Sequential:
    """Return a depthwise 3x3 and a 1x1 convolution: ``[B, C, H, W]`` -> ``[B, C, H_out, W_out]``."""
    return nn.Sequential(
        nn.Conv2d(visual_dim, visual_dim, 3, stride, padding=1, groups=visual_dim),
        nn.Conv2d(visual_dim, visual_dim, 1),
    )


def _condition_width(visual_dim: int, config: LaConvConfig) -> int:
    """Return the width ``E`` of the condition: the setting, or the paper's rule."""
    if config.cond_dim is not None:
        return config.cond_dim
    return visual_dim * config.packing // 2 if visual_dim < 128 else visual_dim


def _check_widths(visual_dim: int, config: LaConvConfig, stride: int) -> None:
    """Raise ValueError unless stride, groups, position code and heads fit the channels."""
    if stride < 1:
        raise ValueError(f"LaConv: stride must be at least 1, not {stride}")
    if config.variant != "z_add" and visual_dim % config.groups:
        raise ValueError(f"LaConv: groups ({config.groups}) must divide the visual channels ({visual_dim})")
    if config.has_position_code and visual_dim % 4:
        raise ValueError(f"LaConv: the sine position code needs a multiple of 4 channels, not {visual_dim}")
    cond_dim = _condition_width(visual_dim, config)
    if config.condition == "words" and cond_dim % config.heads:
        raise ValueError(f"LaConv: heads ({config.heads}) must divide the condition width ({cond_dim})")
