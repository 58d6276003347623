"""MCB: the outer product of image and sentence features, hashed into one short vector.

Fukui, Park, Yang, Rohrbach, Darrell, Rohrbach, "Multimodal Compact Bilinear Pooling for Visual Question
Answering and Visual Grounding", EMNLP 2016 (arXiv 1606.01847), at every position ``p`` of the map:

    psi(x)_j = sum of s_i x_i over all i with h_i = j                     count sketch, d numbers
    s = psi_v(V_p) (*) psi_q(q) = IFFT( FFT(psi_v(V_p)) * FFT(psi_q(q)) ) circular convolution
    z_p = W_o Dropout( s after a signed square root and L2 ) + b_o

Symbols: ``V`` the map ``[B, C, H, W]``, ``q`` the sentence ``[B, D]``, ``d`` is ``sketch``, ``(*)`` circular
convolution, ``*`` the elementwise product. ``s`` is the count sketch of the outer product of ``V_p`` and
``q`` (Pham and Pagh, KDD 2013). The bins ``h`` and the signs ``s_i`` are drawn once, at construction, from
torch's generator. They are not trained and are saved with the weights, as buffers.

The normalisation and dropout are the authors'; a popular port (block.bootstrap) omits them. The authors also
normalise ``V_p`` to length 1 beforehand; the L2 normalisation of ``s`` makes this step unnecessary. All steps before
``W_o`` are computed in float32 or wider: in half precision a CPU has no FFT, and a GPU only has one for powers of
two. Channels are the last axis in these steps, so that each vector of the FFT is contiguous in memory.
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
from fusion_modules.bilinear.normalisation import power_normalise


class CountSketch(nn.Module):
    """Count sketch: each input channel is added, with a fixed random sign, to one fixed random bin.

    Args:
        channels: channels of the input.
        size: number of bins.
    """

    bins: Tensor
    signs: Tensor

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("bins", torch.randint(size, (channels,)))
        self.register_buffer("signs", (2 * torch.randint(2, (channels,)) - 1).to(torch.int8))

    def forward(self, values: Tensor) -> Tensor:
        """``[..., channels]`` -> ``[..., size]``."""
        empty = values.new_zeros(*values.shape[:-1], self.size)  # [..., size]
        return empty.index_add(-1, self.bins, values * self.signs)


class MCB(FusionModule):
    """Compact bilinear pooling at every position.

    Args:
        visual_dim: ``C``; also the output's channels.
        language_dim: ``D``.
        sketch: ``d`` (the paper: 16000 for 2048 visual channels); None is ``8 C``, the same ratio.
        dropout: dropout probability on the normalised product.
    """

    citation: ClassVar[Citation] = Citation(
        "Multimodal Compact Bilinear Pooling for Visual Question Answering and Visual Grounding",
        "Fukui et al.",
        "EMNLP",
        2016,
        "https://arxiv.org/abs/1606.01847",
    )
    width: ClassVar[Width | None] = Width("sketch", step=8, minimum=16)
    listens: ClassVar[Listens] = "sentence"
    position_code: ClassVar[PositionCode] = "none"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The length of the sketch and dropout."""
        del language_dim
        return {"sketch": Int(2 * visual_dim, 16 * visual_dim, log=True), "dropout": Float(0.0, 0.3)}

    def __init__(
        self, visual_dim: int, language_dim: int, *, sketch: int | None = None, dropout: float = 0.1
    ) -> None:
        super().__init__()
        sketch = sketch or 8 * visual_dim
        self.out_dim = visual_dim
        self.visual = CountSketch(visual_dim, sketch)
        self.sentence = CountSketch(language_dim, sketch)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Conv2d(sketch, visual_dim, 1)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``."""
        dtype = torch.promote_types(visual.dtype, torch.float32)
        positions = self.visual(visual.movedim(1, -1).to(dtype))  # [B, H, W, d]
        sentence = self.sentence(language.sentence.to(dtype))[:, None, None]  # [B, 1, 1, d]
        spectrum = torch.fft.rfft(positions) * torch.fft.rfft(sentence)  # [B, H, W, d // 2 + 1]
        product = torch.fft.irfft(spectrum, n=positions.shape[-1])  # [B, H, W, d]
        pooled = self.dropout(power_normalise(product, dim=-1)).to(visual.dtype)  # [B, H, W, d]
        return self.output(pooled.movedim(-1, 1))  # type: ignore[no-any-return]
