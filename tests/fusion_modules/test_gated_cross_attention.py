"""Gated cross-attention against loops over positions, heads and words, and the effect of its gates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from attention_reference import layer_norm, linear, multi_head, weights_of
from fusion_bench.contract import Language
from fusion_modules.gated_cross_attention import GatedCrossAttention


def test_equals_the_block_computed_one_position_at_a_time(sentences: Any, random_module: Any) -> None:
    module = random_module("gated_cross_attention", 8, 5, heads=2)
    language: Language = sentences([4, 1], words=4, dim=5)
    visual = torch.randn(2, 8, 3, 5, dtype=torch.float64)
    with torch.no_grad():
        out = module(visual, language).numpy()
    w = weights_of(module)
    for b in range(2):
        words = list(language.words[b][language.mask[b]].numpy())
        for row in range(3):
            for column in range(5):
                x = visual[b, :, row, column].numpy()
                answer = multi_head(w, "attention", layer_norm(w, "attention_norm", x), words, words, heads=2)
                x = x + math.tanh(w["attention_gate"]) * answer
                hidden = np.maximum(linear(w, "expand", layer_norm(w, "ffn_norm", x)), 0) ** 2
                expected = x + math.tanh(w["ffn_gate"]) * linear(w, "contract", hidden)
                np.testing.assert_allclose(out[b, :, row, column], expected, rtol=1e-10, atol=1e-10)


def test_a_new_block_is_the_identity_and_only_its_gates_get_a_gradient(sentences: Any) -> None:
    torch.manual_seed(0)
    module = GatedCrossAttention(16, 12).double()
    visual = torch.randn(2, 16, 3, 5, dtype=torch.float64)
    out = module(visual, sentences([4, 1], words=4, dim=12))
    assert torch.equal(out, visual)
    (out * torch.randn_like(out)).sum().backward()
    moved = {key for key, value in module.named_parameters() if value.grad.abs().max() > 0}  # type: ignore[union-attr]
    assert moved == {"attention_gate", "ffn_gate"}


def test_with_open_gates_every_parameter_gets_a_gradient(sentences: Any, random_module: Any) -> None:
    module = random_module("gated_cross_attention", 16, 12)
    module(
        torch.randn(2, 16, 3, 5, dtype=torch.float64), sentences([4, 2], words=4, dim=12)
    ).square().sum().backward()
    assert all(parameter.grad.abs().max() > 1e-6 for parameter in module.parameters())


def test_padding_gets_no_attention(sentences: Any, random_module: Any) -> None:
    module = random_module("gated_cross_attention", 8, 5, heads=2)
    visual, language = torch.randn(2, 8, 3, 5, dtype=torch.float64), sentences([4, 2], words=4, dim=5)
    attention = module.explain(visual, language).words
    torch.testing.assert_close(attention.sum(dim=1), torch.ones(2, 3, 5, dtype=torch.float64))
    assert attention[1, 2:].abs().max() == 0
    garbage = torch.where(language.mask[..., None], language.words, 1e300)
    assert torch.equal(
        module(visual, Language(garbage, language.mask, language.sentence)), module(visual, language)
    )


def test_has_the_size_of_the_published_block() -> None:
    """A block with 512 channels and 8 heads of 64 has 3.15 M parameters."""
    assert sum(p.numel() for p in GatedCrossAttention(512, 512).parameters()) == pytest.approx(
        3.15e6, rel=2e-3
    )


def test_multiply_adds_are_the_sum_of_its_parts() -> None:
    c, d, h, w, t, f = 16, 12, 5, 7, 6, 40
    hw = h * w
    expected = 2 * c * c * hw + 2 * t * d * c + 2 * t * c * hw + 2 * c * f * hw
    assert GatedCrossAttention(c, d, ffn_dim=f).multiply_adds(c, d, h, w, t) == expected


def test_heads_that_do_not_divide_the_channels_are_rejected() -> None:
    with pytest.raises(ValueError, match="20 channels are not a multiple of 8 heads"):
        GatedCrossAttention(20, 12)
