"""The LaConv block: the words of a sentence write a convolution kernel for every position of the image.

Luo, Zhou, Sun, Wu, Gao, Ji, "Towards Language-guided Visual Recognition via Dynamic Convolutions",
IJCV 132, 2024 (arXiv 2110.08797).

Symbols: ``X`` the map ``[B, C, H, W]``, ``Y`` the words ``[B, T, D]``, ``P`` a 2-D sine position code,
``t`` the packing, ``E`` the condition's width, ``h`` the heads, ``k`` the kernel size, ``G`` the groups.

Condition, what each position hears (``condition.py``):

    A = softmax_words( Q(pack_t(X + P)) K(Y)^T / sqrt(E / h) )
    Z = ReLU(norm( unpack_t( ReLU( M(A V(Y)) ) ) ))

Kernels, one per position and group, neither normalised nor scaled, and the convolution with them
(``aggregation.py``):

    W = conv1x1(Z)                                                  [B, G, k^2, H, W]
    U[b, c, p] = sum_j W[b, c mod G, j, p] X[b, c, p + offset_j]

Block, where channels mix only in the last part's 1x1 convolutions; the shortcut is the identity, or with a
stride a depthwise 3x3 convolution of that stride and a 1x1 convolution:

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
    LanguageKernels,
    StaticKernel,
    Taps,
)
from fusion_modules.laconv.condition import (
    LanguageCondition,
    Norm,
    PositionEncoding,
    SentenceCondition,
    WordCondition,
    normalisation,
)

Source = Literal["words", "sentence"]
Variant = Literal["full", "static_kernel", "z_add", "no_language_kernel", "no_mlp"]


@dataclass(frozen=True)
class LaConvConfig:
    """Every choice of a LaConv block; the defaults are the paper's.

    Attributes:
        kernel_size: ``k``, odd, at most 11.
        groups: ``G``; channel ``c`` is filtered by kernel ``c mod G``.
        heads: ``h``, heads of the attention.
        cond_dim: ``E``, a multiple of ``heads``; None is the paper's rule: ``C t / 2`` below 128 channels,
            else ``C``.
        packing: ``t``; positions attend to the words in squares of ``t x t``. A map whose sides it does not
            divide is continued with zeros inside.
        mlp_dim: hidden channels of the 1x1 convolutions; None is the paper's ``4 C``.
        position: the position code of the query.
        kernel_softmax: normalise each kernel over its ``k^2`` taps.
        dropout: on the attention weights.
        kernel_dropout: on the kernel values, tap by tap.
        dynamic_bias: add a bias map projected from ``Z`` to ``U``.
        condition: what a position hears: the words it attends to, or the sentence vector.
        norm: of the condition, of ``U`` and in the 1x1 convolutions: batch norm, group norm (8 groups, or
            4, 2, 1 where they do not divide the channels), or none (the 1x1 convolutions then have biases).
        variant: which part is replaced or left out; see `fusion_modules.laconv.aggregation`.

    Raises:
        ValueError: a value is out of range, or a setting differs from its default though the chosen
            variant or condition does not use it.
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
    condition: Source = "words"
    norm: Norm = "batch"
    variant: Variant = "full"

    def __post_init__(self) -> None:
        choices = {"position": PositionEncoding, "condition": Source, "norm": Norm, "variant": Variant}
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
            user = self._without_use_for(field.name)
            if user and getattr(self, field.name) != field.default:
                raise ValueError(f"LaConv: {user} has no use for {field.name}; leave it at {field.default}")

    @property
    def locates(self) -> bool:
        """Whether the block adds the position code anywhere."""
        return self.position == "sine" and not self._without_use_for("position")

    def _without_use_for(self, setting: str) -> str:
        """The choice that leaves ``setting`` without effect; empty if it has one."""
        by_variant: dict[str, tuple[Variant, ...]] = {
            "kernel_size": ("z_add",),
            "groups": ("z_add",),
            "kernel_softmax": ("z_add",),
            "kernel_dropout": ("z_add",),
            # Under FiLM it would be beta a second time, and without kernels it is all there is.
            "dynamic_bias": ("z_add", "static_kernel", "no_language_kernel"),
            "mlp_dim": ("no_mlp",),
        }
        if self.variant in by_variant.get(setting, ()):
            return f"variant {self.variant}"
        asked = setting in {"heads", "packing", "dropout"}
        asked |= setting == "position" and self.variant != "no_language_kernel"
        return "condition sentence" if asked and self.condition == "sentence" else ""


