"""Low-rank fusion against the full weight tensor, and the gradient of every factor."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fusion_modules.bilinear import LowRank


@pytest.mark.parametrize("rank", [1, 4])
def test_equals_the_full_tensor_applied_to_the_outer_product(
    sentences: Any, random_module: Any, rank: int
) -> None:
    c, d, hidden = 6, 5, 3
    module = random_module("low_rank", c, d, hidden=hidden, rank=rank)
    language = sentences([3, 2], words=3, dim=d)
    visual = torch.randn(2, c, 3, 4, dtype=torch.float64)
    core, one = module.core, torch.ones(1, dtype=torch.float64)
    with torch.no_grad():
        whole = torch.zeros(hidden, c + 1, d + 1, dtype=torch.float64)
        for i in range(rank):
            for k in range(hidden):
                w_v = torch.cat((core.visual_factors[0, i, k], core.visual_constants[0, i, k, None]))
                w_q = torch.cat((core.language_factors[0, i, k], core.language_constants[0, i, k, None]))
                whole[k] += torch.outer(w_v, w_q)
        out = module(visual, language)
        for b in range(2):
            for row in range(3):
                for column in range(4):
                    v, q = torch.cat((visual[b, :, row, column], one)), torch.cat((language.sentence[b], one))
                    expected = torch.stack([(whole[k] * torch.outer(v, q)).sum() for k in range(hidden)])
                    torch.testing.assert_close(out[b, :, row, column], expected, rtol=1e-12, atol=1e-12)


def test_every_factor_is_registered_and_trained(sentences: Any) -> None:
    """There are ``rank * (C + 1 + D + 1) * hidden`` parameters, and each of them has a gradient."""
    torch.manual_seed(0)
    module = LowRank(6, 5, hidden=3, rank=7)
    assert sum(p.numel() for p in module.parameters()) == 7 * (6 + 1 + 5 + 1) * 3
    assert len(module.state_dict()) == 4
    language = sentences([3, 2], words=3, dim=5, dtype=torch.float32)
    module(torch.randn(2, 6, 3, 4), language).square().sum().backward()
    assert all(p.grad is not None and (p.grad != 0).all() for p in module.parameters())


def test_the_product_of_sentence_and_factors_is_computed_once_per_sample() -> None:
    c, d, h, w, hidden, rank = 16, 12, 5, 7, 10, 3
    expected = rank * d * hidden + rank * hidden * c + hidden * c * h * w
    assert LowRank(c, d, hidden=hidden, rank=rank).multiply_adds(c, d, h, w, words=4) == expected
