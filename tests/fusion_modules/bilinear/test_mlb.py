"""MLB against its formula, and its dropout and size."""

from __future__ import annotations

from typing import Any

import torch

from fusion_modules.bilinear import MLB


def test_equals_the_formula(sentences: Any, random_module: Any) -> None:
    module = random_module("mlb", 6, 5, hidden=7)
    language = sentences([3, 2], words=3, dim=5)
    visual = torch.randn(2, 6, 3, 4, dtype=torch.float64)
    u, w, p = module.visual, module.sentence, module.output
    with torch.no_grad():
        out = module(visual, language)
        for b in range(2):
            for row in range(3):
                for column in range(4):
                    left = torch.tanh(u.weight[..., 0, 0] @ visual[b, :, row, column] + u.bias)
                    right = torch.tanh(w.weight @ language.sentence[b] + w.bias)
                    expected = p.weight[..., 0, 0] @ (left * right) + p.bias
                    torch.testing.assert_close(out[b, :, row, column], expected, rtol=1e-12, atol=1e-12)


def test_dropout_is_on_the_inputs_only(sentences: Any, random_module: Any) -> None:
    """Dropout of every input leaves an output that depends on the biases only."""
    module = random_module("mlb", 6, 5, dropout=1.0).train()
    language = sentences([3], words=3, dim=5)
    constant = torch.tanh(module.visual.bias) * torch.tanh(module.sentence.bias)
    expected = module.output.weight[..., 0, 0] @ constant + module.output.bias
    out = module(torch.randn(1, 6, 1, 1, dtype=torch.float64), language)[0, :, 0, 0]
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)


def test_has_the_published_number_of_parameters() -> None:
    """MLB has 9.42 M at width 1200, from 4800 and 2048 to 1000 answers."""
    with torch.device("meta"):
        module = MLB(2048, 4800, hidden=1200)
    before = sum(p.numel() for layer in (module.visual, module.sentence) for p in layer.parameters())
    assert round((before + 1201 * 1000) / 1e6, 2) == 9.42
    assert sum(p.numel() for p in module.parameters()) == before + 1201 * 2048


def test_the_sentence_is_projected_once_per_sample() -> None:
    c, d, h, w, hidden = 16, 12, 5, 7, 20
    expected = 2 * c * hidden * h * w + d * hidden
    assert MLB(c, d, hidden=hidden).multiply_adds(c, d, h, w, words=4) == expected