class LaConvBlock(nn.Module):
    """One LaConv block: ``[B, C, H, W]`` -> ``[B, C, H_out, W_out]``.

    Args:
        visual_dim: ``C``, a multiple of ``groups``, and of 4 for the sine position code.
        language_dim: ``D``.
        config: the block's choices.
        stride: of the output: ``H_out = (H - 1) // stride + 1``.

    Raises:
        ValueError: the widths do not fit each other, or the stride is below 1.
    """

    def __init__(self, visual_dim: int, language_dim: int, config: LaConvConfig, stride: int = 1) -> None:
        super().__init__()
        _check_widths(visual_dim, config, stride)
        cond_dim = _condition_width(visual_dim, config)
        self.condition = _condition(visual_dim, language_dim, cond_dim, config)
        self.kernels = _aggregation(visual_dim, cond_dim, config, stride)
        self.norm = normalisation(config.norm, visual_dim)
        mixes = config.variant != "no_mlp"
        self.mlp = ChannelMixing(visual_dim, config.mlp_dim, config.norm) if mixes else nn.Identity()
        self.shortcut = nn.Identity() if stride == 1 else _strided_shortcut(visual_dim, stride)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H_out, W_out]``."""
        condition = self.condition(visual, language)  # [B, E, H, W]
        filtered = self.kernels(visual, condition)  # [B, C, H_out, W_out]
        return self.mlp(F.silu(self.shortcut(visual) + self.norm(filtered)))  # type: ignore[no-any-return]

    def explain(self, visual: Tensor, language: Language) -> Explanation:
        """Word attention averaged over heads ``[B, T, H, W]``, kernels ``[B, G, k*k, H_out, W_out]``.

        The attention is that of every position before dropout; where positions hear the sentence, all real
        words get equal shares. Kernels are None where no position has its own (``static_kernel``,
        ``z_add``).
        """
        words = self.condition.attention(visual, language)
        return Explanation(words, self.kernels.build(visual, self.condition(visual, language)))


class ChannelMixing(nn.Sequential):
    """The block's last part: ``SiLU( a + norm(conv1x1(SiLU(norm(conv1x1(a))))) )``.

    Args:
        visual_dim: ``C``.
        hidden: channels in between; None is ``4 C``.
        norm: after each convolution; the convolutions have a bias only where there is none.
    """

    def __init__(self, visual_dim: int, hidden: int | None, norm: Norm) -> None:
        hidden = 4 * visual_dim if hidden is None else hidden
        super().__init__(
            nn.Conv2d(visual_dim, hidden, 1, bias=norm == "none"),
            normalisation(norm, hidden),
            nn.SiLU(),
            nn.Conv2d(hidden, visual_dim, 1, bias=norm == "none"),
            normalisation(norm, visual_dim),
        )

    def forward(self, mixed: Tensor) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``."""
        return F.silu(mixed + super().forward(mixed))  # type: ignore[no-untyped-call]


def _condition(visual_dim: int, language_dim: int, cond_dim: int, config: LaConvConfig) -> LanguageCondition:
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
    taps = Taps(config.kernel_size, config.groups, stride, config.kernel_softmax, config.kernel_dropout)
    match config.variant:
        case "static_kernel":
            return StaticKernel(visual_dim, cond_dim, taps)
        case "no_language_kernel":
            return ImageKernels(visual_dim, cond_dim, taps, position=config.position, norm=config.norm)
        case "z_add":
            return AddedCondition(visual_dim, cond_dim, stride=stride)
        case "full" | "no_mlp":
            return LanguageKernels(visual_dim, cond_dim, taps, dynamic_bias=config.dynamic_bias)


def _strided_shortcut(visual_dim: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(visual_dim, visual_dim, 3, stride, padding=1, groups=visual_dim),
        nn.Conv2d(visual_dim, visual_dim, 1),
    )


def _condition_width(visual_dim: int, config: LaConvConfig) -> int:
    """``E``."""
    if config.cond_dim is not None:
        return config.cond_dim
    return visual_dim * config.packing // 2 if visual_dim < 128 else visual_dim


def _check_widths(visual_dim: int, config: LaConvConfig, stride: int) -> None:
    if stride < 1:
        raise ValueError(f"LaConv: stride must be at least 1, not {stride}")
    if config.variant != "z_add" and visual_dim % config.groups:
        raise ValueError(f"LaConv: groups ({config.groups}) must divide the visual channels ({visual_dim})")
    if config.locates and visual_dim % 4:
        raise ValueError(f"LaConv: its sine position code needs a multiple of 4 channels, not {visual_dim}")
    cond_dim = _condition_width(visual_dim, config)
    if config.condition == "words" and cond_dim % config.heads:
        raise ValueError(f"LaConv: heads ({config.heads}) must divide the condition width ({cond_dim})")
