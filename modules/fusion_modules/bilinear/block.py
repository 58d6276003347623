"""BLOCK: a bilinear form whose core is block-superdiagonal.

Ben-younes, Cadene, Thome, Cord, "BLOCK: Bilinear Superdiagonal Fusion for Visual Question Answering and
Visual Relationship Detection", AAAI 2019 (arXiv 1902.00038), at every position ``p`` of the map:

    q~ = W_q q + b_q,    v~ = W_v V_p + b_v,    both split into chunks c = 1 ... chunks
    z^c = sum_r (M_r^c q~^c) * (N_r^c v~^c)         a separate core for each chunk, with slices of rank R
    y^c = z^c after a signed square root and L2     each chunk separately
    z_p = W_o [y^1; ...; y^chunks] + b_o

Symbols: ``V`` the map ``[B, C, H, W]``, ``q`` the sentence ``[B, D]``. With one chunk this is MUTAN without
its tanh. With chunks of one channel it is MLB's product; such chunks are rejected here, because L2 reduces them to
a sign.

Where the paper gives no detail, this module follows the authors' code: ``M`` and ``N`` have constants, and the
projections have no activation and are followed by dropout. The authors' code makes chunks of
``ceil(hidden / chunks)`` channels and a smaller last one, which can give fewer chunks than specified (16 instead of
20 at ``hidden`` 64). Here there are always ``chunks`` of them, and their sizes differ by one at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from fusion_bench.contract import (
    Citation,
    Float,
    FusionModule,
    Int,
    Language,
    Listens,
    PositionCode,
    Space,
    Width,
)
from fusion_modules.bilinear.core import LowRankCore
from fusion_modules.bilinear.normalisation import power_normalise


class BLOCK(FusionModule):
    """A bilinear form whose core consists of many small blocks, one per chunk of channels.

    Args:
        visual_dim: ``C``; also the output's channels.
        language_dim: ``D``.
        hidden: channels of all chunks together, at least two per chunk (the authors: 1600 for inputs of 2048
            and 4800); None is ``C`` rounded up to a multiple of ``chunks``, with at least four channels per chunk.
        chunks: number of cores.
        rank: ``R``, the rank of each slice of each core.
        dropout: dropout probability on both projections.

    Raises:
        ValueError: ``hidden`` is smaller than ``2 * chunks``.
    """

    citation: ClassVar[Citation] = Citation(
        "BLOCK: Bilinear Superdiagonal Fusion for Visual Question Answering and Visual Relationship Detection",
        "Ben-younes et al.",
        "AAAI",
        2019,
        "https://arxiv.org/abs/1902.00038",
    )
    width: ClassVar[Width | None] = Width("hidden", step=4, minimum=40)
    listens: ClassVar[Listens] = "sentence"
    position_code: ClassVar[PositionCode] = "none"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The total width of the chunks, their rank and dropout."""
        del language_dim
        narrow = max(80, visual_dim)
        return {
            "hidden": Int(narrow, 4 * narrow, log=True),
            "rank": Int(5, 20),
            "dropout": Float(0.0, 0.3),
        }

    def __init__(
        self,
        visual_dim: int,
        language_dim: int,
        *,
        hidden: int | None = None,
        chunks: int = 20,
        rank: int = 15,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        hidden = hidden or chunks * max(4, -(-visual_dim // chunks))
        if hidden < 2 * chunks:
            raise ValueError(
                f"BLOCK: {chunks} chunks of at least two channels each do not fit into hidden={hidden}"
            )
        size, larger = divmod(hidden, chunks)
        self.out_dim = visual_dim
        self.dropout = nn.Dropout(dropout)
        self.visual = nn.Conv2d(visual_dim, hidden, 1)
        self.sentence = nn.Linear(language_dim, hidden)
        self.layout = [(count, dim) for count, dim in ((larger, size + 1), (chunks - larger, size)) if count]
        self.cores = nn.ModuleList(
            LowRankCore(dim, dim, dim, rank, blocks=count) for count, dim in self.layout
        )
        self.output = nn.Conv2d(hidden, visual_dim, 1)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``."""
        widths = [count * dim for count, dim in self.layout]
        positions = self.dropout(self.visual(visual)).split(widths, dim=1)  # each [B, count * dim, H, W]
        sentence = self.dropout(self.sentence(language.sentence)).split(
            widths, dim=1
        )  # each [B, count * dim]
        fused = []
        for (count, dim), core, v, q in zip(self.layout, self.cores, positions, sentence, strict=True):
            chunked = core(q, v).unflatten(1, (count, dim))  # [B, count, dim, H, W]
            fused.append(power_normalise(chunked, dim=2).flatten(1, 2))  # [B, count * dim, H, W]
        return self.output(torch.cat(fused, dim=1))  # type: ignore[no-any-return]
