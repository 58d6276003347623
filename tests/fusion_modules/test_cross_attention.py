"""Cross-attention against loops over positions, heads and words."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from fusion_bench.contract import Explains, Language
from fusion_modules.cross_attention import CrossAttention
from fusion_modules.position import sine_position_code


def layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * weight + bias  # type: ignore[no-any-return]


def test_equals_the_block_computed_one_position_at_a_time(sentences: Any, random_module: Any) -> None:
    heads = 2
    module = random_module("cross_attention", 8, 5, heads=heads)
    language: Language = sentences([4, 1], words=4, dim=5)
    visual = torch.randn(2, 8, 3, 5, dtype=torch.float64)
    with torch.no_grad():
        out = module(visual, language).numpy()
    w = {key: value.numpy() for key, value in module.state_dict().items()}

    def pointwise(name: str, x: Any) -> Any:
        return w[f"{name}.weight"].reshape(-1, len(x)) @ x + w[f"{name}.bias"]

    code = sine_position_code(visual).numpy()
    for b in range(2):
        words = language.words[b][language.mask[b]].numpy()
        for row in range(3):
            for column in range(5):
                x = visual[b, :, row, column].numpy()
                normed = layer_norm(x, w["attention_norm.weight"], w["attention_norm.bias"])
                query = pointwise("query", normed + code[:, row, column])
                answer = np.zeros(8)
                for head in range(heads):
                    part = slice(head * 4, head * 4 + 4)
                    logits = [query[part] @ pointwise("key", word)[part] / math.sqrt(4) for word in words]
                    weights = np.exp(logits) / np.exp(logits).sum()
                    for weight, word in zip(weights, words, strict=True):
                        answer[part] += weight * pointwise("value", word)[part]
                x = x + pointwise("merge", answer)
                hidden = pointwise("expand", layer_norm(x, w["ffn_norm.weight"], w["ffn_norm.bias"]))
                expected = x + pointwise("contract", np.maximum(hidden, 0))
                np.testing.assert_allclose(out[b, :, row, column], expected, rtol=1e-10, atol=1e-10)


def test_explains_the_word_attention_of_each_position(sentences: Any, random_module: Any) -> None:
    module = random_module("cross_attention", 8, 5, heads=2)
    assert isinstance(module, Explains)
    explanation = module.explain(
        torch.randn(2, 8, 3, 5, dtype=torch.float64), sentences([4, 2], words=4, dim=5)
    )
    torch.testing.assert_close(explanation.words.sum(dim=1), torch.ones(2, 3, 5, dtype=torch.float64))
    assert explanation.words[1, 2:].abs().max() == 0, "padding gets no attention"


def test_multiply_adds_are_the_sum_of_its_parts() -> None:
    c, d, h, w, t, f = 16, 12, 5, 7, 6, 40
    hw = h * w
    expected = 2 * c * c * hw + 2 * t * d * c + 2 * t * c * hw + 2 * c * f * hw
    assert CrossAttention(c, d, ffn_dim=f).multiply_adds(c, d, h, w, t) == expected


def test_heads_that_do_not_divide_the_channels_are_rejected() -> None:
    with pytest.raises(ValueError, match="not a multiple of 4 and of 8 heads"):
        CrossAttention(20, 12)
