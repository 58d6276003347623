"""BLOCK against its formula, chunk by chunk and product by product."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from fusion_modules.bilinear import BLOCK


def factors_of(module: Any) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Return ``(M, a, N, c)`` of every chunk in the order of its channels; ``M[r, k]`` is a vector."""
    found = []
    for core in module.cores:
        parts = (core.language_factors, core.language_constants, core.visual_factors, core.visual_constants)
        found += list(zip(*parts, strict=True))
    return found


def by_formula(module: Any, visual: Tensor, sentence: Tensor) -> Tensor:
    out = torch.empty_like(visual)
    for b in range(visual.shape[0]):
        q = module.sentence.weight @ sentence[b] + module.sentence.bias
        for row in range(visual.shape[2]):
            for column in range(visual.shape[3]):
                v = module.visual.weight[..., 0, 0] @ visual[b, :, row, column] + module.visual.bias
                start, fused = 0, []
                for m, a, n, c in factors_of(module):
                    size = m.shape[1]
                    q_c, v_c = q[start : start + size], v[start : start + size]
                    z = torch.zeros(size, dtype=v.dtype)
                    for r in range(m.shape[0]):
                        for k in range(size):
                            z[k] += (m[r, k] @ q_c + a[r, k]) * (n[r, k] @ v_c + c[r, k])
                    y = z / (z.abs() + 1e-8).sqrt()
                    fused.append(y / ((y * y).sum() + 1e-8).sqrt())
                    start += size
                out[b, :, row, column] = (
                    module.output.weight[..., 0, 0] @ torch.cat(fused) + module.output.bias
                )
    return out


@pytest.mark.parametrize(("hidden", "chunks", "rank"), [(12, 4, 3), (11, 4, 2), (7, 1, 2)])
def test_equals_the_formula(sentences: Any, random_module: Any, hidden: int, chunks: int, rank: int) -> None:
    module = random_module("block", 6, 5, hidden=hidden, chunks=chunks, rank=rank)
    language = sentences([3, 2], words=3, dim=5)
    visual = torch.randn(2, 6, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(
            module(visual, language), by_formula(module, visual, language.sentence), rtol=1e-10, atol=1e-10
        )


@pytest.mark.parametrize(("hidden", "chunks"), [(64, 20), (1600, 18), (40, 20), (80, 20)])
def test_has_the_specified_number_of_chunks(hidden: int, chunks: int) -> None:
    with torch.device("meta"):
        sizes = [m.shape[1] for m, *_ in factors_of(BLOCK(16, 12, hidden=hidden, chunks=chunks))]
    assert len(sizes) == chunks
    assert sum(sizes) == hidden
    assert max(sizes) - min(sizes) <= 1


def test_has_the_published_number_of_parameters() -> None:
    """BLOCK has 16.88 M at width 1600, 18 chunks, rank 15, from 4800 and 2048 to 1000 answers."""
    with torch.device("meta"):
        module = BLOCK(2048, 4800, hidden=1600, chunks=18, rank=15)
    answering = sum(p.numel() for p in module.parameters()) - 1601 * 2048 + 1601 * 1000
    assert round(answering / 1e6, 2) == 16.88


def test_a_chunk_needs_two_channels() -> None:
    with pytest.raises(ValueError, match="20 chunks of at least two channels each do not fit into hidden=39"):
        BLOCK(16, 12, hidden=39)


def test_the_product_of_sentence_and_cores_is_computed_once_per_sample() -> None:
    c, d, h, w, hidden, chunks, rank = 16, 12, 5, 7, 24, 6, 3
    size = hidden // chunks
    expected = 2 * c * hidden * h * w + d * hidden + chunks * (2 * rank * size * size + size * size * h * w)
    module = BLOCK(c, d, hidden=hidden, chunks=chunks, rank=rank)
    assert module.multiply_adds(c, d, h, w, words=4) == expected
