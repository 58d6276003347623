"""Text involution: every position predicts its own kernel, and the sentence modulates the predictor.

Li, Hu, Wang, Li, She, Zhu, Zhang, Chen, "Involution: Inverting the Inherence of Convolution for Visual
Recognition", CVPR 2021 (arXiv 2103.06255), which has no language input. The kernel of position ``p`` has
``k x k`` taps for each group of 16 channels:

    h_p = ReLU( (1 + gamma(q)) * BN(W_0 r_p) + beta(q) ),    (gamma, beta) = Linear(q)
    K_p = W_1 h_p + b_1                                                          [G, k^2]
    u[c, p] = sum_j K_p[c // 16, j] r[c, p + o_j]

It replaces the 3x3 convolution of a residual bottleneck, as in the paper's RedNet:

    r   = ReLU(BN(conv1x1(V)))
    out = ReLU(V + BN(conv1x1(ReLU(BN(u)))))

Symbols: ``V`` the map ``[B, C, H, W]``, ``q`` the sentence ``[B, D]``, ``o_j`` the offsets of a window row by row.
The kernels are neither normalised nor scaled; values outside the map are zero.

Choices of this module: no text-conditioned involution has been published as a standard. Three forms are
straightforward: FiLM in the bottleneck of the kernel predictor, the sentence repeated at every position before
``W_0``, and kernels from attention to the words (which is LaConv). This module is the first form, so the batch norm
before FiLM has no affine part. The groups of involution are contiguous and those of the shared operator
`dynamic_conv2d` are interleaved, so channels are reordered before and after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.contract import (
    Choice,
    Citation,
    FusionModule,
    Int,
    Language,
    Listens,
    PositionCode,
    Space,
    Width,
)
from fusion_modules.laconv.ops.operator import dynamic_conv2d


class TextInvolution(FusionModule):
    """A RedNet bottleneck whose involution is modulated by the sentence.

    Args:
        visual_dim: ``C``; also the output's channels.
        language_dim: ``D``.
        hidden: channels of the bottleneck, a multiple of ``group_dim``; None is ``C / 4``, rounded up to a multiple.
        kernel_size: ``k``, odd.
        group_dim: number of channels that share a kernel.
        reduction: ratio by which ``W_0`` reduces the channels, to ``hidden / reduction``.

    Raises:
        ValueError: ``kernel_size`` is even or above 11, or ``hidden`` is not a multiple of ``group_dim`` and of
            ``reduction``.
    """

    citation: ClassVar[Citation] = Citation(
        "Involution: Inverting the Inherence of Convolution for Visual Recognition",
        "Li et al.",
        "CVPR",
        2021,
        "https://arxiv.org/abs/2103.06255",
    )
    width: ClassVar[Width | None] = Width("hidden", step=16, minimum=16)
    listens: ClassVar[Listens] = "sentence"
    position_code: ClassVar[PositionCode] = "none"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The width of the bottleneck and the kernel size."""
        del language_dim
        return {"hidden": Int(16, -(-visual_dim // 16) * 16, step=16), "kernel_size": Choice((3, 5, 7))}

    def __init__(
        self,
        visual_dim: int,
        language_dim: int,
        *,
        hidden: int | None = None,
        kernel_size: int = 7,
        group_dim: int = 16,
        reduction: int = 4,
    ) -> None:
        super().__init__()
        hidden = hidden or -(-visual_dim // (4 * group_dim)) * group_dim
        if kernel_size % 2 == 0 or kernel_size > 11:
            raise ValueError(f"TextInvolution: kernel_size must be odd and at most 11, not {kernel_size}")
        if hidden % group_dim or hidden % reduction:
            raise ValueError(
                f"TextInvolution: {hidden} hidden channels are not a multiple of group_dim {group_dim} "
                f"and of reduction {reduction}"
            )
        self.out_dim = visual_dim
        self.groups, self.kernel_size = hidden // group_dim, kernel_size
        inner = hidden // reduction
        self.reduce = nn.Conv2d(visual_dim, hidden, 1, bias=False)
        self.reduce_norm = nn.BatchNorm2d(hidden)
        self.squeeze = nn.Conv2d(hidden, inner, 1, bias=False)
        self.squeeze_norm = nn.BatchNorm2d(inner, affine=False)
        self.modulate = nn.Linear(language_dim, 2 * inner)
        self.span = nn.Conv2d(inner, self.groups * kernel_size**2, 1)
        self.involution_norm = nn.BatchNorm2d(hidden)
        self.expand = nn.Conv2d(hidden, visual_dim, 1, bias=False)
        self.expand_norm = nn.BatchNorm2d(visual_dim)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``."""
        reduced = F.relu(self.reduce_norm(self.reduce(visual)))  # [B, hidden, H, W]
        kernels = self._kernels(reduced, language.sentence)  # [B, G, k^2, H, W]
        interleaved = (
            reduced.unflatten(1, (self.groups, -1)).transpose(1, 2).flatten(1, 2)
        )  # [B, hidden, H, W]
        filtered = dynamic_conv2d(interleaved, kernels)  # [B, hidden, H, W], channel i G + g
        contiguous = (
            filtered.unflatten(1, (-1, self.groups)).transpose(1, 2).flatten(1, 2)
        )  # channel g 16 + i
        involved = F.relu(self.involution_norm(contiguous))  # [B, hidden, H, W]
        return F.relu(visual + self.expand_norm(self.expand(involved)))  # [B, C, H, W]

    def _kernels(self, reduced: Tensor, sentence: Tensor) -> Tensor:
        """Return ``K`` ``[B, G, k^2, H, W]`` from ``r`` ``[B, hidden, H, W]`` and ``q`` ``[B, D]``."""
        gamma, beta = self.modulate(sentence)[:, :, None, None].chunk(2, dim=1)  # [B, inner, 1, 1]
        squeezed = F.relu((1 + gamma) * self.squeeze_norm(self.squeeze(reduced)) + beta)  # [B, inner, H, W]
        return self.span(squeezed).unflatten(1, (self.groups, -1))  # type: ignore[no-any-return]
