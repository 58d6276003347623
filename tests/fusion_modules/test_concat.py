"""The concat perceptron against the concatenation itself, one position at a time."""

from __future__ import annotations

from typing import Any

import torch

from fusion_modules.concat import Concat


def test_equals_a_perceptron_on_the_concatenation(sentences: Any, random_module: Any) -> None:
    module = random_module("concat", 6, 5, hidden=7)
    language = sentences([3, 2], words=3, dim=5)
    visual = torch.randn(2, 6, 3, 4, dtype=torch.float64)
    first = torch.cat((module.visual.weight[..., 0, 0], module.sentence.weight), dim=1)  # [hidden, C + D]
    with torch.no_grad():
        out = module(visual, language)
        for b in range(2):
            for row in range(3):
                for column in range(4):
                    joined = torch.cat((visual[b, :, row, column], language.sentence[b]))
                    hidden = (first @ joined + module.visual.bias).clamp(min=0)
                    hidden = (module.hidden.weight[..., 0, 0] @ hidden + module.hidden.bias).clamp(min=0)
                    expected = module.output.weight[..., 0, 0] @ hidden + module.output.bias
                    torch.testing.assert_close(out[b, :, row, column], expected, rtol=1e-12, atol=1e-12)


def test_the_sentence_is_projected_once_per_sample() -> None:
    c, d, h, w, hidden = 16, 12, 5, 7, 20
    expected = (c * hidden + hidden * hidden + hidden * c) * h * w + d * hidden
    assert Concat(c, d, hidden=hidden).multiply_adds(c, d, h, w, words=4) == expected


def test_dropout_acts_in_training_only(sentences: Any, random_module: Any) -> None:
    module = random_module("concat", 6, 5, dropout=0.5)
    language = sentences([3], words=3, dim=5)
    visual = torch.randn(1, 6, 3, 4, dtype=torch.float64)
    assert torch.equal(module(visual, language), module(visual, language))
    module.train()
    assert not torch.equal(module(visual, language), module(visual, language))
