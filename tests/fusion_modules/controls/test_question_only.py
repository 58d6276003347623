"""The control ``question_only`` against its formula, a perceptron of the sentence at every position."""

from __future__ import annotations

from typing import Any

import torch

from fusion_modules.controls.question_only import QuestionOnly


def test_equals_a_perceptron_of_the_sentence_at_every_position(sentences: Any, random_module: Any) -> None:
    module = random_module("question_only", 6, 5, hidden=7)
    language = sentences([3, 2], words=3, dim=5)
    first, _, second, _ = module.mlp
    with torch.no_grad():
        out = module(torch.randn(2, 6, 3, 4, dtype=torch.float64), language)
        for b in range(2):
            hidden = (first.weight @ language.sentence[b] + first.bias).clamp(min=0)
            expected = (second.weight @ hidden + second.bias).clamp(min=0)
            torch.testing.assert_close(
                out[b], expected[:, None, None].expand(6, 3, 4), rtol=1e-12, atol=1e-12
            )


def test_multiply_adds_are_those_of_its_layers() -> None:
    c, d, h, w = 16, 12, 5, 7
    assert QuestionOnly(c, d).multiply_adds(c, d, h, w, words=4) == d * 2 * c + 2 * c * c
