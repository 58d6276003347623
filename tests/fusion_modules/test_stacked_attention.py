"""Stacked attention against loops over hops and positions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from attention_reference import linear, softmax, weights_of
from fusion_modules.stacked_attention import StackedAttention


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_equals_the_formula_one_position_at_a_time(sentences: Any, random_module: Any, hops: int) -> None:
    module = random_module("stacked_attention", 6, 5, hops=hops, attention_dim=7)
    language = sentences([4, 1], words=4, dim=5)
    visual = torch.randn(2, 6, 3, 5, dtype=torch.float64)
    with torch.no_grad():
        out = module(visual, language).numpy()
    w = weights_of(module)
    positions = [(row, column) for row in range(3) for column in range(5)]
    for b in range(2):
        regions = [
            np.tanh(linear(w, "embed", visual[b, :, row, column].numpy())) for row, column in positions
        ]
        u = language.sentence[b].numpy()
        maps = []
        for hop in range(hops):
            query = linear(w, f"hops.{hop}.question", u)
            hidden = [np.tanh(linear(w, f"hops.{hop}.region", v) + query) for v in regions]
            p = softmax([float(linear(w, f"hops.{hop}.score", h)[0]) for h in hidden])
            u = u + sum(weight * v for weight, v in zip(p, regions, strict=True))
            maps.append(p / p.max())
        for i, (row, column) in enumerate(positions):
            weights = np.array([attention[i] for attention in maps])
            expected = (
                visual[b, :, row, column].numpy() + linear(w, "answer", u) + linear(w, "looked", weights)
            )
            np.testing.assert_allclose(out[b, :, row, column], expected, rtol=1e-10, atol=1e-10)


def test_adds_its_attention_at_the_attended_position_and_not_transposed(sentences: Any) -> None:
    """Only one position fits the question, so the attention relative to its peak is 1 there and 0 elsewhere."""
    module: Any = StackedAttention(2, 2, hops=1, attention_dim=4).double()
    visual = torch.zeros(1, 2, 3, 5, dtype=torch.float64)
    visual[0, 0, 1, 3] = 1.0
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        module.embed.weight[0, 0] = 5.0
        module.hops[0].region.weight[:, 0] = 5.0
        module.hops[0].score.weight.fill_(10.0)
        module.looked.weight.fill_(1.0)
        added = module(visual, sentences([1], words=1, dim=2)) - visual
    assert added[0, 0, 1, 3] == pytest.approx(1.0)
    added[0, :, 1, 3] = 0
    assert added.abs().max() < 1e-12


def test_multiply_adds_are_the_sum_of_its_parts() -> None:
    c, d, h, w, k, hops = 16, 12, 5, 7, 9, 3
    hw = h * w
    hop = hw * d * k + d * k + hw * k + hw * d
    expected = hw * c * d + hops * hop + d * c + hw * hops * c
    module = StackedAttention(c, d, hops=hops, attention_dim=k)
    assert module.multiply_adds(c, d, h, w, words=4) == expected


def test_the_width_defaults_to_half_the_question_as_in_the_paper() -> None:
    assert StackedAttention(8, 1024).hops[0].score.in_features == 512  # type: ignore[union-attr]
